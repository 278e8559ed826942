"""What the checks on counterfactuals declare about themselves; torch-free."""

from __future__ import annotations

from bench.checks.base import CheckInfo, Measure
from models.planted import ATTRIBUTES, CONFOUNDED, CONFOUNDER

SUITE = "generative"
FAMILY = "bench.checks.generative.run"
BLOCK = 32
SET = 1024
"""Images in one set; distances of sets need many, so a set is one cell."""


def _share(name: str, direction: str, words: str, null: float | None = None) -> Measure:
    return Measure(name, "share", direction, 0.0, 1.0, null, words)


_COUNTERFACTUAL = (
    _share("reached", "higher", "The counterfactual has the target class or stands on its boundary, and no third class is "
           "likelier than both."),
    _share("validity", "higher", "The model's most likely class is the target."),
    Measure("boundary-gap", "probability", "none", 0.0, 1.0, None,
            "|p_source - p_target|: 0 on the boundary, and also where both are 0."),
    Measure("pair-mass", "probability", "higher", 0.0, 1.0, None, "p_source + p_target."),
    _share("intrusion", "lower", "A third class is likelier than source and target both."),
    _share("intrusion-loose", "lower", "A third class is likelier than one of source and target."),
    Measure("proximity-l1", "intensity", "lower", 0.0, 1.0, 0.0, "Mean absolute change per value."),
    Measure("proximity-l2", "intensity", "lower", 0.0, 1.0, 0.0, "Root mean square change per value."),
    _share("changed-share", "lower", "Share of pixels that change by more than 0.1.", 0.0),
    Measure("concentration", "Gini index", "none", 0.0, 1.0, 0.0, "How unevenly the change is spread over the pixels."),
    Measure("exchange", "probability", "higher", -1.0, 1.0, 0.0,
            "Area of p_target minus area of p_source while pixels are exchanged, most changed first (COUT)."),
    _share("transfer-validity", "higher", "An independent network also finds the target most likely."),
    Measure("transfer-gain", "probability", "higher", -1.0, 1.0, 0.0,
            "How much likelier an independent network finds the target: about 0 for adversarial changes."),
    Measure("latent-distance", "latent units", "lower", 0.0, None, 0.0, "Length of the move in the latent space."),
    Measure("reconstruction-error", "intensity", "lower", 0.0, 1.0, 0.0,
            "Mean absolute difference between the image and what the generator makes of it."),
    _share("converged", "higher", "The search met its own goal."),
)  # fmt: skip

_REQUESTS = (
    Measure("agreement", "rank correlation", "higher", -1.0, 1.0, 0.0,
            "Spearman correlation of requested and achieved probability along one image's series."),
    Measure("error", "probability", "lower", 0.0, 1.0, None, "Mean |requested - achieved| along one image's series."),
    Measure("error-unchanged", "probability", "none", 0.0, 1.0, None,
            "The same error of an explainer that shows the image itself whatever is requested."),
    Measure("achieved-unchanged", "probability", "none", 0.0, 1.0, None,
            "Probability of the target that the model gives the image itself: what every request gets where nothing changes."),
    *(
        Measure(f"achieved-{5 + 10 * tenth:02d}", "probability", "none", 0.0, 1.0, None,
                f"Achieved probability where one between {tenth / 10:g} and {(tenth + 1) / 10:g} was requested.")
        for tenth in range(10)
    ),
    Measure("span", "probability", "higher", 0.0, 1.0, 0.0, "Largest minus smallest achieved probability."),
    Measure("agreement-independent", "rank correlation", "higher", -1.0, 1.0, 0.0,
            "As agreement, with the probability that an independent network gives."),
)  # fmt: skip

