"""What is known of a made image: which cells it has, what stands in each, and the same image with cells changed.

An image is described by a Scene, and a Truth draws the Scene of each index and renders it. Every experiment on the
evidence (replace a cell, take a cue away, put it on another carrier) is an edit of the Scene, rendered again.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np

from ..naming import UsageError

if TYPE_CHECKING:
    from torch import Tensor

KINDS = ("mosaic", "cue", "difull")


@dataclass(frozen=True)
class Box:
    """A rectangle of pixels: rows top ... top + height - 1, columns left ... left + width - 1."""

    top: int
    left: int
    height: int
    width: int

    def place(self, margin: int = 0) -> tuple[slice, slice]:
        """Rows and columns, `margin` pixels smaller on each side (larger where it is negative)."""
        return (
            slice(max(0, self.top + margin), max(0, self.top + self.height - margin)),
            slice(max(0, self.left + margin), max(0, self.left + self.width - margin)),
        )


@dataclass(frozen=True)
class Cell:
    """One place of an image.

    Attributes:
        box: its pixels.
        label: class that its content is evidence of; None where it is empty.
        item: index of the content in the images it was taken from; None where it is empty or a cue.
    """

    box: Box
    label: int | None
    item: int | None = None


@dataclass(frozen=True)
class Scene:
    """What an image shows.

    Attributes:
        layout: `2x2`, `1x2` or `cue`.
        cells: its places, row by row; for cues one per planted pattern.
        carrier: index of the image beneath the cues, None for mosaics.
    """

    layout: str
    cells: tuple[Cell, ...]
    carrier: int | None = None

    @property
    def present(self) -> tuple[int, ...]:
        """The classes in the image, ascending."""
        return tuple(sorted({cell.label for cell in self.cells if cell.label is not None}))

    def holding(self, label: int) -> tuple[int, ...]:
        """Numbers of the cells whose content is evidence of a class."""
        return tuple(number for number, cell in enumerate(self.cells) if cell.label == label)

    def with_cells(self, changed: dict[int, Cell]) -> Scene:
        """The same image with other cells at these numbers."""
        return replace(self, cells=tuple(changed.get(number, cell) for number, cell in enumerate(self.cells)))


@dataclass(frozen=True, eq=False)
class Truth:
    """The known evidence of every image of a data set.

    Attributes:
        kind: `mosaic`, `cue` or `difull`.
        count: images of the data set.
        shape: (C, H, W) of an image.
        num_classes: classes that a cell can be evidence of.
        scene: index -> what the image shows.
        render: what an image shows -> its pixels (C, H, W), uint8 or float32 in [0, 1].
        refill: (scene, numbers of cells, draw) -> the scene with these cells filled by evidence of classes that the
            image does not show; for cues the pattern is taken away and the carrier shows.
        edits: further edits by name, (scene, draw) -> scene; see `models.truth.cue`.
        places: what `index_of` remembers.

    Example:
        >>> from models import load_data
        >>> truth = load_data("fmnist-mosaic").truth
        >>> truth.kind, len(truth.present(0)), truth.mask(0, truth.present(0)[0]).shape
        ('mosaic', 4, (64, 64))
    """

    kind: str
    count: int
    shape: tuple[int, int, int]
    num_classes: int
    scene: Callable[[int], Scene] = field(repr=False)
    render: Callable[[Scene], np.ndarray] = field(repr=False)
    refill: Callable[[Scene, Sequence[int], int], Scene] = field(repr=False)
    edits: dict[str, Callable[[Scene, int], Scene]] = field(default_factory=dict, repr=False)
    places: dict[str, int] = field(default_factory=dict, repr=False)

    def present(self, index: int) -> tuple[int, ...]:
        """The classes shown by the image at an index, ascending."""
        return self.scene(index).present

    def boxes(self, index: int, label: int) -> tuple[Box, ...]:
        """The boxes that hold evidence of a class; more than one where the class stands twice."""
        scene = self.scene(index)
        return tuple(scene.cells[number].box for number in scene.holding(label))

    def mask(self, index: int, label: int, margin: int = 0) -> np.ndarray:
        """Where the evidence of a class is, (H, W) bool; all False for a class that the image does not show.

        Args:
            margin: pixels by which every box is made smaller; negative makes it larger.
        """
        found = np.zeros(self.shape[1:], bool)
        for box in self.boxes(index, label):
            found[box.place(margin)] = True
        return found

    def masks(self, index: int, margin: int = 0) -> dict[int, np.ndarray]:
        """Class -> where its evidence is, (H, W) bool, for the classes shown."""
        return {label: self.mask(index, label, margin) for label in self.present(index)}

    def targets(self, indices: Sequence[int]) -> np.ndarray:
        """One where a class is shown, (n, num_classes) float32."""
        found = np.zeros((len(indices), self.num_classes), np.float32)
        for row, index in enumerate(indices):
            found[row, list(self.present(index))] = 1
        return found

    def images(self, scenes: Sequence[Scene]) -> Tensor:
        """Rendered scenes, (n, C, H, W) float32 in [0, 1]."""
        import torch

        if not scenes:
            return torch.zeros(0, *self.shape)
        pixels = np.stack([self.render(scene) for scene in scenes])
        return torch.from_numpy(pixels).to(torch.float32).div_(255.0 if pixels.dtype == np.uint8 else 1.0)

    def replace(self, index: int, label: int, draw: int = 0) -> Tensor:
        """The image with all evidence of a class replaced, (C, H, W) float32 in [0, 1]; see `refill`.

        Args:
            draw: number of the draw; the same number gives the same image.
        """
        scene = self.scene(index)
        return self.images([self.refill(scene, scene.holding(label), draw)])[0]

    def replace_cells(self, index: int, cells: Sequence[int], draw: int = 0) -> Tensor:
        """The image with these cells replaced, (C, H, W) float32 in [0, 1]; see `refill`."""
        return self.images([self.refill(self.scene(index), cells, draw)])[0]

    def index_of(self, image: Tensor) -> int:
        """Where an image (C, H, W) in [0, 1] stands in the data set.

        Raises:
            UsageError: it is not an image of the data set as it was loaded.
        """
        if not self.places:
            for index in range(self.count):
                self.places.setdefault(_key(self.images([self.scene(index)])[0]), index)
        found = self.places.get(_key(image))
        if found is None:
            raise UsageError(
                f"an image of shape {tuple(image.shape)} is none of the {self.count:,} images of this {self.kind} data "
                "set, so its evidence is unknown; give images as its load() returns them, unchanged"
            )
        return found

    def evidence(self, images: Tensor, targets: Tensor) -> Tensor:
        """Masks of the evidence of the target classes, (N, 1, H, W) in {0, 1}; see `index_of`."""
        import torch

        masks = [
            self.mask(self.index_of(image), int(target)) for image, target in zip(images, targets.tolist(), strict=True)
        ]
        return torch.from_numpy(np.stack(masks)[:, None]).to(images)


def _key(image: Tensor) -> str:
    return hashlib.sha256(image.detach().cpu().contiguous().float().numpy().tobytes()).hexdigest()
