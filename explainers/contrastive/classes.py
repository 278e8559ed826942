"""The probe class: the one that the explained class is contrasted with."""

from __future__ import annotations

import torch
from torch import Tensor

from models.base import Subject
from models.naming import UsageError, near
from models.seeds import generator

from ..controls import image_key


def probes_of(subject: Subject, images: Tensor, logits: Tensor, targets: Tensor, probe: str, seed: int) -> Tensor:
    """The probe class of each image, (N,).

    Args:
        logits: (N, K) of the images.
        targets: (N,) explained classes.
        probe: `second` (the most likely class but the explained one), `random` (any of the others but that one, drawn for
            each image), a class's number or its name. A class that is asked for may be the explained one of an image:
            then there is nothing to contrast, which is recorded as trivial.

    Raises:
        UsageError: no such class.
    """
    order = logits.scatter(1, targets[:, None], float("-inf")).argsort(dim=1, descending=True, stable=True)[:, :-1]
    if probe == "second":
        return order[:, 0]
    if probe == "random":
        return torch.stack([_drawn(row, image, seed) for row, image in zip(order, images, strict=True)])
    return torch.full_like(targets, class_number(subject, probe))


def class_number(subject: Subject, text: str) -> int:
    """The class that a number or a name (in any case) stands for.

    Raises:
        UsageError: no such class.
    """
    number = text.removeprefix("class-")
    if number.isdigit() and int(number) < subject.num_classes:
        return int(number)
    names = [name.lower() for name in subject.class_names]
    if names.count(text.lower()) == 1:
        return names.index(text.lower())
    raise UsageError(
        f"probe is {text!r}; allowed are 'second', 'random', a number from 0 to {subject.num_classes - 1} or a class name"
        f"{near(text.lower(), names)}"
    )


def _drawn(order: Tensor, image: Tensor, seed: int) -> Tensor:
    """One of the classes from the third most likely on; the second where there are only two."""
    if len(order) == 1:
        return order[0]
    draw = generator(seed, "probe", image_key(image))
    return order[1 + int(torch.randint(len(order) - 1, (1,), generator=draw))]
