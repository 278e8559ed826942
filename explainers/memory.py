"""How many rows (images, or changed copies of one) go through a network at once: a constant, and less under a budget.

Without a budget the number depends on the size of the images alone. A budget lowers it where the constant would need more
memory, and never raises it, so that a network whose constant fits gives the same bits under every budget that fits it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from .info import Info

if TYPE_CHECKING:
    from models.base import Subject

MOST_ROWS = 64
PIXELS = 256 * 1024
TRANSIENT = 6
"""Beside what a pass keeps for its way back, so many tensors of the size of the largest one live at once."""
WEIGHTS = 3
"""The folded copy of a network, and what the rules of relevance split its weights into."""
KNOWN = 256


@dataclass
class Limit:
    """What explanations may use.

    Attributes:
        bytes: memory, None for no limit.
        rows: rows at once, None for no limit; lowered by half when memory ran out.
    """

    bytes: int | None = None
    rows: int | None = None


@dataclass
class _Case:
    """What is being explained: the subject, the shape of the images, and the cards of the explainer and its inner ones."""

    subject: Subject
    shape: tuple[int, ...]
    cards: tuple[Info, ...]
    split: bool

    @cached_property
    def needed(self) -> tuple[int, int]:
        """As `needed`."""
        return needed(self.subject, self.shape, self.cards)


_LIMIT: ContextVar[Limit | None] = ContextVar("memory_limit", default=None)
_CASE: ContextVar[_Case | None] = ContextVar("memory_case", default=None)
_measured: dict[Any, tuple[int, int]] = {}


@contextmanager
def limited(limit: Limit) -> Iterator[Limit]:
    """Within this context explanations stay below a limit; per thread.

    Example:
        >>> import explainers, models
        >>> subject = models.load("fmnist-vgg")
        >>> images, _ = subject.sample(4, seed=0)
        >>> with limited(Limit(bytes=200_000_000)):
        ...     found = explainers.get("smoothgrad").explain(subject, images)
    """
    token = _LIMIT.set(limit)
    try:
        yield limit
    finally:
        _LIMIT.reset(token)


@contextmanager
def explaining(subject: Subject, images: Tensor, cards: Sequence[Info], split: bool) -> Iterator[None]:
    """Within this context `rows` knows what is being explained.

    Args:
        images: (N, C, H, W) of one batch.
        cards: of the explainer and of those inside it.
        split: whether the images are a part of what was asked for.
    """
    token = _CASE.set(_Case(subject, tuple(images.shape), tuple(cards), split))
    try:
        yield
    finally:
        _CASE.reset(token)


def rows(height: int, width: int) -> int:
    """Rows of images of this size that go through a network at once, at least one."""
    most = max(1, min(MOST_ROWS, PIXELS // (height * width)))
    limit, case = _LIMIT.get(), _CASE.get()
    if limit is None:
        return most
    most = min(most, limit.rows or most)
    if limit.bytes is None or case is None or most == 1:
        return most
    fixed, each = case.needed
    return max(1, min(most, (limit.bytes - fixed) // each))


def spare(extra: int) -> bool:
    """Whether so many bytes may be kept beside what the passes need."""
    limit, case = _LIMIT.get(), _CASE.get()
    if limit is None or limit.bytes is None:
        return limit is None or limit.rows is None
    if case is None or scarce():
        return False
    fixed, each = case.needed
    return limit.bytes >= fixed + each * rows(*case.shape[-2:]) + extra


def scarce() -> bool:
    """Whether memory is short, so that nothing should be kept for explainers that come later."""
    limit, case = _LIMIT.get(), _CASE.get()
    if case is None:
        return False
    if case.split:
        return True
    if limit is None:
        return False
    height, width = case.shape[-2:]
    token = _LIMIT.set(None)
    try:
        most = rows(height, width)
    finally:
        _LIMIT.reset(token)
    asked = min(most, case.shape[0] * max(card.rows for card in case.cards))
    return rows(height, width) < asked


def needed(subject: Subject, shape: Sequence[int], cards: Sequence[Info]) -> tuple[int, int]:
    """Memory of an explanation as (bytes whatever the rows, bytes per row); an upper estimate.

    Args:
        shape: (N, C, H, W) of the images.
        cards: of the explainer and of those inside it.
    """
    weights, row = measured(subject, shape[1:])
    heavy = max(card.memory for card in cards)
    pixels = 4 * shape[0] * shape[1] * shape[2] * shape[3]
    copies = sum(card.rows for card in cards if card.combinator)
    return int(weights * WEIGHTS * max(1.0, heavy / 2)) + pixels * (copies + 4), max(1, int(row * heavy))


def measured(subject: Subject, shape: Sequence[int]) -> tuple[int, int]:
    """Bytes of a network's weights, and of one forward-backward pass of one image (C, H, W); found once per network.

    The pass's bytes are those that autograd keeps between forward and backward, weights left out, and room for the tensors
    that live only while one operation runs.
    """
    module = subject.module
    tensors = [*module.parameters(), *module.buffers()]
    size = max(1.0, subject.dtype.itemsize / 4)
    key = (subject.name, tuple(shape), size, tuple(tuple(tensor.shape) for tensor in tensors))
    found = _measured.get(key)
    if found is None:
        own = {tensor.untyped_storage().data_ptr() for tensor in tensors}
        kept: dict[int, int] = {}

        def pack(tensor: Tensor) -> Tensor:
            storage = tensor.untyped_storage()
            if storage.data_ptr() not in own:
                kept[storage.data_ptr()] = storage.nbytes()
            return tensor

        image = torch.zeros(1, *shape, device=subject.device, requires_grad=True)
        with torch.enable_grad(), torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
            logits = module(image)
        del logits
        once = sum(kept.values()) + TRANSIENT * max([*kept.values(), image.nbytes])
        if len(_measured) >= KNOWN:
            _measured.clear()
        found = _measured[key] = (int(size * sum(tensor.nbytes for tensor in tensors)), int(size * once))
    return found
