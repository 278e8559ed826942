"""Adam with numbers of its own for every row, so that rows can leave and no row notices another."""

from __future__ import annotations

import torch
from torch import Tensor

FIRST, SECOND, TINY = 0.9, 0.999, 1e-8


class Adam:
    """The averages of gradients and of their squares.

    Args:
        like: (n, ...) what is moved.
        rate, last_rate: of the first and of the last step; the rate falls geometrically.
        steps: number of steps.

    Source: Kingma and Ba 2015, Algorithm 1.
    """

    def __init__(self, like: Tensor, rate: float, last_rate: float, steps: int) -> None:
        self.mean, self.square = torch.zeros_like(like), torch.zeros_like(like)
        self.rate, self.last_rate, self.steps, self.made = rate, last_rate, steps, 0

    def moved(self, z: Tensor, slope: Tensor) -> Tensor:
        """The rows after one step down the slope."""
        rate = self.rate * (self.last_rate / self.rate) ** (self.made / max(1, self.steps - 1))
        self.made += 1
        self.mean = FIRST * self.mean + (1 - FIRST) * slope
        self.square = SECOND * self.square + (1 - SECOND) * slope.square()
        mean, square = self.mean / (1 - FIRST**self.made), self.square / (1 - SECOND**self.made)
        return z - rate * mean / (square.sqrt() + TINY)

    def keep(self, rows: Tensor) -> None:
        """Forget the other rows."""
        self.mean, self.square = self.mean[rows], self.square[rows]
