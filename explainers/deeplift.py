"""DeepLIFT and DeepSHAP through the rule engine, with a check of completeness."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from models.base import Subject
from models.naming import UsageError, near
from models.seeds import generator

from .base import Partial
from .controls import image_key
from .engine import run
from .gradients import baseline_images
from .passes import network, precision, rows_for
from .rules.deeplift import DeepLiftRules
from .rules.reveal_cancel import RevealCancelRules

RULES = {"rescale": DeepLiftRules, "reveal-cancel": RevealCancelRules}
TOLERANCE = 0.01
PRECISE = 1e-4


def deeplift(
    subject: Subject,
    images: Tensor,
    targets: Tensor,
    *,
    seed: int,
    rule: str = "rescale",
    baseline: str = "black",
) -> Partial:
    """Contributions of pixel changes from a baseline to the change of the logit, (N, C, H, W), logits, signed.

    Args:
        rule: `rescale` or `reveal-cancel`.
        baseline: `black`, `white`, `mean` (of the reference images, per pixel) or `blur` (15x15 Gaussian blur).

    Returns:
        The map with |sum R - (f(x) - f(x0))| / |f(x) - f(x0)| per image. Where single precision misses by more than
        1e-4 the image is done again in double precision; a map that still misses by more than 1% is failed.

    Source: Shrikumar et al. 2017; Nuzzo 2020, eq. 4.21 to 4.30.
    """
    start = baseline_images(subject, images, baseline)
    values, miss, change = contributions(subject, images, start, targets, rule, "deeplift")
    return _gated(values.float(), miss, change.abs())


def deepshap(
    subject: Subject, images: Tensor, targets: Tensor, *, seed: int, rule: str = "rescale", references: int = 4
) -> Partial:
    """Mean of DeepLIFT over reference images as baselines, (N, C, H, W), logits, signed.

    Args:
        rule: `rescale` or `reveal-cancel`.
        references: reference images per explained image, >= 1, drawn without replacement, keyed by seed and image.

    Returns:
        The map with the mean miss over the references relative to the mean |f(x) - f(x0)|; gate as for `deeplift`.

    Source: Lundberg and Lee 2017, section 4.2; Chen, Lundberg and Lee 2022 for the mean over references.
    """
    if not 1 <= references <= len(subject.reference):
        raise UsageError(f"deepshap: references is {references}; 1 to {len(subject.reference):,} are allowed")
    drawn = [_drawn(subject, image, references, seed) for image in images]
    values = torch.zeros_like(images)
    miss = size = torch.zeros(len(images), dtype=torch.float64, device=images.device)
    for each in range(references):
        start = subject.reference.load([row[each] for row in drawn]).to(images)
        part, missed, change = contributions(subject, images, start, targets, rule, "deepshap")
        values = values + (part / references).to(values.dtype)
        miss, size = miss + missed, size + change.abs()
    return _gated(values.float(), miss, size)


def contributions(
    subject: Subject, images: Tensor, start: Tensor, targets: Tensor, rule: str, name: str
) -> tuple[Tensor, Tensor, Tensor]:
    """DeepLIFT contributions of `images` (N, C, H, W) against `start`, same shape.

    Returns:
        Contributions (N, C, H, W) float32 or float64; |sum - change| (N,); change f(x) - f(x0) (N,), both in logits.

    Raises:
        UsageError: unknown rule. UnsupportedOperation: the network has an operation without a rule.
    """
    if rule not in RULES:
        raise UsageError(f"{name}: rule is {rule!r}; allowed are {', '.join(RULES)}{near(rule, RULES)}")
    values, miss, change = _run(network(subject), images, start, targets, rule, name)
    again = (miss > PRECISE * change.abs()).nonzero()[:, 0]
    if len(again) and subject.dtype != torch.float64:
        double = network(subject, torch.float64)
        better = _run(double, images[again], start[again], targets[again], rule, name)
        values, miss, change = (
            old.to(new.dtype).index_copy(0, again, new) for old, new in zip((values, miss, change), better, strict=True)
        )
    return values, miss, change


def _run(
    module: nn.Module, images: Tensor, start: Tensor, targets: Tensor, rule: str, name: str
) -> tuple[Tensor, Tensor, Tensor]:
    size = max(1, rows_for(images) // 2)
    found = [
        _pass(module, x, x0, t, rule, name)
        for x, x0, t in zip(images.split(size), start.split(size), targets.split(size), strict=True)
    ]
    values, miss, change = (torch.cat(parts) for parts in zip(*found, strict=True))
    return values, miss, change


def _pass(
    module: nn.Module, x: Tensor, x0: Tensor, targets: Tensor, rule: str, name: str
) -> tuple[Tensor, Tensor, Tensor]:
    pair = torch.cat([x, x0]).detach().to(precision(module)).requires_grad_(True)
    logits = run(module, pair, RULES[rule](name, len(pair)))
    chosen = targets.repeat(2)[:, None]
    with torch.enable_grad():
        (multipliers,) = torch.autograd.grad(logits, pair, torch.zeros_like(logits).scatter(1, chosen, 1))
    here, there = pair.detach().chunk(2)
    values = multipliers[: len(x)] * (here - there)
    ends = logits.detach().double().gather(1, chosen)[:, 0]
    change = ends[: len(x)] - ends[len(x) :]
    return values, (values.flatten(1).sum(1, dtype=torch.float64) - change).abs(), change


def _gated(values: Tensor, miss: Tensor, size: Tensor) -> Partial:
    residual = miss / size.clamp_min(1e-12)
    return Partial(values, residual=residual, failed=~(residual <= TOLERANCE))


def _drawn(subject: Subject, image: Tensor, count: int, seed: int) -> list[int]:
    """Indices of the reference images of one explained image; a smaller count is a prefix of a larger one."""
    order = torch.randperm(len(subject.reference), generator=generator(seed, "deepshap", image_key(image)))
    return [int(index) for index in order[:count]]
