"""Counterfactuals that are no explanations: what a measure must not prefer, or what it is to be read against."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from models.base import Subject
from models.generators import Generator
from models.naming import UsageError
from models.seeds import generator as draw

from ..base import Partial
from ..controls import image_key
from ..passes import rows_for
from .answer import Reading
from .cdeepex import constrained
from .classes import probes_of
from .morph import clamped
from .start import Anchor, Question, generator_for, scaled_logits

CANDIDATES = 16
BISECTIONS = 16
LONGEST = 64.0


def identity(
    subject: Subject,
    images: Tensor,
    targets: Tensor,
    *,
    seed: int,
    probe: str = "second",
    anchor: Anchor | None = None,
) -> Partial:
    """The image itself: nothing is changed, so the map is zero everywhere and nothing is reached.

    It has the least distance, the best picture quality and no validity.
    """
    return _made(subject, images, targets, images.clone(), probe, seed, anchor)


def pgd(
    subject: Subject,
    images: Tensor,
    targets: Tensor,
    *,
    seed: int,
    probe: str = "second",
    radius: float = 0.2,
    step: float = 0.01,
    steps: int = 40,
    anchor: Anchor | None = None,
) -> Partial:
    """An adversarial image: steps along the sign of the gradient until the probe class is the likeliest.

    Args:
        probe: see `cdeepex`.
        radius: the largest change of any pixel, in units of the range [0, 1].
        step: change of a pixel per step.
        steps: at most so many.

    Source: Madry et al. 2018, section 2.1, targeted, from the image itself.
    """
    if radius <= 0 or step <= 0 or steps < 1:
        raise UsageError(f"counterfactual-pgd: radius is {radius:g}, step {step:g}, steps {steps}; all must be above 0")
    logits = scaled_logits(subject, 1.0)
    classes = _probes(subject, images, targets, probe, seed, anchor)
    parts = []
    for x, t in zip(images.split(rows_for(images)), classes.split(rows_for(images)), strict=True):
        at, rows = x.clone(), torch.arange(len(x), device=x.device)
        for _ in range(steps):
            with torch.enable_grad():
                pixels = at[rows].detach().requires_grad_(True)
                seen = logits(pixels)
                (slope,) = torch.autograd.grad(F.cross_entropy(seen, t[rows], reduction="sum"), pixels)
            left = torch.nonzero(seen.detach().argmax(1) != t[rows]).flatten()
            rows = rows[left]
            if not len(rows):
                break
            tried = at[rows] - step * slope[left].sign()
            at[rows] = torch.minimum(torch.maximum(tried, x[rows] - radius), x[rows] + radius).clamp(0, 1)
        parts.append(at)
    return _made(subject, images, targets, torch.cat(parts), probe, seed, anchor)


def nearest(
    subject: Subject,
    images: Tensor,
    targets: Tensor,
    *,
    seed: int,
    probe: str = "second",
    anchor: Anchor | None = None,
) -> Partial:
    """The nearest training image of the probe class, of those the nearest that the network also takes for it.

    Distance is Euclidean over pixels. Among the CANDIDATES nearest of the class by label the first that the network calls
    by that class is taken; where there is none, the nearest, which then reaches nothing.
    """
    classes = _probes(subject, images, targets, probe, seed, anchor)
    found = torch.empty_like(images)
    for number in classes.unique().tolist():
        rows = torch.nonzero(classes == number).flatten()
        members = np.flatnonzero(subject.reference.labels == number)
        if not len(members):
            raise UsageError(
                f"counterfactual-nearest: the training images {subject.reference.name} hold none of class {number}"
            )
        found[rows] = _nearest(subject, images[rows], members, number)
    return _made(subject, images, targets, found, probe, seed, anchor)


def random_latent(
    subject: Subject,
    images: Tensor,
    targets: Tensor,
    *,
    seed: int,
    generator: str = "vae",
    probe: str = "second",
    norm: str = "image",
    anchor: Anchor | None = None,
) -> Partial:
    """A move in a random direction of the latent space, as long as that of CDeepEx; it knows nothing of any class.

    Args:
        generator, probe: see `cdeepex`, whose counterfactual sets the length.
        norm: `image`: the picture changes as much (Euclidean length of the change); `latent`: the latent point moves as
            far, which usually changes the picture less, since a random direction leads nowhere in particular.
    """
    if norm not in ("image", "latent"):
        raise UsageError(f"norm is {norm!r}; allowed are image, latent")
    question = Question(generator, probe, "mean", seed)
    searched = constrained(subject, images, targets, question, "corrected", "fast", True, anchor)
    made = generator_for(subject, generator, images)
    z0, z = searched.latents or (images, images)
    drawn, wanted = searched.reconstruction, (searched.attribution.nan_to_num(0.0)).flatten(1).norm(dim=1)
    direction = random_directions(z0, images, seed, "random-latent")

    def moved(length: Tensor) -> Tensor:
        points = z0 + length.view(-1, *[1] * (z0.dim() - 1)) * direction
        return clamped(decoded(made, points, images) + images - drawn)

    length = (z - z0).flatten(1).norm(dim=1)
    if norm == "image":
        length = length_of(lambda tried: (moved(tried) - images).flatten(1).norm(dim=1), wanted)
    still = (length == 0).view(-1, 1, 1, 1)
    return _made(subject, images, targets, torch.where(still, images, moved(length)), probe, seed, anchor)


def random_directions(z0: Tensor, images: Tensor, seed: int, purpose: str) -> Tensor:
    """One direction of length 1 per latent point, decided by seed, purpose and image."""
    noise = [torch.randn(z0.shape[1:], generator=draw(seed, purpose, image_key(image))) for image in images]
    direction = torch.stack(noise).to(z0)
    return direction / direction.flatten(1).norm(dim=1).view(-1, *[1] * (z0.dim() - 1))


def decoded(made: Generator, points: Tensor, images: Tensor) -> Tensor:
    """What a generator makes of latent points, without a graph, as many at once as images go through a network."""
    with torch.no_grad():
        return torch.cat([made.decode(part) for part in points.split(rows_for(images))])


def length_of(change: Callable[[Tensor], Tensor], wanted: Tensor) -> Tensor:
    """Lengths of moves whose images change by `wanted`, by bisection; LONGEST where no move changes them so much."""
    low, high = torch.zeros_like(wanted), torch.ones_like(wanted)
    while bool((short := (change(high) < wanted) & (high < LONGEST)).any()):
        high = torch.where(short, 2 * high, high)
    for _ in range(BISECTIONS):
        middle = (low + high) / 2
        below = change(middle) < wanted
        low, high = torch.where(below, middle, low), torch.where(below, high, middle)
    return torch.where(wanted > 0, high, 0.0)


def _nearest(subject: Subject, images: Tensor, members: np.ndarray, number: int) -> Tensor:
    """The nearest member that the network takes for the class, one per image."""
    held = subject.reference.load(members.tolist()).to(images)
    apart = torch.cdist(images.flatten(1), held.flatten(1))
    order = apart.argsort(dim=1, stable=True)[:, :CANDIDATES]
    called = torch.stack([subject.predict(held[row]) == number for row in order])
    place = torch.where(called.any(1), called.long().argmax(1), 0)
    return held[order.gather(1, place[:, None])[:, 0]]


def _probes(subject: Subject, images: Tensor, targets: Tensor, probe: str, seed: int, anchor: Anchor | None) -> Tensor:
    """The probe classes, those of the trained network where there is an anchor."""
    asked = subject if anchor is None else anchor.trained
    logits = asked.predict_logits(images, rows_for(images)).float()
    return probes_of(asked, images, logits, targets, probe, seed)


def _made(
    subject: Subject,
    images: Tensor,
    targets: Tensor,
    found: Tensor,
    probe: str,
    seed: int,
    anchor: Anchor | None,
) -> Partial:
    """The counterfactuals as an answer: reached where the network says probe."""
    classes = _probes(subject, images, targets, probe, seed, anchor)
    with torch.no_grad():
        logits = torch.cat([scaled_logits(subject, 1.0)(part) for part in found.split(rows_for(images))])
    reading = Reading.of(logits, targets, classes)
    moved = (found != images).flatten(1).any(1)
    broken = ~torch.isfinite(logits).all(1)
    values = torch.where(broken.view(-1, 1, 1, 1), float("nan"), found - images)
    outcome = tuple(
        "failed" if bad else "trivial" if not far else "converged" if there else "infeasible"
        for bad, far, there in zip(broken.tolist(), moved.tolist(), (logits.argmax(1) == classes).tolist(), strict=True)
    )
    return Partial(
        values, counterfactual=found, failed=broken, source=targets, target=classes, outcome=outcome,
        extra={"h": reading.h, "third": reading.third},
    )  # fmt: skip
