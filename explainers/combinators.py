"""SmoothGrad, its square and VarGrad over any explainer: moments of the inner maps over noisy copies of the image.

Noise is keyed by (image, sample): results do not depend on the batch, and the trained and the randomised network see the
same noise. The three share their samples within `shared_passes`. One inner map that has failed makes the result of its
image a failure; the residual is the largest of the inner ones.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from models.base import Subject
from models.naming import UsageError
from models.seeds import generator

from .base import Explainer, Partial
from .controls import image_key
from .memory import scarce
from .passes import chunks, fingerprint, remembered, rows_for
from .reuse import made_from


def smoothgrad(
    subject: Subject,
    images: Tensor,
    targets: Tensor,
    *,
    seed: int,
    inner: Explainer,
    samples: int = 25,
    sigma: float = 0.15,
) -> Partial:
    """Mean of the inner maps over `samples` noisy copies, (N, 1|C, H, W). Source: Smilkov et al. 2017, section 3."""
    moments = _moments(subject, images, targets, seed, inner, samples, sigma)
    return moments.partial(moments.mean)


def smoothgrad_squared(
    subject: Subject,
    images: Tensor,
    targets: Tensor,
    *,
    seed: int,
    inner: Explainer,
    samples: int = 25,
    sigma: float = 0.15,
) -> Partial:
    """Mean of the squared inner maps, (N, 1|C, H, W), >= 0. Source: Hooker et al. 2019, section 3."""
    moments = _moments(subject, images, targets, seed, inner, samples, sigma)
    return moments.partial(moments.mean.square() + moments.variance)


def vargrad(
    subject: Subject,
    images: Tensor,
    targets: Tensor,
    *,
    seed: int,
    inner: Explainer,
    samples: int = 25,
    sigma: float = 0.15,
) -> Partial:
    """Variance of the inner maps (divided by the number of samples), (N, 1|C, H, W), >= 0. Source: Adebayo 2018b."""
    moments = _moments(subject, images, targets, seed, inner, samples, sigma)
    return moments.partial(moments.variance)


@dataclass(frozen=True)
class Moments:
    """Moments of inner maps over the samples.

    Attributes:
        mean, variance: (N, 1|C, H, W).
        failed: (N,) bool, images with an inner map that failed.
        residual: (N,) largest relative balance error of the inner maps, None where they have none.
    """

    mean: Tensor
    variance: Tensor
    failed: Tensor
    residual: Tensor | None

    def partial(self, values: Tensor) -> Partial:
        """These values with what the inner maps say about their own balance."""
        return Partial(values, residual=self.residual, failed=self.failed)


def noisy(images: Tensor, seed: int, sample: int, sigma: float) -> Tensor:
    """Images plus the noise of one sample, (N, C, H, W); sigma is in units of the input range [0, 1]."""
    draws = [
        torch.empty(image.shape).normal_(generator=generator(seed, "noise", image_key(image), sample))
        for image in images
    ]
    return images + sigma * torch.stack(draws).to(images)


def _moments(
    subject: Subject, images: Tensor, targets: Tensor, seed: int, inner: Explainer, samples: int, sigma: float
) -> Moments:
    """Mean and variance over the samples, by Welford's update: no cancellation, no negative variance."""
    if samples < 2 or sigma <= 0:
        raise UsageError(f"samples is {samples} and sigma {sigma}; at least 2 samples and a sigma above 0 are needed")

    def compute() -> Moments:
        parts = [_chunk_moments(subject, x, t, seed, inner, samples, sigma) for x, t in chunks(images, targets)]
        residuals = [part.residual for part in parts if part.residual is not None]
        return Moments(
            torch.cat([part.mean for part in parts]),
            torch.cat([part.variance for part in parts]),
            torch.cat([part.failed for part in parts]),
            torch.cat(residuals) if len(residuals) == len(parts) else None,
        )

    key = ("moments", id(subject), fingerprint(images), fingerprint(targets), seed, inner.name, samples, sigma)
    return remembered(key, (subject, images, targets), compute)


def _chunk_moments(
    subject: Subject, images: Tensor, targets: Tensor, seed: int, inner: Explainer, samples: int, sigma: float
) -> Moments:
    mean = total = torch.zeros(())
    failed = torch.zeros(len(images), dtype=torch.bool, device=images.device)
    residual = None
    per_pass = max(1, rows_for(images) // len(images))
    done = 0
    for first in range(0, samples, per_pass):
        count = min(per_pass, samples - first)
        batch = torch.cat([noisy_copy(images, seed, first + s, sigma) for s in range(count)])
        with made_from(images, ("noise", seed, sigma, samples), first, batch):
            made = Partial.of(inner.raw(subject, batch, targets.repeat(count), seed))
        values = made.attribution.float()
        for each in values.view(count, len(images), *values.shape[1:]):
            done += 1
            change = each - mean
            mean = mean + change / done
            total = total + change * (each - mean)
        if made.failed is not None:
            failed = failed | made.failed.to(failed.device).view(count, -1).any(0)
        if made.residual is not None:
            worst = made.residual.view(count, -1).amax(0)
            residual = worst if residual is None else torch.maximum(residual, worst)
    return Moments(mean, total / samples, failed, residual)


def noisy_copy(images: Tensor, seed: int, sample: int, sigma: float) -> Tensor:
    """`noisy`, remembered within `shared_passes` (the same noise serves every network) where memory is plenty."""
    if scarce():
        return noisy(images, seed, sample, sigma)
    key = ("noisy", fingerprint(images), seed, sample, sigma)
    return remembered(key, (images,), lambda: noisy(images, seed, sample, sigma))
