"""Toy mosaics, a network that finds their items by templates, and explainers whose answers are known."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from models.base import Subject
from models.data import ImageSet
from models.truth.mosaic import Mosaics, mosaic_set

from .fakes import CLASSES as FEW
from .fakes import SIDE, Answer, Card, Function
from .fakes import subject as fake

TILE, CLASSES = 8, 6
NAMES = tuple("abcdef")


def templates() -> np.ndarray:
    """One binary tile per class, (6, 1, 8, 8); each pixel belongs to one class at most."""
    owner = np.random.default_rng(3).integers(0, CLASSES, (TILE, TILE))
    return (owner[None, None] == np.arange(CLASSES)[:, None, None, None]).astype(np.float32)


def items() -> ImageSet:
    """Four items per class, of different brightness."""
    brightness = np.array([0.7, 0.8, 0.9, 1.0], np.float32)
    pixels = (templates()[:, None] * brightness[None, :, None, None, None]).reshape(-1, 1, TILE, TILE)
    labels = np.repeat(np.arange(CLASSES), 4)
    ids = [f"toy/{index:02d}" for index in range(len(labels))]
    return ImageSet("toy", labels, ids, NAMES, (1, TILE, TILE), lambda indices: pixels[list(indices)])


def mosaics(count: int = 64, per_place: bool = False) -> ImageSet:
    """Mosaics of them, 16x16, with their truth."""
    source = items()
    made = Mosaics(source, lambda item: source.read([item])[0], (2 * TILE, 2 * TILE), "toys/test", per_place=per_place)
    names = tuple(f"{place}{name}" for place in range(4) for name in NAMES) if per_place else NAMES
    return mosaic_set(made, count, made.explained, "difull" if per_place else "mosaic", names)


class Finder(nn.Module):
    """Matches a template per class with every cell; a class is found where its template matches, and nowhere else."""

    def __init__(self, blind: int | None = None, per_place: bool = False) -> None:
        super().__init__()
        # Cells begin at multiples of half a tile.
        self.conv = nn.Conv2d(1, CLASSES, TILE, stride=TILE if per_place else TILE // 2)
        self.head = nn.Linear(CLASSES, CLASSES)
        self.per_place = per_place
        size = templates().sum((1, 2, 3), keepdims=True)
        with torch.no_grad():
            self.conv.weight.copy_(torch.from_numpy(templates() / size - (1 - templates()) / (TILE * TILE)))
            self.conv.bias.zero_()
            self.head.weight.copy_(torch.eye(CLASSES))
            self.head.bias.fill_(-0.5)
            if blind is not None:
                self.head.bias[blind] = -9.0

    def forward(self, x: Tensor) -> Tensor:
        found = torch.relu(self.conv(x))
        if self.per_place:
            return self.head(found.flatten(2).transpose(1, 2)).flatten(1)
        return self.head(found.flatten(2).amax(2))


def finder(data: ImageSet | None = None, **wanted: Any) -> Subject:
    """A subject around it."""
    with torch.random.fork_rng(devices=[]):
        net = Finder(**wanted).eval()
    chosen = mosaics() if data is None else data
    return Subject(name="finder", model=net, data=chosen, reference=chosen)


def plain() -> Subject:
    """A subject with random weights around images of which nothing is known."""
    rng = np.random.default_rng(7)
    pixels = rng.random((24, 1, SIDE, SIDE)).astype(np.float32)
    labels = rng.integers(0, FEW, 24)
    ids = [f"plain/{index:04d}" for index in range(24)]
    data = ImageSet("plain", labels, ids, NAMES[:FEW], (1, SIDE, SIDE), lambda indices: pixels[list(indices)])
    return replace(fake(), data=data, reference=data)


@dataclass(frozen=True)
class ClassCard(Card):
    requires: str = ""


@dataclass
class Plain:
    """An explainer made of a function (subject, images, targets, seed) -> (N, C, H, W)."""

    name: str
    function: Function
    info: ClassCard = field(default_factory=ClassCard)
    calls: list[int] = field(default_factory=list)

    def anchored(self, trained: Subject) -> Plain:
        return self

    def explain(
        self, subject: Subject, images: Tensor, targets: Tensor, seed: int = 0, batch_size: int | None = None
    ) -> Answer:
        self.calls.append(len(images))
        return Answer(self.function(subject, images, targets, seed), ["ok"] * len(images))


def oracle(subject: Subject, images: Tensor, targets: Tensor, seed: int) -> Tensor:
    if subject.evidence is None:
        raise RuntimeError("no evidence")
    return subject.evidence(images, targets)


def broken(subject: Subject, images: Tensor, targets: Tensor, seed: int) -> Tensor:
    raise RuntimeError("no rule for this network")


def vandal(subject: Subject, images: Tensor, targets: Tensor, seed: int) -> Tensor:
    with torch.no_grad():
        next(iter(subject.model.parameters())).add_(1.0)
    return images.clone()


def by_image(subject: Subject, images: Tensor, targets: Tensor, seed: int) -> Tensor:
    """Noise that depends on the image and the seed, not on the class, so that a batch can be cut anywhere."""
    keys = [int(float(image.sum()) * 1e4) + seed % 1000 for image in images]
    return torch.stack([torch.randn(image.shape, generator=torch.Generator().manual_seed(key))
                        for key, image in zip(keys, images, strict=True)])  # fmt: skip
