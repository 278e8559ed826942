"""Real images to measure sets against: none of those that are explained, and none of those that are shown as made.

An explainer may show real images, the nearest one of another class for example. Distances of these to a set that holds
them would be distances to themselves, so they are left out of it, whoever showed them.
"""

from __future__ import annotations

from collections.abc import Collection

import torch
from torch import Tensor

from models.data import ImageSet
from models.naming import UsageError

CHUNK = 512
MOST = 8192
"""Real images that are looked through for the groups at most."""


def beside(reference: ImageSet, explained: Collection[str], made: Tensor, count: int) -> Tensor:
    """The first `count` real images that are not among those made, (count, C, H, W) in [0, 1].

    Args:
        reference: the real images.
        explained: ids of the images that are explained.
        made: (n, C, H, W) in [0, 1], what an explainer shows.
        count: how many are needed.

    Raises:
        UsageError: images that are explained are among the real ones, or there are too few.
    """
    found = apart(reference, explained, made, count)
    if len(found) < count:
        raise UsageError(
            f"{count // 2} counterfactuals need {count} real images beside them and {reference.name} has {len(found)}"
            f"{'' if len(found) == len(reference) else ' that are none of these'}; take fewer images or a larger reference "
            "set"
        )
    return found


def apart(reference: ImageSet, explained: Collection[str], made: Tensor, count: int = MOST) -> Tensor:
    """As `beside`, but as many as there are where they are fewer than `count`."""
    if set(explained) & set(reference.ids):
        raise UsageError(
            f"the images to explain are among the real ones of {reference.name}: near copies would look real; give "
            "a subject whose reference images are others"
        )
    shown = set(_pixels(made))
    parts: list[Tensor] = []
    for start in range(0, len(reference), CHUNK):
        images = reference.load(range(start, min(start + CHUNK, len(reference))))
        kept = [place for place, key in enumerate(_pixels(images)) if key not in shown]
        parts.append(images[kept])
        if sum(map(len, parts)) >= count:
            break
    return torch.cat(parts)[:count] if parts else made[:0].cpu()


def _pixels(images: Tensor) -> list[bytes]:
    """Each image as a screen shows it."""
    shown = (images.detach().float().cpu() * 255).round().clamp(0, 255).to(torch.uint8).numpy()
    return [image.tobytes() for image in shown]
