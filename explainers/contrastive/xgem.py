"""xGEM: descend on the distance to the image plus the cross-entropy to the probe class until the network says probe."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor

from models.base import Subject
from models.naming import UsageError, near

from ..base import Partial
from ..trajectory import Trajectory
from .adam import Adam
from .answer import answered, in_parts
from .cdeepex import morph_of
from .lagrangian import Found
from .morph import Morph
from .requests import requested
from .start import Anchor, Question, Start, scaled_logits, started

WEIGHTS = (0.1, 1.0, 10.0)
STEPS, RATE = 100, 0.05
ASKS = ("goal", "tenths")
TOLERANCE = 0.02
"""How near a requested probability has to be met."""


def xgem(
    subject: Subject,
    images: Tensor,
    targets: Tensor,
    *,
    seed: int,
    generator: str = "vae",
    probe: str = "second",
    begin: str = "mean",
    goal: float = 0.5,
    ask: str = "goal",
    residual: bool = False,
    anchor: Anchor | None = None,
) -> Partial:
    """What to add and to take away for the image to become one of the probe class, (N, C, H, W).

    Minimises the mean squared difference to the image plus w times the cross-entropy to the probe class, with w = 0.1, then 1
    and 10 for images that do not get there.

    Args:
        goal: probability of the probe class at which a search ends, in (0, 1).
        ask: `goal`, at least that probability for every image; or `tenths`, for each image one probability of the probe
            class, the middle of a tenth that is drawn for it (see `requests.drawn_tenths`), to be met within 0.02. The
            cross-entropy is then that to this probability, and the trajectory has one frame with what was requested.
        residual: whether what the generator cannot draw is added to what it draws; the source does not.
        generator, probe, begin, anchor: see `cdeepex`.

    Returns:
        Counterfactual less the image the search began with (what the generator makes of the original, unless the residual
        is added), > 0 where something is added.

    Source: Joshi et al. 2018, with the preset of a later public comparison in mind; weights and steps are ours.
    """
    if not 0 < goal < 1:
        raise UsageError(f"goal is {goal:g}; a probability above 0 and below 1 is needed")
    if ask not in ASKS:
        raise UsageError(f"ask is {ask!r}; allowed are {', '.join(ASKS)}{near(ask, ASKS)}")
    wanted = requested(images) if ask == "tenths" else images.new_full((len(images),), goal)
    made, start, scale = started(subject, Question(generator, probe, begin, seed), images, targets, anchor)
    logits = scaled_logits(subject, scale)

    def make(part: slice) -> Partial:
        begun = Start(start.probe[part], start.z[part], start.reconstruction[part])
        morph = morph_of(made, logits, images[part], targets[part], begun, third="none", residual=residual)
        aim = Aim(wanted[part], exact=ask == "tenths")
        found = _descended(morph, images[part], begun.z, aim)
        each = torch.arange(len(begun.probe), device=images.device)
        answer = answered(
            images[part], begun, morph, found,
            lambda reading: aim.lacking(reading.probabilities[each, begun.probe], slack=1e-3) <= 0, residual,
        )  # fmt: skip
        return _with_request(answer, aim) if aim.exact else answer

    return in_parts(images, make)


def _with_request(made: Partial, aim: Aim) -> Partial:
    """The answer with its counterfactual as a series of one frame, for which one probability was requested."""
    way = made.trajectory
    if way is None or made.counterfactual is None:
        return made
    frame = Trajectory(made.counterfactual[:, None], way.probabilities[:, -1:], aim.wanted[:, None], "exaggeration")
    return replace(made, trajectory=frame)


@dataclass(frozen=True, eq=False)
class Aim:
    """What probability of the probe class a search is to reach.

    Attributes:
        wanted: (N,) in (0, 1).
        exact: whether it is to be met within TOLERANCE; else to be reached or passed.
    """

    wanted: Tensor
    exact: bool

    def lacking(self, probability: Tensor, rows: Tensor | None = None, slack: float = 0.0) -> Tensor:
        """How much is missing, (n,), 0 where the aim is met; `slack` is a share of what is wanted."""
        wanted = self.wanted if rows is None else self.wanted[rows]
        if self.exact:
            return ((probability - wanted).abs() - TOLERANCE - slack).clamp_min(0)
        return (wanted * (1 - slack) - probability).clamp_min(0)

    def cost(self, logits: Tensor, source: Tensor, probe: Tensor, rows: Tensor) -> Tensor:
        """Cross-entropy, (n,): to the probe class, or to the wanted probability of it and the rest for the source."""
        hard = F.cross_entropy(logits, probe, reduction="none")
        if not self.exact:
            return hard
        share = self.wanted[rows]
        return share * hard + (1 - share) * F.cross_entropy(logits, source, reduction="none")


def _descended(morph: Morph, images: Tensor, z0: Tensor, aim: Aim) -> Found:
    """The first point of each image's descent at which its aim is met, else the nearest to it."""
    n = len(z0)
    found = Found(
        z0.clone(),
        torch.zeros(n, dtype=torch.bool, device=z0.device),
        torch.isfinite(morph.constraints(z0, torch.arange(n, device=z0.device))[0]).detach(),
        aim.wanted.to(z0).clone(),
        torch.zeros(n, dtype=torch.int64, device=z0.device),
        z0.new_zeros(n),
    )
    rows = torch.nonzero(found.finite & (morph.source != morph.probe)).flatten()
    for weight in WEIGHTS:
        if len(rows):
            rows = _one_descent(morph, images, z0, aim, weight, rows, found)
    return found


def _one_descent(
    morph: Morph, images: Tensor, z0: Tensor, aim: Aim, weight: float, rows: Tensor, found: Found
) -> Tensor:
    """Descends for the rows named and notes in `found` what is reached; the rows that do not get there."""
    z, adam = z0[rows], Adam(z0[rows], RATE, RATE, STEPS)
    short = found.violation.new_full((len(z0),), float("inf"))
    for step in range(STEPS + 1):
        with torch.enable_grad():
            point = z.detach().requires_grad_(True)
            image = morph.image(point, rows)
            logits = morph.logits(image)
            error = (image - images[rows]).square().flatten(1).mean(1)
            loss = error + weight * aim.cost(logits, morph.source[rows], morph.probe[rows], rows)
            (slope,) = torch.autograd.grad(loss.sum(), point)
        lacking = aim.lacking(logits.detach().softmax(1).gather(1, morph.probe[rows][:, None])[:, 0], rows)
        nearer = lacking < short[rows]
        chosen = rows[nearer]
        short[chosen], found.z[chosen] = lacking[nearer], z[nearer]
        found.steps[rows] += 1
        rest = torch.nonzero(lacking > 0).flatten()
        found.feasible[rows] = lacking <= 0
        found.violation[rows] = short[rows]
        rows, z, slope = rows[rest], z[rest], slope[rest]
        if not len(rows) or step == STEPS:
            return rows
        adam.keep(rest)
        z = adam.moved(z, slope)
    return rows
