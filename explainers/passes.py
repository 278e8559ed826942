"""Forward and backward passes that explainers share: the folded copy of a network, its gradient, chunks of images."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from models.base import Subject
from models.fold import folded

from . import memory

T = TypeVar("T")

_MEMO: ContextVar[dict[Hashable, tuple[Any, ...]] | None] = ContextVar("shared_passes", default=None)


@contextmanager
def shared_passes() -> Iterator[None]:
    """Within this context passes over the same subject, images and targets are computed once for all explainers.

    The network's weights must not change inside. Per thread; nothing is kept afterwards.

    Example:
        >>> import explainers, models
        >>> subject = models.load("fmnist-vgg")
        >>> images, targets = subject.sample(2, seed=0)
        >>> with shared_passes():
        ...     maps = [explainers.get(name).explain(subject, images, targets) for name in ("gradient", "saliency")]
    """
    token = _MEMO.set({})
    try:
        yield
    finally:
        _MEMO.reset(token)


def remembered(key: Hashable, held: tuple[Any, ...], compute: Callable[[], T]) -> T:
    """The value under `key`, computed once per `shared_passes` context; `held` are the objects whose ids the key uses."""
    memo = _MEMO.get()
    if memo is None:
        return compute()
    if key not in memo:
        memo[key] = (compute(), held)
    value: T = memo[key][0]
    return value


def fingerprint(tensor: Tensor) -> Hashable:
    """Identity of a tensor's memory and version, valid while the tensor is alive."""
    return (tensor.data_ptr(), tuple(tensor.shape), tensor.stride(), tensor._version, tensor.dtype)


def network(subject: Subject, dtype: torch.dtype | None = None) -> nn.Module:
    """A private module on images in [0, 1] with batch norms folded, parameters without gradients, channels last.

    Args:
        dtype: floating type; None takes the subject's own.
    """
    kind = dtype or subject.dtype

    def build() -> nn.Module:
        copy = folded(subject, kind).module.to(kind)
        return copy.to(memory_format=torch.channels_last)  # type: ignore[call-overload,no-any-return]

    return remembered(("network", id(subject), kind), (subject,), build)


def gradient(subject: Subject, images: Tensor, targets: Tensor) -> Tensor:
    """Derivative of each image's target logit with respect to its pixels, (N, C, H, W)."""

    def compute() -> Tensor:
        return torch.cat([_gradient(network(subject), x, t) for x, t in chunks(images, targets)])

    key = ("gradient", id(subject), fingerprint(images), fingerprint(targets))
    return remembered(key, (subject, images, targets), compute)


def gradient_of(module: nn.Module, images: Tensor, targets: Tensor) -> Tensor:
    """The same for any module, in chunks, float32."""
    return torch.cat([_gradient(module, x, t) for x, t in chunks(images, targets)])


def rows_for(images: Tensor) -> int:
    """How many images of this size go through a network at once: what fits a processor's cache and the memory allowed."""
    return memory.rows(images.shape[-2], images.shape[-1])


def chunks(images: Tensor, targets: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
    """Slices of at most `rows_for(images)` images with their targets."""
    rows = rows_for(images)
    for start in range(0, len(images), rows):
        yield images[start : start + rows], targets[start : start + rows]


def precision(module: nn.Module) -> torch.dtype:
    """The floating type of a module's parameters."""
    return next(module.parameters()).dtype


def _gradient(module: nn.Module, images: Tensor, targets: Tensor) -> Tensor:
    x = images.detach().to(precision(module)).clone(memory_format=torch.contiguous_format).requires_grad_(True)
    with torch.enable_grad():
        chosen = module(x).gather(1, targets[:, None]).sum()
        (result,) = torch.autograd.grad(chosen, x)
    return result.float()
