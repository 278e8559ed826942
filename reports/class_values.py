"""The values of class discrimination image by image, and what became of the images without one."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

import numpy as np
import numpy.typing as npt
import pandas as pd

from reports.frame import Group, expectations, failure_messages, is_whole
from reports.grid import ABSENT, Block, blocks
from reports.schema import STATUSES

SUITE = "class-discrimination"
PROBES, TOP2 = "class-similarity-probes", "class-similarity-top2"
ALIKE = ("class-similarity", PROBES, TOP2, "class-similarity-least")
LOCATED = ("grid-localisation", "planted-cue")
EXACT = "exact-zero"
_ABSTAINS = "abstains"


class Values:
    """The records of the suite, arranged by what they are about.

    Args:
        frame: tidy records of any suites.
    """

    def __init__(self, frame: pd.DataFrame) -> None:
        own = frame[(frame["suite"] == SUITE).to_numpy(dtype=bool)]
        self._blocks = {str(name): blocks(own, str(name)) for name in own["measure"].dropna().unique()}
        self._planned = {group: facts for group, facts in expectations(frame).items() if group[2] == SUITE}
        self._failures = failure_messages(frame)
        bad = own[(own["status"] == "failed").to_numpy(dtype=bool) & own["image"].isna().to_numpy()]
        self._failed = Counter(zip(bad["subject"], bad["explainer"], bad["suite"], bad["check"], strict=True))
        self._whole = is_whole(frame)
        self._known: dict[tuple[Group, str], dict[str, float]] = {}

    def groups(self, checks: Sequence[str]) -> list[Group]:
        """What there is a row about: subject by subject, explainer by explainer, checks in the given order."""
        found = {group for table in self._blocks.values() for group in table} | set(self._failed)
        found |= set(self._planned) if self._whole else set()
        order = {check: place for place, check in enumerate(checks)}
        chosen = [group for group in found if group[3] in order]
        return sorted(chosen, key=lambda group: (group[0], group[1], order[group[3]]))

    def of(self, group: Group, measure: str) -> dict[str, float]:
        """Image -> value, where there is one; of several repeats or draws their mean."""
        if (group, measure) not in self._known:
            block = self._block(group, measure)
            found: dict[str, float] = {}
            if block is not None:
                for image, row in zip(block.images, block.values[0], strict=True):
                    if np.isfinite(row).any():
                        found[image] = float(np.nanmean(row))
            self._known[group, measure] = found
        return self._known[group, measure]

    def table(self, group: Group, measure: str, images: Iterable[str]) -> npt.NDArray[np.float64]:
        """Images x repeats or draws, NaN where there is none."""
        block, wanted = self._block(group, measure), list(images)
        width = 1 if block is None else len(block.seeds)
        rows = {} if block is None else dict(zip(block.images, block.values[0], strict=True))
        empty = np.full(width, np.nan)
        return np.array([rows.get(image, empty) for image in wanted], dtype=np.float64).reshape(len(wanted), width)

    def statuses(self, group: Group, measure: str) -> dict[str, str]:
        """Image -> status, where there is a row."""
        block = self._block(group, measure)
        if block is None:
            return {}
        codes = zip(block.images, block.status[0].max(axis=1), strict=True)
        return {image: STATUSES[code] for image, code in codes if code != ABSENT}

    def certified(self, group: Group) -> dict[str, float]:
        """Image -> 1 where the model uses the evidence that is asked about, 0 where not; empty without certificates."""
        return self.of(group, "certified")

    def silent(self, group: Group) -> set[str]:
        """The images whose map holds no positive relevance."""
        return {image for image, value in self.of(group, _ABSTAINS).items() if value == 1}

    def masses(self, group: Group) -> dict[str, float]:
        """Image -> share of positive relevance on the evidence; 0 for a map without positive relevance."""
        silent = self.silent(group) - self.of(group, "mass").keys()
        return {**self.of(group, "mass"), **dict.fromkeys(sorted(silent), 0.0)}

    def left_out(self, group: Group) -> int:
        """Number of images that could not be asked about: the model does not find in them what they show."""
        measure = next((name for name in ("mass", "exact", "ssim") if group in self._blocks.get(name, {})), "")
        return Counter(self.statuses(group, measure).values())["not-applicable"]

    def anyone(self, group: Group) -> bool:
        """Whether some explainer has values under the same check of the same subject."""
        return any(
            bool(self.of(other, name))
            for name, table in self._blocks.items()
            for other in table
            if (other[0], *other[2:]) == (group[0], *group[2:])
        )

    def expected(self, group: Group) -> int:
        """Number of images that were to be asked about."""
        measure = next((name for name in ("mass", "exact", "ssim") if group in self._blocks.get(name, {})), "")
        here = len(self.statuses(group, measure))
        return max(here, self._planned[group]["values"] if group in self._planned else 0)

    def nothing(self, group: Group, otherwise: str) -> str:
        """Why a group has no values: its failures, or else the given words."""
        if group in self._failures:
            cells, message = self._failures[group]
            return f"{cells} failed {'cell' if cells == 1 else 'cells'} ({message})"
        if group in self._failed:
            return f"{self._failed[group]} failed {'cell' if self._failed[group] == 1 else 'cells'}"
        return otherwise

    def lost(self, group: Group) -> str:
        """What became of the images without a value, as a part of a sentence."""
        measure = next((name for name in ("mass", "exact", "ssim") if group in self._blocks.get(name, {})), "")
        statuses = self.statuses(group, measure)
        if not statuses:
            return ""
        counts = Counter(status for image, status in statuses.items() if image not in self.silent(group))
        parts = []
        if 0 < counts["not-applicable"] < len(statuses):
            parts.append(f"{counts['not-applicable']} that the model gets wrong are left out")
        parts += [
            f"{count} {status}" for status, count in sorted(counts.items()) if status not in ("ok", "not-applicable")
        ]
        missing = self.expected(group) - len(statuses)
        if missing > 0:
            parts.append(f"{missing} missing: {self.nothing(group, 'not computed yet')}")
        return "".join(f"; {part}" for part in parts)

    def _block(self, group: Group, measure: str) -> Block | None:
        return self._blocks.get(measure, {}).get(group)
