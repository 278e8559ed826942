"""What health and similarities add to bare calls of saliency: `python tests/performance/check_cost.py resnet50 [--images 16]`.

A cascade over a network of torchvision with random weights (images of noise, 224x224) or one of the zoo. On each of its first
randomised networks, or of both walks over all stages (`--all`), a bare call of saliency is timed right before and after what the
randomisation suite does there: health, explanation and six similarities. Processor time of one thread; what the suite adds to
all bare calls together, percent. It is below zero where passes are shared with the trained network that bare calls make anew.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from itertools import chain, islice
from pathlib import Path

import torch

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT)]

import explainers  # noqa: E402
import models  # noqa: E402
from bench import memory  # noqa: E402
from bench.checks.block import Block  # noqa: E402
from bench.protocols import get  # noqa: E402
from models.adapters import from_tensor  # noqa: E402
from models.base import Subject  # noqa: E402
from models.randomize import cascade, independent  # noqa: E402


def subject_of(name: str, images: int) -> Subject:
    """A network of the zoo, or one of torchvision with random weights."""
    if name.startswith("fmnist"):
        return models.load(name)
    import torchvision

    torch.manual_seed(0)
    return from_tensor(torchvision.models.get_model(name, weights=None), torch.rand(images, 3, 224, 224))


def seconds(work: Callable[[], object]) -> float:
    """Processor time."""
    start = time.process_time()
    work()
    return time.process_time() - start


def measured(subject: Subject, images: int, networks: int | None) -> list[tuple[float, float]]:
    """Seconds of a bare call (mean of two) and of the suite's work, per randomised network; None: of both walks."""
    saliency = explainers.get("saliency")
    block = Block(subject, [saliency], subject.select(images), get("recommended"), 0, None)
    walks = [walk(subject, base=0, seed=0) for walk in (cascade, independent)]
    found = []
    for number, (_, model) in enumerate(islice(chain(*walks), networks), 1):

        def bare(model: Subject = model) -> object:
            return saliency.explain(model, block.images, block.request.targets)

        def whole(model: Subject = model, number: int = number) -> object:
            with block.passes():
                return block.at(model, ["saliency"], number, block.examine(model).healthy)

        bare()
        before, suite, after = (seconds(work) for work in (bare, whole, bare))
        found.append(((before + after) / 2, suite))
    return found


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model")
    parser.add_argument("--images", type=int, default=16)
    parser.add_argument("--networks", type=int, default=7)
    parser.add_argument("--all", action="store_true")
    given = parser.parse_args()
    torch.set_num_threads(1)
    memory.reuse_freed()
    found = measured(subject_of(given.model, given.images), given.images, None if given.all else given.networks)
    bare, suite = (sum(column) for column in zip(*found, strict=True))
    print(
        f"{given.model}, {given.images} images, {len(found)} networks: {1e3 * bare / len(found):.1f} ms per bare call, "
        f"the suite takes {100 * (suite / bare - 1):.0f}% more"
    )


if __name__ == "__main__":
    main()
