"""The suites: which checks, which explainers, how many images and seeds."""

from __future__ import annotations

from models.naming import UsageError, near
from reports.thesis_said import GROUPS, THESIS_PROTOCOL

from . import papers
from .checks import own
from .checks.generative.declared import BASELINES as GENERATIVE_BASELINES
from .checks.generative.declared import CHECKS as GENERATIVE
from .checks.generative.declared import EXPLAINERS as GENERATIVE_EXPLAINERS
from .sized import Size, Suite

__all__ = ["Size", "Suite"]

ALL = "all"
"""Stands for every suite but `smoke` and those of papers."""
PROFILES = ("quick", "standard", "full")

REFERENCES = ("input", "edge-detector", "constant", "random", "random-by-model")
RANDOMIZATION_EXPLAINERS = (
    "gradient", "saliency", "input-x-gradient", "integrated-gradients", "deconvnet", "guided-backprop", "gradcam",
    "guided-gradcam", "lrp-epsilon", "lrp-a1b0", "lrp-a2b1", "lrp-a3b2", "lrp-a4b3", "lrp-a5b4", "lrp-a6b5", "lrp-a9b8",
    "smoothgrad", "smoothgrad-squared", "vargrad",
)  # fmt: skip
PERTURBATION_EXPLAINERS = (*RANDOMIZATION_EXPLAINERS, "integrated-gradients[baseline=blur]", "occlusion")
PERTURBATION_REFERENCES = ("random", "random-by-model", "edge-detector", "centre", "input")
CLASS_EXPLAINERS = (
    "gradient", "input-x-gradient", "integrated-gradients", "deeplift", "deconvnet", "guided-backprop", "gradcam",
    "guided-gradcam", "lrp-a1b0", "lrp-a2b1", "lrp-a3b2", "lrp-a5b4", "occlusion",
)  # fmt: skip
CLASS_REFERENCES = (*REFERENCES, "centre", "oracle")
REPLACEMENTS = ("uniform", "mean", "blur", "black", "road", "counterfactual")
EXPECTED = {
    "input": "FAIL",
    "edge-detector": "FAIL",
    "constant": "UNDEFINED",
    "random": "UNRELIABLE",
    "random-by-model": "PASS",
}

_CLASSLESS = dict.fromkeys(("input", "edge-detector", "random-by-model"), "FAIL")
_LOCATED = {**_CLASSLESS, "centre": "FAIL", "oracle": "PASS"}
OPPOSITE = {
    "class-similarity": _CLASSLESS, "class-similarity-top2": _CLASSLESS, "class-similarity-least": _CLASSLESS,
    "grid-localisation": _LOCATED, "planted-cue": _LOCATED,
    "exact-zero": {"input": "FAIL", "edge-detector": "FAIL", "oracle": "PASS"},
}  # fmt: skip
"""Check -> reference -> what its verdict must not be the opposite of; with few images it may be neither PASS nor FAIL."""


_SUITES = (
    Suite(
        "randomization",
        "does the explanation notice that weights were replaced by noise?",
        ("cascading", "independent", "ceiling", "floor", "health-cascading", "health-independent", "collapse", "refit"),
        RANDOMIZATION_EXPLAINERS,
        references=REFERENCES,
        sizes={"quick": Size(16, 5, dear=Size(4, 2)), "standard": Size(32, 10), "full": Size(64, 20)},
        under={"full": ("bottom-up", "health-bottom-up")},
    ),
    Suite(
        "smoke",
        "the same in seconds, on a few images: does everything run here?",
        ("cascading", "ceiling", "floor", "health-cascading"),
        ("saliency", "guided-backprop", "gradcam", "lrp-a1b0"),
        references=REFERENCES,
        sizes=dict.fromkeys(PROFILES, Size(4, 3)),
        choices={"floor_draws": 2},
    ),
    Suite(
        "class-discrimination",
        "does the map answer for the class that was asked about, and point at its evidence?",
        (
            "class-similarity",
            "class-similarity-top2",
            "class-similarity-least",
            "class-similarity-probes",
            "class-ceiling",
            "class-floor",
            "grid-localisation",
            "planted-cue",
            "exact-zero",
        ),
        CLASS_EXPLAINERS,
        references=CLASS_REFERENCES,
        sizes={"quick": Size(32, 1), "standard": Size(128, 1), "full": Size(512, 1)},
        models=("fmnist-vgg", "fmnist-mosaic", "fmnist-cue", "fmnist-difull"),
    ),
    Suite(
        "pixel-perturbation",
        "does the model forget its class when the most relevant pixels go, under every replacement?",
        tuple(f"perturbation-{name}" for name in REPLACEMENTS),
        PERTURBATION_EXPLAINERS,
        references=PERTURBATION_REFERENCES,
        sizes={"quick": Size(64, 1), "standard": Size(256, 1), "full": Size(1000, 1)},
    ),
    Suite(
        "patch-perturbation",
        "the same with patches of an eighth of the side in place of pixels",
        tuple(f"perturbation-{name}-patches" for name in REPLACEMENTS),
        PERTURBATION_EXPLAINERS,
        references=PERTURBATION_REFERENCES,
        sizes={"quick": Size(64, 1), "standard": Size(256, 1), "full": Size(1000, 1)},
    ),
    Suite(
        "generative",
        "does another image answer why this class and not that one, and is it still a real image of the same object?",
        tuple(info.name for info in GENERATIVE),
        GENERATIVE_EXPLAINERS,
        references=GENERATIVE_BASELINES,
        sizes={"quick": Size(64, 1), "standard": Size(256, 1), "full": Size(960, 1)},
        models=("fmnist-lenet", "fmnist-tshirt-shirt"),
    ),
    *papers.SUITES,
)


def names() -> list[str]:
    """The suites that exist in this version.

    Example:
        >>> names()[:2]
        ['randomization', 'smoke']
    """
    return [suite.name for suite in suites()]


def built_in() -> tuple[Suite, ...]:
    """All suites of this version."""
    return _SUITES


def suites() -> tuple[Suite, ...]:
    """All suites of this version, and those of checks from outside that were loaded."""
    return (*_SUITES, *(own.suite_of(name) for name in own.names()))


def explainers_of(suite: Suite, protocol: str) -> tuple[str, ...]:
    """The explainers of a suite where none are given: its own, or those that the source of a protocol tested.

    Example:
        >>> "rap" in explainers_of(get("randomization"), "nuzzo2020"), "rap" in explainers_of(get("smoke"), "nuzzo2020")
        (True, False)
    """
    if protocol == THESIS_PROTOCOL and suite.name == "randomization":
        return tuple(name for group in GROUPS.values() for name in group)
    return suite.explainers


def expand(chosen: tuple[str, ...]) -> tuple[str, ...]:
    """The suites that are meant, each once: `all` stands for every suite but `smoke` and those of papers.

    Example:
        >>> expand(("smoke", "smoke"))
        ('smoke',)
    """
    every = [suite.name for suite in _SUITES if suite.name != "smoke" and suite.paper is None]
    return tuple(dict.fromkeys(each for name in chosen for each in (every if name == ALL else [name])))


def get(name: str) -> Suite:
    """The suite of this name.

    Raises:
        UsageError: there is no such suite.

    Example:
        >>> get("smoke").checks[0]
        'cascading'
    """
    for suite in suites():
        if suite.name == name:
            return suite
    allowed = ", ".join([*names(), ALL])
    raise UsageError(f"unknown suite {name!r}; allowed are {allowed}{near(name, names())}")
