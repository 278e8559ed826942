"""Which classes are asked about on each image, and which of the explanations of a block answers which question."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from models.seeds import derive

SHOWN, OTHER, FIRST, SECOND, LEAST = "shown", "other", "first", "second", "least"
ROLES = (SHOWN, OTHER, FIRST, SECOND, LEAST)
"""The class that the image is labelled with; another one that it shows; the most, second and least likely class."""


@dataclass(frozen=True)
class Asked:
    """The explanations that a block of images needs, each (image, class) once, however many questions it answers.

    Attributes:
        places: place in the block of the image of each explanation.
        classes: the explained class of each explanation.
        roles: role -> per image the number of its explanation, None where the image has no such class.
    """

    places: tuple[int, ...]
    classes: tuple[int, ...]
    roles: dict[str, tuple[int | None, ...]]

    def of(self, role: str) -> list[int | None]:
        """Per image the class in a role, None where there is none."""
        return [None if number is None else self.classes[number] for number in self.roles[role]]


def recognised(scores: Tensor, shown: Sequence[int]) -> tuple[int, ...]:
    """The classes of an image that a model finds in it: those that it ranks above every class that is not shown.

    The rule needs no threshold on a probability, so it holds for networks with one sigmoid per class and with a softmax;
    it is that of the certificates (`models.truth`).

    Args:
        scores: (K,), one logit per class.
        shown: the classes that the image shows.

    Example:
        >>> recognised(torch.tensor([3.0, -1.0, 2.0, 0.0]), (0, 3))
        (0,)
    """
    absent = torch.ones(len(scores), dtype=torch.bool)
    absent[list(shown)] = False
    highest = float(scores[absent].max()) if bool(absent.any()) else float("-inf")
    return tuple(label for label in shown if float(scores[label]) > highest)


def ask(
    logits: Tensor,
    labels: Sequence[int],
    ids: Sequence[str],
    shown: Sequence[Sequence[int]] | None,
    roles: Sequence[str],
) -> Asked:
    """Choose the classes of every image.

    Args:
        logits: (N, K), of the trained model.
        labels: N classes that the images are labelled with.
        ids: N stable names; the other class of an image is drawn by its name, so that it never depends on the batch.
        shown: per image the classes that it is known to show, None where that is not known.
        roles: the roles in use. `shown` is the label where the model finds it in the image, `other` one of the other classes
            that are shown and found; an image without has no such class, and is left out of what needs it.

    Example:
        >>> scores = torch.tensor([[3.0, -1.0, 2.0, 0.0]])
        >>> found = ask(scores, [0], ["a"], [(0, 2)], ["shown", "other", "first", "least"])
        >>> found.classes, found.roles["first"]
        ((0, 2, 1), (0,))
    """
    order = logits.sort(dim=1, descending=True, stable=True).indices.tolist()
    finite = torch.isfinite(logits).all(1).tolist()
    numbers: dict[tuple[int, int], int] = {}
    found: dict[str, list[int | None]] = {role: [] for role in roles}
    for place, (ranked, fine) in enumerate(zip(order, finite, strict=True)):
        here: dict[str, int] = {}
        if fine:
            here[FIRST] = ranked[0]
            if len(ranked) > 1:
                here[SECOND], here[LEAST] = ranked[1], ranked[-1]
            if shown is not None:
                seen = recognised(logits[place], shown[place])
                here.update(_pair(seen, int(labels[place]), ids[place]))
        for role in roles:
            label = here.get(role)
            key = None if label is None else (place, label)
            found[role].append(None if key is None else numbers.setdefault(key, len(numbers)))
    places, classes = zip(*numbers, strict=True) if numbers else ((), ())
    return Asked(places, classes, {role: tuple(answers) for role, answers in found.items()})


def _pair(seen: Sequence[int], label: int, name: str) -> dict[str, int]:
    if label not in seen:
        return {}
    others = sorted(set(seen) - {label})
    return {SHOWN: label, **({OTHER: others[derive(0, "other class", name) % len(others)]} if others else {})}
