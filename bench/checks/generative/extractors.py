"""The features that distances of sets are taken in: those of the oracle, of Inception, or of a user's own network.

Distances in different features have nothing to do with each other, so their name is part of the key of every cell. No
weights are ever fetched: features that are not on this machine are an error that says where they belong.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path
from typing import Protocol

import torch
from torch import Tensor

from bench.features import INCEPTION, check, inception_file
from models.naming import UsageError

BATCH = 64


class Featured(Protocol):
    """Whatever gives features of images: the oracle (`judge.Judge`) or an `Extractor`."""

    def features(self, images: Tensor) -> Tensor:
        """Images (n, C, H, W) in [0, 1] -> features (n, d)."""


@dataclass(frozen=True, eq=False)
class Extractor:
    """Features of images.

    Attributes:
        name: what reports call it.
        of: images (n, C, H, W) in [0, 1] -> features (n, d).
    """

    name: str
    of: Callable[[Tensor], Tensor]

    def features(self, images: Tensor) -> Tensor:
        """(n, d) float64.

        Raises:
            UsageError: what comes back is no table of numbers with one row per image.
        """
        with torch.no_grad():
            found = torch.cat([self._checked(part) for part in images.split(BATCH)])
        return found.double()

    def _checked(self, images: Tensor) -> Tensor:
        found = self.of(images)
        if not isinstance(found, Tensor) or found.dim() != 2 or len(found) != len(images):
            what = f"shape {tuple(found.shape)}" if isinstance(found, Tensor) else type(found).__name__
            raise UsageError(
                f"--features {self.name}: {len(images)} images of {tuple(images.shape[1:])} gave {what}; a tensor of "
                f"({len(images)}, d) is needed"
            )
        if not bool(torch.isfinite(found).all()):
            raise UsageError(
                f"--features {self.name}: the features hold values that are not finite; use another network, or look at "
                "the images it was given"
            )
        return found


@lru_cache(maxsize=2)
def extractor(text: str, device: str = "cpu") -> Extractor:
    """The features of Inception or of a user's network.

    Args:
        text: `inception`, or `FILE:function`; the function returns a network, or a function of images.
        device: where a network is placed.

    Raises:
        UsageError: the features are not on this machine, or the function does not give what is needed.
    """
    if text == INCEPTION:
        return Extractor(INCEPTION, _inception(device))
    check(text)
    from models.functions import imported_function, make

    made = make(imported_function(text, "features"), text, "features")
    if not callable(made):
        raise UsageError(
            f"--features {text!r}: the function returned {type(made).__name__}; return a network or function that takes "
            "images (n, C, H, W) in [0, 1] and gives features (n, d)"
        )
    if isinstance(made, torch.nn.Module):
        made = made.to(device).eval()
    return Extractor(text.rpartition("/")[2], made)


def _inception(device: str) -> Callable[[Tensor], Tensor]:
    """The 2,048 features of the last pooling of Inception, images in three channels of bytes."""
    check(INCEPTION)
    file = inception_file()
    _check_tensors(file)
    network = importlib.import_module("torch_fidelity.feature_extractor_inceptionv3")
    made = network.FeatureExtractorInceptionV3("inception", ["2048"], feature_extractor_weights_path=str(file))
    return partial(_of_inception, made.to(device).eval())


def _check_tensors(file: Path) -> None:
    """Raise UsageError unless a file holds tensors alone: torch-fidelity unpickles whatever is in it."""
    try:
        torch.load(file, map_location="meta", weights_only=True)
    except Exception as error:
        raise UsageError(
            f"--features inception: {file} is no file of weights ({type(error).__name__}); put that of torch-fidelity's "
            "release v0.2.0 there"
        ) from error


def _of_inception(network: torch.nn.Module, images: Tensor) -> Tensor:
    colours = images if images.shape[1] == 3 else images.mean(1, keepdim=True).expand(-1, 3, -1, -1)
    found: Tensor = network((colours * 255).round().to(torch.uint8))[0]
    return found
