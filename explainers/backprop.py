"""Explainers that change the backward pass at ReLUs, through the rule engine."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from models.base import Subject
from models.naming import UsageError

from .engine import Rules, run
from .passes import chunks, fingerprint, forward, network, precision, remembered
from .rules.activations import Deconvnet, GuidedBackprop


def deconvnet(subject: Subject, images: Tensor, targets: Tensor, *, seed: int, extend: str = "none") -> Tensor:
    """DeconvNet map, (N, C, H, W), signed. Source: Zeiler and Fergus 2014; Nuzzo 2020, eq. 4.5.

    Args:
        extend: other activations than ReLU are refused (`none`) or pass the positive part of their true
            vector-Jacobian product (`monotone`).
    """
    return _shared_gradient(subject, Deconvnet(_extension("deconvnet", extend)), images, targets, f"deconvnet {extend}")


def guided_backprop(subject: Subject, images: Tensor, targets: Tensor, *, seed: int, extend: str = "none") -> Tensor:
    """Guided-backpropagation map, (N, C, H, W), signed. Source: Springenberg et al. 2015; Nuzzo 2020, eq. 4.6.

    Args:
        extend: as for `deconvnet`.
    """
    rules = GuidedBackprop(_extension("guided-backprop", extend))
    key = ("guided", id(subject), fingerprint(images), fingerprint(targets), extend)
    held = (subject, images, targets)
    return remembered(key, held, lambda: _shared_gradient(subject, rules, images, targets, f"guided-backprop {extend}"))


def _shared_gradient(subject: Subject, rules: Rules, images: Tensor, targets: Tensor, purpose: str) -> Tensor:
    """As `ruled_gradient`, for rules that keep nothing between operations: the pass may share parts with others."""
    module, parts = network(subject), []
    for x, t in chunks(images, targets):
        leaf, logits = forward(subject, module, x, purpose, lambda net, pixels: run(net, pixels, rules))
        parts.append(_sent_back(logits, t, leaf))
    return torch.cat(parts)


def ruled_gradient(module: nn.Module, rules: Rules, images: Tensor, targets: Tensor) -> Tensor:
    """What arrives at the pixels when one of each image's target logit is sent back under a rule set, (N, C, H, W)."""
    parts = []
    for x, t in chunks(images, targets):
        leaf = x.detach().to(precision(module)).requires_grad_(True)
        parts.append(_sent_back(run(module, leaf.clone(memory_format=torch.contiguous_format), rules), t, leaf))
    return torch.cat(parts)


def _sent_back(logits: Tensor, targets: Tensor, leaf: Tensor) -> Tensor:
    start = torch.zeros_like(logits).scatter(1, targets[:, None], 1)
    (back,) = torch.autograd.grad(logits, leaf, start, retain_graph=True)
    return back.float()


def _extension(explainer: str, extend: str) -> str:
    if extend not in ("none", "monotone"):
        raise UsageError(f"{explainer}: extend is {extend!r}; allowed are 'none', 'monotone'")
    return extend
