"""Small subjects for the perturbation tests: three channels, a network with a bend, and a linear one."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from bench.checks.perturbation.curves import Ends, Scene, clean, curve, ends
from bench.checks.perturbation.orders import permutations, ranks, turns
from bench.checks.perturbation.replacements import NAMES, Replacement, field, replacement
from models import load
from models.base import Subject

SIDE, STEPS, COUNT = 8, 8, 5
KEYS = [f"image-{index}" for index in range(COUNT)]


class Images:
    """Fixed random images in [0, 1]; labels are given or zero."""

    def __init__(self, channels: int = 3, count: int = COUNT, side: int = SIDE, labels: Any = None) -> None:
        self.name = "small/test"
        draw = torch.Generator().manual_seed(5)
        self.images = torch.rand(count, channels, side, side, generator=draw)
        self.labels = np.zeros(count, dtype=np.int64) if labels is None else np.asarray(labels, dtype=np.int64)
        self.ids = [f"{self.name}/{index:04d}" for index in range(count)]
        self.class_names = tuple("abc")
        self.shape = (channels, side, side)

    def __len__(self) -> int:
        return len(self.ids)

    def load(self, indices: Any) -> Tensor:
        return self.images[list(indices)]


def small(channels: int = 3, count: int = COUNT, side: int = SIDE, labels: Any = None) -> Subject:
    """A convolution, a bend and a linear layer with fixed weights; labels as predicted where none are given."""
    with torch.random.fork_rng(devices=[]):
        net = nn.Sequential(
            nn.Conv2d(channels, 4, 3, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(4 * side * side, 3)
        )
    draw = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=draw) * 0.3)
    data = Images(channels, count, side, labels)
    made = Subject(name="small", model=net.eval(), data=data, reference=Images(channels, 20, side))  # type: ignore[arg-type]
    if labels is None:
        data.labels = made.predict(data.images).numpy()
    return made


def scene_of(subject: Subject, steps: int = STEPS, rows: int = 64) -> Scene:
    images = subject.data.load(range(len(subject.data)))
    return Scene(subject.module, images, subject.predict(images), steps, rows)


def made(name: str, subject: Subject, draws: int = 5) -> Replacement:
    images = subject.data.load(range(len(subject.data)))
    if name == "counterfactual":
        return field(name, images, [1 - images.flip(0)])
    return replacement(name, subject, images, subject.data.ids, 3, draws)


def both(
    scene: Scene, chosen: Replacement, maps: Tensor, limits: Ends | None = None, base: int = 0
) -> tuple[Tensor, Tensor]:
    """MoRF and LeRF curves of maps (N, H, W)."""
    limits = ends(scene, chosen, clean(scene)) if limits is None else limits
    keys = [f"image-{index}" for index in range(len(maps))]
    ties = permutations(keys, maps[0].numel(), base, "ties")
    shape = (maps.shape[1], maps.shape[2])
    when = [turns(ranks(each, ties), scene.steps, 1, shape) for each in (maps, -maps)]
    return curve(scene, chosen, when[0], limits), curve(scene, chosen, when[1], limits)


def drawn(count: int = COUNT, side: int = SIDE, seed: int = 0) -> Tensor:
    return torch.randn(count, side, side, generator=torch.Generator().manual_seed(seed))


QUANTUS = ("toy", "fmnist-vgg")
"""The models whose curves Quantus has drawn; see tests/performance/quantus_values.py."""


def flipped(name: str) -> tuple[Scene, Tensor]:
    """The images, the model and the random maps that Quantus was asked about; no map has ties."""
    if name == "toy":
        subject = small(channels=1)
        subject.data.images[:, 0, 0, 0] = 0.0  # type: ignore[attr-defined]
        return scene_of(subject, steps=16), drawn(seed=9)
    subject = load(name)
    images, _ = subject.sample(4, seed=0)
    return Scene(subject.module, images, subject.predict(images), 32, 64), drawn(4, images.shape[-1], seed=9)


__all__ = [
    "COUNT", "KEYS", "NAMES", "QUANTUS", "SIDE", "STEPS", "Images", "both", "drawn", "flipped", "made", "scene_of", "small",
]  # fmt: skip
