"""Does a series of counterfactuals do what was asked? Requested against achieved probability, image by image."""

from __future__ import annotations

import torch
from torch import Tensor

from bench.checks.ranks import centred_ranks, unit


def agreement(requested: Tensor, achieved: Tensor) -> Tensor:
    """Spearman correlation of requested and achieved probability per image, (n,) in [-1, 1]; NaN where nothing moves.

    Args:
        requested, achieved: (n, T), T >= 2.

    Source: Singla et al. 2020, section 4.2, as a rank correlation per image; says nothing about the size of the moves.

    Example:
        >>> round(float(agreement(torch.tensor([[0.1, 0.5, 0.9]]), torch.tensor([[0.2, 0.3, 0.4]]))[0]), 6)
        1.0
    """
    one, moves = unit(centred_ranks(requested.double()))
    other, answers = unit(centred_ranks(achieved.double()))
    found = (one * other).sum(1)
    return torch.where(moves & answers, found, torch.full_like(found, float("nan")))


def error(requested: Tensor, achieved: Tensor) -> Tensor:
    """Mean absolute difference of requested and achieved probability per image, (n,) in [0, 1]; an answer of 0.5 gives 0.25."""
    return (requested - achieved).abs().double().mean(1)


def span(achieved: Tensor) -> Tensor:
    """Largest minus smallest achieved probability per image, (n,) in [0, 1]; higher means that the series moves."""
    return (achieved.amax(1) - achieved.amin(1)).double()


TENTHS = tuple(f"{5 + 10 * tenth:02d}" for tenth in range(10))
"""The middles of the tenths of a probability, in hundredths, as they stand in names of measures."""


def by_tenth(requested: Tensor, achieved: Tensor) -> dict[str, Tensor]:
    """Achieved probability where a probability of each tenth was requested, (n,) each; NaN where none of it was.

    Args:
        requested, achieved: (n, T); several requests of one tenth are averaged.

    Example:
        >>> found = by_tenth(torch.tensor([[0.05, 0.95]]), torch.tensor([[0.25, 0.75]]))
        >>> found["achieved-05"].tolist(), found["achieved-95"].tolist(), bool(found["achieved-15"].isnan().all())
        ([0.25], [0.75], True)
    """
    # a small allowance: 10 * 0.3 is a little less than 3 in floating point
    tenth = torch.floor(requested.double() * 10 + 1e-5).long().clamp(0, 9)
    found = {}
    for place, name in enumerate(TENTHS):
        there = tenth == place
        total = torch.where(there, achieved.double(), 0.0).sum(1)
        found[f"achieved-{name}"] = torch.where(there.any(1), total / there.sum(1).clamp_min(1), torch.nan)
    return found
