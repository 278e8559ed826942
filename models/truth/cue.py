"""Cues: small binary patterns at random places decide the labels; the images beneath them are independent of the labels.

A pattern replaces the pixels beneath it. So the evidence of a class is exactly its pattern's box, and an image with two
patterns has two classes in two known places.

Source: Adebayo et al. 2020 and Yang and Kim 2019 (planted evidence); random places, so that absence elsewhere says nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np

from ..data import ImageSet
from .base import Box, Cell, Scene, Truth
from .draws import Draws
from .mosaic import one_of

SIDE, CUES, APART = 5, 10, 10
GAP = 2
CLASS_NAMES = tuple(f"cue {letter}" for letter in "ABCDEFGHIJ")


@lru_cache(maxsize=1)
def patterns() -> np.ndarray:
    """One 5x5 pattern of black and white per class, (10, 5, 5) uint8 in {0, 255}.

    Twelve or thirteen pixels are white, and two patterns differ in at least ten pixels, also where one of them is
    mirrored or turned. They are the same for every seed, because they define the classes.

    Example:
        >>> patterns().shape, int((patterns()[0] > 0).sum()) in (12, 13)
        ((10, 5, 5), True)
    """
    draws, found = Draws(0, "cue patterns"), np.zeros((0, SIDE, SIDE), bool)
    while len(found) < CUES:
        pattern = np.zeros(SIDE * SIDE, bool)
        pattern[draws.order(SIDE * SIDE)[: 12 + draws.below(2)]] = True
        square = pattern.reshape(SIDE, SIDE)
        alike = [np.rot90(turned, times) for turned in (square, square.T) for times in range(4)]
        if all((found != one).sum((1, 2)).min(initial=SIDE * SIDE) >= APART for one in alike):
            found = np.concatenate([found, square[None]])
    return found.astype(np.uint8) * 255


@dataclass(frozen=True, eq=False)
class Cues:
    """How patterns are planted on carriers.

    Attributes:
        carriers: the images beneath.
        name: names the random draws.
        seed: base of every draw.
    """

    carriers: ImageSet
    name: str
    seed: int = 0

    @property
    def patterns(self) -> np.ndarray:
        """One pattern per class, (10, 5, 5) uint8 in {0, 255}; see `patterns`."""
        return patterns()

    def scene(self, labels: Sequence[int], draws: Draws) -> Scene:
        """A drawn carrier with the patterns of these classes at drawn places, at least two pixels apart."""
        carrier = draws.below(len(self.carriers))
        return Scene("cue", self._placed(labels, draws), carrier)

    def explained(self, index: int) -> Scene:
        """The image at an index of the images to explain: two classes, every fourth one class."""
        draws = Draws(self.seed, self.name, index)
        return self.scene(draws.order(CUES)[: 1 if index % 4 == 3 else 2], draws)

    def trained(self, index: int, least: int = 0) -> Scene:
        """The image at an index of the training images: 0, 1 or 2 patterns of different classes."""
        draws = Draws(self.seed, self.name, "training", index)
        return self.scene(draws.order(CUES)[: least + draws.below(3 - least)], draws)

    def without(self, scene: Scene, cells: Sequence[int], draw: int) -> Scene:
        """The scene with these patterns taken away, so that the carrier shows; no draw is needed."""
        return replace(scene, cells=tuple(cell for number, cell in enumerate(scene.cells) if number not in set(cells)))

    def other_carrier(self, scene: Scene, draw: int) -> Scene:
        """The same patterns at the same places on another carrier."""
        place = Draws(self.seed, self.name, "carrier", str(scene), draw).below(len(self.carriers) - 1)
        carrier = place + (scene.carrier is not None and place >= scene.carrier)
        return replace(scene, carrier=int(carrier))

    def elsewhere(self, scene: Scene, draw: int) -> Scene:
        """The same patterns at other places of the same carrier."""
        draws = Draws(self.seed, self.name, "elsewhere", str(scene), draw)
        return replace(scene, cells=self._placed([cell.label for cell in scene.cells if cell.label is not None], draws))

    def other_cues(self, scene: Scene, draw: int) -> Scene:
        """Patterns of classes that the image does not show, at the same places of the same carrier."""
        draws = Draws(self.seed, self.name, "counterfactual", str(scene), draw)
        absent = [label for label in draws.order(CUES) if label not in scene.present]
        cells = tuple(replace(cell, label=label) for cell, label in zip(scene.cells, absent, strict=False))
        return replace(scene, cells=cells)

    def render(self, scene: Scene) -> np.ndarray:
        """The pixels of an image, (1, H, W) uint8."""
        pixels = self.carriers.read([scene.carrier if scene.carrier is not None else 0])[0].copy()
        if scene.carrier is None:
            pixels[:] = 0
        for cell in scene.cells:
            if cell.label is not None:
                pixels[:, *cell.box.place()] = self.patterns[cell.label]
        return pixels

    def _placed(self, labels: Sequence[int], draws: Draws) -> tuple[Cell, ...]:
        _, height, width = self.carriers.shape
        cells: list[Cell] = []
        for label in labels:
            while True:
                box = Box(draws.below(height - SIDE + 1), draws.below(width - SIDE + 1), SIDE, SIDE)
                reach = SIDE + GAP
                if all(max(abs(box.top - c.box.top), abs(box.left - c.box.left)) >= reach for c in cells):
                    break
            cells.append(Cell(box, label))
        return tuple(cells)


def cue_set(made: Cues, count: int, training: bool = False) -> ImageSet:
    """The image set of the first `count` images; the label is one of the classes shown.

    Args:
        training: the law of the training images, with at least one pattern, in place of that of the explained images.
    """

    def scene(index: int) -> Scene:
        return made.trained(index, least=1) if training else made.explained(index)

    edits = {"carrier": made.other_carrier, "elsewhere": made.elsewhere, "counterfactual": made.other_cues}
    shape = made.carriers.shape
    truth = Truth("cue", count, shape, CUES, scene, made.render, made.without, edits)
    labels = np.array([one_of(scene(index), index) for index in range(count)], np.int64)
    ids = [f"{made.name}/{index:05d}" for index in range(count)]
    return ImageSet(
        made.name, labels, ids, CLASS_NAMES, shape,
        lambda indices: np.stack([made.render(scene(index)) for index in indices]), truth,
    )  # fmt: skip
