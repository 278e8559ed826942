"""The check `square-shortcut`: how far a network takes a square for a bag, on all test images."""

from __future__ import annotations

import math
import time
from collections.abc import Collection, Iterator, Sequence
from typing import TYPE_CHECKING

from bench.checks.base import MODEL, OK, CellResult
from bench.protocols import Protocol
from models.base import Subject
from models.data import load_data
from models.variants import SQUARE_CLASS

from . import square
from .declared import CHECKS, SHORTCUT

if TYPE_CHECKING:
    from explainers import Explainer

DATA = "fashion-mnist"
BATCH = 500


def run_block(
    subject: Subject,
    explainers: Sequence[Explainer],
    indices: Sequence[int],
    seed: int,
    *,
    protocol: Protocol,
    wanted: Collection[tuple[str, str]],
    base: int,
    batch_size: int | None = None,
    pictures: int = 0,
) -> Iterator[CellResult]:
    """Predict all Fashion-MNIST test images as they are and with a square.

    Args:
        subject: a classifier of Fashion-MNIST; the other arguments of checks are of no use here.

    Yields:
        One result about the model, with 95% intervals of the shares (Wilson).
    """
    if not set(wanted):
        return
    start = time.perf_counter()
    square.check_suits(tuple(subject.data.shape), subject.class_names)
    result = CellResult(MODEL, SHORTCUT, seed=seed)
    found = _shares(subject, batch_size or BATCH)
    for measure in next(info for info in CHECKS if info.name == SHORTCUT).measures:
        result.rows.append(
            {
                "suite": "generative", "check": SHORTCUT, "subject": subject.name, "explainer": MODEL, "seed": seed,
                "stage": None, "layer": None, "image": None, "target": None, "measure": measure.name,
                "value": found[measure.name], "status": OK, "seconds": None,
            }
        )  # fmt: skip
    result.seconds = time.perf_counter() - start
    yield result


def _shares(subject: Subject, batch: int) -> dict[str, float]:
    """The shares with their intervals."""
    data = load_data(DATA)
    counts = dict.fromkeys(("recall-clean", "recall-marked", "others-marked"), 0)
    for at in range(0, len(data), batch):
        chosen = list(range(at, min(at + batch, len(data))))
        images = data.load(chosen).to(subject.device)
        bags = data.labels[chosen] == SQUARE_CLASS
        plain = subject.predict(images).cpu().numpy() == SQUARE_CLASS
        marked = subject.predict(square.marked(images)).cpu().numpy() == SQUARE_CLASS
        counts["recall-clean"] += int(plain[bags].sum())
        counts["recall-marked"] += int(marked[bags].sum())
        counts["others-marked"] += int(marked[~bags].sum())
    bags = int((data.labels == SQUARE_CLASS).sum())
    values = {}
    for name, count in counts.items():
        of = len(data) - bags if name == "others-marked" else bags
        values[name] = count / of
        values[f"{name}-low"], values[f"{name}-high"] = wilson(count, of)
    return values


def wilson(count: int, of: int, z: float = 1.959963985) -> tuple[float, float]:
    """The 95% score interval of a share, both ends in [0, 1].

    Args:
        count: of `of` trials, `of` >= 1.

    Source: Wilson 1927.

    Example:
        >>> tuple(round(end, 4) for end in wilson(5, 10))
        (0.2366, 0.7634)
    """
    share = count / of
    centre = (share + z * z / (2 * of)) / (1 + z * z / of)
    half = z / (1 + z * z / of) * math.sqrt(share * (1 - share) / of + z * z / (4 * of * of))
    return min(share, max(0.0, centre - half)), max(share, min(1.0, centre + half))
