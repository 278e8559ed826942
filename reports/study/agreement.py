"""What several people say about the same picture: Fleiss' kappa and the vote of the majority."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import stats

from reports.study.results import Result

Counts = npt.NDArray[np.int64]
RESAMPLES = 2000


@dataclass(frozen=True)
class Agreement:
    """How far a group agrees; NaN where it is not defined.

    Attributes:
        pictures: pictures that at least two people saw.
        kappa: Fleiss' kappa, 0 = as by chance, 1 = all agree.
        low, high: its 95% interval, pictures drawn again.
        right: pictures whose majority is right.
        tied: pictures without a majority; they are not counted as right.
        accuracy: share of right ones, 0 to 1.
        accuracy_low, accuracy_high: its 95% interval (Wilson).
    """

    pictures: int
    kappa: float
    low: float
    high: float
    right: int
    tied: int
    accuracy: float
    accuracy_low: float
    accuracy_high: float


def agreement(results: Iterable[Result], seed: int = 0) -> Agreement:
    """Agreement and majority votes of one group of participants.

    Args:
        results: the participants.
        seed: random numbers of the interval.
    """
    votes: dict[str, Counter[str]] = {}
    truths: dict[str, str] = {}
    for result in results:
        for answer in result.trials:
            votes.setdefault(answer.image, Counter())[answer.answer] += 1
            truths[answer.image] = answer.truth
    seen = [image for image in sorted(votes) if votes[image].total() > 1]
    names = sorted({name for image in seen for name in votes[image]})
    counts = np.array([[votes[image][name] for name in names] for image in seen], dtype=np.int64).reshape(
        len(seen), len(names)
    )
    right, tied = _majority(votes, truths, seen)
    if not seen:
        none = float("nan")
        return Agreement(0, none, none, none, 0, 0, none, none, none)
    low, high = _interval(counts, seed)
    share = stats.binomtest(right, len(seen)).proportion_ci(method="wilson")
    return Agreement(len(seen), fleiss_kappa(counts), low, high, right, tied, right / len(seen), share.low, share.high)


def fleiss_kappa(counts: Counts) -> float:
    """Fleiss' kappa: agreement beyond chance of several people about the same things.

    Args:
        counts: (things, names), how many people gave each thing each name; at least two people per thing, and not
            necessarily the same number of them (then each thing counts alike, each vote alike in the chance).

    Returns:
        Kappa, 1 = all agree, 0 = as by chance; NaN where only one name was ever given.

    Source:
        Fleiss, Measuring nominal scale agreement among many raters, 1971, equations 3 to 7.

    Example:
        >>> round(fleiss_kappa(np.array([[2, 0], [0, 2], [1, 1]])), 3)
        0.333
    """
    people = counts.sum(axis=1)
    if not len(counts) or (people < 2).any():
        return float("nan")
    agreed = ((counts * (counts - 1)).sum(axis=1) / (people * (people - 1))).mean()
    chance = ((counts.sum(axis=0) / people.sum()) ** 2).sum()
    return float((agreed - chance) / (1 - chance)) if chance < 1 else float("nan")


def words(kappa: float) -> str:
    """The usual words for a kappa.

    Source:
        Viera and Garrett, Understanding interobserver agreement, 2005.

    >>> words(0.3)
    'fair'
    """
    if kappa != kappa:
        return "undefined"
    if kappa <= 0:
        return "poor"
    limits = ((0.2, "slight"), (0.4, "fair"), (0.6, "moderate"), (0.8, "substantial"))
    return next((word for limit, word in limits if kappa <= limit), "almost perfect")


def _majority(votes: dict[str, Counter[str]], truths: dict[str, str], seen: list[str]) -> tuple[int, int]:
    """How many pictures the majority names rightly, and how many have no majority."""
    right = tied = 0
    for image in seen:
        best = max(votes[image].values())
        winners = [name for name, count in votes[image].items() if count == best]
        tied += len(winners) > 1
        right += winners == [truths[image]]
    return right, tied


def _interval(counts: Counts, seed: int) -> tuple[float, float]:
    """95% interval of kappa with the pictures drawn again; draws in which it is not defined say nothing."""
    random = np.random.default_rng(seed)
    drawn = [fleiss_kappa(counts[random.integers(0, len(counts), len(counts))]) for _ in range(RESAMPLES)]
    known = np.array([value for value in drawn if value == value])
    if len(counts) < 2 or known.size < RESAMPLES // 2:
        return float("nan"), float("nan")
    low, high = np.quantile(known, [0.025, 0.975])
    return float(low), float(high)
