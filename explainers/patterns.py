"""PatternAttribution: signal estimators fitted on reference images, for sequential networks."""

from __future__ import annotations

import torch
from torch import Tensor

from models.base import Subject
from models.naming import UsageError

from .engine import RuleMode, run
from .passes import chunks, network, precision, remembered
from .relevance import chosen
from .rules.patterns import PatternFit, PatternRules


def pattern_attribution(
    subject: Subject,
    images: Tensor,
    targets: Tensor,
    *,
    seed: int,
    samples: int = 128,
    relevance_seed: str = "abs",
) -> Tensor:
    """|logit| sent back through weights times patterns, (N, C, H, W), signed, logits.

    Args:
        samples: how many reference images the patterns are fitted on, >= 2.
        relevance_seed: start with `abs` |logit| or with the `logit`.

    Raises:
        UnsupportedOperation: the network is not a sequence of Conv, Linear, ReLU and MaxPool.

    Source: Kindermans et al. 2018, section 4.
    """
    chosen("pattern-attribution", "seed", relevance_seed, ("abs", "logit"))
    if samples < 2:
        raise UsageError(f"pattern-attribution: samples is {samples}; at least 2 are needed")
    module = network(subject)
    kernels = remembered(("patterns", id(subject), samples), (subject,), lambda: fitted(subject, samples))
    parts = []
    for x, t in chunks(images, targets):
        leaf = x.detach().to(precision(module)).requires_grad_(True)
        pixels = leaf.clone(memory_format=torch.contiguous_format)
        logits = run(module, pixels, PatternRules("pattern-attribution", kernels))
        logit = logits.detach().gather(1, t[:, None])
        begin = logit.abs() if relevance_seed == "abs" else logit
        above = torch.zeros_like(logits).scatter(1, t[:, None], begin)
        parts.append(torch.autograd.grad(logits, leaf, above)[0].float())
    return torch.cat(parts)


def fitted(subject: Subject, samples: int) -> list[Tensor]:
    """Weights times patterns of every layer, in the order of execution, fitted on the subject's reference images."""
    module = network(subject)
    fit = PatternFit("pattern-attribution")
    images = subject.reference.load(range(min(samples, len(subject.reference)))).to(subject.device)
    for x, _ in chunks(images, torch.zeros(len(images), dtype=torch.int64)):
        pixels = x.to(precision(module)).requires_grad_(True).clone()
        with torch.enable_grad(), RuleMode(fit):
            module(pixels)
        fit.finish()
    return fit.kernels()
