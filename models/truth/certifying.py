"""Certifying made images under a model: the evidence is replaced, then everything else, and the logits are watched."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from ..naming import UsageError
from .base import Scene, Truth
from .certificate import Certificate, Line, Pair, at_least, rounded

if TYPE_CHECKING:
    from ..base import Subject

DRAWS = 8
LEAST_KEPT = 0.1
"""A model that looks everywhere keeps a few pairs in a hundred by luck."""

EXACT = 1e-5
"""Change of a logit, relative to that by its own cell, that rounding explains."""


@dataclass(frozen=True)
class Question:
    """A model asked about images of one data set.

    Attributes:
        subject: the model; its data carry the truth.
        truth: the known evidence.
        indices: the images.
        draws: replacements averaged.
        rows: images per forward pass.
    """

    subject: Subject
    truth: Truth
    indices: tuple[int, ...]
    draws: int
    rows: int

    def logits(self, scenes: Sequence[Scene]) -> Tensor:
        """Logits (n, K) of rendered scenes, on the CPU in float64."""
        parts = [
            self.subject.predict_logits(self.truth.images(scenes[start : start + self.rows]), self.rows).cpu().double()
            for start in range(0, len(scenes), self.rows)
        ]
        return torch.cat(parts)


def certify(subject: Subject, indices: Sequence[int], *, draws: int = DRAWS, batch_size: int = 32) -> Certificate:
    """Whether a model uses the known evidence of these images, and nothing else.

    Args:
        subject: a model whose data carry a truth.
        indices: the images to look at, places in the data set.
        draws: replacements averaged per cell, >= 1.
        batch_size: rows per forward pass; small batches of large images are faster on a CPU.

    Returns:
        One pair per image and class shown, and the lines that the whole data set has to meet. Mosaics: of the pairs at
        least a tenth is kept. Separate heads: also, no logit depends on a pixel outside its cell. Cues: see
        `models.truth.certifying_cues`.

    Raises:
        UsageError: data without a truth, no images, fewer classes in the model than in the truth.

    Example:
        >>> import models
        >>> subject = models.load("fmnist-mosaic")
        >>> certify(subject, [0, 1], draws=1).verdict
        'certified'
    """
    question = _asked(subject, indices, draws, batch_size)
    if question.truth.kind == "cue":
        from .certifying_cues import looked_at

        lines, pairs = looked_at(question)
    else:
        pairs = _pairs(question)
        lines = [kept_line(pairs)]
        if question.truth.kind == "difull":
            lines = [*_separate(question, pairs), *lines]
    from .shipped import data_digest

    return Certificate(
        question.truth.kind, subject.name, subject.weights_digest, subject.data.name, data_digest(subject.data), draws,
        tuple(lines), tuple(pairs),
    )  # fmt: skip


def kept_line(pairs: Sequence[Pair]) -> Line:
    """The line on the share of pairs that are kept."""
    share = sum(pair.kept for pair in pairs) / len(pairs) if pairs else 0.0
    return at_least("kept", share, LEAST_KEPT, "share of (image, class) pairs whose evidence the model uses")


def pair_of(index: int, label: int, inside: float, outside: float, margin: float) -> Pair:
    """A pair with its figures rounded as they are stored."""
    return Pair(int(index), int(label), rounded(inside), rounded(outside), rounded(margin))


def margin(logits: Tensor, label: int, present: Sequence[int], classes: int) -> float | None:
    """The logit of a class minus the largest logit of a class not shown; None where all are shown.

    Args:
        logits: (K,), of which the first `classes` count.
    """
    absent = [other for other in range(classes) if other not in present]
    return float(logits[label] - logits[absent].max()) if absent else None


def blocks(question: Question, per_image: int) -> list[tuple[int, ...]]:
    """The images in blocks whose scenes fill one forward pass."""
    size = max(1, question.rows // per_image)
    return [question.indices[start : start + size] for start in range(0, len(question.indices), size)]


def _asked(subject: Subject, indices: Sequence[int], draws: int, rows: int) -> Question:
    truth = subject.data.truth
    if truth is None:
        raise UsageError(
            f"{subject.data.name} carries no known evidence, so nothing can be certified; take one of fmnist-mosaic, "
            "fmnist-cue, fmnist-difull, or models.truth.mosaics_of(data) for mosaics of your own images"
        )
    if not len(indices):
        raise UsageError("no images were given to certify; give at least one index")
    outside = [index for index in indices if not 0 <= index < truth.count]
    if outside:
        raise UsageError(f"image {outside[0]} does not exist; {subject.data.name} has images 0 to {truth.count - 1:,}")
    if draws < 1 or rows < 1:
        raise UsageError(f"draws is {draws} and batch_size is {rows}; both have to be at least 1")
    if subject.num_classes < truth.num_classes:
        raise UsageError(
            f"model {subject.name!r} has {subject.num_classes} outputs and {subject.data.name} shows "
            f"{truth.num_classes} classes; give a model with one output per class"
        )
    return Question(subject, truth, tuple(int(index) for index in indices), draws, rows)


def _pairs(question: Question) -> list[Pair]:
    found: list[Pair] = []
    for block in blocks(question, 1 + 5 * question.draws):
        scenes: list[Scene] = []
        asked: list[tuple[int, Scene, dict[tuple[int, ...], slice], int]] = []
        for index in block:
            scene = question.truth.scene(index)
            start, places = len(scenes), {}
            scenes.append(scene)
            for cells in _groups(scene):
                places[cells] = slice(len(scenes), len(scenes) + question.draws)
                scenes += [question.truth.refill(scene, cells, draw) for draw in range(question.draws)]
            asked.append((index, scene, places, start))
        logits = question.logits(scenes)
        for index, scene, places, start in asked:
            changes = {cells: (logits[start] - logits[place]).mean(0) for cells, place in places.items()}
            found += _of_image(question, index, scene, logits[start], changes)
    return found


def _groups(scene: Scene) -> list[tuple[int, ...]]:
    """The sets of cells to replace: each alone, and together those that hold the same class."""
    alone = [(number,) for number in range(len(scene.cells))]
    return alone + [scene.holding(label) for label in scene.present if len(scene.holding(label)) > 1]


def _of_image(
    question: Question, index: int, scene: Scene, logits: Tensor, changes: dict[tuple[int, ...], Tensor]
) -> list[Pair]:
    found = []
    for label in scene.present:
        own = scene.holding(label)
        others = [float(changes[(number,)][label].abs()) for number in range(len(scene.cells)) if number not in own]
        inside = float(changes[own][label])
        above = margin(logits, label, scene.present, question.truth.num_classes)
        found.append(pair_of(index, label, inside, max(others, default=0.0), inside if above is None else above))
    return found


def _separate(question: Question, pairs: Sequence[Pair]) -> list[Line]:
    """That no logit depends on a pixel outside its cell, by making all of those not-a-number, and by replacement."""
    largest = max((pair.outside / max(abs(pair.inside), 1e-30) for pair in pairs), default=0.0)
    return [
        at_least(
            "nan-outside", _finite_share(question), 1.0, "share of logits that stay finite when all else is not a number"
        ),
        Line(
            "changed-outside", rounded(largest), f"<= {EXACT:g}", largest <= EXACT,
            "largest change of a logit by replacing other cells, relative to that by its own",
        ),
    ]  # fmt: skip


def _finite_share(question: Question) -> float:
    finite = total = 0
    for index in question.indices[:: max(1, len(question.indices) // 64)]:
        image = question.truth.images([question.truth.scene(index)])
        for label in question.truth.present(index):
            outside = ~torch.from_numpy(question.truth.mask(index, label))
            broken = image.masked_fill(outside, float("nan"))
            finite += bool(torch.isfinite(question.subject.predict_logits(broken)[0, label]))
            total += 1
    return finite / max(total, 1)
