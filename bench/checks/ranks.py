"""Ranks with ties and their correlation, row by row."""

from __future__ import annotations

import torch
from torch import Tensor


def _order(values: Tensor) -> Tensor:
    """Indices that sort each row; ties in any order."""
    if values.device.type == "cpu":
        # numpy sorts rows with vector instructions, several times faster than torch on a CPU.
        return torch.from_numpy(values.numpy().argsort(axis=1))
    return values.argsort(dim=1)


def centred_ranks(values: Tensor) -> Tensor:
    """Average ranks of each row, less their mean.

    Args:
        values: (N, P), finite.

    Returns:
        (N, P) float64: rank 1 is the smallest, ties share the mean of their ranks, then (P + 1) / 2 is taken off.

    Example:
        >>> centred_ranks(torch.tensor([[3.0, 1.0, 3.0]]))
        tensor([[ 0.5000, -1.0000,  0.5000]], dtype=torch.float64)
    """
    count = values.shape[1]
    order = _order(values)
    ordered = values.gather(1, order)
    ranks = torch.arange(count, device=values.device, dtype=torch.float64) - (count - 1) / 2
    ranks = ranks.expand(values.shape)
    tied = ordered[:, 1:] == ordered[:, :-1]
    rows = tied.any(1).nonzero().flatten()
    if len(rows):
        ranks = ranks.clone()
        ranks[rows] = _shared(ranks[0], tied[rows])
    return torch.empty_like(values, dtype=torch.float64).scatter_(1, order, ranks)


def _shared(ranks: Tensor, tied: Tensor) -> Tensor:
    """Mean of the first and last rank of each run of ties; `tied[k]` says that place k + 1 equals place k."""
    edge = torch.zeros_like(tied[:, :1])
    low, high = ranks[0], ranks[-1]
    first = torch.where(torch.cat([edge, tied], 1), low, ranks).cummax(1).values
    last = torch.where(torch.cat([tied, edge], 1), high, ranks).flip(1).cummin(1).values.flip(1)
    return (first + last) / 2


def unit(centred: Tensor) -> tuple[Tensor, Tensor]:
    """Rows at length 1, and which rows (N,) have a length: the others stay zero.

    Args:
        centred: (N, P) float64; a row of zeros (no variation) has no direction.
    """
    length = torch.linalg.vector_norm(centred, dim=1)
    has = length > 0
    return centred / torch.where(has, length, torch.ones_like(length)).unsqueeze(1), has
