"""Gradients averaged over reference images and points on the way from them: expected gradients, GradientSHAP.

All draws are keyed by (seed, image): results depend neither on the batch nor on global random state, and the trained and
the randomised network see the same references, points and noise.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from models.base import Subject
from models.naming import UsageError
from models.seeds import generator

from .base import Partial
from .controls import image_key
from .passes import gradient_of, network, precision, rows_for


@dataclass(frozen=True)
class Draws:
    """What was drawn for one image.

    Attributes:
        references: indices of reference images, (S,) int64, with replacement.
        points: places between reference (0) and image (1), (S,) float64, uniform.
        keys: seeds of the noise, S of them.
    """

    references: Tensor
    points: Tensor
    keys: tuple[tuple[str | int, ...], ...]


def expected_gradients(subject: Subject, images: Tensor, targets: Tensor, *, seed: int, samples: int = 25) -> Partial:
    """Mean of (x - x') df_c/dx at x' + a (x - x') over reference images x' and a ~ U(0, 1), (N, C, H, W), logits.

    Args:
        samples: pairs of reference and point per image, >= 1.

    Returns:
        The map with |sum R - (f(x) - mean f(x'))| / |f(x) - mean f(x')|, a Monte-Carlo error that is reported only.

    Source: Erion et al. 2021, eq. 2; Nuzzo 2020, eq. 4.34.
    """
    return _averaged(subject, images, targets, seed, samples, 0.0, "expected-gradients")


def gradient_shap(
    subject: Subject, images: Tensor, targets: Tensor, *, seed: int, samples: int = 25, sigma: float = 0.1
) -> Partial:
    """Expected gradients of noisy copies of the image, (N, C, H, W), logits.

    Args:
        samples: triples of reference, point and noise per image, >= 1.
        sigma: standard deviation of the noise in units of the input range [0, 1], >= 0.

    Returns:
        The map with its residual as for `expected_gradients`, which here includes the effect of the noise.

    Source: Lundberg and Lee 2017 as in captum's GradientShap: x is replaced by x + n both in the gradient and in x - x'.
    """
    if sigma < 0:
        raise UsageError(f"gradient-shap: sigma is {sigma:g}; a value >= 0 is needed")
    return _averaged(subject, images, targets, seed, samples, sigma, "gradient-shap")


def draws(subject: Subject, image: Tensor, seed: int, samples: int) -> Draws:
    """The references, points and noise keys of one image; fewer samples are a prefix of more."""
    key = image_key(image)
    picks = torch.rand(samples, 2, generator=generator(seed, "expected-gradients", key), dtype=torch.float64)
    references = (picks[:, 0] * len(subject.reference)).long().clamp_max(len(subject.reference) - 1)
    return Draws(references, picks[:, 1], tuple((seed, "gradient-shap", key, sample) for sample in range(samples)))


def noise_of(key: tuple[str | int, ...], shape: torch.Size) -> Tensor:
    """Standard normal noise of one sample."""
    base, *parts = key
    return torch.empty(shape).normal_(generator=generator(int(base), *parts))


def _averaged(
    subject: Subject, images: Tensor, targets: Tensor, seed: int, samples: int, sigma: float, name: str
) -> Partial:
    if samples < 1:
        raise UsageError(f"{name}: samples is {samples}; at least 1 is needed")
    module = network(subject)
    drawn = [draws(subject, image, seed, samples) for image in images]
    pairs = [(image, sample) for image in range(len(images)) for sample in range(samples)]
    values = torch.zeros_like(images)
    rows, kind = rows_for(images), precision(module)
    start = torch.zeros(len(images), dtype=torch.float64, device=images.device)
    for first in range(0, len(pairs), rows):
        batch = pairs[first : first + rows]
        owner = torch.tensor([image for image, _ in batch], device=images.device)
        x = images[owner]
        if sigma > 0:
            noise = [noise_of(drawn[image].keys[sample], images.shape[1:]) for image, sample in batch]
            x = x + sigma * torch.stack(noise).to(images)
        chosen = [int(drawn[image].references[sample]) for image, sample in batch]
        reference = subject.reference.load(chosen).to(images)
        points = torch.tensor([float(drawn[image].points[sample]) for image, sample in batch]).to(images)
        between = reference + points.view(-1, 1, 1, 1) * (x - reference)
        share = (x - reference) * gradient_of(module, between, targets[owner]).to(images) / samples
        values.index_add_(0, owner, share)
        start.index_add_(0, owner, _chosen(module, reference.to(kind), targets[owner]) / samples)
    end = torch.cat(
        [_chosen(module, x.to(kind), t) for x, t in zip(images.split(rows), targets.split(rows), strict=True)]
    )
    change = end - start
    miss = (values.flatten(1).sum(1, dtype=torch.float64) - change).abs()
    return Partial(values.float(), residual=miss / change.abs().clamp_min(1e-12))


def _chosen(module: torch.nn.Module, images: Tensor, targets: Tensor) -> Tensor:
    with torch.no_grad():
        logits: Tensor = module(images)
    return logits.gather(1, targets[:, None])[:, 0].double()
