"""The embedding that a network gives an image: its feature layer, or its output."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from models.base import Subject
from models.data import load_data
from models.embeddings import Embedding
from models.naming import UsageError, near

LAYERS = ("features", "output")
Embed = Callable[[Tensor], Tensor]


def embedder(subject: Subject, layer: str) -> Embed:
    """Images (N, C, H, W) in [0, 1] -> embeddings (N, D), without a graph.

    Args:
        layer: `features`, what the network's own method `features` gives, else the output of its last layer but one,
            else (where that has places) the input of its last layer; or `output`, what the network returns, as for a
            Siamese network.

    Raises:
        UsageError: unknown layer, or a network whose feature layer cannot be found.
    """
    if layer not in LAYERS:
        raise UsageError(f"layer is {layer!r}; allowed are {', '.join(LAYERS)}{near(layer, LAYERS)}")
    if layer == "output":
        return lambda images: _plain(subject.predict_logits, images, subject)
    own = getattr(subject.model, "features", None)
    if callable(own) and not isinstance(own, nn.Module):
        return lambda images: _plain(lambda x: own(subject.module.normalised(x)), images, subject)
    return lambda images: _plain(lambda x: _penultimate(subject, x), images, subject)


def subject_of(embedding: Embedding) -> Subject:
    """A subject whose output is this embedding, on the Fashion-MNIST images."""
    return Subject(
        embedding.name, embedding.module, load_data("fashion-mnist"), load_data("fashion-mnist-train"),
        spec={"kind": "embedding", "name": embedding.name},
    )  # fmt: skip


def _plain(function: Embed, images: Tensor, subject: Subject) -> Tensor:
    with torch.no_grad():
        found = function(images.to(subject.device, subject.dtype)).float()
    if found.dim() != 2:
        raise UsageError(
            f"the embedding of {subject.name} has shape {tuple(found.shape[1:])} per image; one vector is needed: "
            "give the network a method features(images) that returns (N, D)"
        )
    return found


def _penultimate(subject: Subject, images: Tensor) -> Tensor:
    """Output of the last layer but one where it is a vector, else input of the last layer."""
    model = subject.private_copy()
    stages = model.stages
    seen: dict[str, Tensor] = {}

    def keep(key: str) -> Callable[..., None]:
        def hook(module: nn.Module, given: tuple[Any, ...], made: Any) -> None:
            seen[key], seen[f"{key} input"] = made, given[0]

        return hook

    for key, stage in (("last", stages[0]), *((("before", stages[1]),) if len(stages) > 1 else ())):
        model.model.get_submodule(stage.name).register_forward_hook(keep(key))
    model.module(images)
    vector = seen.get("before")
    if vector is not None and vector.dim() == 2:
        return vector
    if "last input" not in seen:
        raise UsageError(
            f"no feature layer of {subject.name} can be found: its last layers are not modules that are called; give the "
            "network a method features(images) that returns (N, D)"
        )
    return seen["last input"].flatten(1)
