"""What the perturbation checks declare about themselves; torch-free."""

from __future__ import annotations

from bench.checks.base import CheckInfo, Measure

SUITE, PATCH_SUITE = "pixel-perturbation", "patch-perturbation"
PREFIX, PATCHES = "perturbation-", "-patches"
REPLACED_BY = {
    "uniform": "noise, uniform and independent for every pixel, mean of 5 draws",
    "mean": "the mean colour of the reference images",
    "blur": "the blurred image (Gaussian, 15x15)",
    "black": "black",
    "road": "means of their neighbours with a little noise (noisy linear imputation)",
    "counterfactual": "the pixels of the explainer's own counterfactual image",
}
"""Replacement -> in words."""

STEPS = 16
"""Steps from the whole image to nothing left; the same in every profile, so that larger runs reuse cells."""

DRAWS = 5
"""Noise fields of `uniform`."""

PATCH = 8
"""Patches to a side of the image, where patches are replaced."""

BLOCK = 32

VERSION = 2
"""2: maps that come with a counterfactual are ranked by their size."""

_UNITS = {"": ("probability", 1.0), "-logit": ("logit", None), "-accuracy": ("share", 1.0)}
_OF = {"": "softmax probability", "-logit": "logit", "-accuracy": "accuracy"}


def _scores() -> list[Measure]:
    found = []
    for suffix, (unit, bound) in _UNITS.items():
        low = None if bound is None else -bound
        found += [
            Measure(f"abpc{suffix}", unit, "higher", low, bound, 0.0,
                    f"Area between the LeRF and the MoRF curve of the target's {_OF[suffix]}."),
            Measure(f"aopc{suffix}", unit, "higher", low, bound, None,
                    f"Mean fall of the target's {_OF[suffix]} along the MoRF curve."),
        ]  # fmt: skip
    found += [
        Measure("insertion", "probability", "higher", 0.0, 1.0, None,
                "Area under the curve of the probability while the most relevant pixels come back first."),
        Measure("deletion", "probability", "lower", 0.0, 1.0, None,
                "Area under the curve of the probability while the most relevant pixels go first."),
    ]  # fmt: skip
    return found


def _random(measure: Measure) -> Measure:
    """The same score of a random order, paired per image."""
    words = measure.description[0].lower() + measure.description[1:]
    return Measure(
        f"{measure.name}-random", measure.unit, "none", measure.low, measure.high, measure.null,
        f"For random orders of the same image, the mean of two: {words}",
    )  # fmt: skip


def _curves() -> list[Measure]:
    found = []
    for name, words in (
        ("morf", "most relevant first"),
        ("lerf", "least relevant first"),
        ("random", "in random order"),
    ):
        found += [
            Measure(f"curve-{name}", "probability", "none", 0.0, 1.0, None,
                    f"Probability of the target after each step (column stage), {words}; mean of the block.", per="stage"),
            Measure(f"curve-{name}-sd", "probability", "none", 0.0, None, None,
                    "Standard deviation over the images of the block of the same.", per="stage"),
        ]  # fmt: skip
    return found


_COUNT = Measure(
    "curve-images", "images", "none", 0.0, None, None, "Images of the block behind its curves.", per="stage"
)
SCORES = tuple(measure.name for measure in _scores())
"""Names of the scores of an explainer; with `-random` those of the paired random order."""

MEASURES = (*_scores(), *map(_random, _scores()), *_curves(), _COUNT)


def parse(check: str) -> tuple[str, bool]:
    """The replacement of a check and whether patches are replaced.

    Example:
        >>> parse("perturbation-blur"), parse("perturbation-road-patches")
        (('blur', False), ('road', True))
    """
    return check.removeprefix(PREFIX).removesuffix(PATCHES), check.endswith(PATCHES)


def _check(replacement: str, patches: bool) -> CheckInfo:
    name = f"{PREFIX}{replacement}{PATCHES if patches else ''}"
    unit = "patches" if patches else "pixels"
    return CheckInfo(
        name, VERSION, PATCH_SUITE if patches else SUITE, MEASURES,
        f"{unit} in the order of relevance replaced by {REPLACED_BY[replacement]}",
        family="perturbation", staged=False, draws="once", block=BLOCK,
    )  # fmt: skip


PIXEL_CHECKS = tuple(_check(name, False) for name in REPLACED_BY)
PATCH_CHECKS = tuple(_check(name, True) for name in REPLACED_BY)
CHECKS = PIXEL_CHECKS + PATCH_CHECKS
