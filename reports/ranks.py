"""Ranks that say how sure they are: intervals, groups that cannot be told apart, agreement between measures.

Everything starts from resampled means (`reports.stats.resampled_means`): in every resample the explainers are ranked
anew, so a rank has an interval as a mean has one.
"""

from __future__ import annotations

from dataclasses import dataclass
from string import ascii_lowercase

import numpy as np
import numpy.typing as npt
from scipy import special

from reports import paired
from reports.stats import Interval

Floats = npt.NDArray[np.float64]

ALPHA = 0.05


@dataclass(frozen=True)
class Friedman:
    """Whether explainers differ at all, and how far mean ranks must lie apart to tell two of them apart.

    Attributes:
        mean_ranks: (explainers,), 1 = largest value.
        statistic: chi squared, corrected for ties.
        p: probability of such a statistic if all were equal.
        critical_difference: of mean ranks, at 5% over all pairs.
        blocks: number of blocks (images) used.
    """

    mean_ranks: Floats
    statistic: float
    p: float
    critical_difference: float
    blocks: int


def ranked(values: Floats) -> Floats:
    """Rank along the last axis: 1 = largest, equal values share their mean rank, NaN stays NaN.

    Args:
        values: (..., explainers).

    Example:
        >>> ranked(np.array([0.2, 0.9, 0.2])).tolist()
        [2.5, 1.0, 2.5]
    """
    from scipy.stats import rankdata

    found = rankdata(-values, axis=-1, nan_policy="omit")
    return np.asarray(np.where(np.isnan(values), np.nan, found), dtype=np.float64)


def rank_intervals(ranks: Floats, *, level: float = 0.95) -> list[Interval]:
    """Rank of each explainer with its bootstrap interval.

    Args:
        ranks: (1 + resamples, explainers), the sample itself in the first row.
        level: coverage of the intervals, between 0 and 1.

    Returns:
        One interval per explainer; the bounds are ranks that occurred.
    """
    tails = [(1 - level) / 2, (1 + level) / 2]
    found = []
    for column in ranks.T:
        drawn = column[1:][np.isfinite(column[1:])]
        if not np.isfinite(column[0]) or not drawn.size:
            found.append(Interval(float(column[0]), float("nan"), float("nan")))
            continue
        low = float(np.quantile(drawn, tails[0], method="lower"))
        high = float(np.quantile(drawn, tails[1], method="higher"))
        found.append(Interval(float(column[0]), min(low, float(column[0])), max(high, float(column[0]))))
    return found


def separable(scores: Floats) -> npt.NDArray[np.bool_]:
    """Which explainers can be told apart, Holm-adjusted over all pairs.

    Args:
        scores: (1 + resamples, explainers), resampled together, the sample itself in the first row.

    Returns:
        (explainers, explainers), symmetric, False on the diagonal.
    """
    count = scores.shape[1]
    first, second = np.triu_indices(count, 1)
    gaps = scores[:, first] - scores[:, second]
    gaps = np.where(np.isfinite(gaps), gaps, 0.0)
    spread = gaps[1:].std(axis=0) if len(gaps) > 1 else np.zeros(len(first))
    certain = spread <= paired.EXACT * np.abs(gaps[0])
    z = np.abs(gaps[0]) / np.where(certain, 1.0, spread)
    p = np.where(certain, np.where(gaps[0] == 0, 1.0, 0.0), 2 * special.ndtr(-z))
    apart = np.zeros((count, count), dtype=bool)
    apart[first, second] = paired.holm([float(each) for each in p]) < ALPHA
    return apart | apart.T


def tie_groups(estimates: Floats, apart: npt.NDArray[np.bool_]) -> list[str]:
    """Letters that explainers share when they cannot be told apart, `a` for the best group.

    Args:
        estimates: (explainers,), larger = better.
        apart: (explainers, explainers), whether two can be told apart.

    Returns:
        One text per explainer; who stands between two groups carries the letters of both.  Two share a letter exactly
        when they cannot be told apart.

    Source:
        Piepho, An algorithm for a letter-based representation of all-pairwise comparisons, 2004.

    Example:
        >>> tie_groups(np.array([3.0, 2.0, 1.0]), np.array([[0, 0, 1], [0, 0, 0], [1, 0, 0]], dtype=bool))
        ['a', 'ab', 'b']
    """
    order = [int(place) for place in np.argsort(-estimates, kind="stable")]
    groups = [frozenset(range(len(order)))] if order else []
    for first, second in zip(*np.nonzero(np.triu(apart[np.ix_(order, order)])), strict=True):
        split: list[frozenset[int]] = []
        for group in groups:
            split += [group - {second}, group - {first}] if {first, second} <= group else [group]
        # What lies within another group says nothing of its own.
        groups = [each for each in dict.fromkeys(split) if not any(each < other for other in split)]
    letters = [""] * len(order)
    for number, group in enumerate(sorted(groups, key=sorted)):
        for place in group:
            letters[order[place]] += _letter(number)
    return letters


