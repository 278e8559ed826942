"""What the contrastive explainers were asked to reach, beside what they reach: estimates, intervals, met or not."""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from models.seeds import derive

from .checks.papers.shortcut import wilson

Floats = npt.NDArray[np.float64]
Joined = Mapping[tuple[str, str], Mapping[str, Floats]]
"""(network, explainer) -> values per image by name, all seeds together."""

RESAMPLES = 4000
ABOVE_ZERO = " and the interval above 0"
_COMPARED: dict[str, Callable[[float, float], bool]] = {"<=": operator.le, ">=": operator.ge}


@dataclass(frozen=True)
class Estimate:
    """A figure and its 95% interval; all three are NaN where there was nothing to look at."""

    value: float
    low: float
    high: float

    def words(self, digits: int = 2) -> str:
        """The value with its interval in brackets.

        Example:
            >>> Estimate(0.5, 0.25, 0.75).words()
            '0.50 [0.25, 0.75]'
        """
        if np.isnan(self.value):
            return "none"
        return f"{self.value:.{digits}f} [{self.low:.{digits}f}, {self.high:.{digits}f}]"


def estimate(values: Floats, statistic: Callable[..., Floats] = np.mean) -> Estimate:
    """A statistic with its 95% bootstrap interval.

    Args:
        values: (n,) per image; NaN is left out.
        statistic: takes `axis`, as numpy's mean and median do.
    """
    known = values[np.isfinite(values)]
    if not len(known):
        return Estimate(np.nan, np.nan, np.nan)
    draw = np.random.default_rng(derive(0, "bootstrap") % 2**32)
    drawn = statistic(known[draw.integers(len(known), size=(RESAMPLES, len(known)))], axis=1)
    low, high = np.quantile(drawn, [0.025, 0.975])
    return Estimate(float(statistic(known)), float(low), float(high))


def estimated_share(values: Floats) -> Estimate:
    """A share with its 95% interval: of a bootstrap, or Wilson's where all values are 0 or all are 1.

    Args:
        values: (n,) of 0 and 1; NaN is left out.

    Example:
        >>> estimated_share(np.zeros(64)).words()
        '0.00 [0.00, 0.06]'
    """
    known = values[np.isfinite(values)]
    if not len(known) or 0 < known.sum() < len(known):
        return estimate(values)
    return Estimate(float(known.mean()), *wilson(int(known.sum()), len(known)))


KINDS: dict[str, Callable[[Floats], Estimate]] = {
    "mean": estimate,
    "median": lambda values: estimate(values, np.median),
    "share": estimated_share,
}


def met(found: Estimate, wanted: str) -> str:
    """Whether a figure is what was asked for; it is said where its interval holds other values too.

    Args:
        wanted: `<= NUMBER` or `>= NUMBER`, also with ABOVE_ZERO behind it.

    Example:
        >>> met(Estimate(0.93, 0.87, 0.98), ">= 0.9"), met(Estimate(0.2, 0.1, 0.3), "<= 0.1")
        ('yes; not all of the interval', 'no')
    """
    if not wanted:
        return ""
    sign, limit = wanted.removesuffix(ABOVE_ZERO).split()
    holds = _COMPARED[sign]
    if not holds(found.value, float(limit)) or (wanted.endswith(ABOVE_ZERO) and not found.low > 0):
        return "no"
    return (
        "yes" if holds(found.low, float(limit)) and holds(found.high, float(limit)) else "yes; not all of the interval"
    )


@dataclass(frozen=True)
class Aim:
    """One thing that was asked of searches.

    Attributes:
        words: what it is.
        model, explainer: which search.
        key: of its values; `gap` is `third` of `xgem-eq` less that of the explainer, image by image.
        kind: one of KINDS.
        wanted: see `met`.
    """

    words: str
    model: str
    explainer: str
    key: str
    kind: str
    wanted: str


def _aims() -> tuple[Aim, ...]:
    lenet, found = "fmnist-lenet", []
    for name, least in (("cdeepex", 0.8), ("cdeepex[probe=random]", 0.4)):
        found += [
            Aim("difference of the two probabilities, median", lenet, name, "apart", "median", "<= 0.05"),
            Aim("searches that met their goal", lenet, name, "feasible", "share", ">= 0.9"),
            Aim("sum of the two probabilities, median", lenet, name, "pair", "median", f">= {least}"),
        ]
    for model, generator, most in (
        (lenet, "", 0.1), (lenet, "generator=ae,", 0.1), (lenet, "generator=gan,", 0.1), (lenet, "generator=wgan,", 0.1),
        ("fmnist-vgg", "", 0.15),
    ):  # fmt: skip
        name = f"cdeepex[{generator}probe=random]"
        found += [
            Aim("images with a likelier third class", model, name, "third", "share", f"<= {most}"),
            Aim("their share for `xgem-eq` less that share", model, name, "gap", "mean", ">= 0.4" + ABOVE_ZERO),
        ]
    printed = "cdeepex[probe=random,signs=printed]"
    return (
        *found,
        Aim("signs as printed: images with a likelier third class", lenet, printed, "third", "share", ">= 0.95"),
        Aim("signs as printed: sum of the two probabilities, median", lenet, printed, "pair", "median", "<= 0.1"),
        Aim("cut to [0, 1] during the search: images on the boundary", lenet, "cdeepex", "inside", "share", ">= 0.9"),
        Aim("cut after the search: images on the boundary", lenet, "cdeepex", "after", "share", "<= 0.5"),
    )


AIMS = _aims()
HEAD = """
What was asked of searches, with the figures of the tables above and below.

| what | explainer | network | images | figure | wanted | met |
| --- | --- | --- | ---: | ---: | ---: | --- |
"""


def asked(joined: Joined) -> str:
    """The table of all aims that were measured, as Markdown; empty where none was."""
    rows = []
    for aim in AIMS:
        values = _values(aim, joined)
        if values is None:
            continue
        found = KINDS[aim.kind](values)
        digits = 3 if aim.key == "apart" else 2
        rows.append(
            f"| {aim.words} | `{aim.explainer}` | {aim.model} | {len(values)} | {found.words(digits)} | {aim.wanted} | "
            f"{met(found, aim.wanted)} |\n"
        )
    return HEAD + "".join(rows) if rows else ""


def _values(aim: Aim, joined: Joined) -> Floats | None:
    """The values of an aim, None where they were not measured."""
    values = joined.get((aim.model, aim.explainer), {})
    if aim.key == "gap":
        return gap(joined, aim.model, aim.explainer)
    return values.get(aim.key)


def gap(joined: Joined, model: str, explainer: str) -> Floats | None:
    """`third` of `xgem-eq` less that of `cdeepex`, image by image (n,), None where one of them was not measured."""
    name = explainer.replace("cdeepex", "xgem-eq")
    with_them, without = (joined.get((model, each), {}).get("third") for each in (explainer, name))
    if name == explainer or with_them is None or without is None or len(with_them) != len(without):
        return None
    return without - with_them
