"""Certifying planted cues: the pattern decides, wherever it stands and whatever is beneath it, and nothing else does."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from .base import Scene
from .certificate import Line, Pair, at_chance, at_least, rounded
from .certifying import Question, blocks, kept_line, margin, pair_of

SURE = 0.99
CARRIER = 0.05
RIDGE = 100.0


class _Counts:
    """Right answers and changes, summed over images."""

    def __init__(self) -> None:
        self.pairs: list[Pair] = []
        self.found: list[bool] = []
        self.moved: list[bool] = []
        self.swapped: list[bool] = []
        self.carried: list[float] = []
        self.alone: list[bool] = []


def looked_at(question: Question) -> tuple[list[Line], list[Pair]]:
    """The lines and pairs of planted cues.

    A class is found in an image where its logit is positive and above those of all classes not shown.

    Returns:
        Lines: `with-cue`, share of pairs found, >= 0.99; `without-cue`, share of images whose most likely class is
        their label when all patterns are taken away, not above chance; `moved`, share of pairs that are found after the
        patterns were put at other places of another carrier, and not found on that carrier before, >= 0.99; `carrier`,
        mean over pairs of mean |f(x) - f(x on another carrier)| / |f(x)|, < 0.05; `counterfactual`, share of patterns
        whose replacement by that of a class not shown makes the new class found and the logit of the old negative,
        >= 0.99; `probe`, accuracy on held-out images of a ridge regression from the carriers' pixels to the labels, not
        above chance; `kept`. Pairs: outside is the larger of the mean change by another carrier and that by taking the other
        pattern away.
    """
    counts = _Counts()
    for block in blocks(question, 8 + question.draws):
        _block(question, block, counts)
    lines = [
        at_least("with-cue", _mean(counts.found), SURE, "share of cues that are found"),
        at_chance(
            "without-cue", sum(counts.alone), len(counts.alone), 1 / question.truth.num_classes,
            "accuracy without the cues",
        ),
        at_least("moved", _mean(counts.moved), SURE, "share of cues whose class moves with them"),
        Line(
            "carrier", rounded(_mean(counts.carried)), f"< {CARRIER:g}", _mean(counts.carried) < CARRIER,
            "mean relative change of a logit by another carrier",
        ),
        at_least("counterfactual", _mean(counts.swapped), SURE, "share of cues whose replacement flips the class"),
        probe_line(question),
        kept_line(counts.pairs),
    ]  # fmt: skip
    return lines, counts.pairs


def _block(question: Question, block: Sequence[int], counts: _Counts) -> None:
    truth, scenes, starts = question.truth, [], []
    for index in block:
        scene = truth.scene(index)
        starts.append(len(scenes))
        scenes += _variants(question, scene)
    logits = question.logits(scenes)
    for index, start in zip(block, starts, strict=True):
        _count(question, index, scenes[start:], logits[start:], counts)


def _variants(question: Question, scene: Scene) -> list[Scene]:
    """The image; without any pattern; elsewhere on another carrier; that carrier alone; with other patterns; on other
    carriers; and without each of its patterns."""
    truth, every = question.truth, range(len(scene.cells))
    elsewhere = truth.edits["elsewhere"](truth.edits["carrier"](scene, 0), 0)
    return [
        scene, truth.refill(scene, every, 0), elsewhere, truth.refill(elsewhere, every, 0),
        truth.edits["counterfactual"](scene, 0),
        *(truth.edits["carrier"](scene, draw) for draw in range(question.draws)),
        *(truth.refill(scene, [number], 0) for number in every),
    ]  # fmt: skip


def _count(question: Question, index: int, scenes: Sequence[Scene], logits: Tensor, counts: _Counts) -> None:
    scene, other = scenes[0], scenes[4]
    classes, draws = question.truth.num_classes, question.draws
    clean, alone, elsewhere, before, swapped = logits[:5]
    carried, without = logits[5 : 5 + draws], logits[5 + draws : 5 + draws + len(scene.cells)]
    counts.alone.append(int(alone[:classes].argmax()) == int(question.subject.data.labels[index]))
    for number, cell in enumerate(scene.cells):
        label, new = cell.label, other.cells[number].label
        if label is None or new is None:
            continue
        above = margin(clean, label, scene.present, classes) or 0.0
        counts.found.append(_finds(clean, label, scene.present, classes))
        counts.moved.append(_finds(elsewhere, label, scene.present, classes) and bool(before[label] <= 0))
        counts.swapped.append(_finds(swapped, new, other.present, classes) and bool(swapped[label] < 0))
        change = float((carried[:, label] - clean[label]).abs().mean())
        counts.carried.append(change / max(abs(float(clean[label])), 1e-30))
        removed = [float((clean - row)[label].abs()) for place, row in enumerate(without) if place != number]
        inside = float((clean - without[number])[label])
        counts.pairs.append(pair_of(index, label, inside, max([change, *removed]), above))


def _finds(logits: Tensor, label: int, present: Sequence[int], classes: int) -> bool:
    return bool(logits[label] > 0) and (margin(logits, label, present, classes) or 0.0) > 0


def probe_line(question: Question) -> Line:
    """The line on a ridge regression from the carriers' pixels to the labels, tested on the second half of the images."""
    truth = question.truth
    bare = [truth.refill(scene, range(len(scene.cells)), 0) for scene in map(truth.scene, question.indices)]
    pixels = truth.images(bare).flatten(1).double()
    labels = torch.from_numpy(np.asarray(question.subject.data.labels)[list(question.indices)])
    half, says = len(labels) // 2, "accuracy of a linear probe on the carriers"
    if half == 0:
        return at_chance("probe", 0, 0, 1 / truth.num_classes, says)
    wanted = torch.nn.functional.one_hot(labels, truth.num_classes).double()
    mean, offset = pixels[:half].mean(0), wanted[:half].mean(0)
    x = pixels - mean
    # In the space of the images, which are fewer than the pixels or about as many: x' (x x' + r)^-1 y.
    gram = x[:half] @ x[:half].T + RIDGE * torch.eye(half, dtype=torch.float64)
    weights = x[:half].T @ torch.linalg.solve(gram, wanted[:half] - offset)
    right = int(((x[half:] @ weights + offset).argmax(1) == labels[half:]).sum())
    return at_chance("probe", right, len(labels) - half, 1 / truth.num_classes, says)


def _mean(values: Sequence[float]) -> float:
    return float(np.mean(values)) if len(values) else float("nan")
