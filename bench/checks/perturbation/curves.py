"""Curves: what the model says while more and more of an image is replaced."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from explainers.passes import precision

from .replacements import Replacement

READOUTS = ("probability", "logit", "accuracy")
"""What is read of the target class: its softmax probability, its logit, and 1 where it is the predicted class."""


@dataclass(frozen=True)
class Scene:
    """The images of a block and the network that is asked about them.

    Attributes:
        module: takes images in [0, 1], gives logits.
        images: (N, C, H, W) in [0, 1].
        targets: (N,) int64, the same class all the way.
        steps: number of steps from the whole image to nothing left.
        rows: images per pass.
    """

    module: nn.Module
    images: Tensor
    targets: Tensor
    steps: int
    rows: int

    def read(self, images: Tensor, targets: Tensor) -> Tensor:
        """The readouts of one batch, (m, 3) float64, in the order of `READOUTS`."""
        with torch.no_grad():
            logits = self.module(images.to(precision(self.module))).double()
        own = targets[:, None]
        chosen = [logits.softmax(1).gather(1, own)[:, 0], logits.gather(1, own)[:, 0], logits.argmax(1) == targets]
        return torch.stack([values.double() for values in chosen], 1)


@dataclass(frozen=True)
class Ends:
    """Where all curves of a block start and end: the readouts at 0% and at 100%, (N, 3) each."""

    clean: Tensor
    empty: Tensor


def clean(scene: Scene) -> Tensor:
    """The readouts of the images themselves, (N, 3)."""
    parts = [
        scene.read(x, t) for x, t in zip(scene.images.split(scene.rows), scene.targets.split(scene.rows), strict=True)
    ]
    return torch.cat(parts) if parts else torch.zeros(0, len(READOUTS), dtype=torch.float64)


def ends(scene: Scene, chosen: Replacement, start: Tensor) -> Ends:
    """The ends of the curves under a replacement: at 100% no order is left, so the value is computed once.

    Args:
        start: as `clean` gives it.
    """
    total = torch.zeros_like(start)
    for draw in range(chosen.draws):
        for rows in torch.arange(len(scene.images), device=start.device).split(scene.rows):
            masks = torch.ones(len(rows), *scene.images.shape[2:], dtype=torch.bool, device=start.device)
            total[rows] += scene.read(chosen.copies(rows, masks, draw), scene.targets[rows])
    return Ends(start, total / chosen.draws)


def curve(scene: Scene, chosen: Replacement, when: Tensor, limits: Ends, members: Tensor | None = None) -> Tensor:
    """The readouts after every step, mean over the draws of the replacement, (n, steps + 1, 3) float64.

    Args:
        when: (n, H, W) int64, the step 1..steps at which each pixel is replaced, as `orders.turns` gives it.
        limits: the ends under this replacement.
        members: (n,) which images of the scene the orders belong to; None means all.

    Returns:
        From 0% (the clean values) to 100%. Steps that replace pixels by themselves cost no pass.
    """
    own = torch.arange(len(scene.images), device=when.device) if members is None else members
    total = torch.zeros(len(own), scene.steps + 1, len(READOUTS), dtype=torch.float64, device=when.device)
    for draw in range(chosen.draws):
        total += _one_draw(scene, chosen, when, limits, own, draw)
    total = total / chosen.draws
    total[:, 0], total[:, -1] = limits.clean[own], limits.empty[own]
    return total


def _one_draw(scene: Scene, chosen: Replacement, when: Tensor, limits: Ends, own: Tensor, draw: int) -> Tensor:
    moved = _moved(scene, chosen, when, own, draw)
    values = torch.zeros(len(own), scene.steps + 1, len(READOUTS), dtype=torch.float64, device=when.device)
    values[:, 0] = limits.clean[own]
    for jobs in moved[:, : scene.steps].nonzero().split(scene.rows):
        which, step = jobs[:, 0], jobs[:, 1]
        rows = own[which]
        copies = chosen.copies(rows, when[which] <= step[:, None, None], draw)
        values[which, step] = scene.read(copies, scene.targets[rows])
    steps = torch.arange(scene.steps + 1, device=when.device)
    last = torch.where(moved, steps, 0).cummax(1).values
    return values.gather(1, last[..., None].expand_as(values))


def _moved(scene: Scene, chosen: Replacement, when: Tensor, own: Tensor, draw: int) -> Tensor:
    """Where a step changes at least one pixel, (n, steps + 1) bool."""
    flat = when.flatten(1)
    if chosen.differs is not None:
        flat = torch.where(chosen.differs(draw)[own].flatten(1), flat, 0)
    moved = torch.zeros(len(own), scene.steps + 1, dtype=torch.bool, device=when.device)
    moved.scatter_(1, flat, True)
    moved[:, 0] = False
    return moved
