"""The books of relevance: what biases, stabilisers and silent neurons took, and which amounts are too small to divide by."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor


class Ledger:
    """Relevance that biases, stabilisers and silent neurons took, per image.

    Args:
        images: how many there are.

    Attributes:
        exact: whether nothing may be taken for granted about where relevance arrives; see `Epsilon`.
    """

    def __init__(self, images: int) -> None:
        self.images, self.exact = images, False
        self._rows: list[Tensor] = []

    def book(self, amounts: Callable[[], Tensor | None]) -> None:
        """Add amounts (a multiple of N, ...) of relevance, the rows of an image together.

        Args:
            amounts: gives them, or None for nothing; a function, so that what the books cost can be told from what the
                map costs.
        """
        found = amounts()
        if found is not None:
            if found.dim() > 2:
                # A row of one operation is summed in its own type, by halves: no copy is made in another type or order.
                kind = torch.promote_types(found.dtype, torch.float32)
                found = found.sum(tuple(range(1, found.dim())), dtype=kind)
            self._rows.append(found.reshape(self.images, -1))

    def clear(self) -> None:
        """Begin again."""
        self._rows = []

    @property
    def absorbed(self) -> Tensor:
        """What was booked, (N,) float64."""
        if not self._rows:
            return torch.zeros(self.images, dtype=torch.float64)
        return torch.cat(self._rows, 1).sum(1, dtype=torch.float64)


def least(amount: Tensor) -> float:
    """What an amount must exceed to be divided by."""
    return float(torch.finfo(amount.dtype).tiny) * 2**20


def some(amount: Tensor) -> Tensor:
    """Where an amount is large enough to divide by."""
    return amount > least(amount)


def everywhere(amount: Tensor, sign: int = 1) -> bool:
    """Whether an amount, or with `sign` -1 its negative, is so everywhere."""
    smallest = float(amount.amin()) if sign > 0 else -float(amount.amax())
    return smallest > least(amount)


def divisor(amount: Tensor) -> Tensor:
    """The amount, infinite where it is too small to divide by: a quotient by it is 0 there."""
    return F.threshold(amount, least(amount), torch.inf)


def silent(above: Tensor, amount: Tensor) -> Tensor | None:
    """What arrives at neurons where an amount is too small to divide by, elsewhere 0; None where there are none."""
    if everywhere(amount):
        return None
    heard = torch.ops.aten.threshold_backward(above, amount, least(amount))
    return torch.sub(above, heard, out=heard)


def per_unit(above: Tensor, amount: Tensor, ledger: Ledger) -> Tensor:
    """above / amount; where the amount is too small to divide by it is 0, and what arrives there is booked."""
    if everywhere(amount):
        return above / amount
    ledger.book(lambda: silent(above, amount))
    return above / divisor(amount)


def quotient(above: Tensor, by: Tensor, where: Tensor) -> Tensor:
    """above / by, and 0 elsewhere."""
    return torch.where(where, above / by, 0)
