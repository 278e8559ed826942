"""How the zoo's classifiers were trained, and how to train them again."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import nn

from ..base import state_digest
from ..data import fashion_mnist, full_training_set
from ..naming import UsageError
from ..seeds import derive, seeded
from ..training import Schedule, accuracy, fit
from .build import empty_network
from .catalogue import FOLDER, MANIFEST, display, manifest, member, weights_name

SCHEDULES = {
    "fmnist-vgg-batch": Schedule(epochs=8, rate=0.1),
    "fmnist-vgg-none": Schedule(epochs=8, optimiser="adamw", rate=1e-3, decay=1e-2),
}


def train(
    name: str, out: Path | None = None, *, epochs: int | None = None, log: Callable[[str], None] = print
) -> dict[str, Any]:
    """Train a zoo classifier again from its recipe and compare it with the shipped one.

    Args:
        name: member of the zoo, for example `fmnist-vgg[norm=none]`.
        out: folder for the new weights; None keeps them in `./weights`.
        epochs: fewer or more passes than the recipe's.
        log: receives progress lines.

    Returns:
        `accuracy` on the 10,000 test images, `shipped` accuracy, `difference` in points, `seconds`, `file`.

    Raises:
        UsageError: unknown name, or the 60,000 training images are not on this machine.
    """
    found, params = member(name)
    key = weights_name(found, params)
    data = full_training_set()
    if data is None:
        raise UsageError(
            "the recipe needs all 60,000 training images and only 10,000 are embedded; install the Debian package "
            "dataset-fashion-mnist or put the idx.gz files into ~/.cache/fashion-mnist"
        )
    schedule = SCHEDULES[key]
    if epochs is not None:
        schedule = Schedule(**{**schedule.__dict__, "epochs": epochs})
    mean, std = found.mean[0], found.std[0]
    started = time.perf_counter()
    with seeded(derive(schedule.seed, "initial")):
        network = empty_network(found, params)
    images, labels = torch.from_numpy(data.read(range(len(data)))), torch.from_numpy(data.labels)
    fit(network, images, labels, schedule, normalise=lambda x: (x - mean) / std, log=log)
    test = fashion_mnist("test")
    reached = accuracy(
        network,
        torch.from_numpy(test.read(range(len(test)))),
        torch.from_numpy(test.labels),
        lambda x: (x - mean) / std,
    )
    shipped = manifest().get(key, {}).get("accuracy")
    folder = out or Path("weights")
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / f"{key}.safetensors"
    save_file({k: v.contiguous() for k, v in network.state_dict().items()}, file)
    return {
        "name": display(found, params), "accuracy": reached, "shipped": shipped,
        "difference": None if shipped is None else 100 * (reached - shipped),
        "seconds": round(time.perf_counter() - started, 1), "file": str(file), "digest": state_digest(network),
        "schedule": schedule.__dict__,
    }  # fmt: skip


def ship(name: str, network: nn.Module, reached: float, schedule: dict[str, Any]) -> None:
    """Write weights and their entry of the manifest into the package (used when the zoo itself is made)."""
    found, params = member(name)
    key = weights_name(found, params)
    file = FOLDER / f"{key}.safetensors"
    save_file({k: v.contiguous() for k, v in network.state_dict().items()}, file)
    entry = {
        "file": file.name, "sha256": hashlib.sha256(file.read_bytes()).hexdigest(), "digest": state_digest(network),
        "accuracy": reached, "data": "Fashion-MNIST, 60,000 training images", "schedule": schedule,
    }  # fmt: skip
    MANIFEST.write_text(json.dumps({**manifest(), key: entry}, indent=2, sort_keys=True) + "\n")
