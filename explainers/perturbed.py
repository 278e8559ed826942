"""Many changed copies of one image through a network, a bounded number at a time."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from models.naming import UsageError

from .passes import precision, rows_for


def logits_of_copies(module: nn.Module, image: Tensor, count: int, make: Callable[[int, int], Tensor]) -> Tensor:
    """Logits of changed copies of an image, (count, K) float32, at most `rows_for` copies in memory at once.

    Args:
        image: (C, H, W); decides how many fit.
        count: number of copies.
        make: (first, last) -> copies (last - first, C, H, W).

    Example:
        >>> import torch
        >>> image = torch.ones(1, 2, 2)
        >>> net = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(4, 3))
        >>> logits_of_copies(net, image, 100, lambda a, b: image.expand(b - a, 1, 2, 2)).shape
        torch.Size([100, 3])
    """
    rows, kind = rows_for(image), precision(module)
    parts = []
    with torch.no_grad():
        for first in range(0, count, rows):
            parts.append(module(make(first, min(first + rows, count)).to(kind)).float())
    return torch.cat(parts)


def masked(image: Tensor, behind: Tensor, masks: Tensor) -> Tensor:
    """Copies that show the image where the mask is 1 and what is behind where it is 0, (S, C, H, W).

    Args:
        image, behind: (C, H, W).
        masks: (S, 1, H, W) in [0, 1].
    """
    return torch.where(masks == 1, image, behind + masks * (image - behind))


def pixels(explainer: str, key: str, share: float, images: Tensor) -> int:
    """A length given as a share of the shorter side, in pixels, at least 1.

    Raises:
        UsageError: the share is not in (0, 1].
    """
    if not 0 < share <= 1:
        raise UsageError(f"{explainer}: {key} is {share:g}; a share of the shorter side in (0, 1] is needed")
    return max(1, round(share * min(images.shape[-2:])))
