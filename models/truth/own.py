"""Mosaics of a user's own images, so that localisation can be asked of any classifier."""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from ..data import ImageSet
from ..naming import UsageError
from .mosaic import Mosaics, mosaic_set

ITEMS_KEPT = 512


def mosaics_of(data: ImageSet, *, count: int = 1_000, seed: int = 0) -> ImageSet:
    """2x2 and 1x2 mosaics of scaled-down images, of the size of the images, each cell with its class.

    Args:
        data: images and labels; at least two classes.
        count: number of mosaics.
        seed: base of every draw.

    Returns:
        An image set with a Truth. With five classes or more of eight mosaics five show four classes; with fewer
        classes mosaics show two. Whether the model uses the cells is for the certificate to say.

    Raises:
        UsageError: fewer than two classes have images, or the images are too small for cells of 4x4 pixels.

    Example:
        >>> from models import load_data
        >>> mosaics = mosaics_of(load_data("fashion-mnist"), count=8)
        >>> mosaics.shape, len(mosaics.truth.present(0))
        ((1, 32, 32), 4)
    """
    classes = len(np.unique(data.labels))
    if classes < 2:
        raise UsageError(
            f"mosaics need images of at least two classes; {data.name} has images of {classes}: give data with more"
        )
    _, height, width = data.shape
    if min(height, width) < 8:
        raise UsageError(
            f"mosaics need images of at least 8x8 pixels; those of {data.name} are {height}x{width}: give larger ones"
        )

    @lru_cache(maxsize=ITEMS_KEPT)
    def tile(item: int) -> np.ndarray:
        return scaled(data, item, height // 2, width // 2)

    made = Mosaics(data, tile, (height, width), f"{data.name}/mosaic", seed)
    return mosaic_set(made, count, made.explained, "mosaic", data.class_names)


def scaled(data: ImageSet, item: int, height: int, width: int) -> np.ndarray:
    """An image at another size, (C, height, width) float32 in [0, 1], bilinear with antialiasing."""
    import torch.nn.functional as F

    image = data.load([item])
    small = F.interpolate(image, size=(height, width), mode="bilinear", antialias=True, align_corners=False)
    found: np.ndarray = small[0].clamp(0, 1).numpy()
    return found
