"""The checks of the suite `class-discrimination`; torch-free, so that tables of them are instant."""

from __future__ import annotations

from typing import Any

from .base import CheckInfo, Measure

SUITE = "class-discrimination"
BLOCK = 32

_CERTIFIED = Measure(
    "certified", "yes or no", "none", 0.0, 1.0, None,
    "1 where the model uses the evidence of the class and little else (of both classes for class-similarity).",
)  # fmt: skip

_LOCATED = (
    Measure("mass", "share", "higher", 0.0, 1.0, None,
            "Share of the positive relevance that lies on the evidence of the class; chance is its share of the pixels."),
    Measure("mass-abs", "share", "higher", 0.0, 1.0, None, "Share of the absolute relevance on the evidence."),
    Measure("mass-near", "share", "higher", 0.0, 1.0, None,
            "Share of the positive relevance on the evidence grown by two pixels: the border of a pattern counts too."),
    Measure("hit", "share", "higher", 0.0, 1.0, None,
            "1 if the largest value lies on the evidence, no tolerance; ties count by the share that lies there."),
    Measure("auprc", "area", "higher", 0.0, 1.0, None,
            "Area under the precision-recall curve of the evidence's pixels ranked by relevance."),
    Measure("abstains", "yes or no", "lower", 0.0, 1.0, 0.0,
            "1 for a map without positive relevance (at most a millionth of all): it says nothing for the class."),
    Measure("chance", "share", "none", 0.0, 1.0, None, "Share of the pixels that the evidence covers."),
    Measure("contrast", "share", "higher", -1.0, 1.0, 0.0,
            "Mass on the evidence of class a, of the map of a minus that of the map of b; 0 for maps blind to the class."),
    _CERTIFIED,
)  # fmt: skip

_LEAKS = (
    Measure("outside", "share", "lower", 0.0, 1.0, None,
            "Share of the absolute relevance outside the only pixels that the class's logit depends on."),
    Measure("exact", "yes or no", "higher", 0.0, 1.0, None, "1 if every value outside is exactly 0."),
)  # fmt: skip


def class_checks(similarity: tuple[Measure, ...]) -> tuple[CheckInfo, ...]:
    """What the checks declare.

    Args:
        similarity: the measures of similarity, the same as for randomisation.

    Example:
        >>> [info.name for info in class_checks(())][:2]
        ['class-similarity', 'class-similarity-top2']
    """

    def check(
        name: str, measures: tuple[Measure, ...], summary: str, truth: tuple[str, ...], draws: str = "once", **more: Any
    ) -> CheckInfo:
        # Version 2 of ceiling and floor: searches begin anew and are moved at random, as in the randomisation suite.
        version = 1 if draws == "once" else 2
        return CheckInfo(
            name, version, SUITE, measures, summary, family="discrimination", staged=False, draws=draws, block=BLOCK,
            truth=truth, **more,
        )  # fmt: skip

    # With separate heads every class sees other pixels, so that comparing their maps says nothing.
    any_classes = ("", "mosaic", "cue")
    return (
        check("class-similarity", (*similarity, _CERTIFIED),
              "similarity of the maps for two classes that the image is known to show", ("mosaic", "cue")),
        check("class-similarity-top2", similarity,
              "similarity of the maps for the most and the second most likely class", any_classes),
        check("class-similarity-least", similarity,
              "similarity of the maps for the most and the least likely class", any_classes),
        check("class-similarity-probes", similarity,
              "searches: similarity of the maps of one class towards two others, the second most likely and a random one",
              any_classes, searching=True),
        check("class-ceiling", similarity,
              "similarity of repeated runs for one class: 1 for a deterministic explainer; searches begin anew", any_classes,
              "ceiling"),
        check("class-floor", similarity,
              "similarity with maps of fully re-initialised models for the same class, or for searches with random latent moves "
              "of equal length", any_classes, "floor"),
        check("grid-localisation", _LOCATED,
              "relevance inside the class's cell of a mosaic; mosaics of your own images are made and certified",
              ("", "mosaic")),
        check("planted-cue", _LOCATED, "relevance on the planted pattern that decides the class", ("cue",)),
        check("exact-zero", _LEAKS,
              "relevance outside the class's cell where one head per cell makes any of it a fault", ("difull",)),
    )  # fmt: skip
