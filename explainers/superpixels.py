"""Super-pixels of an image and what stands in their place when they are absent."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

from models.base import Subject
from models.naming import UsageError, near

from .gradients import baseline_images
from .passes import fingerprint, remembered

METHODS = ("slic", "felzenszwalb", "grid")
BACKGROUNDS = ("neighbours", "own-mean", "black", "white", "mean", "blur")
GRAY_COMPACTNESS, COLOUR_COMPACTNESS = 0.2, 10.0


def segmented(images: Tensor, method: str, count: int) -> list[Tensor]:
    """Super-pixels of each image: (H, W) int64 labels 0 .. P-1, every label present.

    Args:
        images: (N, C, H, W) in [0, 1].
        method: `slic`, `felzenszwalb` (the scale that comes nearest to the count) or `grid` (equal rectangles).
        count: how many are asked for; scikit-image gives a few more or less, with `slic` never fewer than half.

    Raises:
        UsageError: another method, or fewer than two.

    Example:
        >>> import torch
        >>> [int(labels.max()) + 1 for labels in segmented(torch.rand(2, 1, 32, 32), "grid", 16)]
        [16, 16]
    """
    if method not in METHODS:
        raise UsageError(f"segmentation is {method!r}; allowed are {', '.join(METHODS)}{near(method, METHODS)}")
    if count < 2:
        raise UsageError(f"segments is {count}; at least 2 super-pixels are needed")
    key = ("segments", fingerprint(images), method, count)
    return remembered(key, (images,), lambda: [_labels(image, method, count) for image in images])


def background(subject: Subject, image: Tensor, labels: Tensor, kind: str) -> Tensor:
    """The picture that shows through where super-pixels are absent, (C, H, W) in [0, 1]; fixed per image.

    Args:
        image: (C, H, W) in [0, 1].
        labels: (H, W) super-pixels.
        kind: `neighbours` (each super-pixel in the mean colour of those that touch it), `own-mean` (in its own mean
            colour, the choice of LIME's authors), or a baseline of integrated gradients: `black`, `white`, `mean`, `blur`.

    Raises:
        UsageError: another kind.
    """
    if kind not in BACKGROUNDS:
        raise UsageError(f"baseline is {kind!r}; allowed are {', '.join(BACKGROUNDS)}{near(kind, BACKGROUNDS)}")
    if kind not in ("neighbours", "own-mean"):
        return baseline_images(subject, image[None], kind)[0]
    member = torch.nn.functional.one_hot(labels.flatten()).to(image)
    if kind == "neighbours" and member.shape[1] > 1:
        touching = _touching(labels).to(image)
        totals, sizes = touching @ (member.T @ image.flatten(1).T), touching @ member.sum(0)
    else:
        totals, sizes = member.T @ image.flatten(1).T, member.sum(0)
    return (member @ (totals / sizes[:, None])).T.reshape(image.shape).contiguous()


def spread(values: Tensor, labels: Tensor) -> Tensor:
    """One value per super-pixel (P,) laid on all its pixels, undivided, (1, H, W) float32."""
    return values.float()[labels][None]


def _touching(labels: Tensor) -> Tensor:
    """Which super-pixels share an edge, (P, P) bool, symmetric, False on the diagonal."""
    count = int(labels.max()) + 1
    found = torch.zeros(count, count, dtype=torch.bool, device=labels.device)
    for one, other in ((labels[1:], labels[:-1]), (labels[:, 1:], labels[:, :-1])):
        found[one.flatten(), other.flatten()] = True
    found |= found.T.clone()
    return found.fill_diagonal_(False)


def _labels(image: Tensor, method: str, count: int) -> Tensor:
    if method == "grid":
        found = _grid(image.shape[-2], image.shape[-1], count)
    else:
        pixels = image.detach().cpu().float()
        colour = pixels.shape[0] == 3
        array = pixels.permute(1, 2, 0).numpy() if colour else pixels.mean(0).numpy()
        found = torch.from_numpy((_slic if method == "slic" else _felzenszwalb)(array, colour, count))
    return torch.unique(found, return_inverse=True)[1].to(image.device)


def _grid(height: int, width: int, count: int) -> Tensor:
    rows = min(height, max(1, round(math.sqrt(count))))
    columns = min(width, max(1, round(count / rows)))
    y = torch.arange(height) * rows // height
    x = torch.arange(width) * columns // width
    return y[:, None] * columns + x[None]


def _slic(array: np.ndarray, colour: bool, count: int) -> np.ndarray:
    """SLIC, more compact where the image is so rough that pieces are lost; at last a grid."""
    from skimage.segmentation import slic

    for factor in (1.0, 3.0, 10.0):
        compactness = factor * (COLOUR_COMPACTNESS if colour else GRAY_COMPACTNESS)
        found: np.ndarray = slic(
            array, n_segments=count, compactness=compactness, start_label=0, channel_axis=-1 if colour else None
        )
        if len(np.unique(found)) >= count / 2:
            return found.astype(np.int64)
    return _grid(array.shape[0], array.shape[1], count).numpy()


def _felzenszwalb(array: np.ndarray, colour: bool, count: int) -> np.ndarray:
    from skimage.segmentation import felzenszwalb

    least = max(1, array.shape[0] * array.shape[1] // (4 * count))
    tries = [
        felzenszwalb(array, scale=scale, sigma=0.5, min_size=least, channel_axis=-1 if colour else None)
        for scale in (0.3, 1.0, 3.0, 10.0, 30.0, 100.0)
    ]
    found: np.ndarray = min(tries, key=lambda labels: abs(int(labels.max()) + 1 - count))
    return found.astype(np.int64)
