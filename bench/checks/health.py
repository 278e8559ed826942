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

    def rewound(self) -> _ReluWatch:
        """Itself, for another forward pass: the n-th call of this pass is the n-th call of the previous one."""
        self._call = 0
        return self

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        result = func(*args, **(kwargs or {}))
        if func in _RELUS or (func in _BOUNDED and _bound(func, args, kwargs or {}) == 0):
            # Unseen by modes around this one, which keep results of passes.
            with torch._C.DisableTorchFunction():
                above = _above_zero(result)
            if self._call < len(self.alive):
                self.alive[self._call] |= above
            else:
                self.alive.append(above)
            self._call += 1
        return result


def _above_zero(result: Tensor) -> Tensor:
    """Which units are above zero for some image, (units,) bool, of what a ReLU gives, (n, ...).

    It is never below zero, so a sum is zero where all of it is; that takes a tenth of `any`, and in the order of the memory a
    fifth of what it takes across.
    """
    values = result.detach()
    if values.dim() != 4 or not values.is_contiguous(memory_format=torch.channels_last):
        return (values.flatten(1) if values.dim() > 1 else values).sum(0).ne(0).flatten()
    _, channels, height, width = values.shape
    above = values.permute(0, 2, 3, 1).flatten(1).sum(0) != 0
    return above.view(height, width, channels).permute(2, 0, 1).flatten()


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


def examine(
    subject: Subject,
    images: Tensor,
    labels: Tensor,
    batch_size: int | None = None,
    targets: Tensor | None = None,
) -> Health:
    """Measure the health of a model.

    The passes are those that gradients are taken of, through the network with its batch norms folded: explainers that take them
    need no passes of their own. A network that autograd cannot follow is measured without it.

    Args:
        subject: the model, randomised or not; it is not changed.
        images: (N, C, H, W) in [0, 1], on the subject's device.
        labels: (N,) int64.
        batch_size: images per forward pass; what fits the memory if None.
        targets: (N,) int64, the classes that will be explained, if that is known.

    Returns:
        The measurements and whether there is something left to explain.
    """
    watch = _ReluWatch()
    try:
        logits = _shared(subject, images, batch_size, targets, watch)
    except Exception:
        watch = _ReluWatch()
        logits = _alone(subject, images, batch_size, watch)
    scores = logits.double()
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


def _shared(
    subject: Subject, images: Tensor, batch_size: int | None, targets: Tensor | None, watch: _ReluWatch
) -> Tensor:
    """Logits (N, classes) from the passes that explainers share."""
    import explainers
    from explainers import memory
    from explainers.passes import watched_logits

    step = batch_size or max(1, len(images))
    found = []
    for start in range(0, len(images), step):
        part = slice(start, start + step)
        with memory.explaining(subject, images[part], explainers.get("gradient").cards, split=step < len(images)):
            chosen = None if targets is None else targets[part]
            found.append(watched_logits(subject, images[part], chosen, watch.rewound))
    return torch.cat(found)


def _alone(subject: Subject, images: Tensor, batch_size: int | None, watch: _ReluWatch) -> Tensor:
    """Logits (N, classes) from passes without a graph."""
    found = []
    with torch.no_grad():
        for part in images.split(batch_size or max(1, len(images))):
            with watch.rewound():
                found.append(subject.logits(part))
    return torch.cat(found)


def _reason(scores: Tensor, finite: bool, spread: float | None, alive: list[Tensor]) -> str:
    if not finite:
        return "the logits are not finite"
    size = float(scores.abs().mean())
    if spread is not None and (math.isnan(spread) or spread <= RELATIVE_SPREAD * size):
        return "the logits are the same for every image"
    if any(not bool(units.any()) for units in alive):
        return "a whole ReLU layer is zero for every image"
    return ""
