"""Batch norms folded into the layer before them, on a private copy: the same function, fewer operations.

Source: Jacob et al. 2018, section 3.2. Which batch norms can be folded is read from one forward pass (the layer and the
batch norm run once, nobody else reads the layer's output); exact up to rounding, which is checked on images. Where a
network does not allow some of them, those stay and the others are folded.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils import fuse_conv_bn_weights, fuse_linear_bn_weights
from torch.overrides import TorchFunctionMode

from .base import Subject
from .copying import private
from .stages import BATCH_NORMS, LAYERS

Pair = tuple[str, str]
Plan = tuple[tuple[str, str, bool], ...]


def folded(subject: Subject, dtype: torch.dtype = torch.float32) -> Subject:
    """A private copy of a subject with every batch norm folded that can be.

    Args:
        subject: stays untouched.
        dtype: floating type of the copy.

    Returns:
        A subject whose logits equal the original's to 1e-4 of their spread.

    Example:
        >>> import models
        >>> subject = models.load("fmnist-vgg")
        >>> {type(module).__name__ for name, module in folded(subject).model.named_modules() if "norm" in name}
        {'Identity'}
    """
    plan = fold_plan(subject)
    model = private(subject.model)
    for parameter in model.parameters():
        parameter.requires_grad_(False)
    model = model.to(dtype)
    with torch.no_grad():
        for layer, norm, remove in plan:
            fold_one(model, layer, norm, remove=remove)
    return subject.with_weights(model)


def fold_plan(subject: Subject) -> Plan:
    """Which batch norms are folded into which layers, checked on images once per architecture.

    Subjects made by `with_weights` inherit it: whether a batch norm can be folded is a matter of how the network is
    wired, not of its weights.
    """
    if subject.wiring.get("folds") is None:
        probe = subject.data.load(range(min(2, len(subject.data)))).to(subject.device)
        with torch.no_grad():
            model = private(subject.model).float()
            expected, pairs = _foldable(subject, model, probe, torch.float32)

            def same(candidate: nn.Module) -> bool:
                return _same(expected, candidate, subject, probe, torch.float32)

            subject.wiring["folds"] = _plan(model, pairs, same)
    plan: Plan = subject.wiring["folds"]
    return plan


class _Readers(TorchFunctionMode):
    """Notes how often layers and batch norms run, and who reads a layer's output."""

    def __init__(self, layers: dict[int, str], norms: dict[int, str]) -> None:
        super().__init__()
        self._layers, self._norms = layers, norms
        self._outputs: dict[int, tuple[str, Tensor]] = {}
        self.runs: Counter[str] = Counter()
        self.readers: Counter[str] = Counter()
        self.pairs: list[Pair] = []

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        operands = [value for value in (*args, *(kwargs or {}).values()) if isinstance(value, Tensor)]
        operands += [t for v in args if isinstance(v, list | tuple) for t in v if isinstance(t, Tensor)]
        read = [self._outputs[id(t)][0] for t in operands if id(t) in self._outputs]
        result = func(*args, **(kwargs or {}))
        if not isinstance(result, Tensor | tuple | list):
            return result
        self.readers.update(read)
        if func in BATCH_NORMS:
            norms = {self._norms[id(t)] for t in operands if id(t) in self._norms}
            self.runs.update(norms)
            self.pairs += [(layer, norm) for layer in read for norm in norms]
        for layer in {self._layers[id(t)] for t in operands if id(t) in self._layers}:
            self.runs[layer] += 1
            if func in LAYERS and isinstance(result, Tensor):
                self._outputs[id(result)] = (layer, result)
        return result


def _foldable(subject: Subject, model: nn.Module, probe: Tensor, dtype: torch.dtype) -> tuple[Tensor, list[Pair]]:
    """Logits of the probe, and the paths of (layer, batch norm) that run once and have no other reader between them."""
    layers: dict[int, str] = {}
    norms: dict[int, str] = {}
    for path, module in model.named_modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            norms |= {id(t): path for t in (module.weight, module.running_mean) if t is not None}
        elif isinstance(module, nn.modules.conv._ConvNd | nn.Linear):
            layers.setdefault(id(module.weight), path)
    readers = _Readers(layers, norms)
    module, pixels = subject.with_model(model).module.to(dtype), probe.to(dtype)
    with readers:
        expected: Tensor = module(pixels)
    alone = [
        (layer, norm)
        for layer, norm in readers.pairs
        if readers.runs[layer] == readers.runs[norm] == readers.readers[layer] == 1
    ]
    return expected, [(layer, norm) for layer, norm in alone if _plain(model, layer, norm)]


