"""Tidy rows of the checks of class discrimination, and the maps that are kept for their pictures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from torch import Tensor

from .base import NOT_APPLICABLE, OK

SUITE = "class-discrimination"


@dataclass
class Sheet:
    """What a check measured of one explainer on the images of a block.

    Attributes:
        check: name of the check.
        targets: per image the explained class, None where the image cannot be asked.
        values: measure -> one number per image, read only where the status is `ok`.
        statuses: measure -> one status per image.
        seconds: time of one explanation.
    """

    check: str
    targets: Sequence[int | None]
    values: dict[str, list[float]] = field(default_factory=dict)
    statuses: dict[str, list[str]] = field(default_factory=dict)
    seconds: float | None = None

    def put(self, measure: str, places: Sequence[int], values: Sequence[float], statuses: Sequence[str]) -> None:
        """What was measured on some images; on the others the measure is not applicable.

        Example:
            >>> sheet = Sheet("planted-cue", [3, None])
            >>> sheet.put("mass", [0], [0.5], ["ok"])
            >>> sheet.statuses["mass"]
            ['ok', 'not-applicable']
        """
        self.values[measure] = [float("nan")] * len(self.targets)
        self.statuses[measure] = [NOT_APPLICABLE] * len(self.targets)
        for place, value, status in zip(places, values, statuses, strict=True):
            self.values[measure][place], self.statuses[measure][place] = float(value), status

    def flag(self, measure: str, flags: Sequence[bool | None]) -> None:
        """One answer per image, None where there is none."""
        known = [place for place, answer in enumerate(flags) if answer is not None]
        self.put(measure, known, [float(bool(flags[place])) for place in known], [OK] * len(known))

    def rows(self, subject: str, explainer: str, seed: int, images: Sequence[str]) -> list[dict[str, Any]]:
        """One row per measure and image."""
        rows = []
        for measure, statuses in self.statuses.items():
            for place, (image, status) in enumerate(zip(images, statuses, strict=True)):
                rows.append(
                    {"suite": SUITE, "check": self.check, "subject": subject, "explainer": explainer, "seed": seed,
                     "stage": None, "layer": None, "image": image, "target": self.targets[place], "measure": measure,
                     "value": self.values[measure][place] if status == OK else None, "status": status,
                     "seconds": self.seconds}
                )  # fmt: skip
        return rows


def picture(
    meta: Mapping[str, Any],
    images: Tensor,
    first: Tensor,
    second: Tensor,
    masks: tuple[Tensor, Tensor] | None,
    boxes: np.ndarray | None = None,
) -> dict[str, Any]:
    """The maps of a few images for two classes, in the layout of `reports.pictures`.

    Args:
        meta: what the picture shows, JSON-able.
        images: (n, C, H, W) in [0, 1].
        first, second: (n, H, W), the maps for the two classes.
        masks: the evidence of the two classes, (n, H, W) bool each, None where it is not known.
        boxes: all places of each image, (n, cells, 4) int16: top, left, height, width; -1 where an image has fewer.

    Returns:
        `{"arrays": {"maps": (n, 2, H, W), "images", "masks": (n, 2, H, W), "boxes"}, "meta"}`.
    """
    arrays = {"maps": _stacked(first, second).astype(np.float32), "images": images.float().cpu().numpy()}
    if masks is not None:
        arrays["masks"] = _stacked(*masks).astype(np.uint8)
    if boxes is not None:
        arrays["boxes"] = boxes
    return {"arrays": arrays, "meta": dict(meta)}


def _stacked(first: Tensor, second: Tensor) -> np.ndarray:
    return np.stack([first.cpu().numpy(), second.cpu().numpy()], 1)
