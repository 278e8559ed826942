"""Compare two runs: what is the same, better, worse, failing, missing, or cannot be compared.

Values are paired by subject, explainer, check, stage, image and seed.  A change for the worse needs both: it is
larger than its threshold, and it is more than chance after adjustment for the number of comparisons (Holm).  A verdict
that turned from PASS to FAIL is always a regression.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from reports import paired
from reports.comparable import Obstacles, obstacles
from reports.frame import GROUP, Group, failure_messages, load
from reports.grid import ABSENT, Block, blocks, filled, with_targets
from reports.store import Store
from reports.thresholds import Thresholds
from reports.verdict import verdicts

OUTCOMES = {
    "newly-failing": "Values of the baseline are gone: cells failed, or maps became zero, constant or not finite.",
    "worse": "The difference is larger than its threshold, more than chance, and in the wrong direction; or a verdict "
    "turned from PASS to FAIL.",
    "not-comparable": "Protocol, version, data or numerics differ, so the numbers mean different things.",
    "missing": "In the baseline only.",
    "changed": "A difference larger than its threshold that may be chance, or of which neither direction is better.",
    "better": "The difference is larger than its threshold, more than chance, and in the right direction.",
    "newly-fixed": "Failed in the baseline and has values now.",
    "new": "Not in the baseline.",
    "same": "No difference larger than its threshold.",
}
"""What became of a row, in the order in which rows are shown."""

REGRESSIONS = ("newly-failing", "worse")
COLUMNS = (
    "outcome", *GROUP, "measure", "stage", "layer", "baseline", "current", "difference", "ci_low", "ci_high", "p",
    "n", "threshold", "reason",
)  # fmt: skip
VERDICT_COLUMNS = ("outcome", *GROUP, "baseline", "current", "baseline_estimate", "current_estimate", "reason")

SAME_NUMBER = 1e-6
"""Largest difference of two computations of one cell that is put down to rounding."""

_SELF = ("ceiling",)
_NEUTRAL = ("floor",)


@dataclass(frozen=True)
class Comparison:
    """What became of every value and every verdict.

    Attributes:
        rows: one per subject, explainer, suite, check and measure, with the columns of `COLUMNS`; the numbers are
            those of the stage that changed most.
        verdicts: one per verdict, with the columns of `VERDICT_COLUMNS`.
        notes: what else differs between the runs.
        incomplete: planned cells of the current run without records.
        names: paths of the baseline and of the current run.
    """

    rows: pd.DataFrame
    verdicts: pd.DataFrame
    notes: list[str] = field(default_factory=list)
    incomplete: int = 0
    names: tuple[str, str] = ("baseline", "current")

    def count(self, *outcomes: str) -> int:
        """Number of rows and verdicts with one of these outcomes."""
        return sum(int(table["outcome"].isin(outcomes).sum()) for table in (self.rows, self.verdicts))

    @property
    def exit_code(self) -> int:
        """1 for a regression, else 4 where something cannot be compared, else 3 where something is missing, else 0."""
        if self.count(*REGRESSIONS):
            return 1
        if self.count("not-comparable") or not len(self.rows) or self.count("new") == self.count(*OUTCOMES):
            return 4
        return 3 if self.incomplete or self.count("missing") else 0


def compare_runs(baseline: str | Path, current: str | Path, thresholds: Thresholds | None = None) -> Comparison:
    """Compare a run with a baseline.

    Args:
        baseline: run folder that is compared with.
        current: run folder that is judged.
        thresholds: how large a difference must be to count.

    Returns:
        The outcome of every value and verdict; `exit_code` is what `bench compare` ends with.

    Raises:
        RunFolderError, SchemaError: one of the folders cannot be read.

    Example:
        >>> import reports
        >>> reports.compare_runs("runs/main", "runs/branch").exit_code        # doctest: +SKIP
        0
    """
    stores = [Store.open(path) for path in (baseline, current)]
    frames = [load(store, coded=True) for store in stores]
    found = obstacles(*stores)
    limits = thresholds or Thresholds()
    measures = {**stores[0].measures, **stores[1].measures}
    rows = compare_values(frames[0], frames[1], measures, limits, found)
    judged = compare_verdicts(verdicts(frames[0]), verdicts(frames[1]), found)
    planned = {cell["key"] for cell in stores[1].plan()}
    incomplete = len(planned - stores[1].done())
    return Comparison(rows, judged, found.notes, incomplete, (str(baseline), str(current)))


def compare_values(
    baseline: pd.DataFrame,
    current: pd.DataFrame,
    measures: Mapping[str, Mapping[str, Any]],
    thresholds: Thresholds,
    against: Obstacles,
) -> pd.DataFrame:
    """Compare the measured values of two runs.

    Args:
        baseline, current: tidy records.
        measures: side table of the measures.
        thresholds: how large a difference must be to count.
        against: why some of them cannot be compared.

    Returns:
        `Comparison.rows`.
    """
    sides = (_Side(baseline), _Side(current))
    rows = []
    for measure in sorted({*sides[0].measures, *sides[1].measures}):
        old, new = (side.blocks(measure) for side in sides)
        for group in sorted({*old, *new}):
            row: dict[str, Any] = {**dict.fromkeys(COLUMNS), **dict(zip(GROUP, group, strict=True)), "measure": measure}
            reason = against.of(group[0], group[1], group[3])
            if reason:
                row.update(outcome="not-comparable", reason=reason)
            else:
                facts = measures.get(measure, {})
                row.update(_one(group, measure, (old.get(group), new.get(group)), sides, (facts, thresholds)))
            rows.append(row)
    _decide(rows, thresholds.alpha)
    return _sorted(pd.DataFrame(rows, columns=list(COLUMNS)))


def compare_verdicts(baseline: pd.DataFrame, current: pd.DataFrame, against: Obstacles) -> pd.DataFrame:
    """Compare the verdicts of two runs.

    Args:
        baseline, current: as `reports.verdicts` gives them.
        against: why some of them cannot be compared.

    Returns:
        `Comparison.verdicts`.
    """
    old, new = ({_key(row): row for row in table.to_dict("records")} for table in (baseline, current))
    rows = []
    for key in sorted({*old, *new}):
        before, after = old.get(key), new.get(key)
        outcome, reason = _turned(before, after, against.of(key[0], key[1], key[3]))
        rows.append(
            {
                "outcome": outcome,
                **dict(zip(GROUP, key, strict=True)),
                "baseline": before and before["verdict"],
                "current": after and after["verdict"],
                "baseline_estimate": before and before["estimate"],
                "current_estimate": after and after["estimate"],
                "reason": reason,
            }
        )
    return _sorted(pd.DataFrame(rows, columns=list(VERDICT_COLUMNS)))


class _Side:
    """One of the two runs, arranged for pairing."""

    def __init__(self, frame: pd.DataFrame) -> None:
        """Give rows about no image a place of their own, so that health and shares are paired too."""
        told_apart = with_targets(frame)
        self.frame = told_apart.assign(image=filled(told_apart["image"], "(none)"))
        self.measures = {str(name) for name in frame["measure"].dropna().unique()}
        self.failures = failure_messages(frame)
        cells = frame[[*GROUP, "cell"]].drop_duplicates()
        self.cells: dict[Group, set[str]] = {}
        for *group, cell in cells.itertuples(index=False, name=None):
            subject, explainer, suite, check = (str(name) for name in group)
            self.cells.setdefault((subject, explainer, suite, check), set()).add(str(cell))

    def blocks(self, measure: str) -> dict[Group, Block]:
        """The values of one measure."""
        return blocks(self.frame, measure)

    def failed(self, group: Group) -> int:
        """Number of failed cells of a group."""
        return self.failures.get(group, (0, ""))[0]


def _one(
    group: Group,
    measure: str,
    pair: tuple[Block | None, Block | None],
    sides: tuple[_Side, _Side],
    rules: tuple[Mapping[str, Any], Thresholds],
) -> dict[str, Any]:
    """Compare one measure of one group; rows with a `p` wait for the adjustment."""
    old, new = pair
    facts, thresholds = rules
    failed = sides[1].failed(group) > sides[0].failed(group)
    message = sides[1].failures.get(group, (0, ""))[1]
    if old is None or new is None:
        if new is None:
            return {"outcome": "newly-failing", "reason": message} if failed else {"outcome": "missing"}
        fixed = sides[0].failed(group) > 0
        return {"outcome": "newly-fixed" if fixed else "new"}
    before, after, layers = _aligned(old, new)
    if not before.values.size:
        return {"outcome": "not-comparable", "reason": "no stage, image and seed in common"}
    row = _numbers(before, after, layers)
    lost = np.isfinite(before.values) & ~np.isfinite(after.values) & (after.status != ABSENT)
    gained = ~np.isfinite(before.values) & (before.status != ABSENT) & np.isfinite(after.values)
    had = int(np.isfinite(before.values).sum())
    usual = float(np.nanmean(np.abs(before.values))) if had else 0.0
    row["threshold"] = thresholds.smallest(group[3], measure, group[1], facts, usual)
    row["way"] = "higher" if group[3] in _SELF else "none" if group[3] in _NEUTRAL else facts.get("direction", "none")
    remarks = [
        f"{int(count)} values {word}" for word, count in (("lost", lost.sum()), ("gained", gained.sum())) if count
    ]
    if sides[0].cells.get(group) == sides[1].cells.get(group) and _moved(before, after):
        remarks.append("the same cells computed again give other numbers: not reproducible")
    row["reason"] = "; ".join(remarks)
    if failed:
        row.update(outcome="newly-failing", reason="; ".join([message, *remarks]))
    elif had and lost.sum() > thresholds.lost * had:
        row["outcome"] = "newly-failing"
    elif not had and gained.any():
        row["outcome"] = "newly-fixed"
    return row


def _aligned(old: Block, new: Block) -> tuple[Block, Block, list[str | None]]:
    """Bring two blocks to the stages (of the same layer), images and seeds that both have."""
    names = dict(zip(new.stages, new.layers, strict=True))
    stages = [s for s, layer in zip(old.stages, old.layers, strict=True) if s in names and names[s] == layer]
    images = sorted(set(old.images) & set(new.images))
    seeds = sorted(set(old.seeds) & set(new.seeds))
    cut = []
    for block in (old, new):
        places = np.ix_(
            [block.stages.index(stage) for stage in stages],
            [block.images.index(image) for image in images],
            [block.seeds.index(seed) for seed in seeds],
        )
        cut.append(
            Block(block.values[places], block.status[places], tuple(stages), tuple(names[s] for s in stages),
                  tuple(images), tuple(seeds))
        )  # fmt: skip
    return cut[0], cut[1], [names[stage] for stage in stages]


def _numbers(before: Block, after: Block, layers: list[str | None]) -> dict[str, Any]:
    """The stage that changed most, with its means, difference and p."""
    place, found = paired.largest(after.values - before.values)
    if place < 0:
        return {"n": 0, "p": None}
    both = np.isfinite(before.values[place]) & np.isfinite(after.values[place])
    return {
        "stage": before.stages[place], "layer": layers[place], "baseline": float(before.values[place][both].mean()),
        "current": float(after.values[place][both].mean()), "difference": found.mean, "ci_low": found.low,
        "ci_high": found.high, "p": found.p, "n": found.pairs,
    }  # fmt: skip


def _moved(before: Block, after: Block) -> bool:
    """Whether any pair differs by more than rounding."""
    gap = np.abs(after.values - before.values)
    scale = np.maximum(1.0, np.abs(before.values))
    return bool((gap[np.isfinite(gap)] > SAME_NUMBER * scale[np.isfinite(gap)]).any())


def _decide(rows: list[dict[str, Any]], alpha: float) -> None:
    """Adjust the p of all rows together and say what became of each."""
    tested = [row for row in rows if row.get("p") is not None]
    for row, p in zip(tested, paired.holm([row["p"] for row in tested]), strict=True):
        row["p"] = float(p)
    for row in rows:
        way, reason = row.pop("way", "none"), row.get("reason") or ""
        if row.get("outcome") is None:
            outcome, said = _outcome(row, way, alpha)
            row["outcome"], reason = outcome, "; ".join(part for part in (said, reason) if part)
        row["reason"] = reason


def _outcome(row: Mapping[str, Any], way: str, alpha: float) -> tuple[str, str]:
    """Judge one difference by its size, its chance and its direction."""
    if not row["n"]:
        return "same", "no values in both"
    if abs(row["difference"]) <= row["threshold"]:
        return "same", ""
    if row["p"] >= alpha:
        return "changed", f"large, but may be chance (p = {row['p']:.2g})"
    if way not in ("lower", "higher"):
        return "changed", "neither direction is better"
    good = (row["difference"] > 0) == (way == "higher")
    return ("better" if good else "worse"), ""


def _turned(before: Any, after: Any, reason: str) -> tuple[str, str]:
    """What became of one verdict."""
    if before is None or after is None:
        return ("new", "") if before is None else ("missing", "")
    said = "" if before["verdict"] == after["verdict"] else str(after["reason"])
    if (before["verdict"], after["verdict"]) == ("PASS", "FAIL"):
        return "worse", "; ".join(part for part in (said, reason) if part)
    if reason:
        return "not-comparable", reason
    if not said:
        return "same", ""
    if before["n"] and not after["n"]:
        return "newly-failing", said
    if after["n"] and not before["n"]:
        return "newly-fixed", said
    return ("better" if (before["verdict"], after["verdict"]) == ("FAIL", "PASS") else "changed"), said


def _key(row: Mapping[Any, Any]) -> Group:
    """The group of a verdict."""
    subject, explainer, suite, check = (str(row[name]) for name in GROUP)
    return subject, explainer, suite, check


def _sorted(table: pd.DataFrame) -> pd.DataFrame:
    """Rows in the order of `OUTCOMES`, then by name; the largest change first within an outcome."""
    rank = {name: place for place, name in enumerate(OUTCOMES)}
    order = table["outcome"].map(rank)
    if "difference" in table:
        numbers = dict.fromkeys(("baseline", "current", "difference", "ci_low", "ci_high", "p", "threshold"), "float64")
        table = table.astype({**numbers, "stage": "Int64", "n": "Int64"})
        size = table["difference"].abs().fillna(0.0)
        keys = pd.DataFrame({"order": order, "size": -size}, index=table.index)
        return table.loc[keys.sort_values(["order", "size"], kind="stable").index].reset_index(drop=True)
    return table.loc[order.sort_values(kind="stable").index].reset_index(drop=True)
