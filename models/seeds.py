"""Seeds derived from names, so that a draw depends on what it is for and never on the order of the work."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch


def derive(base: int, *parts: str | int) -> int:
    """A seed in [0, 2^63) from a base seed and the named parts of what is drawn.

    Args:
        base: the run's base seed.
        parts: strings and integers that name the draw, for example `("weights", "fmnist-vgg", "fc3", 0)`.

    Example:
        >>> derive(0, "weights", "fc3", 1) == derive(0, "weights", "fc3", 1)
        True
        >>> derive(0, "weights", "fc3", 1) == derive(0, "weights", "fc3", 2)
        False
    """
    text = json.dumps([base, *parts], ensure_ascii=True, separators=(",", ":"))
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1


def generator(base: int, *parts: str | int) -> torch.Generator:
    """A fresh CPU generator seeded by `derive(base, *parts)`; the global generators stay as they are."""
    import torch

    return torch.Generator().manual_seed(derive(base, *parts))


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """For code that draws from torch's global CPU generator: it starts from this seed and is put back afterwards.

    Example:
        >>> import torch
        >>> with seeded(3):
        ...     first = torch.rand(1)
        >>> with seeded(3):
        ...     print(bool(torch.rand(1) == first))
        True
    """
    import torch

    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        yield
