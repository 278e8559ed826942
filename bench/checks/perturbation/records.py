"""Tidy rows of the perturbation checks: scores per image, and curves as mean and spread of a block."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from bench.checks.base import OK

from .declared import PATCH_SUITE, PATCHES, SCORES, SUITE

HEADLINE = SCORES[0]


@dataclass(frozen=True)
class Outcome:
    """One cell: an explainer under a replacement on a block of images.

    Attributes:
        check, subject, explainer, seed: columns of all rows.
        images: ids of all images of the block.
        targets: the model's prediction on each.
        statuses: per image `ok`, or why there is no value: `not-applicable` where the model gets it wrong or the
            explainer has nothing to replace pixels by, else the status of its map.
        members: positions of the images with values, those whose status is `ok`.
    """

    check: str
    subject: str
    explainer: str
    seed: int
    images: Sequence[str]
    targets: Sequence[int]
    statuses: Sequence[str]
    members: Sequence[int] = ()

    def row(self, measure: str, value: float | None, status: str = OK) -> dict[str, Any]:
        """One row about no image."""
        return {
            "suite": PATCH_SUITE if self.check.endswith(PATCHES) else SUITE, "check": self.check,
            "subject": self.subject, "explainer": self.explainer, "seed": self.seed, "stage": None, "layer": None,
            "image": None, "target": None, "measure": measure, "value": value, "status": status, "seconds": None,
        }  # fmt: skip


def rows_of(
    outcome: Outcome, values: Mapping[str, Sequence[float]] | None = None, curves: Mapping[str, Tensor] | None = None
) -> list[dict[str, Any]]:
    """The records of one cell.

    An image without values has one row, of the headline measure, whose status says why.

    Args:
        outcome: what the rows have in common.
        values: per score one value per member.
        curves: per order (members, steps + 1), the probability of the target; the step goes into the column `stage`.
    """
    rows = []
    for image, target, status in zip(outcome.images, outcome.targets, outcome.statuses, strict=True):
        if status != OK:
            rows.append({**outcome.row(HEADLINE, None, status), "image": image, "target": target})
    for measure, column in (values or {}).items():
        for place, value in zip(outcome.members, column, strict=True):
            rows.append(
                {**outcome.row(measure, value), "image": outcome.images[place], "target": outcome.targets[place]}
            )
    for name, points in (curves or {}).items():
        means, spreads = points.mean(0).tolist(), points.std(0, correction=0).tolist()
        for step, (mean, spread) in enumerate(zip(means, spreads, strict=True)):
            rows.append({**outcome.row(f"curve-{name}", mean), "stage": step})
            rows.append({**outcome.row(f"curve-{name}-sd", spread), "stage": step})
    if curves:
        rows.append(outcome.row("curve-images", float(len(outcome.members))))
    return rows
