"""Forward passes of networks that are mostly the same: what was computed once from the same tensors is not computed again.

Along a cascade the layers below the randomised ones still see the images as before. Operations are recognised by their
function, their operands and their options; operands are the same if they are the same tensors: the images, parameters
of the trained network, which its copies share (`models.refold`), and results of operations recognised before. So the
kept results, and their place in the graph of derivatives, are exactly those that would be computed again.

Only the first pass for a purpose is kept, so that what comes out never depends on what else was computed before. In networks
with branches derivatives may be added up in another order than without reuse, and then differ by rounding.

Images that are made from those of a block in the same way each time (noisy copies, steps on the way from a baseline) can be
said to be: `made_from`. Of passes over them, which are many, only what later passes read is kept.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from functools import cache
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

LIMIT = 4 * 2**20
"""Bytes of results per image; a network that gives more is computed each time."""

MADE_LIMIT = 384 * 2**20
"""Bytes of results of all passes over images that are made in one way; the passes beyond are computed each time."""

WEIGHED = frozenset({F.conv1d, F.conv2d, F.conv3d, F.linear, torch.conv1d, torch.conv2d, torch.conv3d})
"""Operations whose result their own derivative does not need."""
_RECTIFIERS = frozenset({F.relu, torch.relu, Tensor.relu})
"""Operations whose derivative needs their result and not what they were given."""
_PLAIN = frozenset({type(None), bool, int, float, str, torch.dtype, torch.memory_format, torch.device, torch.layout})
_RANDOM = ("dropout", "rand", "bernoulli", "multinomial", "normal", "rrelu")


@dataclass(frozen=True)
class Made:
    """Images made from others.

    Attributes:
        images: what was made.
        source: what it was made from.
        way: how; the same source and way give the same images.
        part: which of all images made in this way.
    """

    images: Tensor
    source: Tensor
    way: Hashable
    part: Hashable

    def holds(self, images: Tensor) -> bool:
        """Whether these are some of the images, a part of the same memory."""
        return _within(images, self.images)


_MADE: ContextVar[Made | None] = ContextVar("made", default=None)


@contextmanager
def made_from(source: Tensor, way: Hashable, part: Hashable, images: Tensor) -> Iterator[None]:
    """Within this context passes over `images` are known to come from `source` in a `way` that gives the same each time.

    Args:
        source: (n, C, H, W), images that a `Reuse` serves.
        way: names how all of them are made.
        part: names which of them these are.
        images: (m, C, H, W), what was made.
    """
    token = _MADE.set(Made(images, source, way, part))
    try:
        yield
    finally:
        _MADE.reset(token)


def made(images: Tensor) -> Made | None:
    """How these images were made, None where nothing was said about them."""
    found = _MADE.get()
    return found if found is not None and found.holds(images) else None


class Reuse:
    """The results that forward passes over the same images have in common; see the module.

    Not for several threads at once. Everything is kept until the object is dropped.

    Args:
        images: (N, C, H, W), those that will be seen again. Passes over others, such as noisy copies or steps on the way from a
            baseline that are made anew each time, are neither kept nor looked up: they would only pile up.
        limit: bytes of results kept per image and purpose at most, else nothing is.
        made: whether passes over images `made_from` these are kept too.

    Attributes:
        gradients: whether somebody asked for the gradient of the images, and will ask each network for it.
        ahead, used: seconds of passes that were made before an explainer asked for them, and of those that one has taken since.

    Example:
        >>> import explainers, models
        >>> from explainers.passes import shared_passes
        >>> subject = models.load("fmnist-vgg")
        >>> images, targets = subject.sample(2, seed=0)
        >>> reuse = Reuse(images)
        >>> with shared_passes(reuse):
        ...     first = explainers.get("gradient").explain(subject.private_copy(), images, targets)
        >>> reuse.bytes > 0
        True
    """

    def __init__(self, images: Tensor, limit: int = LIMIT, made: bool = True) -> None:
        self.images, self.limit, self.made = images, limit, made
        self.gradients, self.ahead, self.used = False, 0.0, 0.0
        self._memos: dict[Hashable, Kept] = {}
        self._ways: dict[Hashable, list[Kept]] = {}

    @property
    def bytes(self) -> int:
        """Bytes of all results kept."""
        return sum(memo.bytes for memo in self._memos.values())

    def serves(self, images: Tensor) -> bool:
        """Whether these are some of the images that will be seen again: a part of the same memory."""
        return _within(images, self.images)

    def over(self, trained: nn.Module, images: Tensor, key: Hashable) -> Kept:
        """What passes over some images have in common.

        Args:
            trained: the network whose tensors are the known ones; its copies share those that are as in it.
            images: (n, C, H, W), which this object `serves`.
            key: what identifies them, as long as they are alive, and the purpose of the pass.
        """
        place = (id(trained), key)
        if place not in self._memos:
            self._memos[place] = Kept(trained, images, self.limit * len(images))
        return self._memos[place]

    def over_made(self, trained: nn.Module, made: Made, images: Tensor, key: Hashable) -> Kept | None:
        """The same for images made from some that this object serves; None once there is too much of them.

        What was made in one way is kept in the order in which it comes first, so that what is kept depends on nothing else.

        Args:
            trained: as for `over`.
            made: how they were made.
            images: the images of this pass.
            key: what identifies the source, as long as it is alive, the images among those made, and the purpose of the pass.
        """
        way = (id(trained), made.way)
        place = (way, made.part, key)
        if place not in self._memos:
            before = self._ways.setdefault(way, [])
            if not self.made or sum(each.bytes for each in before) > MADE_LIMIT:
                return None
            self._memos[place] = Kept(trained, images, self.limit * len(images), lean=True)
            before.append(self._memos[place])
        return self._memos[place]


class Kept:
    """What is known about one chunk of images under one trained network.

    Attributes:
        leaf: the images as a leaf of the graph, in the type of the network; passes start from it.
        bytes: of the results that are kept.
    """

    def __init__(self, trained: nn.Module, images: Tensor, room: int, lean: bool = False) -> None:
        self.room, self.bytes, self.closed, self.lean = room, 0, False, lean
        self.empty: set[int] = set()
        self._readers: dict[int, list[Hashable]] = {}
        kind = next(trained.parameters()).dtype
        self.held = (trained, images)
        self.leaf = images.detach().to(kind).clone(memory_format=torch.contiguous_format).requires_grad_(True)
        self.results: dict[Hashable, tuple[Tensor, int]] = {}
        self.known = {id(tensor) for tensor in (self.leaf, *trained.parameters(), *trained.buffers())}

    @contextmanager
    def replay(self) -> Iterator[None]:
        """Within this context operations over the leaf are taken from what is kept; those of the first pass are kept."""
        with _Replay(self):
            yield
        if self.lean and not self.closed:
            self._slim()
        self.closed = True

    def read(self, func: Hashable, tensors: Sequence[Tensor]) -> None:
        """Note what an operation of the first pass reads."""
        if self.lean and not self.closed:
            for tensor in tensors:
                self._readers.setdefault(id(tensor), []).append(func)

    def _slim(self) -> None:
        """Give up the content of what only rectifiers read: their results are kept, and nothing else needs it."""
        shared = Counter(result.untyped_storage().data_ptr() for result, _ in self.results.values())
        for key, (result, version) in self.results.items():
            readers = self._readers.get(id(result), [])
            storage = result.untyped_storage()
            alone = shared[storage.data_ptr()] == 1 and version == result._version
            if alone and readers and key[0] in WEIGHED and all(each in _RECTIFIERS for each in readers):  # type: ignore[index]
                self.bytes -= storage.nbytes()
                # What reads it all the same, past the operations that are seen here, gets no plausible number.
                result.data = torch.full((), float("nan"), dtype=result.dtype, device=result.device).expand(
                    result.shape
                )
                self.empty.add(id(result))

    def keep(self, key: Hashable, result: Tensor) -> bool:
        """Keep a result, unless the first pass is over or there is too much of it; then nothing is kept at all."""
        if self.closed:
            return False
        if id(result) not in self.known:
            self.bytes += result.numel() * result.element_size()
        if self.bytes > self.room:
            self.results.clear()
            self.bytes, self.closed = 0, True
            return False
        self.results[key] = (result, result._version)
        self.known.add(id(result))
        return True


class _Replay(TorchFunctionMode):
    """Takes what is known from the memo, and puts into it what follows from known tensors alone."""

    def __init__(self, memo: Kept) -> None:
        super().__init__()
        self._memo = memo
        # The version of each reused result that the pass has reached; operations in place raise it when they are reused.
        self._reached: dict[int, int] = {}

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        given = kwargs or {}
        memo = self._memo
        tensors: list[Tensor] = []
        key = self._key(func, args, given, tensors)
        known = key is not None and bool(tensors) and all(id(tensor) in memo.known for tensor in tensors)
        memo.read(func, tensors)
        if known and key in memo.results:
            result, version = memo.results[key]
            self._reached[id(result)] = version
            return result
        for tensor in tensors:
            if id(tensor) in memo.empty:
                raise StaleResult(f"{getattr(func, '__name__', func)} reads a result whose content was given up")
            if self._reached.get(id(tensor), tensor._version) != tensor._version:
                raise StaleResult(
                    f"{getattr(func, '__name__', func)} reads a result that a later operation changed in place"
                )
        result = func(*args, **given)
        if known and isinstance(result, Tensor) and memo.keep(key, result):
            self._reached[id(result)] = result._version
        return result

    def _key(
        self, func: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any], tensors: list[Tensor]
    ) -> Hashable | None:
        """What identifies a call, None for one that may give something else each time; its tensors are collected."""
        parts: list[Hashable] = [func, torch.is_grad_enabled()]
        plain = self._describe(args, parts, tensors)
        if kwargs:
            parts.append(tuple(kwargs))
            plain = self._describe(kwargs.values(), parts, tensors) and plain
        if not plain or (_draws(func) and not _idle_dropout(func, args, kwargs)):
            return None
        return tuple(parts)

    def _describe(self, values: Iterable[Any], parts: list[Hashable], tensors: list[Tensor]) -> bool:
        """Add operands and options to the key; False where one has no simple identity."""
        plain = True
        for value in values:
            if isinstance(value, Tensor):
                tensors.append(value)
                parts += (id(value), self._reached.get(id(value), value._version))
            elif type(value) in _PLAIN:
                parts += (type(value), value)
            elif isinstance(value, list | tuple):
                parts.append(len(value))
                plain = self._describe(value, parts, tensors) and plain
            else:
                plain = False
        return plain


def _within(part: Tensor, whole: Tensor) -> bool:
    """Whether a tensor is a part of another's memory."""
    return part.untyped_storage().data_ptr() == whole.untyped_storage().data_ptr()


class StaleResult(RuntimeError):
    """A kept result is no longer what the pass needs; the pass has to be made without kept results."""


@cache
def _draws(func: Callable[..., Any]) -> bool:
    """Whether an operation may draw random numbers, by its name."""
    name = getattr(func, "__name__", "")
    return any(word in name for word in _RANDOM)


def _idle_dropout(func: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
    """Whether a call is dropout that is switched off."""
    if func not in (F.dropout, F.dropout1d, F.dropout2d, F.dropout3d, F.alpha_dropout, F.feature_alpha_dropout):
        return False
    training = args[2] if len(args) > 2 else kwargs.get("training", True)
    return training is False
