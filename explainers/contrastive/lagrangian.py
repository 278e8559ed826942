"""Augmented Lagrangian search in a latent space, batched: every image has its own multipliers and stops on its own.

minimise ||z - z0||^2 subject to h(z) = 0 and g(z) <= 0, by Adam steps on

    ||z - z0||^2 + lambda h + c/2 h^2 + 1/(2c) sum(max(0, mu + c g)^2 - mu^2)

and, after each round of them, lambda <- lambda + c h, mu <- max(0, mu + c g).

Source: Bertsekas 1999, section 4.2, which Feghahati 2020 and its preprint refer to; they print neither the updates of the
multipliers nor when a search ends.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from .adam import Adam

Constraints = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]
"""(latent points (n, ...), rows (n,) of the images they belong to) -> h (n,), g (n, M); differentiable."""


@dataclass(frozen=True)
class Schedule:
    """How long and how hard to search.

    Attributes:
        outer, inner: rounds, and Adam steps in each.
        rate, last_rate: of Adam, falling geometrically from the one to the other.
        growth, progress: the penalty grows by `growth` where a round leaves more than `progress` of the violation.
        gate: and only while the violation exceeds it.
        ceiling: of the penalty.
        settled: a feasible image is done when a round moves it by at most this times 1 + ||z0||.
        steepest: gradients are shortened to this length.
    """

    outer: int = 15
    inner: int = 20
    rate: float = 0.1
    last_rate: float = 0.01
    growth: float = 2.0
    progress: float = 0.5
    gate: float = 0.05
    ceiling: float = 20.0
    settled: float = 0.01
    steepest: float = 10.0


FAST = Schedule()
THOROUGH = Schedule(outer=60, rate=0.05, last_rate=0.005)
"""Four times the steps of FAST, half as long: of eight schedules the one whose searches met their goal most often."""
PAPER = Schedule(outer=40, growth=1.01, progress=0.24, gate=0.0, ceiling=float("inf"))
"""The published growth and progress; the number of rounds and the inner solver are not published."""


@dataclass(frozen=True)
class Tolerance:
    """What counts as feasible: |h| <= equality and every g <= inequality."""

    equality: float = 0.1
    inequality: float = 1e-3

    def met(self, h: Tensor, g: Tensor) -> Tensor:
        """(N,) bool; NaN is never feasible."""
        return (h.abs() <= self.equality) & (g.amax(1) <= self.inequality)


class Multipliers:
    """lambda, mu and the penalty c of each image.

    Args:
        count, constraints: numbers of images and of inequalities.
        like: tensor whose type and device they take.

    Example:
        >>> m = Multipliers(1, 1, torch.zeros(1))
        >>> m.update(torch.tensor([2.0]), torch.tensor([[-3.0]]), FAST)
        >>> m.equality.tolist(), m.inequality.tolist(), m.penalty.tolist()
        ([2.0], [[0.0]], [2.0])
    """

    def __init__(self, count: int, constraints: int, like: Tensor) -> None:
        self.equality = like.new_zeros(count)
        self.inequality = like.new_zeros(count, constraints)
        self.penalty = like.new_ones(count)
        self.violation = like.new_zeros(count)

    def terms(self, h: Tensor, g: Tensor) -> Tensor:
        """What the constraints add to the objective of each image, (n,)."""
        c = self.penalty
        pushed = (self.inequality + c[:, None] * g).clamp_min(0).square() - self.inequality.square()
        return self.equality * h + c / 2 * h.square() + pushed.sum(1) / (2 * c)

    def update(self, h: Tensor, g: Tensor, schedule: Schedule) -> None:
        """After a round: move the multipliers; raise the penalty where the largest violation stays.

        The published rule looks at |h| alone and so never answers to a third class.
        """
        c = self.penalty
        self.equality = self.equality + c * h
        self.inequality = (self.inequality + c[:, None] * g).clamp_min(0)
        now = violation(h, g)
        grows = (now > schedule.gate) & (now > schedule.progress * self.violation)
        self.penalty = torch.where(grows, (c * schedule.growth).clamp_max(schedule.ceiling), c)
        self.violation = now

    def keep(self, rows: Tensor) -> None:
        """Forget the images that are done."""
        for name in ("equality", "inequality", "penalty", "violation"):
            setattr(self, name, getattr(self, name)[rows])


@dataclass(frozen=True, eq=False)
class Found:
    """Where the searches ended.

    Attributes:
        z: (N, ...) the feasible point nearest to z0; where there was none, the point of least violation.
        feasible: (N,) bool.
        finite: (N,) bool, whether the constraints were numbers at z0.
        violation: (N,) of z.
        steps: (N,) Adam steps made.
        multiplier: (N,) lambda at the end.
    """

    z: Tensor
    feasible: Tensor
    finite: Tensor
    violation: Tensor
    steps: Tensor
    multiplier: Tensor


def violation(h: Tensor, g: Tensor) -> Tensor:
    """The largest violation of each image's constraints, (n,), >= 0."""
    return torch.maximum(h.abs(), g.amax(1).clamp_min(0))


