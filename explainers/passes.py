"""Forward and backward passes that explainers share: the folded copy of a network, its gradient, chunks of images."""

from __future__ import annotations

import time
from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager, nullcontext
from contextvars import ContextVar
from typing import Any, Protocol, TypeVar

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from models.base import Origin, Subject
from models.refold import folded_network

from . import memory
from .reuse import MADE_LIMIT, Kept, Reuse, StaleResult, made

T = TypeVar("T")

_MEMO: ContextVar[dict[Hashable, tuple[Any, ...]] | None] = ContextVar("shared_passes", default=None)
_REUSE: ContextVar[Reuse | None] = ContextVar("reuse", default=None)


@contextmanager
def shared_passes(reuse: Reuse | None = None) -> Iterator[None]:
    """Within this context passes over the same subject, images and targets are computed once for all explainers.

    The network's weights must not change inside. Per thread; nothing is kept afterwards. A context within another one of the
    same `reuse` is a part of it.

    Args:
        reuse: what forward passes through the trained network and its copies have in common is kept in it, for the next
            context with the same `reuse`.

    Example:
        >>> import explainers, models
        >>> subject = models.load("fmnist-vgg")
        >>> images, targets = subject.sample(2, seed=0)
        >>> with shared_passes():
        ...     maps = [explainers.get(name).explain(subject, images, targets) for name in ("gradient", "saliency")]
    """
    within = reuse is not None and _REUSE.get() is reuse
    if reuse is not None and not within:
        reuse.ahead = reuse.used = 0.0
    token, other = _MEMO.set(_MEMO.get() if within else {}), _REUSE.set(reuse)
    try:
        yield
    finally:
        _MEMO.reset(token)
        _REUSE.reset(other)


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
    """A module on images in [0, 1] with batch norms folded, parameters without gradients, channels last.

    It is not the user's, but other explainers, threads and copies of the subject use it too: it must not be changed, and
    hooks go onto a copy.

    Args:
        dtype: floating type; None takes the subject's own.
    """
    kind = dtype or subject.dtype

    def fold() -> nn.Module:
        origin = common(subject)
        trained = None if origin is None else network(origin.trained, kind)
        return folded_network(subject, kind, origin, trained)

    return remembered(("network", id(subject), kind), (subject,), fold)


def common(subject: Subject) -> Origin | None:
    """What a subject has in common with the one that it is a copy of, looked up once per `shared_passes` context."""
    return remembered(("common", id(subject)), (subject,), subject.common)


class Network(Protocol):
    """A network that is run as `network(images)`, or with a torch function mode that sees every operation of it."""

    def __call__(self, images: Tensor, mode: TorchFunctionMode | None = None) -> Tensor: ...


def forward(
    subject: Subject, module: nn.Module, images: Tensor, purpose: str, run: Callable[[Network, Tensor], T],
    plain: bool = False,
) -> tuple[Tensor, T]:  # fmt: skip
    """A forward pass with a graph that takes over what passes of the trained network and its copies have in common.

    Args:
        subject: the one that `module` comes from.
        module: `network(subject)`.
        images: (n, C, H, W) in [0, 1].
        purpose: passes of one purpose make the same operations on every copy.
        run: makes the pass, from the network and the images as a leaf of the graph in the type of the module. Operations
            that are taken over are not seen by modes around the network.
        plain: whether `run` reads nothing but the logits; then passes over images `made_from` others are kept too.

    Returns:
        The leaf, and what `run` gives. The graph may be shared with other passes: differentiate with `retain_graph=True`.
    """
    with torch.enable_grad():
        kept = _kept(subject, module, images, purpose, plain)
        if kept is not None:

            def replayed(x: Tensor, mode: TorchFunctionMode | None = None) -> Tensor:
                with kept.replay(), mode or nullcontext():
                    result: Tensor = module(x)
                return result

            try:
                return kept.leaf, run(replayed, kept.leaf)
            except StaleResult:
                pass  # the pass reads what was kept in another order; it is made on its own

        def alone(x: Tensor, mode: TorchFunctionMode | None = None) -> Tensor:
            with mode or nullcontext():
                result: Tensor = module(x)
            return result

        leaf = leaf_of(module, images)
        return leaf, run(alone, leaf)


