"""A small subject and small explainers that follow the shared interfaces, for tests of the walks."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.base import Subject
from models.stages import Stage

SIDE = 16
CLASSES = 4


class Images:
    """24 fixed images with labels."""

    def __init__(self, name: str = "fakes/test") -> None:
        self.name = name
        rng = np.random.default_rng(7)
        self.images = torch.from_numpy(rng.random((24, 1, SIDE, SIDE)).astype(np.float32))
        self.labels = rng.integers(0, CLASSES, 24).astype(np.int64)
        self.ids = [f"{name}/{index:04d}" for index in range(24)]
        self.class_names = tuple("abcd")
        self.shape = (1, SIDE, SIDE)

    def __len__(self) -> int:
        return len(self.ids)

    def load(self, indices: Any) -> Tensor:
        return self.images[list(indices)]


class Net(nn.Module):
    """Three stages; module, functional and in-place ReLUs; a batch norm."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, 6, 3, padding=1)
        self.norm = nn.BatchNorm2d(6)
        self.act = nn.ReLU()
        self.hidden = nn.Linear(6 * SIDE * SIDE // 16, 20)
        self.head = nn.Linear(20, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        x = F.avg_pool2d(self.act(self.norm(self.conv(x))), 4).flatten(1)
        x = F.relu(self.hidden(x), inplace=True)
        return self.head(x)


def subject(seed: int = 0) -> Subject:
    """A fresh fake subject with fixed weights."""
    torch_generator = torch.Generator().manual_seed(seed)
    with torch.random.fork_rng(devices=[]):
        net = Net().eval()
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=torch_generator) * 0.3)
    data = Images()
    return Subject(name="fake", model=net, data=data, reference=Images("fakes/train"))  # type: ignore[arg-type]


STAGES = (Stage(1, "head", None), Stage(2, "hidden", None), Stage(3, "conv", "norm"))


@dataclass(frozen=True)
class Card:
    signed: bool = True
    stochastic: bool = False
    channels: str = "sum"
    amortised: bool = False


@dataclass
class Answer:
    attribution: Tensor
    status: list[str]
    counterfactual: Tensor | None = None
    residual: Tensor | None = None

    def map(self, mode: str = "signed") -> Tensor:
        return self.attribution.sum(1)


Function = Callable[[Subject, Tensor, Tensor, int], Tensor]


@dataclass
class Fake:
    """An explainer made of a function (subject, images, targets, seed) -> (N, C, H, W)."""

    name: str
    function: Function
    info: Card = field(default_factory=Card)
    failed: tuple[int, ...] = ()
    seeds: list[int] = field(default_factory=list)
    targets: list[list[int]] = field(default_factory=list)
    calls: int = 0

    def explain(
        self, subject: Subject, images: Tensor, targets: Tensor, seed: int = 0, batch_size: int | None = None
    ) -> Answer:
        self.calls += 1
        self.seeds.append(seed)
        self.targets.append(targets.tolist())
        values = self.function(subject, images, targets, seed)
        return Answer(values, ["failed" if index in self.failed else "ok" for index in range(len(values))])


def gradient(model: Subject, images: Tensor, targets: Tensor, seed: int) -> Tensor:
    x = images.clone().requires_grad_(True)
    chosen = model.logits(x).gather(1, targets[:, None]).sum()
    return torch.autograd.grad(chosen, x)[0]


def noise(model: Subject, images: Tensor, targets: Tensor, seed: int) -> Tensor:
    return torch.randn(images.shape, generator=torch.Generator().manual_seed(seed))


def copied(model: Subject, images: Tensor, targets: Tensor, seed: int) -> Tensor:
    return images.clone()
