"""Batch norms folded into the layer before them, on a private copy: the same function, fewer operations.

Source: Jacob et al. 2018, section 3.2. Exact up to rounding, which is checked on images; where the network does not
allow it (the layer's output has another reader, the batch norm is called as a function) the copy stays as it was.
"""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn
from torch.nn.utils import fuse_conv_bn_eval, fuse_linear_bn_eval

from .base import Subject
from .stages import Stage


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
        >>> any("norm" in name for name, _ in folded(subject).model.named_modules())
        False
    """
    model = copy.deepcopy(subject.model)
    for parameter in model.parameters():
        parameter.requires_grad_(False)
    model = model.to(dtype)
    pairs = [stage for stage in subject.stages if stage.norm]
    probe = subject.data.load(range(min(2, len(subject.data)))).to(subject.device)
    if pairs:
        with torch.no_grad():
            expected = _logits(subject, model, probe, dtype)
            candidate = _fold(copy.deepcopy(model), pairs)
            if candidate is not None and _same(expected, candidate, subject, probe, dtype):
                model = candidate
    return subject.with_model(model)


def _fold(model: nn.Module, pairs: list[Stage]) -> nn.Module | None:
    for stage in pairs:
        layer, norm = model.get_submodule(stage.name), model.get_submodule(stage.norm or "")
        if isinstance(layer, nn.Linear) and isinstance(norm, nn.BatchNorm1d):
            merged: nn.Module = fuse_linear_bn_eval(layer, norm)
        elif isinstance(layer, nn.modules.conv._ConvNd) and isinstance(norm, nn.modules.batchnorm._BatchNorm):
            merged = fuse_conv_bn_eval(layer, norm, transpose=isinstance(layer, nn.modules.conv._ConvTransposeNd))
        else:
            return None
        for parameter in merged.parameters():
            parameter.requires_grad_(False)
        _replace(model, stage.name, merged)
        _replace(model, stage.norm or "", nn.Identity())
    return model


def _replace(model: nn.Module, path: str, module: nn.Module) -> None:
    parent, _, name = path.rpartition(".")
    setattr(model.get_submodule(parent) if parent else model, name, module)


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
