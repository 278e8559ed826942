"""One requested probability per image, drawn evenly from tenths: the same for every explainer that is asked for one."""

from __future__ import annotations

import torch
from torch import Tensor

from models.seeds import generator

from ..controls import image_key

TENTHS = 10


def drawn_tenths(images: Tensor) -> Tensor:
    """A tenth of the probability for each image, (N,) int64 in 0..9, by its pixels alone.

    Args:
        images: (N, C, H, W) in [0, 1].

    Example:
        >>> images = torch.arange(4.0).view(4, 1, 1, 1) / 4
        >>> bool((drawn_tenths(images) == drawn_tenths(images.flip(0)).flip(0)).all())
        True
    """
    found = [torch.randint(TENTHS, (1,), generator=generator(0, "requested", image_key(image))) for image in images]
    return torch.cat(found).to(images.device) if found else torch.zeros(0, dtype=torch.int64, device=images.device)


def requested(images: Tensor) -> Tensor:
    """The middle of the tenth that is drawn for each image, (N,) float32 within 0.05 and 0.95."""
    return (drawn_tenths(images).float() + 0.5) / TENTHS
