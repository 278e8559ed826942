"""Cards of the explainers that carry relevance."""

from __future__ import annotations

from ..info import Info

CARDS: tuple[Info, ...] = (
    Info(
        "lrp", "Layer-wise relevance propagation: |logit| is handed from layer to layer in proportion to what each input "
        "contributed, positive and negative contributions weighted by alpha and -beta (alpha - beta = 1, common "
        "denominators, biases take no share), or with the epsilon rule. A neuron with contributions of one sign hands on "
        "all its relevance through them. Additions, average pooling and means are linear layers under the same rule; "
        "maximum pooling hands to the winner; concatenation splits; a product with a gate (squeeze-and-excitation) gives "
        "all to the signal; batch norms are folded, or passed unchanged where that is impossible. What biases absorb is "
        "counted; if the balance misses the logit by more than 1% the map is a failure. alpha >= 4 runs in float64, at "
        "about 10 passes in float32's time, 2.4 of its own; other maps whose balance float32 misses by more than 1e-5 are done "
        "again in float64. `denominator=split` separates positive from negative inputs as Nam et al.'s code does, `first=z-box` "
        "treats the layer that reads the image with the z-box rule, `bias=share` lets biases take their share of positive or "
        "negative contributions out of the map.",
        "Bach et al. 2015, eq. 58 and 60; Nuzzo 2020, eq. 4.18 to 4.20",
        "R_j = sum_k (alpha (x_j w_jk)+ / sum_i (x_i w_ik)+ - beta (x_j w_jk)- / sum_i (x_i w_ik)-) R_k",
        "operations for which a rule exists", "a1b0, a2b1, a3b2 fail, beta >= 3 passes (Nuzzo 2020); a5b4 passes (Sixt 2020)",
        "relevance:lrp", "relevance", requires="relevance", cost=3, memory=5.5,
        params={
            "rule": "alpha-beta", "alpha": 2.0, "beta": 1.0, "epsilon": 0.01, "denominator": "common", "first": "rule",
            "seed": "abs", "bias": "ignore",
        },
        later=("bias",),
    ),
    Info(
        "deep-taylor", "Deep Taylor decomposition: |logit| is handed down in proportion to positive contributions (z+), and "
        "by the z-box rule between the bounds of images in [0, 1] where a layer reads the image. A neuron without positive "
        "contributions hands on through its negative ones. Otherwise as lrp. Every value is >= 0.",
        "Montavon et al. 2017, eq. 18 and section 4.2.2",
        "R_j = sum_k x_j w_jk+ / sum_i (x_i w_ik+) R_k; first layer (x w - l w+ - h w-) / sum of the same",
        "operations for which a rule exists; a linear layer that reads the image",
        "fails: converges to a map that does not depend on the head (Sixt 2020)", "relevance:deep_taylor", "relevance",
        signed=False, requires="relevance", cost=2.5, memory=2.5,
    ),
    Info(
        "excitation-backprop", "The probability that a pixel is reached when one walks down from the explained class, at "
        "each neuron towards its exciting inputs in proportion to their contributions; biases take no part. A neuron "
        "without exciting inputs loses its probability. `contrastive=true` subtracts the probabilities of the dual unit "
        "with negated weights in the classifier's layer. Gates, pooling, additions and batch norms as for lrp.",
        "Zhang et al. 2016, eq. 5 and section 3.4", "P_j = sum_k (x_j w_jk)+ / sum_i (x_i w_ik)+ P_k",
        "operations for which a rule exists; activations >= 0",
        "fails without the contrastive form: z+ without bias (Sixt 2020)", "relevance:excitation_backprop", "relevance",
        requires="relevance", cost=2.5, memory=2.5, params={"contrastive": False},
    ),
    Info(
        "rap", "Relative attributing propagation: at the classifier's layer relevance follows the absolute contributions; "
        "below, inhibiting inputs receive relevance beside the exciting ones, and a constant taken from every unit "
        "restores the sum, so weak units turn negative. The layer that reads the image follows the z-box rule, here "
        "between the bounds of images in [0, 1] instead of the extremes of each image. Convolutions hand negative "
        "relevance to inhibiting weights (`neg_rule=B`, the published code) or treat it like positive relevance (`A`). "
        "An addition is a linear layer with unit weights under the same rule.",
        "Nam et al. 2020 and its published code",
        "C_j = sum_k R_k ((x_j w_jk)+ / A_k + |(x_j w_jk)-| / (A_k + B_k)); R_j = C_j - (sum C - sum R) / #{C != 0}",
        "operations for which a rule exists; a linear layer that reads the image; activations >= 0",
        "fails (Nuzzo 2020)", "relevance:rap", "relevance", requires="relevance", cost=4, memory=2.5,
        params={"neg_rule": "B", "seed": "abs"},
    ),
    Info(
        "pattern-attribution", "|logit| sent back through weights times patterns: a pattern is the direction of the input "
        "that moves with a neuron, cov(x, y) / var(y) over the images and positions where the ReLU behind it is active "
        "(all of them for the last layer), fitted on reference images. ReLU and maximum pooling keep their derivative.",
        "Kindermans et al. 2018, eq. 10 and section 4", "R_j = sum_k w_jk a_jk R_k, a_k = cov(x, y_k) / var(y_k) on y_k > 0",
        "a sequence of Conv, Linear, ReLU and MaxPool", "fails (Sixt 2020)", "patterns:pattern_attribution", "relevance",
        requires="relevance", cost=13, memory=2, params={"samples": 128, "seed": "abs"},
    ),
)  # fmt: skip
