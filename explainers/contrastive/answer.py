"""What a search gives back: counterfactual, signed map, morph and outcome, all seen again on the images as they are returned."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields

import torch
from torch import Tensor

from ..base import Partial
from ..passes import rows_for
from ..trajectory import Trajectory, joined
from .lagrangian import Found
from .morph import Morph, conditions
from .start import Start

FRAMES = 8


@dataclass(frozen=True, eq=False)
class Reading:
    """What the network says of the returned images.

    Attributes:
        probabilities: (N, K).
        h: (N,) log odds of the source against the probe class.
        third: (N,) the largest log odds of any third class against the less likely of the two; -inf where there is none.
    """

    probabilities: Tensor
    h: Tensor
    third: Tensor

    @classmethod
    def of(cls, logits: Tensor, source: Tensor, probe: Tensor) -> Reading:
        """From logits (N, K)."""
        h, g = conditions(logits, source, probe)
        return cls(logits.softmax(1), h, g.amax(1))


def answered(
    images: Tensor, begun: Start, morph: Morph, found: Found, reached: Callable[[Reading], Tensor], residual: bool
) -> Partial:
    """The answer of one batch.

    The map is the counterfactual less the image that the search began with, positive where something is added. That image
    is the original where the residual is kept; without it, what the generator makes of the original, so that errors of
    the generator are no part of the explanation.

    Args:
        reached: which images, read again after they were cut to [0, 1], meet the goal of the method, (N,) bool.
        residual: whether the morph adds what the generator could not draw.
    """
    first = images if residual else begun.reconstruction.clamp(0, 1)
    shape = (-1, 1, 1, 1)
    with torch.no_grad():
        moved = (found.z != begun.z).flatten(1).any(1)
        last = torch.where(moved.view(shape), morph.image(found.z).clamp(0, 1), first)
        logits = morph.logits(last)
        reading = Reading.of(logits, morph.source, morph.probe)
        broken = ~found.finite | ~torch.isfinite(reading.h)
        values = torch.where(moved.view(shape), last - first, 0.0)
        values = torch.where(broken.view(shape), float("nan"), values)
        way = _way(first, last, morph, begun.z, found.z)
    met = reached(reading)
    outcome = tuple(
        "failed" if bad else "trivial" if still and fits else "converged" if fits else "infeasible"
        for bad, still, fits in zip(broken.tolist(), (~moved).tolist(), met.tolist(), strict=True)
    )
    size = images.flatten(1).norm(dim=1).clamp_min(1e-12)
    extra = {
        "h": reading.h, "third": reading.third, "steps": found.steps,
        "pair": reading.probabilities.gather(1, torch.stack([morph.source, morph.probe], 1)).sum(1),
        "residual-share": (images - begun.reconstruction).flatten(1).norm(dim=1) / size,
        "latent-move": (found.z - begun.z).flatten(1).norm(dim=1),
    }  # fmt: skip
    return Partial(
        values, counterfactual=last, trajectory=way, failed=broken, extra=extra, reconstruction=begun.reconstruction,
        latents=(begun.z, found.z), source=morph.source, target=morph.probe, outcome=outcome,
    )  # fmt: skip


def in_parts(images: Tensor, make: Callable[[slice], Partial]) -> Partial:
    """The answers of slices of at most as many images as go through a network at once, as one."""
    rows = rows_for(images)
    return whole([make(slice(at, at + rows)) for at in range(0, len(images), rows)])


def whole(parts: Sequence[Partial]) -> Partial:
    """Several batches' answers as one."""
    if len(parts) == 1:
        return parts[0]
    made = {item.name: [getattr(part, item.name) for part in parts] for item in fields(Partial)}
    return Partial(**{name: _whole(values) for name, values in made.items()})


def _whole(values: list[object]) -> object:
    first = values[0]
    if isinstance(first, Tensor):
        return torch.cat(values)  # type: ignore[arg-type]
    if isinstance(first, Trajectory):
        return joined(values)  # type: ignore[arg-type]
    if isinstance(first, dict):
        return {key: _whole([each[key] for each in values]) for key in first}  # type: ignore[index]
    if isinstance(first, tuple) and isinstance(first[0], Tensor):
        return tuple(torch.cat(each) for each in zip(*values, strict=True))  # type: ignore[call-overload]
    return None if first is None else tuple(word for each in values for word in each)  # type: ignore[attr-defined]


def _way(first: Tensor, last: Tensor, morph: Morph, begun: Tensor, ended: Tensor) -> Trajectory:
    """FRAMES images, evenly spaced on the straight line between the two latent points."""
    shares = torch.linspace(0, 1, FRAMES).tolist()[1:-1]
    between = [morph.image(torch.lerp(begun, ended, share)).clamp(0, 1) for share in shares]
    images = [first, *between, last]
    return Trajectory(torch.stack(images, 1), torch.stack([morph.logits(each).softmax(1) for each in images], 1))