def _plain(model: nn.Module, layer: str, norm: str) -> bool:
    """Whether a layer and a batch norm are what they seem: fixed statistics, no hooks, no computed weights."""
    first, second = model.get_submodule(layer), model.get_submodule(norm)
    hooks = [first._forward_hooks, first._forward_pre_hooks, second._forward_hooks, second._forward_pre_hooks]
    grouped = isinstance(first, nn.modules.conv._ConvTransposeNd) and first.groups > 1
    fixed = not second.training and isinstance(second.running_mean, Tensor) and isinstance(second.running_var, Tensor)
    return fixed and not any(hooks) and not grouped and not hasattr(first, "parametrizations")


def _plan(model: nn.Module, pairs: Sequence[Pair], same: Callable[[nn.Module], bool]) -> Plan:
    """All pairs; where folding them changes the function, those that can be, one after the other."""
    candidate = private(model)
    for layer, norm in pairs:
        fold_one(candidate, layer, norm, remove=True)
    if same(candidate):
        return tuple((layer, norm, True) for layer, norm in pairs)
    plan = []
    for layer, norm in pairs:
        candidate = private(model)
        fold_one(candidate, layer, norm, remove=False)
        if same(candidate):
            model = candidate
            plan.append((layer, norm, False))
    return tuple(plan)


def fold_one(model: nn.Module, path: str, norm_path: str, *, remove: bool) -> None:
    """Fold one batch norm; it is replaced by the identity, or set to one so that its class may go on doing more."""
    layer, norm = model.get_submodule(path), model.get_submodule(norm_path)
    layer.weight, layer.bias = fused(layer, norm)
    if remove and vanishes(norm):
        parent, _, name = norm_path.rpartition(".")
        setattr(model.get_submodule(parent) if parent else model, name, nn.Identity())
        return
    norm.running_mean.zero_()  # type: ignore[operator,union-attr]
    norm.running_var.fill_(1 - norm.eps)  # type: ignore[operator,union-attr]
    if norm.weight is not None:
        norm.weight.fill_(1)  # type: ignore[operator,union-attr]
        norm.bias.zero_()  # type: ignore[operator,union-attr]


def fused(layer: nn.Module, norm: nn.Module) -> tuple[nn.Parameter, nn.Parameter]:
    """Weight and bias of a layer that does what the layer and the batch norm after it do; both stay as they are."""
    moments = (layer.bias, norm.running_mean, norm.running_var, norm.eps, norm.weight, norm.bias)
    if isinstance(layer, nn.Linear):
        weight, bias = fuse_linear_bn_weights(layer.weight, *moments)  # type: ignore[arg-type]
    else:
        swapped = isinstance(layer, nn.modules.conv._ConvTransposeNd)
        weight, bias = fuse_conv_bn_weights(layer.weight, *moments, transpose=swapped)  # type: ignore[arg-type]
    return weight.requires_grad_(False), bias.requires_grad_(False)


def vanishes(norm: nn.Module) -> bool:
    """Whether nothing is left of a folded batch norm: one of torch's own, whose class does nothing more."""
    return type(norm).__module__ == nn.BatchNorm2d.__module__


def _logits(subject: Subject, model: nn.Module, probe: Tensor, dtype: torch.dtype) -> Tensor:
    result: Tensor = subject.with_model(model).module.to(dtype)(probe.to(dtype))
    return result


def _same(expected: Tensor, candidate: nn.Module, subject: Subject, probe: Tensor, dtype: torch.dtype) -> bool:
    try:
        found = _logits(subject, candidate, probe, dtype)
    except (RuntimeError, AttributeError, TypeError, ValueError):
        return False
    scale = float(expected.abs().max()) + 1e-12
    return found.shape == expected.shape and float((found - expected).abs().max()) <= 1e-4 * scale
