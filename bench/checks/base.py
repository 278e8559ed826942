"""What a check declares about itself and what it hands back; torch-free, so that `bench list checks` is instant."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

OK = "ok"
ZERO = "degenerate-zero"
CONSTANT = "degenerate-constant"
NON_FINITE = "non-finite"
NOT_APPLICABLE = "not-applicable"
FAILED = "failed"
STATUSES = (OK, ZERO, CONSTANT, NON_FINITE, NOT_APPLICABLE, FAILED)

BLOCK = 16
"""Images per cell where a check does not say otherwise."""

MODEL = "(model)"
"""The name in the column `explainer` of rows about the model alone."""


@dataclass(frozen=True)
class Measure:
    """One measured quantity.

    Attributes:
        name: the name in the column `measure`.
        unit: what 1 means, for example `correlation` or `share`.
        direction: which way is better for an explanation under this check: `lower`, `higher` or `none`.
        low: smallest possible value, None for unbounded.
        high: largest possible value, None for unbounded.
        null: the value when there is nothing to find (unrelated maps, a classifier at chance), None if it depends.
        description: one sentence.
        per: `image` for one row per image (and stage), `stage` for one row per stage with no image, `search` for the same
            where the explainer searches.
    """

    name: str
    unit: str
    direction: str
    low: float | None
    high: float | None
    null: float | None
    description: str
    per: str = "image"

    def record(self) -> dict[str, Any]:
        """The measure as it stands in `measures.json` of a run folder.

        Example:
            >>> Measure("cosine", "cosine", "lower", -1.0, 1.0, 0.0, "Angle between two maps.").record()["range"]
            [-1.0, 1.0]
        """
        return {
            "unit": self.unit,
            "direction": self.direction,
            "range": [self.low, self.high],
            "null": self.null,
            "per": self.per,
            "description": self.description,
        }


@dataclass(frozen=True)
class CheckInfo:
    """What one check is called, measures and belongs to.

    Attributes:
        name: the name in the column `check`.
        version: raised whenever its numbers can change; part of the key of a cell.
        suite: the suite it belongs to.
        measures: what its rows hold.
        summary: one line for tables.
        family: module of `bench.checks` (with a dot: any module) whose `run_block` computes it, together with the other
            checks of the family, for one block of images and one seed.
        staged: whether there are rows for every stage of the model, 0 to the number of stages; else for one place only.
        draws: how many seed indices there are: `seeds` (as many as the run has), `once`, `ceiling` (the protocol's repeats on
            the trained model) or `floor` (the protocol's fully re-initialised models).
        block: images per cell, a constant whatever the batch size, so that a larger run reuses finished cells.
        about_model: rows about the model alone, on the first block, without an explainer.
        truth: kinds of ground truth that the images must carry (`""`: none); empty means any images will do.
        fitted: whether it is about explainers that are fitted to the model beforehand only.
        searching: whether it is about explainers that search between two classes only.
    """

    name: str
    version: int
    suite: str
    measures: tuple[Measure, ...]
    summary: str
    family: str = "randomization"
    staged: bool = True
    draws: str = "seeds"
    block: int = BLOCK
    about_model: bool = False
    truth: tuple[str, ...] = ()
    fitted: bool = False
    searching: bool = False

    @property
    def per_image(self) -> int:
        """Rows per image and stage."""
        return sum(measure.per == "image" for measure in self.measures)

    @property
    def per_stage(self) -> int:
        """Further rows per stage, without an image."""
        return sum(measure.per == "stage" for measure in self.measures)

    @property
    def per_search(self) -> int:
        """Further rows per stage about explainers that search."""
        return sum(measure.per == "search" for measure in self.measures)


@dataclass
class CellResult:
    """What one cell of work gave: rows, or the error that prevented them.

    Attributes:
        explainer: name of the explainer, or `(model)`.
        check: name of the check.
        rows: tidy records, without the column `cell`; `seconds` is the time of the explanation per image.
        error: None, or `{"type", "message", "traceback", "stage"}`; rows are then empty.
        seconds: time spent on this cell alone plus its share of what it had in common with others.
        seed: index of the seed, repeat or draw.
        pictures: None, or {"arrays", "meta"} of the picture grid, in the layout of `reports.pictures`.
    """

    explainer: str
    check: str
    rows: list[dict[str, Any]] = field(default_factory=list)
    error: dict[str, Any] | None = None
    seconds: float = 0.0
    seed: int = 0
    pictures: dict[str, Any] | None = None
