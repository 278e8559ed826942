"""A tiny model and explainers that are quick, slow, broken or deadly, for tests of the harness; also a plug-in file."""

from __future__ import annotations

import os
import signal
import time

import torch
from torch import Tensor, nn

import explainers


class Net(nn.Module):
    """Two layers on 32x32 gray images."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, 4, 3, padding=1)
        self.relu = nn.ReLU()
        self.pool = nn.AvgPool2d(4)
        self.fc = nn.Linear(4 * 8 * 8, 10)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(self.pool(self.relu(self.conv(x))).flatten(1))


def model() -> nn.Module:
    """A network with fixed weights."""
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(7)
        return Net().eval()


def _gradient(subject, images: Tensor, targets: Tensor) -> Tensor:
    images = images.detach().requires_grad_()
    logits = subject.logits(images)
    return torch.autograd.grad(logits.gather(1, targets[:, None]).sum(), images)[0]


@explainers.register("toy-gradient", signed=True)
def toy_gradient(subject, images, targets, *, seed):
    """A gradient."""
    return _gradient(subject, images, targets)


@explainers.register("toy-noisy", signed=True, stochastic=True)
def toy_noisy(subject, images, targets, *, seed):
    """A gradient with a little noise."""
    noise = torch.randn(images.shape, generator=torch.Generator().manual_seed(seed))
    return _gradient(subject, images, targets) + 1e-3 * noise


@explainers.register("toy-slow", signed=True)
def toy_slow(subject, images, targets, *, seed):
    """A gradient that takes its time."""
    time.sleep(float(os.environ.get("TOY_SLEEP", "0.05")))
    return _gradient(subject, images, targets)


@explainers.register("toy-broken", signed=True)
def toy_broken(subject, images, targets, *, seed):
    """Raises."""
    raise RuntimeError("this explainer is broken")


@explainers.register("toy-deadly", signed=True)
def toy_deadly(subject, images, targets, *, seed):
    """Brings its process down."""
    os.kill(os.getpid(), signal.SIGKILL)


@explainers.register("toy-once", signed=True)
def toy_once(subject, images, targets, *, seed):
    """Brings its process down the first time."""
    mark = os.environ["TOY_MARK"]
    if not os.path.exists(mark):
        with open(mark, "w"):
            pass
        os.kill(os.getpid(), signal.SIGKILL)
    return _gradient(subject, images, targets)


@explainers.register("toy-greedy", signed=True)
def toy_greedy(subject, images, targets, *, seed):
    """Has memory for two images."""
    if len(images) > 2:
        raise torch.OutOfMemoryError("CUDA out of memory")
    return _gradient(subject, images, targets)


@explainers.register("toy-glutton", signed=True)
def toy_glutton(subject, images, targets, *, seed):
    """Has memory for nothing."""
    if os.environ["TOY_ERROR"] == "MemoryError":
        raise MemoryError
    raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes")


@explainers.register("toy-meddler", signed=True)
def toy_meddler(subject, images, targets, *, seed):
    """Changes the model."""
    with torch.no_grad():
        next(subject.model.parameters()).add_(1.0)
    return images


def not_a_module() -> str:
    """Not a model."""
    return "something else"
