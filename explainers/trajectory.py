"""Images on the way to a counterfactual, with the class probabilities that the model gives them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

KINDS = ("morph", "exaggeration", "optimisation", "denoising")


@dataclass(frozen=True, eq=False)
class Trajectory:
    """A strip of images per explained image; the same number of frames for all of them.

    Attributes:
        images: (N, T, C, H, W) in [0, 1], first to last frame.
        probabilities: (N, T, K) of the model under test on exactly these images.
        requested: (N, T) probability of the target class that was asked for, None where nothing was.
        kind: `morph` (evenly spaced between image and counterfactual), `exaggeration` (a series over requested
            probabilities), `optimisation` (points of a search) or `denoising`.
    """

    images: Tensor
    probabilities: Tensor
    requested: Tensor | None = None
    kind: str = "morph"

    def __post_init__(self) -> None:
        n, frames = self.images.shape[:2]
        if self.images.dim() != 5 or self.probabilities.dim() != 3 or self.probabilities.shape[:2] != (n, frames):
            raise ValueError(
                f"a trajectory has images {tuple(self.images.shape)} and probabilities {tuple(self.probabilities.shape)}; "
                "(N, T, C, H, W) and (N, T, K) are needed"
            )
        if self.requested is not None and tuple(self.requested.shape) != (n, frames):
            raise ValueError(f"requested has shape {tuple(self.requested.shape)}; {(n, frames)} is needed")
        if self.kind not in KINDS:
            raise ValueError(f"kind is {self.kind!r}; allowed are {', '.join(KINDS)}")


def joined(parts: Sequence[Trajectory]) -> Trajectory:
    """The trajectories of several batches as one.

    Raises:
        ValueError: different numbers of frames, classes or kinds.
    """
    asked = [part.requested for part in parts]
    return Trajectory(
        torch.cat([part.images for part in parts]),
        torch.cat([part.probabilities for part in parts]),
        None if any(each is None for each in asked) else torch.cat([each for each in asked if each is not None]),
        parts[0].kind,
    )
