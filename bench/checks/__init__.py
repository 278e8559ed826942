"""The checks that exist, by name; torch-free, so that tables of them are instant."""

from __future__ import annotations

from .base import CellResult, CheckInfo, Measure
from .class_checks import class_checks
from .generative.declared import CHECKS as _GENERATIVE
from .papers.declared import CHECKS as _PAPERS
from .perturbation.declared import CHECKS as _PERTURBATION

__all__ = ["CHECKS", "CellResult", "CheckInfo", "Measure"]

_SIMILARITY = (
    Measure("ssim", "SSIM", "lower", -1.0, 1.0, 0.0,
            "Structural similarity, window and normalisation of the protocol (recommended: Gaussian 11, affine-p99)."),
    Measure("ssim-7", "SSIM", "lower", -1.0, 1.0, 0.0,
            "Structural similarity under a uniform 7x7 window with sample covariance, L = 1."),
    Measure("spearman", "rank correlation", "lower", -1.0, 1.0, 0.0, "Spearman correlation, average ranks."),
    Measure("spearman-abs", "rank correlation", "lower", -1.0, 1.0, 0.0,
            "Spearman correlation of the absolute maps: what is left when signs are ignored."),
    Measure("hog", "correlation", "lower", -1.0, 1.0, None,
            "Pearson correlation of histograms of oriented gradients (9 orientations, cells of 8, blocks of 2x2)."),
    Measure("cosine", "cosine", "lower", -1.0, 1.0, 0.0, "Cosine of the angle between the maps as they are."),
)  # fmt: skip

_ZERO_SHARE = Measure(
    "zero-map-share",
    "share",
    "lower",
    0.0,
    1.0,
    0.0,
    "Share of the images whose map is all zero.",
    per="stage",
)

_SEARCHED = (
    Measure("feasible-share", "share", "none", 0.0, 1.0, None,
            "Share of the images whose search met its goal on the model of the stage; other maps are nearest attempts.",
            per="search"),
    Measure("trivial-share", "share", "none", 0.0, 1.0, None,
            "Share of the images whose search had nothing to move; their maps are empty and are not scored.", per="search"),
)  # fmt: skip

_HEALTH = (
    Measure("dead-relu-share", "share", "none", 0.0, 1.0, None,
            "Share of ReLU units that are zero for every image of the block.", per="stage"),
    Measure("logit-sd", "logit", "none", 0.0, None, None,
            "Standard deviation of a logit over the images, mean over the classes.", per="stage"),
    Measure("accuracy", "share", "none", 0.0, 1.0, None, "Share of the images classified as labelled.", per="stage"),
    Measure("healthy", "yes or no", "none", 0.0, 1.0, 1.0,
            "1 if the model still answers to the image; 0 marks a stage that is not scored.", per="stage"),
)  # fmt: skip

_COLLAPSE = (
    Measure("agreement-trained", "rank correlation", "higher", -1.0, 1.0, 0.0,
            "Spearman correlation of requested and achieved probability along one image's series, trained model."),
    Measure("agreement-random", "rank correlation", "lower", -1.0, 1.0, 0.0,
            "The same when random models look at the same series, mean over 16 of them; a constant answer counts as 0."),
    Measure("error-trained", "probability", "lower", 0.0, 1.0, None,
            "Mean |requested - achieved| along one image's series, trained model."),
    Measure("error-random", "probability", "higher", 0.0, 1.0, None, "The same with random models, mean over 16 of them."),
)  # fmt: skip

_REFIT = (
    Measure("refit-random", "correlation", "lower", -1.0, 1.0, None,
            "Pearson correlation of the map with that of a fit to a random model."),
    Measure("refit-same", "correlation", "none", -1.0, 1.0, None,
            "Pearson correlation of the map with that of a fit to the same model from another seed."),
    Measure("refit-other", "correlation", "none", -1.0, 1.0, None,
            "Pearson correlation of the map with the next image's map of the same fit."),
)  # fmt: skip

CHECKS: dict[str, CheckInfo] = {
    info.name: info
    for info in (
        CheckInfo("cascading", 1, "randomization", (*_SIMILARITY, _ZERO_SHARE, *_SEARCHED),
                  "layers re-initialised from the output down; the map is compared with that of the trained model"),
        CheckInfo("independent", 1, "randomization", (*_SIMILARITY, _ZERO_SHARE, *_SEARCHED),
                  "one layer re-initialised at a time, everything else as trained"),
        CheckInfo("bottom-up", 1, "randomization", (*_SIMILARITY, _ZERO_SHARE, *_SEARCHED),
                  "layers re-initialised from the input up; stage 1 is the layer that reads the image"),
        CheckInfo("ceiling", 1, "randomization", _SIMILARITY,
                  "similarity of repeated runs on the trained model: 1 for a deterministic explainer; searches begin anew",
                  family="calibration", staged=False, draws="ceiling"),
        CheckInfo("floor", 1, "randomization", _SIMILARITY,
                  "similarity with maps of fully re-initialised models, or for searches with random latent moves of equal length",
                  family="calibration", staged=False, draws="floor"),
        CheckInfo("health-cascading", 1, "randomization", _HEALTH,
                  "is there still something to explain along the cascade?", about_model=True),
        CheckInfo("health-independent", 1, "randomization", _HEALTH,
                  "is there still something to explain with one layer random?", about_model=True),
        CheckInfo("health-bottom-up", 1, "randomization", _HEALTH,
                  "is there still something to explain with the lower layers random?", about_model=True),
        CheckInfo("collapse", 1, "randomization", _COLLAPSE,
                  "fitted explainers: does the series stop doing what was requested when random models look at it?",
                  family="fitted", staged=False, fitted=True),
        CheckInfo("refit", 1, "randomization", _REFIT,
                  "fitted explainers: does a fit to a random model give other maps?",
                  family="fitted", staged=False, draws="once", fitted=True),
        *class_checks(_SIMILARITY),
        *_PERTURBATION,
        *_GENERATIVE,
        *_PAPERS,
    )
}  # fmt: skip
"""Name of a check -> what it declares."""
