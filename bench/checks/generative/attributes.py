"""What else a counterfactual changes, where the truth about attributes is known: flips, confounding, correlations."""

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


def flip_matrix(before: Tensor, after: Tensor, asked: Tensor) -> Tensor:
    """Share of the explanations toward attribute t that flip attribute s, (A, A) with t in rows; NaN for a t never asked.

    Args:
        before, after: (n, A) decisions on the images and on their counterfactuals.
        asked: (n,) the attribute that each was to change.

    Source: Singla et al. 2020, Fig. 7. A good explainer has 1 on the diagonal and 0 beside it.

    Example:
        >>> before, after = torch.zeros(2, 2), torch.tensor([[1.0, 0.0], [1.0, 1.0]])
        >>> flip_matrix(before, after, torch.tensor([0, 1])).tolist()
        [[1.0, 0.0], [1.0, 1.0]]
    """
    changed = flips(before, after).double()
    rows = [changed[asked == t].mean(0) for t in range(changed.shape[1])]
    return torch.stack(rows)


def diagonal_lead(matrix: Tensor) -> tuple[float, float]:
    """Mean of the diagonal and mean beside it of a flip matrix (A, A), rows never asked left out; both in [0, 1]."""
    on = matrix.diagonal()
    beside = matrix[~torch.eye(len(matrix), dtype=torch.bool, device=matrix.device)]
    return float(on[~on.isnan()].mean()), float(beside[~beside.isnan()].mean())


def confounding(before: Tensor, after: Tensor) -> Tensor:
    """Whether an attribute not asked about changed, (n,) bool from (n,) decisions of an exact oracle; lower is better."""
    return before.bool() != after.bool()


def changed_attributes(before: Tensor, after: Tensor) -> Tensor:
    """Number of attributes whose decision differs, the target included; (n,) whole numbers (MNAC is its mean)."""
    return flips(before, after).sum(1).double()


def correlation_difference(before: Tensor, after: Tensor, labels: Tensor, asked: int) -> float:
    """Mean difference between how attributes move together in counterfactuals and in the data, in [0, 2], 0 is best.

    Args:
        before, after: (n, A) decisions on the images and on their counterfactuals toward attribute `asked`.
        labels: (m, A) attributes in the data.
        asked: the attribute that was to change.

    Returns:
        mean over the other attributes a of |corr(change of a, change of asked) - corr(a, asked in the data)|; the
        correlation with something that never changes counts as 0.

    Source: Jeanneret et al. 2022, section 4.3.
    """
    change = after.double() - before.double()
    others = [a for a in range(before.shape[1]) if a != asked]
    gaps = [abs(_corr(change[:, a], change[:, asked]) - _corr(labels[:, a], labels[:, asked])) for a in others]
    return float(sum(gaps) / len(gaps)) if gaps else 0.0


def _corr(a: Tensor, b: Tensor) -> float:
    a, b = a.double() - a.double().mean(), b.double() - b.double().mean()
    size = float(a.norm() * b.norm())
    return float(a @ b) / size if size > 0 else 0.0
