"""The planted square: how much of a map lies in it, and whether it is what moves a counterfactual over the boundary."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from models.naming import UsageError
from models.variants import SQUARE_CLASS, SQUARE_COLUMNS, SQUARE_ROWS, SQUARE_VALUE

Logits = Callable[[Tensor], Tensor]


def check_suits(shape: tuple[int, ...], class_names: tuple[str, ...]) -> None:
    """Raise UsageError for a model without bags, or images without a place for the square."""
    if tuple(shape[1:]) != (32, 32) or len(class_names) <= SQUARE_CLASS or class_names[SQUARE_CLASS] != "Bag":
        raise UsageError(
            f"the square stands in images of 32x32 and its class is {SQUARE_CLASS}, Bag; the model sees {tuple(shape)} and "
            f"knows {', '.join(class_names)}"
        )


def inside(maps: Tensor) -> Tensor:
    """The part of (n, C, H, W) inside the square, (n, values)."""
    return maps[..., SQUARE_ROWS, SQUARE_COLUMNS].flatten(1)


def energy(maps: Tensor) -> Tensor:
    """Share of the absolute values inside the square, (n,) in [0, 1]; NaN for a map of zeros.

    Example:
        >>> float(energy(torch.ones(1, 1, 32, 32))[0])
        0.03515625
    """
    whole = maps.double().abs().flatten(1).sum(1)
    return torch.where(whole > 0, inside(maps.double()).abs().sum(1) / whole, torch.full_like(whole, float("nan")))


def change(images: Tensor, made: Tensor) -> Tensor:
    """Mean signed change inside the square, (n,) in [-1, 1]; > 0 where something bright is added."""
    return inside(made.double() - images.double()).mean(1)


def restored(images: Tensor, made: Tensor) -> Tensor:
    """The counterfactuals with the original pixels inside the square, (n, C, H, W)."""
    back = made.clone()
    back[..., SQUARE_ROWS, SQUARE_COLUMNS] = images[..., SQUARE_ROWS, SQUARE_COLUMNS]
    return back


def marked(images: Tensor) -> Tensor:
    """The images with the bare square on them, (n, C, H, W)."""
    new = images.clone()
    new[..., SQUARE_ROWS, SQUARE_COLUMNS] = SQUARE_VALUE / 255
    return new


def gap(logits: Logits, images: Tensor, source: Tensor) -> Tensor:
    """Logit of the class of each image less that of bag, (n,)."""
    found = logits(images).double()
    return found.gather(1, source[:, None])[:, 0] - found[:, SQUARE_CLASS]


def causal(logits: Logits, images: Tensor, made: Tensor, source: Tensor) -> dict[str, Tensor]:
    """The gap at the counterfactual, and how much it grows when the square's pixels are put back; (n,) each, in logits.

    A counterfactual may change much outside the square too; only what is lost without the change inside it is its doing.

    Args:
        logits: images (n, C, H, W) -> (n, K).
        images, made: (n, C, H, W) images and counterfactuals toward bag.
        source: (n,) class that each moves away from.
    """
    at = gap(logits, made, source)
    return {"square-gap": at, "square-restored": gap(logits, restored(images, made), source) - at}