_CYCLES = (
    Measure("self-error", "intensity", "lower", 0.0, 1.0, None,
            "|x - I(x, own)|: the image where its own probability was requested, mean absolute difference."),
    Measure("cycle-error", "intensity", "lower", 0.0, 1.0, None,
            "|x - I(I(x, far end), own)|: to the far end of the series and back again."),
    Measure("away", "intensity", "none", 0.0, 1.0, None, "|x - I(x, far end)|: what the way back has to undo."),
    Measure("rounds-error", "intensity", "lower", 0.0, 1.0, None,
            "The image after ten rounds of requesting its own probability, mean absolute difference."),
)  # fmt: skip


def _whole(name: str, unit: str, direction: str, low: float | None, high: float | None, words: str) -> Measure:
    return Measure(name, unit, direction, low, high, None, words, per="stage")


_AMONG = _whole("closeness-among", "images", "none", 2.0, None,
                "Among how many images one's own has to be the nearest; by chance it is once in so many.")  # fmt: skip

_DISTRIBUTION = (
    _whole("set-size", "images", "none", 0.0, None, "Number of counterfactuals in the set."),
    _whole("fid", "squared feature units", "lower", 0.0, None,
           "Frechet distance to as many real images, features of an independent network."),
    _whole("fid-floor", "squared feature units", "none", 0.0, None, "The same between two disjoint sets of real images."),
    _whole("kid", "kernel units", "lower", None, None, "Kernel distance (unbiased) to as many real images."),
    _whole("kid-floor", "kernel units", "none", None, None, "The same between two disjoint sets of real images."),
    _whole("feature-size", "features", "none", 1.0, None, "Features of an image; a Frechet distance needs ten images for each."),
    *(
        _whole(f"{name}-{group}", unit, direction, low, None, f"{words} in which the model finds the second class {how}.")
        for group, how in (("present", "of two with 0.9 or more"), ("absent", "of two with 0.1 or less"))
        for name, unit, direction, low, words in (
            ("members", "images", "none", 0.0, "Number of the counterfactuals"),
            ("fid", "squared feature units", "lower", 0.0,
             "Frechet distance, in 20 dimensions, of 200 counterfactuals and real images"),
            ("fid-floor", "squared feature units", "none", 0.0, "Frechet distance, in 20 dimensions, of twice 200 real images"),
            ("kid", "kernel units", "lower", None, "Kernel distance of 200 counterfactuals and real images"),
            ("kid-floor", "kernel units", "none", None, "Kernel distance of twice 200 real images"),
        )
    ),
    _whole("group-features", "features", "none", 1.0, None, "Dimensions of the Frechet distances of the groups."),
    _AMONG,
    _whole("closeness", "share", "higher", 0.0, 1.0,
           "Share of images to which, of 200 counterfactuals, their own is the nearest in a common embedding."),
    _whole("closeness-equation", "share", "higher", 0.0, 1.0,
           "Share of counterfactuals to which, of 200 images, their own is the nearest."),
    _whole("verification", "share", "higher", 0.0, 1.0,
           "Share of counterfactuals that count as the same object at the equal-error threshold of the embedding."),
)  # fmt: skip

_ASKED = (
    Measure("request-error", "probability", "lower", 0.0, 1.0, None,
            "|requested - achieved| probability of the target of one image."),
    Measure("fid-part", "squared feature units", "lower", None, None, None,
            "One image's pseudo-value of the Frechet distance; their mean is the distance less its bias."),
    Measure("kid-part", "kernel units", "lower", None, None, None,
            "One image's pseudo-value of the kernel distance; their mean is the distance."),
    _share("closeness", "higher", "Of 200 counterfactuals, the image's own is the nearest to it in a common embedding."),
    _share("verification", "higher",
           "The counterfactual counts as the same object at the equal-error threshold of the embedding."),
    _whole("set-size", "images", "none", 0.0, None, "Number of counterfactuals in the set."),
    _whole("feature-size", "features", "none", 1.0, None, "Features of an image; a Frechet distance needs ten images for each."),
    _AMONG,
    *(
        _whole(f"{name}{suffix}", unit, direction, low, None, words)
        for name, unit, low, what in (
            ("fid", "squared feature units", 0.0, "Frechet distance to as many real images"),
            ("kid", "kernel units", None, "Kernel distance (unbiased) to as many real images"),
        )
        for suffix, direction, words in (
            ("", "lower", f"{what}, features of an independent network."),
            ("-floor", "none", f"{what} of as many other real images."),
            ("-reconstruction", "none", f"{what} of what the generator makes of the unchanged images."),
        )
    ),
)  # fmt: skip


