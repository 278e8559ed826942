"""Recipes of the zoo's ten-class classifiers."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, replace

import torch
from torch import Tensor

from ..data import ImageSet, fashion_mnist
from ..seeds import derive, seeded
from ..training import Schedule, accuracy, fit
from .build import empty_network
from .catalogue import Member, weights_name
from .recipes import Trained

SCHEDULES = {
    "fmnist-vgg-batch": Schedule(epochs=8, rate=0.1),
    "fmnist-vgg-none": Schedule(epochs=8, optimiser="adamw", rate=1e-3, decay=1e-2),
}


def vgg(
    found: Member, params: Mapping[str, str], data: ImageSet, *, epochs: int | None, log: Callable[[str], None]
) -> Trained:
    """Cross-entropy on all training images, shifted and mirrored, with a one-cycle learning rate."""
    schedule = scheduled(SCHEDULES[weights_name(found, params)], epochs)
    with seeded(derive(schedule.seed, "initial")):
        network = empty_network(found, params)
    images, labels = tensors(data)
    fit(network, images, labels, schedule, normalise=normaliser(found), log=log)
    reached = accuracy(network, *tensors(fashion_mnist("test")), normaliser(found))
    return Trained(network, {"accuracy": reached}, asdict(schedule))


def scheduled(schedule: Schedule, epochs: int | None) -> Schedule:
    """The schedule, with another number of passes where one is given."""
    return schedule if epochs is None else replace(schedule, epochs=epochs)


def tensors(data: ImageSet) -> tuple[Tensor, Tensor]:
    """All images (N, C, H, W) uint8 and labels (N,) int64 of a data set."""
    return torch.from_numpy(data.read(range(len(data)))), torch.from_numpy(data.labels)


def normaliser(found: Member) -> Callable[[Tensor], Tensor]:
    """What maps images in [0, 1] to what a member's network takes."""
    mean, std = found.mean[0], found.std[0]
    return lambda images: (images - mean) / std
