"""Cost of relevance maps in forward-backward passes of the plain network: `python tests/performance/relevance_cost.py`.

Processor time of one thread, the least of five repetitions, 64x64 images of noise (32x32 on the shipped classifier). In
brackets: how much the gate (booking what is absorbed, and the balance of the map) adds to the rest, over ten repetitions.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import nn

import models
from explainers import relevance
from explainers.passes import chunks, gradient_of, network, shared_passes
from explainers.relevance import Way, _propagated, propagated
from explainers.rules.books import Ledger
from explainers.rules.propagation import AlphaBeta, Epsilon, Excitation, RelativeAttributing
from models.adapters import from_tensor
from models.base import Subject

WAYS = {
    "lrp-a1b0": Way("lrp", AlphaBeta(1.0, 0.0), "abs"),
    "lrp-a2b1": Way("lrp", AlphaBeta(2.0, 1.0), "abs"),
    "lrp-epsilon": Way("lrp", Epsilon(0.01), "abs"),
    "deep-taylor": Way("deep-taylor", AlphaBeta(1.0, 0.0), "abs", boxed=True),
    "excitation-backprop": Way("excitation-backprop", Excitation(False), "one"),
    "rap": Way("rap", RelativeAttributing("B"), "abs", boxed=True),
    "lrp-a9b8": Way("lrp", AlphaBeta(9.0, 8.0), "abs", double=True),
}


def subject_of(name: str) -> Subject:
    """A network of the zoo, or one of torchvision with random weights."""
    if name.startswith("fmnist"):
        return models.load(name)
    import torchvision

    torch.manual_seed(0)
    return from_tensor(torchvision.models.get_model(name), torch.rand(4, 3, 64, 64))


def seconds(work: Callable[..., object], *given: object) -> float:
    """Least processor time of five runs after a first one."""
    times = []
    for _ in range(6):
        start = time.process_time()
        work(*given)
        times.append(time.process_time() - start)
    return min(times[1:])


@contextmanager
def clocked() -> Iterator[list[float]]:
    """Processor time of every booking, of their sum and of the balance of maps, seconds."""
    book, absorbed, missed, times = Ledger.book, Ledger.absorbed, relevance.missed, []

    def timed(function: Callable[..., object]) -> Callable[..., object]:
        def call(*given: object) -> object:
            start = time.thread_time()
            found = function(*given)
            times.append(time.thread_time() - start)
            return found

        return call

    Ledger.book, relevance.missed = timed(book), timed(missed)  # type: ignore[assignment,method-assign]
    Ledger.absorbed = property(timed(absorbed.fget))  # type: ignore[assignment,arg-type]
    try:
        yield times
    finally:
        Ledger.book, Ledger.absorbed, relevance.missed = book, absorbed, missed  # type: ignore[assignment,method-assign]


def gate_share(work: Callable[..., object], *given: object) -> float:
    """Percent that the gate adds to the rest, over ten repetitions."""
    with clocked() as times:
        start = time.thread_time()
        for _ in range(10):
            work(*given)
        whole = time.thread_time() - start
    return 100 * sum(times) / (whole - sum(times))


def explained(module: nn.Module, images: torch.Tensor, targets: torch.Tensor, way: Way) -> list[object]:
    """Maps of all chunks, without the set-up that explainers share."""
    return [_propagated(module, x, t, way) for x, t in chunks(images, targets)]


def together(subject: Subject, images: torch.Tensor, targets: torch.Tensor) -> None:
    """All pairs of alpha and beta that run in float64, as a run makes them: one forward pass for all."""
    with shared_passes():
        for alpha in range(4, 10):
            propagated(subject, images, targets, Way("lrp", AlphaBeta(alpha, alpha - 1), "abs", double=True))


def main(names: list[str]) -> None:
    """Print one line per network."""
    torch.set_num_threads(1)
    for name in names or ["fmnist-vgg", "resnet18", "squeezenet1_1", "densenet121"]:
        subject = subject_of(name)
        images = subject.data.load(range(16 if name.startswith("fmnist") else 4))
        targets = subject.predict(images)
        plain = seconds(gradient_of, network(subject), images, targets)
        ratios = []
        for label, way in WAYS.items():
            module = network(subject, torch.float64 if way.double else None)
            passes = seconds(explained, module, images, targets, way) / plain
            ratios.append(f"{label} {passes:.1f} ({gate_share(explained, module, images, targets, way):+.1f}%)")
        raw = seconds(gradient_of, subject.module, images, targets)
        six = seconds(together, subject, images, targets) / 6 / raw
        print(f"{name}: plain {1e3 * plain:.0f} ms; " + ", ".join(ratios))
        print(
            f"    lrp-a4b3 to lrp-a9b8 together: {six:.1f} passes each through the network as it is ({1e3 * raw:.0f} ms)"
        )


if __name__ == "__main__":
    main(sys.argv[1:])
