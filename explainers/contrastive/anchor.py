"""Explainers that ask a network with random layers the question that they asked the trained one."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import torch
from torch import Tensor

from models.base import Subject

from ..base import Explainer, Explanation, Partial, _function
from .baselines import decoded, length_of, random_directions
from .morph import clamped
from .start import Anchor, generator_for


@dataclass(frozen=True)
class Anchored(Explainer):
    """An explainer with the starting points, residuals, classes and spread of logits of a trained network.

    Attributes:
        trained: the network that they are taken from; on it the explainer gives the maps that it gives without an anchor.
        draw: see `start.Anchor`.
    """

    trained: Subject
    draw: int | None = None

    @cached_property
    def anchor(self) -> Anchor:
        """What is kept."""
        return Anchor(self.trained, self.draw)

    @property
    def searches(self) -> bool:
        """Whether it begins at a point that could be drawn again."""
        return "begin" in dict(self.resolved.params)

    def redrawn(self, draw: int) -> Anchored:
        """The same question asked from another beginning: what a search repeats of its own map on the same network."""
        return replace(self, draw=draw)

    def unrelated(self, found: Explanation, images: Tensor, seed: int) -> Explanation:
        """An explanation made of moves in random directions of the latent space that change the image as much.

        What the generator's own handwriting has in common with a map that asked the network. A latent move of equal length
        would change the image less, as a random direction leads nowhere in particular.

        Args:
            found: what this explainer gave for the images; must have latent points.
            images: (N, C, H, W) in [0, 1].
            seed: with the image it decides the direction.

        Returns:
            The explanation with other maps, zero where they were zero.
        """
        params = dict(self.resolved.params)
        made = generator_for(self.trained, str(params["generator"]), images)
        if found.latents is None or found.reconstruction is None:
            raise ValueError(f"{self.name} gave no latent points to move away from")
        z0, drawn = found.latents[0], found.reconstruction
        first, left = (images, images - drawn) if params["residual"] else (drawn.clamp(0, 1), 0.0)
        direction = random_directions(z0, images, seed, "unrelated")

        def moved(length: Tensor) -> Tensor:
            points = z0 + length.view(-1, *[1] * (z0.dim() - 1)) * direction
            return clamped(decoded(made, points, images) + left)

        wanted = found.attribution.nan_to_num(0.0).flatten(1).norm(dim=1)
        length = length_of(lambda tried: (moved(tried) - first).flatten(1).norm(dim=1), wanted)
        values = torch.where((length == 0).view(-1, 1, 1, 1), 0.0, moved(length) - first)
        return replace(found, attribution=values)

    def raw(self, subject: Subject, images: Tensor, targets: Tensor, seed: int) -> Tensor | Partial | Explanation:
        """Call the explainer's function with the anchor."""
        arguments = dict(self.resolved.params)
        made: Tensor | Partial | Explanation = _function(self.info)(
            subject, images, targets, seed=seed, anchor=self.anchor, **arguments
        )
        return made
