"""Health of a randomised model: is there still anything to explain?

A network that re-initialisation has killed gives zero or constant maps, which would count as "sensitive". Its stage is
marked instead of scored. ReLUs are found at the level of operations, so module, functional and in-place calls count
alike, and the model is not touched.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.overrides import TorchFunctionMode

from models.base import Subject

from .base import NON_FINITE, NOT_APPLICABLE, OK

RELATIVE_SPREAD = 1e-6
"""Logits that vary over images by less than this share of their size do not depend on the image."""

_RELUS = frozenset({F.relu, torch.relu, torch.relu_, Tensor.relu, Tensor.relu_})
_BOUNDED = frozenset(
    {torch.clamp_min, torch.clamp_min_, Tensor.clamp_min, Tensor.clamp_min_, F.relu6, F.hardtanh, F.hardtanh_}
)
"""Operations that are a ReLU (or a capped one) where their lower bound is 0."""


class _ReluWatch(TorchFunctionMode):
    """Notes for every ReLU call of a forward pass which of its units was above zero for some image so far."""

    def __init__(self) -> None:
        super().__init__()
        self.alive: list[Tensor] = []
        self._call = 0

    def rewind(self) -> None:
        """Before each forward pass: the n-th call of this pass is the n-th call of the previous one."""
        self._call = 0

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        result = func(*args, **(kwargs or {}))
        if func in _RELUS or (func in _BOUNDED and _bound(func, args, kwargs or {}) == 0):
            # What a ReLU gives is never below zero, so a sum is zero where all of it is; it takes a tenth of `any`.
            above = (result.sum(0) != 0).flatten()
            if self._call < len(self.alive):
                self.alive[self._call] |= above
            else:
                self.alive.append(above)
            self._call += 1
        return result


def _bound(func: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> float | None:
    """The lower bound of a clamping call, None where it is not a plain number."""
    if func is F.relu6:
        return 0.0
    bound = args[1] if len(args) > 1 else kwargs.get("min", kwargs.get("min_val"))
    return float(bound) if isinstance(bound, int | float) else None


@dataclass(frozen=True)
class Health:
    """What one model does on the images of a block.

    Attributes:
        dead_share: share of ReLU units (elements of a ReLU's output for one image) that are zero for every image, in
            [0, 1]; None for a model without ReLU.
        logit_sd: standard deviation of a logit over images, mean over classes, >= 0; None for a single image.
        accuracy: share of images whose most likely class is the label, in [0, 1].
        finite: whether all logits are finite.
        healthy: False if the logits do not depend on the image, are not finite, or a ReLU layer is dead as a whole.
        reason: why it is not healthy, or an empty string.
    """

    dead_share: float | None
    logit_sd: float | None
    accuracy: float
    finite: bool
    healthy: bool
    reason: str

    def values(self) -> list[tuple[str, float | None, str]]:
        """(measure, value, status) of the four rows."""
        spread = NON_FINITE if not self.finite else (NOT_APPLICABLE if self.logit_sd is None else OK)
        return [
            ("dead-relu-share", self.dead_share, NOT_APPLICABLE if self.dead_share is None else OK),
            ("logit-sd", self.logit_sd if spread == OK else None, spread),
            ("accuracy", self.accuracy if self.finite else None, OK if self.finite else NON_FINITE),
            ("healthy", float(self.healthy), OK),
        ]


def examine(subject: Subject, images: Tensor, labels: Tensor, batch_size: int | None = None) -> Health:
    """Measure the health of a model.

    Args:
        subject: the model, randomised or not; it is not changed.
        images: (N, C, H, W) in [0, 1], on the subject's device.
        labels: (N,) int64.
        batch_size: images per forward pass; all at once if None.

    Returns:
        The measurements and whether there is something left to explain.
    """
    step = batch_size or max(1, len(images))
    logits = []
    with torch.no_grad(), _ReluWatch() as watch:
        for start in range(0, len(images), step):
            watch.rewind()
            logits.append(subject.logits(images[start : start + step]))
    scores = torch.cat(logits).double()
    finite = bool(torch.isfinite(scores).all())
    spread = float(scores.std(0, correction=0).mean()) if len(scores) > 1 and finite else None
    units = sum(alive.numel() for alive in watch.alive)
    dead = units - sum(int(alive.sum()) for alive in watch.alive)
    reason = _reason(scores, finite, spread, watch.alive)
    return Health(
        dead_share=dead / units if units else None,
        logit_sd=spread,
        accuracy=float((scores.argmax(1) == labels.to(scores.device)).double().mean()),
        finite=finite,
        healthy=not reason,
        reason=reason,
    )


def _reason(scores: Tensor, finite: bool, spread: float | None, alive: list[Tensor]) -> str:
    if not finite:
        return "the logits are not finite"
    size = float(scores.abs().mean())
    if spread is not None and (math.isnan(spread) or spread <= RELATIVE_SPREAD * size):
        return "the logits are the same for every image"
    if any(not bool(units.any()) for units in alive):
        return "a whole ReLU layer is zero for every image"
    return ""
