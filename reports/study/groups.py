"""Groups of participants compared: Welch's test, Hedges' g, how many people a difference needs."""

from __future__ import annotations

import math
from dataclasses import dataclass

from scipy import optimize, stats

LARGEST = 1_000_000
"""Participants per group beyond which a difference counts as not to be found."""


@dataclass(frozen=True)
class Group:
    """Right answers of one group.

    Attributes:
        name: the group.
        n: participants.
        mean: mean number of right answers.
        sd: its standard deviation among participants (n - 1).
    """

    name: str
    n: int
    mean: float
    sd: float


@dataclass(frozen=True)
class Comparison:
    """Whether one group does better than another; NaN where it is not defined.

    Attributes:
        better: group that is claimed to do better.
        worse: the other one.
        difference: mean of `better` minus mean of `worse`, in right answers.
        low, high: its two-sided 95% interval.
        t, df: Welch's statistic and its degrees of freedom.
        p: one-sided, of a difference above 0.
        g: Hedges' g, in standard deviations.
        g_low, g_high: its two-sided 95% interval.
        needed: participants per group for 80% power at one-sided 0.05 if the difference seen is the true one.
    """

    better: str
    worse: str
    difference: float
    low: float
    high: float
    t: float
    df: float
    p: float
    g: float
    g_low: float
    g_high: float
    needed: int | None


def compare(better: Group, worse: Group) -> Comparison:
    """Compare two groups by a one-sided Welch test.

    Args:
        better: group that is claimed to do better.
        worse: the other one.

    Returns:
        The comparison, higher difference and g = `better` does better.

    Source:
        Welch, The generalization of "Student's" problem, 1947; Hedges and Olkin, Statistical Methods for Meta-Analysis,
        1985, chapter 5 (g, its correction and its large-sample variance).

    Example:
        >>> found = compare(Group("gradcam", 15, 10.333333, 1.759329), Group("control", 15, 9.714286, 1.637473))
        >>> round(found.p, 4)
        0.1635
    """
    difference = better.mean - worse.mean
    none = math.nan
    if min(better.n, worse.n) < 2 or not better.sd + worse.sd > 0:
        return Comparison(better.name, worse.name, difference, none, none, none, none, none, none, none, none, None)
    one, two = better.sd**2 / better.n, worse.sd**2 / worse.n
    error = math.sqrt(one + two)
    # Of means, deviations and numbers scipy gives t and p, but not the degrees of freedom that it takes them at.
    df = (one + two) ** 2 / (one**2 / (better.n - 1) + two**2 / (worse.n - 1))
    welch = stats.ttest_ind_from_stats(
        better.mean, better.sd, better.n, worse.mean, worse.sd, worse.n, equal_var=False, alternative="greater"
    )
    low, high = stats.t.interval(0.95, df, loc=difference, scale=error)
    g, g_error = hedges(better, worse)
    reach = float(stats.norm.ppf(0.975)) * g_error
    needed = participants(difference, better.sd, worse.sd) if difference > 0 else None
    return Comparison(
        better.name, worse.name, difference, float(low), float(high), float(welch.statistic), df, float(welch.pvalue),
        g, g - reach, g + reach, needed,
    )  # fmt: skip


def hedges(better: Group, worse: Group) -> tuple[float, float]:
    """Hedges' g and its standard error, in pooled standard deviations."""
    df = better.n + worse.n - 2
    pooled = math.sqrt(((better.n - 1) * better.sd**2 + (worse.n - 1) * worse.sd**2) / df)
    correction = math.exp(math.lgamma(df / 2) - math.lgamma((df - 1) / 2)) / math.sqrt(df / 2) if df > 1 else math.nan
    g = correction * (better.mean - worse.mean) / pooled
    return g, math.sqrt((better.n + worse.n) / (better.n * worse.n) + g**2 / (2 * (better.n + worse.n)))


