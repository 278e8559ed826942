"""The images that a block asks about: the subject's own, or mosaics made of them, with what is known of the evidence."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from models.base import Subject
from models.transfer import moved
from models.truth import Certificate, Truth, certify, mosaics_of, required


@dataclass(frozen=True)
class Scenes:
    """A block of images of one subject.

    Attributes:
        subject: the trained model; its `data` are the images asked about.
        indices: of the images in `subject.data`.
        source: the subject as it was given, which remembers its certificate from block to block.
        made: whether the images were composed for the subject, which then was not trained on their like.
    """

    subject: Subject
    indices: tuple[int, ...]
    source: Subject
    made: bool = False

    @property
    def truth(self) -> Truth | None:
        """What is known of the evidence, None for images of which nothing is known."""
        return self.subject.data.truth

    @property
    def ids(self) -> list[str]:
        """Stable names of the images."""
        return [self.subject.data.ids[index] for index in self.indices]

    @property
    def labels(self) -> list[int]:
        """The class that each image is labelled with."""
        return [int(self.subject.data.labels[index]) for index in self.indices]

    @property
    def shown(self) -> list[tuple[int, ...]] | None:
        """Per image the classes that it shows, None where that is not known."""
        return None if self.truth is None else [self.truth.present(index) for index in self.indices]

    def images(self) -> Tensor:
        """The images, (n, C, H, W) float32 in [0, 1], on the model's device."""
        return moved(self.subject.data.load(list(self.indices)), self.subject.device)

    @cached_property
    def certificate(self) -> Certificate:
        """Which (image, class) pairs the model answers from their evidence.

        Raises:
            UsageError: the model has to use the evidence of these images and does not; the message says which line of the
                certificate fails. Composed images are never refused as a whole: every pair is kept or not.
        """
        return certify(self.subject, self.indices) if self.made else required(self.source, self.indices)

    def certified(self, places: Sequence[int], classes: Sequence[int]) -> list[bool]:
        """Whether the model uses the evidence of each class in the image at each place of the block.

        Raises:
            UsageError: see `certificate`.
        """
        certificate = self.certificate
        pairs = zip(places, classes, strict=True)
        return [certificate.keeps(self.indices[place], label) for place, label in pairs]

    def masks(self, places: Sequence[int], classes: Sequence[int]) -> Tensor:
        """Where the evidence of a class lies in the image at a place of the block, (n, H, W) bool."""
        truth = self.truth
        _, height, width = self.subject.data.shape
        if truth is None or not len(places):
            return torch.zeros(len(places), height, width, dtype=torch.bool)
        found = [truth.mask(self.indices[place], label) for place, label in zip(places, classes, strict=True)]
        return torch.from_numpy(np.stack(found))

    def boxes(self, places: Sequence[int]) -> np.ndarray | None:
        """All cells of the images at some places, filled or empty, (n, cells, 4) int16: top, left, height, width.

        Returns:
            None where the evidence is not known; -1 where an image has fewer cells than another.
        """
        if self.truth is None:
            return None
        scenes = [self.truth.scene(self.indices[place]) for place in places]
        found = np.full((len(scenes), max((len(scene.cells) for scene in scenes), default=0), 4), -1, np.int16)
        for row, scene in enumerate(scenes):
            for number, cell in enumerate(scene.cells):
                found[row, number] = (cell.box.top, cell.box.left, cell.box.height, cell.box.width)
        return found


def own(subject: Subject, indices: Sequence[int]) -> Scenes:
    """The subject's own images at these indices; where their evidence is known the oracle is told of it."""
    truth = subject.data.truth
    told = replace(subject, evidence=truth.evidence) if truth is not None and subject.evidence is None else subject
    return Scenes(told, tuple(indices), subject)


def composed(subject: Subject, indices: Sequence[int]) -> Scenes:
    """Mosaics of the subject's images, as many as there are indices; the i-th image asked for gives the i-th mosaic.

    Raises:
        UsageError: the images have fewer than two classes, or are too small.
    """
    data = mosaics_of(subject.data, count=max(indices) + 1)
    evidence = None if data.truth is None else data.truth.evidence
    return Scenes(replace(subject, data=data, evidence=evidence), tuple(indices), subject, made=True)
