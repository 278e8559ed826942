"""Card of the prediction difference analysis."""

from __future__ import annotations

from ..info import Info

CARDS: tuple[Info, ...] = (
    Info(
        "pda", "Prediction difference analysis: weight of evidence of a patch for the class, that is the fall of the log odds "
        "when the patch is replaced by plausible contents, averaged over the patches that cover a pixel. Contents come from "
        "a Gaussian given the surroundings, fitted to reference images, or from the same place of reference images.",
        "Zintgraf et al. 2017, eq. 1 to 5", "R = log2 odds(c | x) - log2 odds(c | x without w)",
        "patches of the reference images are roughly Gaussian",
        "not tested in the literature we know", "pda:pda", "perturbation", stochastic=True, cost=62,
        grows="samples", rows=64,
        params={"sampling": "conditional", "patch": 0.125, "stride": 0.125, "samples": 2, "score": "evidence"},
    ),
)  # fmt: skip