def friedman(values: Floats) -> Friedman:
    """Friedman's test with the critical difference of Nemenyi.

    The blocks must be independent of each other: images, each averaged over its seeds.

    Args:
        values: (explainers, blocks), larger = better; blocks with a missing value are left out.

    Returns:
        Mean ranks, the test, and the critical difference; NaN with fewer than three explainers or two blocks.

    Source:
        Demšar, Statistical comparisons of classifiers over multiple data sets, 2006, equations 3 and 4.
    """
    from scipy.stats import friedmanchisquare, studentized_range

    whole = values[:, np.isfinite(values).all(axis=0)]
    count, blocks = whole.shape
    mean_ranks = ranked(whole.T).mean(axis=0) if blocks else np.full(count, np.nan)
    if count < 3 or blocks < 2:
        return Friedman(mean_ranks, float("nan"), float("nan"), float("nan"), blocks)
    # Without infinite degrees of freedom the studentised range is integrated for seconds.
    quantile = float(studentized_range.ppf(1 - ALPHA, count, np.inf)) / np.sqrt(2)
    critical = quantile * float(np.sqrt(count * (count + 1) / (6 * blocks)))
    if (whole == whole[0]).all():
        return Friedman(mean_ranks, 0.0, 1.0, critical, blocks)
    test = friedmanchisquare(*whole)
    return Friedman(mean_ranks, float(test.statistic), float(test.pvalue), critical, blocks)


def tau_b(first: Floats, second: Floats) -> Floats:
    """Kendall's tau-b of two rankings, for many pairs of rankings at once.

    Args:
        first, second: (..., explainers).

    Returns:
        (...), in [-1, 1], 1 = same order; NaN where one of them ranks nothing.

    Example:
        >>> float(tau_b(np.array([1.0, 2.0, 3.0]), np.array([1.0, 3.0, 2.0])).round(3))
        0.333
    """
    rows, columns = np.triu_indices(first.shape[-1], 1)
    signs = [np.sign(each[..., rows] - each[..., columns]) for each in (first, second)]
    agree = (signs[0] * signs[1]).sum(axis=-1)
    scale = np.sqrt(np.abs(signs[0]).sum(axis=-1) * np.abs(signs[1]).sum(axis=-1))
    return np.asarray(np.where(scale > 0, agree / np.where(scale > 0, scale, 1.0), np.nan), dtype=np.float64)


def agreement(first: Floats, second: Floats, *, level: float = 0.95) -> Interval:
    """Kendall's tau-b between the orders that two measures put explainers in, with a bootstrap interval.

    Args:
        first, second: (1 + resamples, explainers), larger = better, the samples themselves in the first row.
        level: coverage of the interval, between 0 and 1.

    Returns:
        tau-b in [-1, 1]; NaN with fewer than three explainers that both measures have.
    """
    both = np.isfinite(first[0]) & np.isfinite(second[0])
    if both.sum() < 3:
        return Interval(float("nan"), float("nan"), float("nan"))
    found = tau_b(first[:, both], second[:, both])
    drawn = found[1:][np.isfinite(found[1:])]
    if not drawn.size or not np.isfinite(found[0]):
        return Interval(float(found[0]), float("nan"), float("nan"))
    low, high = np.quantile(drawn, [(1 - level) / 2, (1 + level) / 2])
    return Interval(float(found[0]), min(float(low), float(found[0])), max(float(high), float(found[0])))


def _letter(number: int) -> str:
    """a, b, ..., z, (27), (28), ...: a group name that does not run into its neighbour."""
    return ascii_lowercase[number] if number < len(ascii_lowercase) else f"({number + 1})"
