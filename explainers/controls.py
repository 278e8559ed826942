"""Reference explainers whose verdicts are known beforehand: the benchmark tests itself with them."""

from __future__ import annotations

import hashlib

import torch
import torch.nn.functional as F
from torch import Tensor

from models.base import Subject, state_digest
from models.seeds import generator

from .base import ExplainerError
from .passes import remembered


def input_image(subject: Subject, images: Tensor, targets: Tensor, *, seed: int) -> Tensor:
    """The image itself, (N, C, H, W) in [0, 1]."""
    return images.clone()


def edge_detector(subject: Subject, images: Tensor, targets: Tensor, *, seed: int) -> Tensor:
    """Magnitude of the Sobel derivative of each channel, (N, C, H, W), >= 0."""
    kernel = torch.tensor(
        [[1.0, 0.0, -1.0], [2.0, 0.0, -2.0], [1.0, 0.0, -1.0]], device=images.device, dtype=images.dtype
    )
    n, c, h, w = images.shape
    padded = F.pad(images.reshape(n * c, 1, h, w), (1, 1, 1, 1), mode="replicate")
    both = F.conv2d(padded, torch.stack([kernel, kernel.T])[:, None])
    return both.square().sum(1).sqrt().reshape(n, c, h, w)


def constant(subject: Subject, images: Tensor, targets: Tensor, *, seed: int) -> Tensor:
    """One everywhere, (N, 1, H, W)."""
    return torch.ones_like(images[:, :1])


def random_noise(subject: Subject, images: Tensor, targets: Tensor, *, seed: int) -> Tensor:
    """Standard normal noise, (N, 1, H, W), new for every seed, network and image, so that a run still repeats exactly."""
    return _noise(images, f"call-{_digest(subject)}-{seed}")


def random_by_model(subject: Subject, images: Tensor, targets: Tensor, *, seed: int) -> Tensor:
    """Standard normal noise keyed by the image and the weights, (N, 1, H, W)."""
    return _noise(images, _digest(subject))


def centre(subject: Subject, images: Tensor, targets: Tensor, *, seed: int) -> Tensor:
    """A Gaussian blob in the middle, standard deviation one sixth of the side, (N, 1, H, W) in (0, 1]."""
    height, width = images.shape[2:]
    y = (torch.arange(height, device=images.device) - (height - 1) / 2) / (height / 6)
    x = (torch.arange(width, device=images.device) - (width - 1) / 2) / (width / 6)
    blob = torch.exp(-0.5 * (y[:, None] ** 2 + x[None, :] ** 2))
    return blob.expand(len(images), 1, height, width).clone()


def oracle(subject: Subject, images: Tensor, targets: Tensor, *, seed: int) -> Tensor:
    """The planted evidence, (N, 1, H, W) in {0, 1}.

    Raises:
        ExplainerError: the subject's data have no planted evidence.
    """
    truth = subject.data.truth
    evidence = subject.evidence or (truth and truth.evidence)
    if evidence is None:
        raise ExplainerError(f"oracle needs planted evidence, which the data of {subject.name} do not have")
    return evidence(images, targets)


def _digest(subject: Subject) -> str:
    """Digest of the weights, once for the explainers that share passes."""
    return remembered(("digest", id(subject)), (subject,), lambda: state_digest(subject.model))


def image_key(image: Tensor) -> str:
    """sha256 of an image's pixels, so that noise depends on the image and not on its place in a batch."""
    return hashlib.sha256(image.detach().cpu().contiguous().float().numpy().tobytes()).hexdigest()


def _noise(images: Tensor, key: str) -> Tensor:
    shape = (1, *images.shape[2:])
    drawn = [torch.empty(shape).normal_(generator=generator(0, key, image_key(image))) for image in images]
    return torch.stack(drawn).to(images.device)
