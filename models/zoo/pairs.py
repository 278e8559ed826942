"""Recipe of the calibrated classifier of T-shirts and shirts, whose probabilities fill the whole range."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..data import ImageSet, fashion_mnist
from ..seeds import derive, generator, seeded
from ..training import Schedule, fit
from ..variants import PAIR, only
from .build import empty_network
from .catalogue import Member
from .classifiers import normaliser, scheduled, tensors
from .recipes import Trained

SCHEDULE = Schedule(epochs=10, optimiser="adamw", rate=2e-3, decay=1e-2, shift=1, smoothing=0.02)
KEPT = 4000
BINS = 10


def tshirt_shirt(
    found: Member, params: Mapping[str, str], data: ImageSet, *, epochs: int | None, log: Callable[[str], None]
) -> Trained:
    """Cross-entropy with smoothed labels, then one temperature fitted on 4,000 images kept from the training.

    The temperature is multiplied into the last layer, so that the softmax of the logits is calibrated as it is.

    Figures, on the 2,000 test images: accuracy, `calibration-error` (expected calibration error over ten bins of the
    probability of a shirt), `smallest-bin`, the number of images in the rarest bin, and `temperature`.

    Source: Guo et al. 2017 (temperature scaling).
    """
    schedule = scheduled(SCHEDULE, epochs)
    with seeded(derive(schedule.seed, "initial", found.name)):
        network = empty_network(found, params)
    images, labels = tensors(only(data, PAIR, "tshirt-shirt"))
    order = torch.randperm(len(images), generator=generator(schedule.seed, "kept"))
    held = min(KEPT, len(images) // 3)
    kept, used = order[:held], order[held:]
    fit(network, images[used], labels[used], schedule, normalise=normaliser(found), log=log)
    temperature = _temperature(_logits(network, found, images[kept]), labels[kept])
    last = network.get_submodule("fc2")
    with torch.no_grad():
        for parameter in last.parameters():
            parameter.div_(temperature)
    test, truth = tensors(only(fashion_mnist("test"), PAIR, "tshirt-shirt"))
    logits = _logits(network, found, test)
    counts = bin_counts(logits)
    log(f"images per tenth of the probability of a shirt: {counts.tolist()}")
    figures = {
        "accuracy": float((logits.argmax(1) == truth).float().mean()),
        "calibration-error": calibration_error(logits, truth),
        "smallest-bin": float(counts.min()),
        "temperature": temperature,
    }
    return Trained(network, figures, asdict(schedule), "Fashion-MNIST, 8,000 of 12,000 training images of two classes")


def bin_counts(logits: Tensor) -> Tensor:
    """Number of images in each tenth of the probability of class 1, (10,) int64; logits (N, 2)."""
    place = (logits.softmax(1)[:, 1] * BINS).long().clamp_max(BINS - 1)
    return torch.bincount(place, minlength=BINS)


def calibration_error(logits: Tensor, labels: Tensor) -> float:
    """Expected calibration error in [0, 1], lower is better: |share of class 1 - mean probability| over ten bins.

    Args:
        logits: (N, 2); labels: (N,) in {0, 1}.

    Source: Guo et al. 2017, equation 3, for the probability of one class.
    """
    probability = logits.softmax(1)[:, 1]
    place = (probability * BINS).long().clamp_max(BINS - 1)
    gaps = [
        float((labels[place == each].float().mean() - probability[place == each].mean()).abs() * (place == each).sum())
        for each in range(BINS)
        if bool((place == each).any())
    ]
    return sum(gaps) / len(labels)


def _logits(network: nn.Module, found: Member, images: Tensor) -> Tensor:
    with torch.no_grad():
        return torch.cat([network(normaliser(found)(part.float() / 255)) for part in images.split(500)])


def _temperature(logits: Tensor, labels: Tensor) -> float:
    """The temperature of least cross-entropy, sought on a logarithmic grid from 1/4 to 4."""
    grid = torch.logspace(-2, 2, 801, base=2.0).tolist()
    losses = [float(F.cross_entropy(logits / value, labels)) for value in grid]
    return float(grid[losses.index(min(losses))])
