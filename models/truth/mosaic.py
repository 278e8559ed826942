"""Mosaics: items in the cells of a 2x2 or 1x2 grid, each evidence of its own class and of no other.

Source: Boehle, Fritz, Schiele 2021 and Rao, Boehle, Schiele 2022 (grid pointing game); here with a classifier that is
trained on mosaics, so that an item in one cell is no evidence against the class of another.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from ..data import ImageSet
from .base import Box, Cell, Scene, Truth
from .draws import Draws

LAYOUTS = {"2x2": 4, "1x2": 2}
EXPLAINED = ("2x2",) * 5 + ("1x2",) * 2 + ("2x2 of two",)
"""What is explained: of eight mosaics five show four classes, two show two, one shows two with empty or double cells."""


@dataclass(frozen=True, eq=False)
class Mosaics:
    """How mosaics are composed of the items of an image set.

    Attributes:
        items: where the items come from; their labels are the classes of the cells.
        tile: item index -> (C, h, w) pixels, a quarter of the mosaic.
        size: (H, W) of the mosaic.
        name: names the random draws.
        seed: base of every draw.
        per_place: classes are counted per place, place * classes + class of the item (separate heads per cell).
    """

    items: ImageSet
    tile: Callable[[int], np.ndarray] = field(repr=False)
    size: tuple[int, int]
    name: str
    seed: int = 0
    per_place: bool = False

    @cached_property
    def by_class(self) -> list[np.ndarray]:
        """Indices of the items of each class."""
        return [np.flatnonzero(self.items.labels == label) for label in range(len(self.items.class_names))]

    @cached_property
    def classes(self) -> list[int]:
        """Classes that have items."""
        return [label for label, found in enumerate(self.by_class) if len(found)]

    def boxes(self, layout: str) -> tuple[Box, ...]:
        """The cells of a layout, row by row; half of the gap between two items belongs to each."""
        height, width = self.size[0] // 2, self.size[1] // 2
        if layout == "1x2":
            top = (self.size[0] - height) // 2
            return tuple(Box(top, left, height, width) for left in (0, width))
        return tuple(Box(top, left, height, width) for top in (0, height) for left in (0, width))

    def scene(self, layout: str, labels: Sequence[int | None], draws: Draws) -> Scene:
        """A mosaic with these classes of items, None for an empty cell; the items are drawn."""
        boxes = self.boxes(layout)
        cells = [
            self._cell(place, box, label, draws) for place, (box, label) in enumerate(zip(boxes, labels, strict=True))
        ]
        return Scene(layout, tuple(cells))

    def explained(self, index: int) -> Scene:
        """The mosaic at an index of the images to explain: two or four classes; see EXPLAINED."""
        draws = Draws(self.seed, self.name, index)
        chosen = [self.classes[place] for place in draws.order(len(self.classes))]
        kind = "2x2" if self.per_place else EXPLAINED[index % len(EXPLAINED)]
        if kind == "1x2":
            return self.scene("1x2", chosen[:2], draws)
        if kind == "2x2" and len(chosen) >= 5:
            return self.scene("2x2", chosen[:4], draws)
        a, b = chosen[:2]
        rest = ((None, None), (a, None), (a, b), (a, a))[draws.below(4)]
        labels = [(a, b, *rest)[place] for place in draws.order(4)]
        return self.scene("2x2", labels, draws)

    def trained(self, index: int, least: int = 0) -> Scene:
        """The mosaic at an index of the training images: `least` to 4 items, classes drawn independently.

        Args:
            least: fewest items.
        """
        draws = Draws(self.seed, self.name, "training", index)
        layout = "1x2" if draws.below(4) == 0 and not self.per_place else "2x2"
        places = LAYOUTS[layout]
        count = least + draws.below(places + 1 - least)
        filled = set(draws.order(places)[:count])
        labels = [self.classes[draws.below(len(self.classes))] if place in filled else None for place in range(places)]
        return self.scene(layout, labels, draws)

    def refill(self, scene: Scene, cells: Sequence[int], draw: int) -> Scene:
        """The scene with these cells filled by items of classes that it does not show; empty where it shows all.

        Args:
            draw: number of the draw. The items depend on the mosaic, the cell and the draw, not on the other cells.
        """
        shown = {self._class(number, cell.label) for number, cell in enumerate(scene.cells) if cell.label is not None}
        absent = [label for label in self.classes if label not in shown]
        what = "/".join(str(cell.item) for cell in scene.cells)
        changed = {}
        for number in cells:
            draws = Draws(self.seed, self.name, "refill", scene.layout, what, number, draw)
            label = absent[draws.below(len(absent))] if absent else None
            changed[number] = self._cell(number, scene.cells[number].box, label, draws)
        return scene.with_cells(changed)

    def render(self, scene: Scene) -> np.ndarray:
        """The pixels of a mosaic, (C, H, W), of the type of the items; black where it is empty."""
        tiles = [(cell.box, self.tile(cell.item)) for cell in scene.cells if cell.item is not None]
        channels = self.items.shape[0]
        kind = tiles[0][1].dtype if tiles else self.tile(0).dtype
        pixels = np.zeros((channels, *self.size), kind)
        for box, tile in tiles:
            pixels[:, *box.place()] = tile
        return pixels

    def _cell(self, place: int, box: Box, label: int | None, draws: Draws) -> Cell:
        if label is None:
            return Cell(box, None)
        choices = self.by_class[label]
        item = int(choices[draws.below(len(choices))])
        return Cell(box, place * len(self.by_class) + label if self.per_place else label, item)

    def _class(self, place: int, label: int) -> int:
        return label - place * len(self.by_class) if self.per_place else label


def mosaic_set(
    made: Mosaics, count: int, scene: Callable[[int], Scene], kind: str, class_names: tuple[str, ...]
) -> ImageSet:
    """The image set of the first `count` mosaics of a law.

    Args:
        scene: index -> mosaic, one of the methods of `made`.
        kind: kind of its Truth.
        class_names: one per class of the cells.

    Returns:
        An image set whose label is one of the classes shown.
    """
    channels = made.items.shape[0]
    shape = (channels, *made.size)
    truth = Truth(kind, count, shape, len(class_names), scene, made.render, made.refill)
    labels = np.array([one_of(scene(index), index) for index in range(count)], np.int64)
    ids = [f"{made.name}/{index:05d}" for index in range(count)]
    return ImageSet(
        made.name, labels, ids, class_names, shape,
        lambda indices: np.stack([made.render(scene(index)) for index in indices]), truth,
    )  # fmt: skip


def one_of(scene: Scene, index: int) -> int:
    """One of the classes of a scene; its classes are drawn, so the filled cells can take turns."""
    shown = [cell.label for cell in scene.cells if cell.label is not None]
    return shown[index // len(EXPLAINED) % len(shown)]
