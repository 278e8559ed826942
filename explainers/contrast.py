"""Contrast of a direct explainer: why this class and not that one, from two maps of one class each.

The combination e_true - w e_probe is kept for those weights w for which taking it out of the image lowers the probability
of the explained class and raises that of the probe class; the map is the mean over the kept weights.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from models.base import Subject
from models.naming import UsageError

from .base import Explainer, Partial
from .passes import network, precision, rows_for

ROUNDING = 1e-6


def contrast(
    subject: Subject,
    images: Tensor,
    targets: Tensor,
    *,
    seed: int,
    inner: Explainer,
    probe: str = "second",
    step: float = 0.005,
    largest: float = 2.0,
    strength: float = 1.0,
) -> Partial:
    """Mean of e_true - w e_probe over the weights that move the image from the true to the probe class, (N, 1|C, H, W).

    Positive where the inner explainer sees more evidence for the explained class than for the probe class.

    Args:
        inner: explainer of one class.
        probe: `second` (the most probable class other than the explained one), `least`, or `class-7`.
        step, largest: the weights are step, 2 step, ... largest; all > 0.
        strength: the image tried is x - strength * e / max|e|, cut to [0, 1]; > 0.

    Returns:
        The map; images for which no weight qualifies are failed. `extra["kept"]` is the share of weights kept,
        `extra["probe"]` the probe classes.

    Source: Feghahati 2020, section 3.2. How the map is laid over the image is not written there; this way, strength and
    sign are ours.
    """
    weights = _weights(step, largest, strength)
    module = network(subject)
    plain = torch.cat([_shares(module, x) for x in images.split(rows_for(images))])
    probes = _probes(plain, targets, probe)
    made = [Partial.of(inner.raw(subject, images, classes, seed)) for classes in (targets, probes)]
    true, other = (each.attribution.to(images) for each in made)
    kept = torch.stack(
        [
            _kept(module, images[i], true[i], other[i], weights, plain[i], int(targets[i]), int(probes[i]), strength)
            for i in range(len(images))
        ]
    )
    mean = (kept * weights).sum(1) / kept.sum(1).clamp_min(1)
    found = kept.any(1).to(images.device)
    values = torch.where(found.view(-1, 1, 1, 1), true - mean.to(images).view(-1, 1, 1, 1) * other, 0)
    failed = ~found
    for each in made:
        if each.failed is not None:
            failed = failed | each.failed.to(failed.device)
    return Partial(values, failed=failed, extra={"kept": kept.double().mean(1), "probe": probes})


def _weights(step: float, largest: float, strength: float) -> Tensor:
    if not 0 < step <= largest or strength <= 0:
        raise UsageError(
            f"contrast: step is {step:g}, largest {largest:g}, strength {strength:g}; 0 < step <= largest and strength > 0 "
            "are needed"
        )
    return step * torch.arange(1, round(largest / step) + 1, dtype=torch.float64)


def _probes(shares: Tensor, targets: Tensor, probe: str) -> Tensor:
    """The class that each image is contrasted with, (N,)."""
    classes = shares.shape[1]
    others = shares.scatter(1, targets[:, None], float("nan"))
    if probe == "second":
        return others.nan_to_num(-1.0).argmax(1)
    if probe == "least":
        return others.nan_to_num(2.0).argmin(1)
    number = probe.removeprefix("class-")
    if not probe.startswith("class-") or not number.isdigit() or int(number) >= classes:
        raise UsageError(
            f"contrast: probe is {probe!r}; allowed are 'second', 'least' and 'class-0' to 'class-{classes - 1}'"
        )
    if bool((targets == int(number)).any()):
        raise UsageError(
            f"contrast: probe is {probe!r}, which is the explained class of an image; choose another class"
        )
    return torch.full_like(targets, int(number))


def _kept(
    module: nn.Module,
    image: Tensor,
    true: Tensor,
    other: Tensor,
    weights: Tensor,
    plain: Tensor,
    target: int,
    probe: int,
    strength: float,
) -> Tensor:
    """Which weights lower the share of the target and raise that of the probe, (W,) bool; batched forward passes."""
    found = []
    for part in weights.to(image).split(rows_for(image[None])):
        combined = true - part.view(-1, 1, 1, 1) * other
        size = combined.abs().flatten(1).amax(1).clamp_min(torch.finfo(combined.dtype).tiny).view(-1, 1, 1, 1)
        shares = _shares(module, (image - strength * combined / size).clamp(0, 1))
        moved = (shares[:, target] < plain[target] * (1 - ROUNDING)) & (
            shares[:, probe] > plain[probe] * (1 + ROUNDING)
        )
        found.append(moved)
    return torch.cat(found).to(weights.device)


def _shares(module: nn.Module, images: Tensor) -> Tensor:
    """Class probabilities, (N, K) float64."""
    with torch.no_grad():
        return torch.softmax(module(images.to(precision(module))).double(), 1)
