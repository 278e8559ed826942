"""xGEM: descend on the distance to the image plus the cross-entropy to the probe class until the network says probe."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from models.base import Subject
from models.naming import UsageError

from ..base import Partial
from .adam import Adam
from .answer import answered, in_parts
from .cdeepex import morph_of
from .lagrangian import Found
from .morph import Morph
from .start import Anchor, Question, Start, scaled_logits, started

WEIGHTS = (0.1, 1.0, 10.0)
STEPS, RATE = 100, 0.05


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
    residual: bool = False,
    anchor: Anchor | None = None,
) -> Partial:
    """What to add and to take away for the image to become one of the probe class, (N, C, H, W).

    Minimises the mean squared difference to the image plus w times the cross-entropy to the probe class, with w = 0.1, then 1
    and 10 for images that do not get there.

    Args:
        goal: probability of the probe class at which a search ends, in (0, 1).
        residual: whether what the generator cannot draw is added to what it draws; the source does not.
        generator, probe, begin, anchor: see `cdeepex`.

    Returns:
        Counterfactual less the image the search began with (what the generator makes of the original, unless the residual
        is added), > 0 where something is added.

    Source: Joshi et al. 2018, with the preset of a later public comparison in mind; weights and steps are ours.
    """
    if not 0 < goal < 1:
        raise UsageError(f"goal is {goal:g}; a probability above 0 and below 1 is needed")
    made, start, scale = started(subject, Question(generator, probe, begin, seed), images, targets, anchor)
    logits = scaled_logits(subject, scale)

    def make(part: slice) -> Partial:
        begun = Start(start.probe[part], start.z[part], start.reconstruction[part])
        morph = morph_of(made, logits, images[part], targets[part], begun, third="none", residual=residual)
        found = _descended(morph, images[part], begun.z, goal)
        each = torch.arange(len(begun.probe), device=images.device)
        return answered(
            images[part], begun, morph, found,
            lambda reading: reading.probabilities[each, begun.probe] >= goal * (1 - 1e-3), residual,
        )  # fmt: skip

    return in_parts(images, make)


def _descended(morph: Morph, images: Tensor, z0: Tensor, goal: float) -> Found:
    """The first point of each image's descent at which the probe class is as likely as asked for, else the likeliest."""
    n = len(z0)
    found = Found(
        z0.clone(),
        torch.zeros(n, dtype=torch.bool, device=z0.device),
        torch.isfinite(morph.constraints(z0, torch.arange(n, device=z0.device))[0]).detach(),
        z0.new_full((n,), goal),
        torch.zeros(n, dtype=torch.int64, device=z0.device),
        z0.new_zeros(n),
    )
    rows = torch.nonzero(found.finite & (morph.source != morph.probe)).flatten()
    for weight in WEIGHTS:
        if len(rows):
            rows = _one_descent(morph, images, z0, goal, weight, rows, found)
    return found


def _one_descent(
    morph: Morph, images: Tensor, z0: Tensor, goal: float, weight: float, rows: Tensor, found: Found
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
            loss = error + weight * F.cross_entropy(logits, morph.probe[rows], reduction="none")
            (slope,) = torch.autograd.grad(loss.sum(), point)
        lacking = (goal - logits.detach().softmax(1).gather(1, morph.probe[rows][:, None])[:, 0]).clamp_min(0)
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
