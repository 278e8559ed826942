"""Training a member of the zoo again from its recipe, and shipping what a recipe made."""

from __future__ import annotations

import hashlib
import importlib
import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

import torch
from safetensors.torch import save_file
from torch import nn

from ..base import state_digest
from ..data import ImageSet, full_training_set
from ..naming import UsageError
from .build import empty_network, trained_network
from .catalogue import FOLDER, MANIFEST, Member, display, manifest, member, weights_name


@dataclass(frozen=True)
class Trained:
    """What a recipe gives back.

    Attributes:
        network: the trained network, in eval mode.
        figures: what it reached on held-out images, by name; the first is compared with the shipped one.
        schedule: JSON-able settings of the training.
        data: the training images, in words.
        start: name of the shipped weights it started from, or None.
        cpu_seconds: processor time of the recipe, what it reached included; `make` fills it in.
    """

    network: nn.Module
    figures: Mapping[str, float]
    schedule: Mapping[str, Any]
    data: str = "Fashion-MNIST, 60,000 training images"
    start: str | None = None
    cpu_seconds: float | None = None


class Recipe(Protocol):
    """How a member of the zoo is trained: `module:function` below `models.zoo`."""

    def __call__(
        self,
        found: Member,
        params: Mapping[str, str],
        data: ImageSet,
        *,
        epochs: int | None,
        log: Callable[[str], None],
    ) -> Trained:
        """Train the member on the 60,000 training images `data`; `epochs` shortens or lengthens every phase."""


def recipe_of(found: Member) -> Recipe:
    """The function that trains a member."""
    module, _, name = found.recipe.partition(":")
    function: Recipe = getattr(importlib.import_module(f"models.zoo.{module}"), name)
    return function


def make(name: str, *, epochs: int | None = None, log: Callable[[str], None] = print) -> Trained:
    """Run the recipe of a member of the zoo, and take its processor time.

    Args:
        name: member of the zoo, for example `fmnist-vgg[norm=none]`.
        epochs: fewer or more passes than the recipe's.
        log: receives progress lines.

    Raises:
        UsageError: unknown name, or the 60,000 training images are not on this machine.
    """
    found, params = member(name)
    data = training_images()
    begun = time.process_time()
    made = recipe_of(found)(found, params, data, epochs=epochs, log=log)
    return replace(made, cpu_seconds=round(time.process_time() - begun, 1))


def train(
    name: str, out: Path | None = None, *, epochs: int | None = None, log: Callable[[str], None] = print
) -> dict[str, Any]:
    """Train a member of the zoo again from its recipe and compare it with the shipped one.

    Args:
        name: member of the zoo, for example `fmnist-vgg[norm=none]`.
        out: folder for the new weights; None keeps them in `./weights`.
        epochs: fewer or more passes than the recipe's.
        log: receives progress lines.

    Returns:
        The figures reached on held-out images (`accuracy` of classifiers), `shipped` (the first of them for the
        shipped weights), `difference` (in points for an accuracy), `seconds`, `cpu_seconds`, `file`.

    Raises:
        UsageError: unknown name, or the 60,000 training images are not on this machine.
    """
    found, params = member(name)
    started = time.perf_counter()
    made = make(name, epochs=epochs, log=log)
    key = weights_name(found, params)
    first, reached = next(iter(made.figures.items()))
    entry = manifest().get(key, {})
    shipped = entry.get(first, entry.get("figures", {}).get(first))
    folder = out or Path("weights")
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / f"{key}.safetensors"
    save_file(_state(made.network), file)
    return {
        "name": display(found, params), **made.figures, "shipped": shipped,
        "difference": None if shipped is None else (100 if first == "accuracy" else 1) * (reached - shipped),
        "seconds": round(time.perf_counter() - started, 1), "cpu_seconds": made.cpu_seconds, "file": str(file),
        "digest": state_digest(made.network), "schedule": dict(made.schedule),
    }  # fmt: skip


def training_images() -> ImageSet:
    """All 60,000 training images.

    Raises:
        UsageError: they are not on this machine.
    """
    data = full_training_set()
    if data is None:
        raise UsageError(
            "the recipe needs all 60,000 training images and only 10,000 are embedded; install the Debian package "
            "dataset-fashion-mnist or put the idx.gz files into ~/.cache/fashion-mnist"
        )
    return data


def ship(name: str, made: Trained, *, half: bool = False) -> dict[str, Any]:
    """Write weights and their entry of the manifest into the package (used when the zoo itself is made).

    Args:
        name: member of the zoo with parameters.
        made: what its recipe gave.
        half: store floating-point weights in 16 bits; the digest is that of the weights read back in 32 bits.
    """
    found, params = member(name)
    key = weights_name(found, params)
    file = FOLDER / f"{key}.safetensors"
    save_file(_state(made.network, half), file)
    entry: dict[str, Any] = {
        "file": file.name, "sha256": hashlib.sha256(file.read_bytes()).hexdigest(), "data": made.data,
        "schedule": dict(made.schedule), "figures": dict(made.figures),
    }  # fmt: skip
    if "accuracy" in made.figures:
        entry["accuracy"] = made.figures["accuracy"]
    if made.start is not None:
        entry["start"] = made.start
    if made.cpu_seconds is not None:
        entry["cpu_seconds"] = made.cpu_seconds
    MANIFEST.write_text(_text({**manifest(), key: entry}))
    entry["digest"] = state_digest(trained_network(found, params))
    MANIFEST.write_text(_text({**manifest(), key: entry}))
    return entry


def fresh_network(found: Member, params: Mapping[str, str], start: str | None = None) -> nn.Module:
    """The untrained network of a member, or with the shipped weights of the member named `start`."""
    return empty_network(found, params) if start is None else trained_network(*member(start))


def _state(network: nn.Module, half: bool = False) -> dict[str, torch.Tensor]:
    state = {key: value.detach().cpu().contiguous() for key, value in network.state_dict().items()}
    if half:
        state = {key: value.half() if value.is_floating_point() else value for key, value in state.items()}
    return state


def _text(entries: dict[str, Any]) -> str:
    return json.dumps(entries, indent=2, sort_keys=True) + "\n"
