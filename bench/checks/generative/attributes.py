"""What else a counterfactual changes, where the truth about attributes is known: flips, signed changes, confounding."""

from __future__ import annotations

import torch
from torch import Tensor

from models.naming import UsageError


def flips(before: Tensor, after: Tensor) -> Tensor:
    """Which attributes change: (n, A) bool from two (n, A) decisions."""
    if before.shape != after.shape or before.dim() != 2:
        raise UsageError(
            f"attributes have shapes {tuple(before.shape)} and {tuple(after.shape)}; (n, A) twice is needed"
        )
    return before.bool() != after.bool()


def confounding(before: Tensor, after: Tensor) -> Tensor:
    """Whether an attribute not asked about changed, (n,) bool from (n,) decisions of an exact oracle; lower is better."""
    return before.bool() != after.bool()


def changed_attributes(before: Tensor, after: Tensor) -> Tensor:
    """Number of attributes whose decision differs, the target included; (n,) whole numbers (MNAC is its mean)."""
    return flips(before, after).sum(1).double()


def moves(before: Tensor, after: Tensor) -> Tensor:
    """How each attribute changes: 1 where it comes, -1 where it goes, 0 where it stays; (n, A) from two (n, A) decisions.

    Example:
        >>> moves(torch.tensor([[True, False, True]]), torch.tensor([[False, True, True]])).tolist()
        [[-1.0, 1.0, 0.0]]
    """
    return torch.where(flips(before, after), torch.where(after.bool(), 1.0, -1.0), 0.0).double()
