"""Explainers that ask a network with random layers the question that they asked the trained one."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from torch import Tensor

from models.base import Subject

from ..base import Explainer, Explanation, Partial, _function
from .start import Anchor


@dataclass(frozen=True)
class Anchored(Explainer):
    """An explainer with the starting points, residuals, classes and spread of logits of a trained network.

    Attributes:
        trained: the network that they are taken from; on it the explainer gives the maps that it gives without an anchor.
    """

    trained: Subject

    @cached_property
    def anchor(self) -> Anchor:
        """What is kept."""
        return Anchor(self.trained)

    def raw(self, subject: Subject, images: Tensor, targets: Tensor, seed: int) -> Tensor | Partial | Explanation:
        """Call the explainer's function with the anchor."""
        arguments = dict(self.resolved.params)
        made: Tensor | Partial | Explanation = _function(self.info)(
            subject, images, targets, seed=seed, anchor=self.anchor, **arguments
        )
        return made
