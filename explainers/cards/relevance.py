"""Cards of the explainers that carry relevance."""

from __future__ import annotations

from ..info import Info

CARDS: tuple[Info, ...] = (
    Info(
        "lrp", "Layer-wise relevance propagation: |logit| is handed from layer to layer in proportion to what each input "
        "contributed, positive and negative contributions weighted by alpha and -beta (alpha - beta = 1, common "
        "denominators, biases take no share), or with the epsilon rule. A neuron with contributions of one sign hands on "
        "all its relevance through them. Additions, average pooling and means are linear layers under the same rule; "
        "maximum pooling hands to the winner; batch norms are folded, or passed unchanged where that is impossible. What "
        "biases absorb is counted; if the balance misses the logit by more than 1% the map is a failure. alpha >= 4 runs "
        "in float64.",
        "Bach et al. 2015, eq. 58 and 60; Nuzzo 2020, eq. 4.18 to 4.20",
        "R_j = sum_k (alpha (x_j w_jk)+ / sum_i (x_i w_ik)+ - beta (x_j w_jk)- / sum_i (x_i w_ik)-) R_k",
        "operations for which a rule exists", "a1b0, a2b1, a3b2 fail, beta >= 3 passes (Nuzzo 2020); a5b4 passes (Sixt 2020)",
        "relevance:lrp", "relevance", requires="relevance", cost=2,
        params={
            "rule": "alpha-beta", "alpha": 2.0, "beta": 1.0, "epsilon": 0.01, "seed": "abs",
        },
    ),
)  # fmt: skip
