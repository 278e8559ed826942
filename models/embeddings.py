"""Embeddings: frozen maps from images to vectors, from the feature layer of a classifier or a network made for it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from .base import Pipeline, state_digest
from .naming import UsageError
from .zoo.build import trained_network
from .zoo.catalogue import display, member


class _Features(nn.Module):
    """The feature layer of a network as its output."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: Tensor) -> Tensor:
        """Features (N, D) of normalised images (N, C, H, W)."""
        found: Tensor = self.network.features(images)
        return found


@dataclass(frozen=True, eq=False)
class Embedding:
    """A frozen map from images in [0, 1] to vectors.

    Attributes:
        name: what reports call it.
        size: number of dimensions D.
        module: images (N, C, H, W) in [0, 1] -> (N, D), differentiable.
        spec: JSON-able digests.
    """

    name: str
    size: int
    module: nn.Module = field(repr=False)
    spec: dict[str, Any] = field(default_factory=dict)

    def embed(self, images: Tensor, batch_size: int = 256) -> Tensor:
        """Vectors (N, D) of images (N, C, H, W) in [0, 1], without a graph, in batches."""
        with torch.no_grad():
            parts = [self.module(images[i : i + batch_size]) for i in range(0, len(images), batch_size)]
        return torch.cat(parts)

    def identity(self) -> dict[str, Any]:
        """What makes it this embedding, JSON-able, for keys."""
        return {"name": self.name, "size": self.size, **self.spec}


def load(name: str) -> Embedding:
    """An embedding of the zoo: `fmnist-siamese`, or the features of a classifier that has a feature layer.

    Args:
        name: `fmnist-siamese` (20 dimensions, contrastive loss); `fmnist-oracle` (64 penultimate activations, for
            metrics only); `fmnist-lenet` and its like (20 penultimate values before the ReLU).

    Raises:
        UsageError: unknown name, or a network without a method `features`.
    """
    found, params = member(name)
    if found.kind == "generator":
        raise UsageError(f"{name!r} is a generator; its codes of images are models.load_generator({name!r}).encode")
    network = trained_network(found, params).requires_grad_(False)
    if not callable(getattr(network, "features", None)):
        raise UsageError(
            f"{name!r} has no feature layer (a method `features`); take fmnist-siamese, fmnist-oracle or fmnist-lenet"
        )
    module = Pipeline(_Features(network), found.mean, found.std).eval()
    with torch.no_grad():
        size = int(module(torch.zeros(1, 1, 32, 32)).shape[1])
    return Embedding(display(found, params), size, module, {"weights": state_digest(network)})
