"""The latent point of an image for generators that have no encoder: gradient descent from several random points."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from models.generators import Generator
from models.seeds import generator as draw

from ..controls import image_key
from ..passes import rows_for
from .adam import Adam

STEPS, RESTARTS = 150, 3
RATE, LAST_RATE = 0.1, 0.01
CLASS_WEIGHT = 0.01


def inverted(made: Generator, logits: Callable[[Tensor], Tensor], images: Tensor, targets: Tensor, seed: int) -> Tensor:
    """The best of RESTARTS latent points after STEPS Adam steps, (N, D).

    Minimises the mean squared error of the drawn image plus CLASS_WEIGHT times its cross-entropy to the explained class.

    Args:
        logits: of images in [0, 1], differentiable.
        seed: with the image it decides the starting points.

    Source: Feghahati 2020, section 3.3 ("a bit of the misclassification cost"; its weight is not published).
    """
    size = max(1, rows_for(images) // RESTARTS)
    parts = zip(images.split(size), targets.split(size), strict=True)
    return torch.cat([_inverted(made, logits, x, t, seed) for x, t in parts])


def _inverted(
    made: Generator, logits: Callable[[Tensor], Tensor], images: Tensor, targets: Tensor, seed: int
) -> Tensor:
    drawn = [
        torch.randn(RESTARTS, made.latent, generator=draw(seed, "inversion", made.name, image_key(image)))
        for image in images
    ]
    z = torch.cat(drawn).to(images)
    wanted, classes = images.repeat_interleave(RESTARTS, 0), targets.repeat_interleave(RESTARTS)
    best, least = z.clone(), z.new_full((len(z),), float("inf"))
    adam = Adam(z, RATE, LAST_RATE, STEPS)
    for _ in range(STEPS + 1):
        with torch.enable_grad():
            point = z.detach().requires_grad_(True)
            image = made.decode(point)
            error = (image - wanted).square().flatten(1).mean(1)
            loss = error + CLASS_WEIGHT * F.cross_entropy(logits(image), classes, reduction="none")
            (slope,) = torch.autograd.grad(loss.sum(), point)
        lower = loss.detach() < least
        best[lower], least[lower] = z[lower], loss.detach()[lower]
        z = adam.moved(z, slope)
    winner = least.view(-1, RESTARTS).argmin(1)
    return best.view(-1, RESTARTS, made.latent)[torch.arange(len(images), device=z.device), winner]
