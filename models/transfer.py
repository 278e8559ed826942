"""Images on their way to a device: in chunks, from pinned memory, each while the one before it is computed with."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor


def moved(images: Tensor, device: torch.device | str) -> Tensor:
    """The images on a device; on the way to a GPU the processor goes on while they are copied.

    Pinned memory is what a copy may leave behind: work queued on the device afterwards waits for it there.

    Args:
        images: any tensor; one that is on the device already is returned as it is.
        device: where to.
    """
    target = torch.device(device)
    if target.type != "cuda" or images.device.type != "cpu":
        return images.to(target)
    return images.pin_memory().to(target, non_blocking=True)


def chunks(images: Tensor, size: int, device: torch.device | str) -> Iterator[Tensor]:
    """The images on a device, at most `size` at once; the next chunk is on its way while one is used.

    Args:
        images: (N, ...), N >= 0.
        size: images per chunk, >= 1.
        device: where to.

    Example:
        >>> [len(chunk) for chunk in chunks(torch.zeros(5, 1, 2, 2), 2, "cpu")]
        [2, 2, 1]
    """
    ahead: Tensor | None = None
    for start in range(0, len(images), size):
        following = moved(images[start : start + size], device)
        if ahead is not None:
            yield ahead
        ahead = following
    if ahead is not None:
        yield ahead