def _kept(subject: Subject, module: nn.Module, images: Tensor, purpose: str, plain: bool) -> Kept | None:
    """What is kept of passes over these images, None where nothing is."""
    reuse = _REUSE.get()
    if reuse is None:
        return None
    served = reuse.serves(images)
    derived = made(images) if plain and not served else None
    if not served and (derived is None or not reuse.serves(derived.source)):
        return None
    origin = common(subject)
    if origin is None:
        return None
    trained = network(origin.trained, precision(module))
    if derived is None:
        return reuse.over(trained, images, (purpose, fingerprint(images)))
    if not memory.spare(MADE_LIMIT):
        return None
    which = (images.storage_offset() - derived.images.storage_offset(), tuple(images.shape), images.stride())
    return reuse.over_made(trained, derived, images, (purpose, fingerprint(derived.source), which))


def leaf_of(module: nn.Module, images: Tensor) -> Tensor:
    """The images as a leaf of a graph, in the floating type of the module."""
    return images.detach().to(precision(module)).clone(memory_format=torch.contiguous_format).requires_grad_(True)


def gradient(subject: Subject, images: Tensor, targets: Tensor) -> Tensor:
    """Derivative of each image's target logit with respect to its pixels, (N, C, H, W)."""

    def compute() -> Tensor:
        module = network(subject)
        return torch.cat([_gradient_through(subject, module, x, t) for x, t in chunks(images, targets)])

    found = remembered(_gradient_key(subject, images, targets), (subject, images, targets), compute)
    reuse = _REUSE.get()
    if reuse is not None and reuse.serves(images):
        reuse.gradients = True
        reuse.used, reuse.ahead = reuse.used + reuse.ahead, 0.0
    return found


def used_ahead() -> float:
    """Seconds of passes that were made ahead and that explainers have taken since this was asked last."""
    reuse = _REUSE.get()
    if reuse is None:
        return 0.0
    seconds, reuse.used = reuse.used, 0.0
    return seconds


def _gradient_key(subject: Subject, images: Tensor, targets: Tensor) -> Hashable:
    return ("gradient", id(subject), fingerprint(images), fingerprint(targets))


def watched_logits(
    subject: Subject, images: Tensor, targets: Tensor | None, watch: Callable[[], TorchFunctionMode]
) -> Tensor:
    """Logits of the folded network, (N, classes), float32, from passes that a mode sees every operation of.

    Where the gradient of images like these was asked for before within this `reuse`, it is taken from the same passes, for the
    explainers that ask for it again.

    Args:
        images: (N, C, H, W) in [0, 1].
        targets: (N,) the explained classes; None takes no gradient.
        watch: gives the mode for the next pass.
    """
    begun = time.perf_counter()
    module, reuse = network(subject), _REUSE.get()
    if targets is None or reuse is None or not (reuse.gradients and reuse.serves(images)):
        reuse = None
    classes = torch.zeros(len(images), dtype=torch.int64, device=images.device) if targets is None else targets
    seen, parts = [], []
    for x, chosen in chunks(images, classes):
        leaf, logits = forward(subject, module, x, "gradient", lambda net, x: net(x, watch()), plain=True)
        if reuse is not None:
            parts.append(_of_pass(leaf, logits, chosen).float())
        seen.append(logits.detach().float())
    if reuse is not None:
        key = _gradient_key(subject, images, classes)
        remembered(key, (subject, images, classes), lambda: torch.cat(parts))
        reuse.ahead += time.perf_counter() - begun
    return torch.cat(seen)


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


def _gradient_through(subject: Subject, module: nn.Module, images: Tensor, targets: Tensor) -> Tensor:
    return input_gradient(subject, module, images, targets).float()


def input_gradient(subject: Subject, module: nn.Module, images: Tensor, targets: Tensor) -> Tensor:
    """Derivative of the target logits with respect to the pixels in one pass, (n, C, H, W), in the type of the module.

    Args:
        module: `network(subject)`.
        images: (n, C, H, W), at most `rows_for` of them.
    """
    leaf, logits = forward(subject, module, images, "gradient", lambda net, x: net(x), plain=True)
    return _of_pass(leaf, logits, targets)


def _of_pass(leaf: Tensor, logits: Tensor, targets: Tensor) -> Tensor:
    (result,) = torch.autograd.grad(logits.gather(1, targets[:, None]).sum(), leaf, retain_graph=True)
    return result


def logits_of(subject: Subject, images: Tensor) -> Tensor:
    """Logits of the folded network, (n, classes), float32; of what a gradient was or will be taken of they cost nothing more.

    Args:
        images: (n, C, H, W), at most `rows_for` of them.
    """
    return forward(subject, network(subject), images, "gradient", lambda net, x: net(x), plain=True)[1].detach().float()


def _gradient(module: nn.Module, images: Tensor, targets: Tensor) -> Tensor:
    x = leaf_of(module, images)
    with torch.enable_grad():
        chosen = module(x).gather(1, targets[:, None]).sum()
        (result,) = torch.autograd.grad(chosen, x)
    return result.float()
