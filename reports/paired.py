"""Paired differences over images and seeds: their size, their interval, whether they are more than chance.

Two explainers on the same images and random models, or one explainer before and after a change, differ by one
number per image and seed.  Those of one image hang together and so do those of one seed, so the variance of the
mean is the sum of what the image means and what the seed means give.  The sum counts what is neither twice, so
the test is rather too careful than too bold.

A closed form is taken and no bootstrap, because a bootstrap of B samples knows no p below 1 / B, and among a
thousand comparisons that is never enough.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import special

Floats = npt.NDArray[np.float64]

EXACT = 1e-12
"""A spread below this share of the difference is rounding: the difference is the same everywhere."""


@dataclass(frozen=True)
class Difference:
    """The mean of paired differences.

    Attributes:
        mean: in the unit of the values, NaN without a pair.
        low, high: interval, NaN where there is none.
        p: probability of a mean as far from 0 if there were no difference, 1 where it cannot be said.
        pairs: number of image x seed pairs.
    """

    mean: float
    low: float
    high: float
    p: float
    pairs: int


def difference(values: Floats, *, level: float = 0.95) -> Difference:
    """Mean of paired differences with its interval and its p.

    Args:
        values: (images, seeds), second minus first; NaN where a partner is missing.
        level: coverage of the interval, between 0 and 1.

    Returns:
        The mean in the unit of the values, > 0 where the second is larger.

    Source:
        Variance of a mean over two crossed factors: Owen, The pigeonhole bootstrap, 2007; t laws weighted by the
        variances that they belong to: Cochran and Cox, Experimental designs, 1950.

    Example:
        >>> difference(np.array([[0.5, 0.7], [0.3, 0.5], [0.4, 0.6]])).pairs
        6
        >>> difference(np.zeros((4, 3))).p
        1.0
    """
    there = np.isfinite(values)
    pairs = int(there.sum())
    if not pairs:
        return Difference(float("nan"), float("nan"), float("nan"), 1.0, 0)
    mean = float(values[there].mean())
    parts = [_variance(values, there, axis) for axis in (0, 1)]
    known = [(variance, freedom) for variance, freedom in parts if freedom > 0]
    if not known:
        return Difference(mean, float("nan"), float("nan"), 1.0, pairs)
    total = sum(variance for variance, _ in known)
    error = float(np.sqrt(total))
    if error <= EXACT * abs(mean):
        return Difference(mean, mean, mean, 0.0 if mean else 1.0, pairs)
    # Effective degrees of freedom (Satterthwaite) are too bold here: with 3 seeds a p of 0.0005 comes up ten times
    # too often, which no adjustment for many comparisons survives.  The weighted t laws err on the safe side.
    shares = [(variance / total, freedom) for variance, freedom in known]
    reach = error * sum(share * float(special.stdtrit(freedom, 0.5 + level / 2)) for share, freedom in shares)
    p = sum(share * 2 * float(special.stdtr(freedom, -abs(mean) / error)) for share, freedom in shares)
    return Difference(mean, mean - reach, mean + reach, p, pairs)


def largest(values: Floats, *, level: float = 0.95) -> tuple[int, Difference]:
    """The stage whose paired difference is the largest, with a p that allows for the choice among the stages.

    Args:
        values: (stages, images, seeds), second minus first; NaN where a partner is missing.
        level: coverage of the interval of that stage alone.

    Returns:
        The position of the stage and its difference; `p` is the smallest p of all stages times their number (Bonferroni).
        Position -1 where no stage has a pair.
    """
    found = [difference(stage, level=level) for stage in values]
    sizes = [abs(each.mean) if each.pairs else -1.0 for each in found]
    if not sizes or max(sizes) < 0:
        return -1, Difference(float("nan"), float("nan"), float("nan"), 1.0, 0)
    place = int(np.argmax(sizes))
    tried = [each for each in found if each.pairs]
    p = min(1.0, min(each.p for each in tried) * len(tried))
    best = found[place]
    return place, Difference(best.mean, best.low, best.high, p, sum(each.pairs for each in tried))


def holm(p: Sequence[float]) -> Floats:
    """Adjust p values for their number; below 0.05 afterwards, the chance of even one false finding is at most 5%.

    Args:
        p: one value per comparison.

    Returns:
        Adjusted values in the same order, never smaller than the given ones.

    Source:
        Holm, A simple sequentially rejective multiple test procedure, 1979.

    Example:
        >>> holm([0.01, 0.04, 0.03]).tolist()
        [0.03, 0.06, 0.06]
    """
    given = np.asarray(p, dtype=np.float64)
    order = np.argsort(given, kind="stable")
    steps = given[order] * np.arange(len(given), 0, -1)
    adjusted = np.empty_like(given)
    adjusted[order] = np.minimum(np.maximum.accumulate(steps), 1.0)
    return adjusted


def pairwise(values: Floats) -> Floats:
    """Holm-adjusted p of the difference between every two explainers.

    Args:
        values: (explainers, images, seeds), measured on the same images and seeds; NaN where not available.

    Returns:
        (explainers, explainers), symmetric, 1 on the diagonal.
    """
    count = len(values)
    first, second = np.triu_indices(count, 1)
    found = [difference(values[j] - values[i]).p for i, j in zip(first, second, strict=True)]
    table = np.ones((count, count))
    table[first, second] = holm(found)
    table[second, first] = table[first, second]
    return table


def _variance(values: Floats, there: npt.NDArray[np.bool_], axis: int) -> tuple[float, int]:
    """Variance of the mean by the means along one axis, weighted by how many values each has, and its freedom."""
    counts = there.sum(axis=1 - axis)
    used = counts > 0
    groups = int(used.sum())
    if groups < 2:
        return 0.0, 0
    sums = np.where(there, values, 0.0).sum(axis=1 - axis)[used]
    weights = counts[used] / counts.sum()
    means = sums / counts[used]
    centre = float((weights * means).sum())
    spread = float((weights**2 * (means - centre) ** 2).sum())
    return spread * groups / (groups - 1), groups - 1
