"""Explainers that change the backward pass at ReLUs, through the rule engine."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from models.base import Subject

from .engine import RuleMode, Rules
from .passes import chunks, fingerprint, network, precision, remembered
from .rules.activations import Deconvnet, GuidedBackprop


def deconvnet(subject: Subject, images: Tensor, targets: Tensor, *, seed: int) -> Tensor:
    """DeconvNet map, (N, C, H, W), signed. Source: Zeiler and Fergus 2014; Nuzzo 2020, eq. 4.5."""
    return ruled_gradient(network(subject), Deconvnet(), images, targets)


def guided_backprop(subject: Subject, images: Tensor, targets: Tensor, *, seed: int) -> Tensor:
    """Guided-backpropagation map, (N, C, H, W), signed. Source: Springenberg et al. 2015; Nuzzo 2020, eq. 4.6."""
    key = ("guided", id(subject), fingerprint(images), fingerprint(targets))
    held = (subject, images, targets)
    return remembered(key, held, lambda: ruled_gradient(network(subject), GuidedBackprop(), images, targets))


def ruled_gradient(module: nn.Module, rules: Rules, images: Tensor, targets: Tensor) -> Tensor:
    """What arrives at the pixels when one of each image's target logit is sent back under a rule set, (N, C, H, W)."""
    parts = []
    for x, t in chunks(images, targets):
        pixels = x.detach().to(precision(module)).clone(memory_format=torch.contiguous_format).requires_grad_(True)
        with torch.enable_grad(), RuleMode(rules):
            logits = module(pixels)
        with torch.enable_grad():
            (back,) = torch.autograd.grad(logits.gather(1, t[:, None]).sum(), pixels)
        parts.append(back.float())
    return torch.cat(parts)