def power(n: float, difference: float, sd: float, other: float, alpha: float = 0.05) -> float:
    """Chance of a one-sided Welch test to find a difference.

    Args:
        n: participants per group, at least 2.
        difference: true difference of the means.
        sd: standard deviation in one group.
        other: that in the other.
        alpha: one-sided level.

    Returns:
        Power, 0 to 1, from the noncentral t distribution.
    """
    variance = (sd**2 + other**2) / n
    df = (n - 1) * (sd**2 + other**2) ** 2 / (sd**4 + other**4)
    found = float(stats.nct.sf(stats.t.isf(alpha, df), df, difference / math.sqrt(variance)))
    # The series of scipy gives up where the distribution lies far beyond the limit.
    return (
        found
        if math.isfinite(found)
        else float(stats.norm.sf(stats.norm.isf(alpha) - difference / math.sqrt(variance)))
    )


def participants(difference: float, sd: float, other: float, alpha: float = 0.05, wanted: float = 0.8) -> int | None:
    """Participants per group that a one-sided Welch test needs.

    Args:
        difference: true difference of the means, above 0.
        sd: standard deviation in one group.
        other: that in the other.
        alpha: one-sided level.
        wanted: power, 0 to 1.

    Returns:
        The smallest number, None where a million is not enough.

    Example:
        >>> participants(0.5, 1.0, 1.0)
        51
    """
    if difference <= 0 or power(LARGEST, difference, sd, other, alpha) < wanted:
        return None
    if power(2, difference, sd, other, alpha) >= wanted:
        return 2
    root = optimize.brentq(lambda n: power(n, difference, sd, other, alpha) - wanted, 2, LARGEST, xtol=1e-6)
    return math.ceil(root - 1e-6)


def enough(difference: float, better: Group, worse: Group) -> int | None:
    """Participants per group that find a difference given beforehand, at 80% power and one-sided 0.05.

    Args:
        difference: true difference of the means, in right answers, above 0.
        better: group that is claimed to do better; its deviation counts.
        worse: the other one; its deviation counts.

    Returns:
        The smallest number; None where a million is not enough, or a group has no spread that is known.

    Example:
        >>> enough(1.0, Group("gradcam", 15, 10.3, 2.0), Group("control", 15, 9.7, 2.0))
        51
    """
    if min(better.n, worse.n) < 2 or not better.sd + worse.sd > 0:
        return None
    return participants(difference, better.sd, worse.sd)


def against_chance(group: Group, chance: float) -> tuple[float, float, float]:
    """The mean's two-sided 95% interval, and the two-sided p of a t test against guessing.

    Args:
        group: the group.
        chance: right answers that guessing gives on average.

    Returns:
        Low, high, p; NaN where not defined.
    """
    if group.n < 2 or not group.sd > 0:
        return math.nan, math.nan, math.nan
    error = group.sd / math.sqrt(group.n)
    half = float(stats.t.ppf(0.975, group.n - 1)) * error
    return group.mean - half, group.mean + half, 2 * float(stats.t.sf(abs(group.mean - chance) / error, group.n - 1))


def possible_sizes(group: Group, decimals: int, reach: int = 3) -> list[int]:
    """Numbers of participants near the stated one whose whole-number scores can have the stated mean.

    Args:
        group: the group as reported.
        decimals: decimals that the mean was reported with.
        reach: how far from the stated number to look.

    Returns:
        The numbers, nearest first; the stated one is among them if the report is consistent.

    Source:
        Brown and Heathers, The GRIM test, 2017.

    Example:
        >>> possible_sizes(Group("control", 15, 9.714286, 1.637), 6)
        [14]
    """
    near = sorted(range(max(1, group.n - reach), group.n + reach + 1), key=lambda n: abs(n - group.n))
    unit = 0.5000001 * 10.0**-decimals
    return [n for n in near if abs(round(group.mean * n) / n - group.mean) <= unit]
