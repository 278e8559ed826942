"""Explainers made of ordinary gradients: gradient, saliency, input x gradient, integrated gradients."""

from __future__ import annotations

from collections.abc import Hashable

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from models.base import Subject
from models.naming import UsageError, near

from .base import Partial
from .passes import chunks, gradient, input_gradient, logits_of, network, precision, rows_for
from .reuse import made_from

INCOMPLETE = 0.1
"""Share of its gross sum by which integrated gradients may miss f(x) - f(x0).

On the shipped classifier, trained and with random layers, 50 nodes leave 0.5% in the median and 5% at most, 10 nodes up to
20%: between two nodes the gradient of a network of ReLUs jumps, and no quadrature sees where.
"""
BASELINES = ("black", "white", "mean", "blur")


def gradient_map(subject: Subject, images: Tensor, targets: Tensor, *, seed: int) -> Tensor:
    """df_c/dx, (N, C, H, W), signed, logits per unit of intensity. Source: Simonyan et al. 2014, section 3."""
    return gradient(subject, images, targets)


def saliency(subject: Subject, images: Tensor, targets: Tensor, *, seed: int) -> Tensor:
    """|df_c/dx|, (N, C, H, W), non-negative. Source: Simonyan et al. 2014, section 3.1."""
    return gradient(subject, images, targets).abs()


def input_x_gradient(subject: Subject, images: Tensor, targets: Tensor, *, seed: int) -> Tensor:
    """x * df_c/dx, (N, C, H, W), logits. Source: Shrikumar et al. 2016."""
    return images * gradient(subject, images, targets)


def integrated_gradients(
    subject: Subject, images: Tensor, targets: Tensor, *, seed: int, steps: int = 50, baseline: str = "black"
) -> Partial:
    """Gradients integrated from a baseline to the image with Gauss-Legendre nodes, (N, C, H, W), logits.

    Args:
        steps: nodes of the quadrature, >= 2.
        baseline: `black`, `white`, `mean` (of the reference images, per pixel) or `blur` (15x15 Gaussian blur).

    Returns:
        The attribution with |sum R - (f(x) - f(x0))| per image, relative to the larger of |f(x) - f(x0)| and sum |R|: on
        random weights the change of the logit nearly cancels, and says nothing of the size of the map. More than 10% is
        failed: take more steps.

    Source: Sundararajan et al. 2017, eq. 1.
    """
    if steps < 2:
        raise UsageError(f"integrated-gradients: steps is {steps}; at least 2 are needed")
    module = network(subject)
    start = baseline_images(subject, images, baseline)
    kind, rows = precision(module), rows_for(images)
    way = ("integrated-gradients", steps, baseline)
    parts = [
        _along(subject, x, x0.to(kind), t, steps, way)
        for (x, t), (x0, _) in zip(chunks(images, targets), chunks(start, targets), strict=True)
    ]
    values = torch.cat(parts).float()
    ends = [torch.cat([logits_of(subject, part) for part in images.split(rows)])]
    with made_from(images, way, "start", start):
        ends.append(torch.cat([logits_of(subject, part) for part in start.split(rows)]))
    change = (ends[0] - ends[1]).gather(1, targets[:, None])[:, 0]
    flat = values.flatten(1)
    size = change.abs().maximum(flat.abs().sum(1)).clamp_min(1e-12)
    residual = (flat.sum(1) - change).abs() / size
    return Partial(values, residual=residual, failed=~(residual <= INCOMPLETE))


def _along(subject: Subject, images: Tensor, start: Tensor, targets: Tensor, steps: int, way: Hashable) -> Tensor:
    """(x - x0) times the mean gradient on the way from x0 to x, (n, C, H, W), in the type of the network.

    Args:
        images: (n, C, H, W), at most `rows_for` of them.
        start: (n, C, H, W), x0.
        way: names the baselines and the steps.
    """
    module = network(subject)
    end = images.to(start.dtype)
    nodes, weights = (torch.from_numpy(part) / 2 for part in np.polynomial.legendre.leggauss(steps))
    total = torch.zeros_like(start)
    count = max(1, rows_for(images) // len(images))
    for first in range(0, steps, count):
        places = (nodes[first : first + count] + 0.5).to(start).view(-1, 1, 1, 1, 1)
        batch = (start + places * (end - start)).flatten(0, 1)
        with made_from(images, way, first, batch):
            found = input_gradient(subject, module, batch, targets.repeat(len(places)))
        share = weights[first : first + count].to(start)
        total += torch.einsum("s,snchw->nchw", share, found.view(len(places), *start.shape))
    return (end - start) * total


def baseline_images(subject: Subject, images: Tensor, kind: str) -> Tensor:
    """The baseline of each image, (N, C, H, W) in [0, 1]; frozen per image, never redrawn.

    Args:
        kind: `black`, `white`, `mean` or `blur`.

    Raises:
        UsageError: another kind.
    """
    if kind == "black":
        return torch.zeros_like(images)
    if kind == "white":
        return torch.ones_like(images)
    if kind == "mean":
        count = min(128, len(subject.reference))
        return subject.reference.load(range(count)).mean(0, keepdim=True).to(images).expand_as(images).contiguous()
    if kind == "blur":
        return blurred(images, 15)
    raise UsageError(f"baseline is {kind!r}; allowed are {', '.join(BASELINES)}{near(kind, BASELINES)}")


def blurred(images: Tensor, size: int) -> Tensor:
    """Gaussian blur with a size x size window, sigma = size / 5 pixels, borders replicated; (N, C, H, W)."""
    offsets = torch.arange(size, dtype=images.dtype, device=images.device) - size // 2
    window = torch.exp(-0.5 * (offsets / (size / 5)) ** 2)
    window = (window / window.sum()).view(1, 1, -1)
    n, c, h, w = images.shape
    padded = F.pad(images.reshape(n * c, 1, h, w), [size // 2] * 4, mode="replicate")
    rows = F.conv2d(padded, window[..., None])
    return F.conv2d(rows, window[:, :, None]).reshape(n, c, h, w)
