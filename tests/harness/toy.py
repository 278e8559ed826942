"""A tiny model and explainers that are quick, slow, broken or deadly, for tests of the harness; also a plug-in file."""

from __future__ import annotations

import contextlib
import ctypes
import itertools
import os
import resource
import signal
import threading
import time
from pathlib import Path

import torch
from torch import Tensor, nn

import explainers.base


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


@explainers.register("toy-unbalanced", signed=True)
def toy_unbalanced(subject, images, targets, *, seed):
    """A gradient whose gate fails for the first image wherever the classifier is not the trained one."""
    gap = float((subject.model.fc.weight - model().fc.weight).detach().abs().sum())
    failed = torch.zeros(len(images), dtype=torch.bool)
    failed[0] = gap > 0
    residual = torch.where(failed, 0.25, 1e-7)
    return explainers.base.Partial(_gradient(subject, images, targets), residual=residual, failed=failed)


@explainers.register("toy-noisy", signed=True, stochastic=True)
def toy_noisy(subject, images, targets, *, seed):
    """A gradient with a little noise."""
    noise = torch.randn(images.shape, generator=torch.Generator().manual_seed(seed))
    return _gradient(subject, images, targets) + 1e-3 * noise


@explainers.register("toy-slow", signed=True)
def toy_slow(subject, images, targets, *, seed):
    """A gradient that takes its time, and counts its calls by process in the file TOY_CALLS."""
    calls = os.environ.get("TOY_CALLS")
    if calls:
        with Path(calls).open("a") as file:
            file.write(f"{os.getpid()}\n")
        wait_for_others(Path(calls))
    time.sleep(float(os.environ.get("TOY_SLEEP", "0.05")))
    hold()
    return _gradient(subject, images, targets)


def hold() -> None:
    """Do not come back once a run folder has so many records as TOY_HOLD (FOLDER:NUMBER) says."""
    folder, _, count = os.environ.get("TOY_HOLD", "").rpartition(":")
    if folder and len(list(Path(folder).glob("records/*/*.parquet"))) >= int(count):
        time.sleep(1000)


def wait_for_others(calls: Path) -> None:
    """Return when as many processes as TOY_TOGETHER says have written into a file, or after a minute."""
    until = time.monotonic() + 60
    while len(set(calls.read_text().split())) < int(os.environ.get("TOY_TOGETHER", "1")) and time.monotonic() < until:
        time.sleep(0.02)


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
    """Has memory for two images, or as many as TOY_ROWS says."""
    if len(images) > int(os.environ.get("TOY_ROWS", "2")):
        raise torch.OutOfMemoryError("CUDA out of memory")
    return _gradient(subject, images, targets)


@explainers.register("toy-glutton", signed=True)
def toy_glutton(subject, images, targets, *, seed):
    """Has memory for nothing."""
    if os.environ["TOY_ERROR"] == "MemoryError":
        raise MemoryError
    raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes")


@explainers.register("toy-hungry", signed=True)
def toy_hungry(subject, images, targets, *, seed):
    """A gradient that takes TOY_HUNGER megabytes per image, in a process that the system gives 100 megabytes more, no further."""
    before = resource.getrlimit(resource.RLIMIT_AS)
    held = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (held + (100 << 20), before[1]))
    try:
        taken = torch.ones(len(images), int(os.environ.get("TOY_HUNGER", "40")) << 18)
        return _gradient(subject, images, targets) * taken[0, 0]
    finally:
        resource.setrlimit(resource.RLIMIT_AS, before)


@explainers.register("toy-meddler", signed=True)
def toy_meddler(subject, images, targets, *, seed):
    """Changes the model."""
    with torch.no_grad():
        next(subject.model.parameters()).add_(1.0)
    return images


@explainers.register("toy-sleeper", signed=True)
def toy_sleeper(subject, images, targets, *, seed):
    """Never comes back, in Python; with TOY_HURRY the clock that will interrupt it rings at once."""
    if "TOY_HURRY" in os.environ:
        signal.setitimer(signal.ITIMER_REAL, 0.1, 1.0)
    while True:
        time.sleep(0.1)


@explainers.register("toy-stubborn", signed=True)
def toy_stubborn(subject, images, targets, *, seed):
    """Never comes back, and lets nothing interrupt it."""
    while True:
        with contextlib.suppress(BaseException):
            time.sleep(0.1)


@explainers.register("toy-native", signed=True)
def toy_native(subject, images, targets, *, seed):
    """Never comes back, in native code that keeps the interpreter to itself."""
    sum(itertools.repeat(0))


@explainers.register("toy-exit", signed=True)
def toy_exit(subject, images, targets, *, seed):
    """Ends its process without a word."""
    os._exit(0)


@explainers.register("toy-crash", signed=True)
def toy_crash(subject, images, targets, *, seed):
    """Fails in native code."""
    ctypes.string_at(0)


@explainers.register("toy-abort", signed=True)
def toy_abort(subject, images, targets, *, seed):
    """Fails an assertion of native code."""
    os.abort()


@explainers.register("toy-quitter", signed=True)
def toy_quitter(subject, images, targets, *, seed):
    """Ends the program in the way of Python."""
    raise SystemExit("goodbye")


@explainers.register("toy-loud", signed=True)
def toy_loud(subject, images, targets, *, seed):
    """A gradient, and two megabytes of talk on every channel."""
    print("x" * 1_000_000)
    os.write(1, b"y" * 500_000)
    os.write(2, b"z" * 500_000)
    return _gradient(subject, images, targets)


@explainers.register("toy-leaky", signed=True)
def toy_leaky(subject, images, targets, *, seed):
    """A gradient, and a thread that never ends."""
    threading.Thread(target=time.sleep, args=(10_000,), daemon=False).start()
    return _gradient(subject, images, targets)


class _Bin:
    """Its destructor is where a Ctrl-C arrives, and Python goes on after what a destructor raises."""

    def __del__(self) -> None:
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(0.01)


@explainers.register("toy-unlucky", signed=True)
def toy_unlucky(subject, images, targets, *, seed):
    """A gradient, and the only Ctrl-C of the user is swallowed."""
    _Bin()
    return _gradient(subject, images, targets)


@explainers.register("toy-forking", signed=True)
def toy_forking(subject, images, targets, *, seed):
    """A gradient, twice: the process is split and both halves come back."""
    os.fork()
    return _gradient(subject, images, targets)


def not_a_module() -> str:
    """Not a model."""
    return "something else"