def _attribute(name: str) -> str:
    """An attribute in words; the one that was asked about has values under that name only."""
    return (
        "the attribute that was asked about"
        if name == "asked"
        else f"the attribute `{name}`, where it was not asked about"
    )


_PLANTED = (
    *(_share(f"flip-{name}", "none", f"Whether the image has the attribute `{name}` changes.") for name in ATTRIBUTES),
    _share("flip-asked", "higher", "The attribute that was asked about changes, by an exact oracle.", 0.0),
    _share("flips-beside", "lower", "Share of the other attributes that change.", 0.0),
    Measure("changed-attributes", "attributes", "none", 0.0, float(len(ATTRIBUTES)), 0.0,
            "Number of attributes that change, the one that was asked about among them."),
    _share("confounding", "lower", f"The {CONFOUNDER} changes where {CONFOUNDED} was asked about.", 0.0),
    *(
        each
        for name in (*ATTRIBUTES, "asked")
        for each in (
            _share(f"had-{name}", "none", f"The image has {_attribute(name)} before anything is changed."),
            Measure(f"change-{name}", "attributes", "none", -1.0, 1.0, 0.0,
                    f"1 where {_attribute(name)} comes, -1 where it goes, 0 where it stays."),
        )
    ),
    _share("flips-reconstruction", "none", "Share of all attributes that the generator changes on its own.", 0.0),
)  # fmt: skip

CHECKS: tuple[CheckInfo, ...] = (
    CheckInfo("counterfactual", 1, SUITE, _COUNTERFACTUAL,
              "does another image reach what was asked, without a third class, and does an independent network agree?",
              family=FAMILY, staged=False, draws="once", block=BLOCK, truth=("",)),
    CheckInfo("requests", 2, SUITE, _REQUESTS,
              "does a series of counterfactuals reach the probabilities that were requested?",
              family=FAMILY, staged=False, draws="once", block=BLOCK, truth=("",)),
    CheckInfo("cycles", 1, SUITE, _CYCLES,
              "does a series lead back to the image, there and back again and round after round?",
              family=FAMILY, staged=False, draws="once", block=BLOCK, truth=("",)),
    CheckInfo("distribution", 3, SUITE, _DISTRIBUTION,
              "as a set, are the counterfactuals like real images, and each still the same object?",
              family=FAMILY, staged=False, draws="once", block=SET, truth=("",)),
    CheckInfo("spread", 2, SUITE, _ASKED,
              "the same where each image is asked for one probability, drawn evenly from tenths",
              family=FAMILY, staged=False, draws="once", block=SET, truth=("",)),
    CheckInfo("extreme", 2, SUITE, _ASKED,
              "the same at the far end, image by image, so that explainers can be compared with an interval",
              family=FAMILY, staged=False, draws="once", block=SET, truth=("",)),
    CheckInfo("attributes", 2, SUITE, _PLANTED,
              "does the attribute change that was asked about, and no other? (images with planted attributes)",
              family=FAMILY, staged=False, draws="once", block=BLOCK, truth=("",)),
)  # fmt: skip

EXPLAINERS = ("cdeepex", "xgem", "xgem[ask=tenths]", "xgem-eq", "progressive-exaggeration", "ae-vae")
BASELINES = (
    "counterfactual-identity",
    "counterfactual-pgd",
    "counterfactual-nearest",
    "counterfactual-random-latent",
)