def lengths(difference: Tensor) -> Tensor:
    """Euclidean length of each row, (n,)."""
    return difference.flatten(1).norm(dim=1)


def search(constraints: Constraints, z0: Tensor, schedule: Schedule, tolerance: Tolerance) -> Found:
    """Nearest points to z0 that meet the constraints.

    Args:
        constraints: see Constraints; called with the rows still searched.
        z0: (N, ...) starting points, of any shape per image.

    Returns:
        The feasible iterate of least distance of each image; see Found.
    """
    run = _Run(constraints, z0, schedule, tolerance)
    for step in range(schedule.outer * schedule.inner + 1):
        if not run.step(step):
            break
    return run.found()


class _Run:
    """The state of `search`: long tensors have all N images, short ones those still searched, which are `rows`."""

    def __init__(self, constraints: Constraints, z0: Tensor, schedule: Schedule, tolerance: Tolerance) -> None:
        self.constraints, self.z0, self.schedule, self.tolerance = constraints, z0.detach(), schedule, tolerance
        self.last = schedule.outer * schedule.inner
        n, device = len(z0), z0.device
        self.best = self.z0.clone()
        self.score, self.least = z0.new_full((n,), float("inf")), z0.new_full((n,), float("inf"))
        self.feasible, self.finite = torch.zeros(2, n, dtype=torch.bool, device=device)
        self.steps = torch.zeros(n, dtype=torch.int64, device=device)
        self.multiplier = z0.new_zeros(n)
        self.rows = torch.arange(n, device=device)
        self.z = self.round = self.z0.clone()
        self.adam = Adam(self.z, schedule.rate, schedule.last_rate, self.last)
        self.multipliers: Multipliers | None = None

    def step(self, step: int) -> bool:
        """Look at the current points and move those that are not done; whether any is left."""
        with torch.enable_grad():
            z = self.z.detach().requires_grad_(True)
            h, g = self.constraints(z, self.rows)
            multipliers = self.multipliers = self.multipliers or Multipliers(*g.shape, h.detach())
            done = self._looked_at(h.detach(), g.detach(), step, multipliers)
            if bool(done.all()) or step == self.last:
                return False
            loss = (z - self.z0[self.rows]).square().flatten(1).sum(1) + multipliers.terms(h, g)
            (slope,) = torch.autograd.grad(loss.sum(), z)
        shape = (-1, *[1] * (slope.dim() - 1))
        shorter = (self.schedule.steepest / lengths(slope).clamp_min(1e-12)).clamp_max(1.0)
        self.z = self.adam.moved(self.z, slope * shorter.view(shape))
        if bool(done.any()):
            self._keep(torch.nonzero(~done).flatten())
        return True

    def found(self) -> Found:
        """What came of it."""
        return Found(self.best, self.feasible, self.finite, self.least, self.steps, self.multiplier)

    def _looked_at(self, h: Tensor, g: Tensor, step: int, multipliers: Multipliers) -> Tensor:
        """Keep what is better than before, end the round where one ends; (n,) bool which images are done."""
        rows, far, off = self.rows, lengths(self.z - self.z0[self.rows]), violation(h, g)
        fits = self.tolerance.met(h, g)
        better = torch.where(fits, far < self.score[rows], ~self.feasible[rows] & (off < self.least[rows]))
        chosen = rows[better]
        self.best[chosen], self.least[chosen] = self.z[better], off[better]
        self.score[rows[fits]] = torch.minimum(self.score[rows[fits]], far[fits])
        self.feasible[rows] |= fits
        self.steps[rows] = step
        if step == 0:
            self.finite[:] = torch.isfinite(h) & ~torch.isnan(g).any(1)
            return fits | ~self.finite
        if step % self.schedule.inner:
            return torch.zeros_like(fits)
        multipliers.update(h, g, self.schedule)
        self.multiplier[rows] = multipliers.equality
        still = lengths(self.z - self.round) <= self.schedule.settled * (1 + lengths(self.z0[rows]))
        self.round = self.z
        return fits & still

    def _keep(self, rest: Tensor) -> None:
        if self.multipliers is not None:
            self.multipliers.keep(rest)
        self.adam.keep(rest)
        for name in ("rows", "z", "round"):
            setattr(self, name, getattr(self, name)[rest])
