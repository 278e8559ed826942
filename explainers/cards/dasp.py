"""Card of deep approximate Shapley propagation."""

from __future__ import annotations

from ..info import Info

CARDS: tuple[Info, ...] = (
    Info(
        "dasp", "Approximate Shapley values of image patches: mean and variance of the first layer over random coalitions of "
        "a size, which are exact, are carried to the logit as independent Gaussians; contributions are averaged over sizes "
        "by Gauss quadrature. Exact for linear networks; elsewhere the gap to f(x) - f(background) is reported (2% to 34% on the "
        "shipped classifiers), and a map that misses by more than all it says is a failure, as is one whose moments without "
        "variance are not the network's logits.",
        "Ancona et al. 2019; Gast and Roth 2018; Nuzzo 2020, eq. 6.25 and 6.26",
        "phi_i = mean_k (E f(x_{S+i}) - E f(x_S)), |S| = k",
        "a chain of convolutions, linear layers, ReLUs and pools; neurons of a layer nearly independent",
        "not tested in the literature we know", "dasp:dasp",
        "perturbation", version=2, requires="chain", cost=200, rows=64, memory=2,
        params={"sizes": 2, "segments": 16, "segmentation": "grid", "baseline": "black"},
    ),
)  # fmt: skip
