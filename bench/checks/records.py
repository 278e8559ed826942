"""Tidy rows of the randomisation checks, and the maps that are kept for the picture grid."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from torch import Tensor

from .base import NOT_APPLICABLE, OK, CellResult
from .health import Health
from .similarity import MEASURES, Similarities

SUITE = "randomization"
ZERO_SHARE = "zero-map-share"
SEARCHED = {"feasible-share": ("converged", "trivial"), "trivial-share": ("trivial",)}
"""Measure -> the outcomes of a search that it counts."""


@dataclass(frozen=True)
class Place:
    """Where in a walk a result belongs: stage number and the name of its layer (None for the trained model)."""

    stage: int
    layer: str | None


TRAINED = Place(0, None)


@dataclass(frozen=True)
class Scores:
    """What one explainer gave at one stage.

    Attributes:
        targets: the explained class of each image.
        similarities: None where the model is dead and nothing is scored.
        rows: positions of this explainer's images in `similarities`.
        seconds: time of the explanation per image, None where none was computed.
        maps: the maps of the first images, for pictures.
        outcome: what came of each search, empty where there was none; None for explainers that do not search.
    """

    targets: list[int]
    similarities: Similarities | None
    rows: slice
    seconds: float | None
    maps: np.ndarray | None = None
    outcome: tuple[str, ...] | None = None


@dataclass
class Common:
    """The columns that all rows of a cell share."""

    check: str
    subject: str
    explainer: str
    seed: int

    def row(self, place: Place, measure: str, value: float | None, status: str) -> dict[str, Any]:
        """One row about a whole stage."""
        return {
            "suite": SUITE, "check": self.check, "subject": self.subject, "explainer": self.explainer,
            "seed": self.seed, "stage": place.stage, "layer": place.layer, "image": None, "target": None,
            "measure": measure, "value": value, "status": status, "seconds": None,
        }  # fmt: skip


def score_rows(common: Common, place: Place, scores: Scores, images: list[str], share: bool) -> list[dict[str, Any]]:
    """One row per image and measure, and where wanted one with the share of zero maps.

    Args:
        common: columns of the cell.
        place: stage and layer.
        scores: what was measured; rows of a dead stage are `not-applicable`.
        images: stable ids.
        share: whether rows about the whole stage belong to the check: `zero-map-share`, and what came of searches.
    """
    rows = []
    similarities = scores.similarities
    for measure in MEASURES:
        if similarities is None:
            values, statuses = [None] * len(images), [NOT_APPLICABLE] * len(images)
        else:
            values = similarities.values[measure][scores.rows].tolist()
            statuses = similarities.statuses[measure][scores.rows]
        for image, target, value, status in zip(images, scores.targets, values, statuses, strict=True):
            row = common.row(place, measure, value if status == OK else None, status)
            row["image"], row["target"], row["seconds"] = image, target, scores.seconds
            rows.append(row)
    if share:
        zero = None if similarities is None else float(similarities.zero[scores.rows].mean())
        rows.append(common.row(place, ZERO_SHARE, zero, NOT_APPLICABLE if zero is None else OK))
    if share and scores.outcome is not None:
        rows += [
            common.row(place, name, _share(scores.outcome, words), OK if scores.outcome else NOT_APPLICABLE)
            for name, words in SEARCHED.items()
        ]
    return rows


def _share(outcome: tuple[str, ...], words: tuple[str, ...]) -> float | None:
    return sum(word in words for word in outcome) / len(outcome) if outcome else None


def health_rows(common: Common, place: Place, health: Health) -> list[dict[str, Any]]:
    """The four rows about the model at one stage."""
    return [common.row(place, measure, value, status) for measure, value, status in health.values()]


@dataclass
class Film:
    """The maps of a few images along the stages, for the picture grid.

    Attributes:
        images: (n, C, H, W) in [0, 1].
        meta: what the picture shows, JSON-able; `layers` grows with the stages.
    """

    images: np.ndarray
    meta: dict[str, Any]
    frames: list[np.ndarray] = field(default_factory=list)

    def add(self, layer: str | None, maps: np.ndarray | None) -> None:
        """The maps of the next stage; a stage that was not explained stays empty (NaN)."""
        count, _, height, width = self.images.shape
        self.frames.append(np.full((count, height, width), np.nan) if maps is None else maps)
        if layer is not None:
            self.meta.setdefault("layers", []).append(layer)

    def packed(self) -> dict[str, Any]:
        """`{"arrays": {"maps": (n, stages + 1, H, W), "images"}, "meta"}`."""
        return {
            "arrays": {"maps": np.stack(self.frames, 1).astype(np.float32), "images": self.images},
            "meta": self.meta,
        }


def head(maps: Tensor, count: int) -> np.ndarray | None:
    """The first maps as float32 numbers on the host, None if none are wanted."""
    result: np.ndarray | None = maps[:count].float().cpu().numpy() if count else None
    return result


@dataclass
class Work:
    """One cell that is being filled.

    Attributes:
        common: the columns that its rows share.
        rows, error, seconds: as in `CellResult`.
        film: the maps for the picture grid, None where none are kept.
    """

    common: Common
    rows: list[dict[str, Any]] = field(default_factory=list)
    error: dict[str, Any] | None = None
    seconds: float = 0.0
    film: Film | None = None

    def result(self) -> CellResult:
        """The finished cell; a cell with an error has no rows."""
        pictures = self.film.packed() if self.film and not self.error else None
        rows = [] if self.error else self.rows
        return CellResult(
            self.common.explainer,
            self.common.check,
            rows,
            self.error,
            self.seconds,
            self.common.seed,
            pictures,
        )
