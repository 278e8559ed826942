"""The verdict on every explainer: does its map change when the model it explains is randomised?

Similarity is calibrated before it is judged: the ceiling C is how similar an explainer is to itself, the
floor F how similar its maps are when the whole model was drawn anew.  D = (C - S) / (C - F) is 0 for an
explainer that is blind to what was randomised and 1 for one whose maps differ as much as they can.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from importlib import import_module

import numpy as np
import pandas as pd

from reports import stats
from reports.frame import Group, expectations, failure_messages, is_whole
from reports.grid import ABSENT, Block, blocks
from reports.schema import STATUSES
from reports.styled import VerdictTable

THRESHOLD = 0.2
"""D below it is a failure, above it a pass."""

SMALLEST_GAP = 0.1
"""With C - F below it there is nothing to divide by."""

AGREES = 0.5
"""With C below it an explainer does not agree with itself."""

FALLBACK = "spearman"
"""What randomisation is judged by where maps are too small for the windows of the measure, as those of sentences are."""

COLUMNS = {
    "subject": "str",
    "explainer": "str",
    "suite": "str",
    "check": "str",
    "n": "int64",
    "expected": "int64",
    "estimate": "float64",
    "ci_low": "float64",
    "ci_high": "float64",
    "verdict": "str",
    "reason": "str",
}
"""Columns of the verdict table and their types."""

MEANINGS = {
    "PASS": "The whole interval is on the good side. Randomisation: the maps change when the model does (the lower bound of D "
    "is above the threshold). Other suites: better than chance and than the baselines that the reason names.",
    "FAIL": "The whole interval is on the bad side. Randomisation: the maps stay as they are, or nothing in the model changes "
    "them. Other suites: no better than chance or than a baseline.",
    "INCONCLUSIVE": "The interval holds the threshold: more images or more seeds are needed.",
    "UNRELIABLE": "The explainer does not agree with itself on the trained model, so a change says nothing.",
    "UNDEFINED": "There is nothing to compare: constant or zero maps, or no values because cells failed.",
    "N/A": "The question has no answer here, for example because the randomised model is dead or the explainer does not take "
    "such a model.",
}
"""What each verdict means, in one sentence."""

JUDGES: dict[str, str] = {
    "class-discrimination": "reports.judge_class",
    "pixel-perturbation": "reports.judge_perturbation",
    "patch-perturbation": "reports.judge_perturbation",
    "generative": "reports.judge_generative",
}
"""Suite -> module whose `judge(frame)` gives its verdicts; randomisation is judged here."""

FITTED = ("collapse", "refit")
"""Checks that explainers which were fitted to the trained model take in place of the cascade; see `reports.judge_fitted`."""

# Rows of the table: name, check that holds the values, first stage only.
_ROWS = (
    ("cascading", "cascading", True),
    ("cascading-all", "cascading", False),
    ("independent",) * 2 + (False,),
    ("bottom-up",) * 2 + (False,),
)
_DEGENERATE = [STATUSES.index("degenerate-zero"), STATUSES.index("degenerate-constant")]
_NO_INTERVAL = stats.Interval(float("nan"), float("nan"), float("nan"))


@dataclass(frozen=True)
class Judgement:
    """The right half of one row of the table."""

    verdict: str
    reason: str
    interval: stats.Interval = _NO_INTERVAL


def verdicts(frame: pd.DataFrame, *, measure: str = "ssim", threshold: float | None = None) -> VerdictTable:
    """Judge every explainer on every check.

    Each suite has its own rules; those of the suites in `JUDGES` stand in the module named there. The rows of one
    explainer on randomisation: `cascading` is decided by the first stage (only the output layer is random),
    `cascading-all` by the mean D over all stages, `independent` by the mean D over the layers randomised one
    at a time, `bottom-up` by the mean D over all stages from the input up.

    Args:
        frame: tidy records, best from `reports.load`, which also knows what was expected.
        measure: the similarity that randomisation is judged by.
        threshold: limit on D, between 0 and 1; by default that of the run's protocol, else `THRESHOLD`.

    Returns:
        One row per subject, explainer, suite and check with the columns of `COLUMNS`: `n` of `expected` image
        x seed pairs have a value; `estimate` is D (0 = blind, 1 = as different as a full re-draw), null where
        it is not defined, with its 95% interval; `verdict` is one of `MEANINGS`, `reason` says why.  Its `style` is
        made for notebooks.

    Source:
        Checks: Adebayo et al., Sanity checks for saliency maps, 2018, section 3.

    Example:
        >>> from reports.schema import empty
        >>> len(verdicts(empty()))
        0
    """
    table = _Table(frame, measure, threshold_of(frame) if threshold is None else threshold)
    rows = [table.row(group, name, first) for group, name, first in table.wanted()]
    own = pd.DataFrame(rows, columns=list(COLUMNS)).astype(COLUMNS)
    suites = {*frame["suite"].unique(), *(suite for _, _, suite, _ in table.planned)}
    modules: dict[str, None] = dict.fromkeys(JUDGES[suite] for suite in sorted(suites & JUDGES.keys()))
    if frame["check"].isin(FITTED).any() or any(group[3] in FITTED for group in table.planned):
        modules["reports.judge_fitted"] = None
    if any(entry.get("origin") for entry in frame.attrs.get("measures", {}).values()):
        modules["reports.judge_own"] = None
    others = [import_module(module).judge(frame) for module in modules]
    found = [part for part in (own, *others) if len(part)]
    return VerdictTable(pd.concat(found, ignore_index=True).astype(COLUMNS) if len(found) > 1 else (found or [own])[0])


def threshold_of(frame: pd.DataFrame) -> float:
    """Return the limit on D that the protocol of a run declares, else `THRESHOLD`."""
    parameters = frame.attrs.get("protocol", {}).get("parameters", {})
    return float(parameters.get("threshold", THRESHOLD))


class _Table:
    """What the rows of the verdict table are made from."""

    def __init__(self, frame: pd.DataFrame, measure: str, threshold: float) -> None:
        """Arrange the records and what was expected of them."""
        self.threshold = threshold
        self.blocks, self.small = _measured(frame, measure)
        self.planned = expectations(frame)
        self.failures = failure_messages(frame)
        failed = frame.loc[(frame["status"] == "failed").to_numpy(dtype=bool)]
        self.failed: Counter[Group] = Counter(
            zip(failed["subject"], failed["explainer"], failed["suite"], failed["check"], strict=True)
        )
        self.groups = {*self.blocks, *self.failed}
        if is_whole(frame):
            self.groups |= self.planned.keys()
        # Without a plan, what any explainer was measured on is what every explainer was to be measured on.
        self.seen: dict[tuple[str, str, str], int] = {}
        for (subject, _, suite, check), block in self.blocks.items():
            here = self.seen.get((subject, suite, check), 0)
            self.seen[subject, suite, check] = max(here, int((block.status != ABSENT).any(axis=0).sum()))

    def wanted(self) -> list[tuple[Group, str, bool]]:
        """List the rows: the group that holds the values, the name of the row, whether stage 1 decides."""
        order = {row: place for place, row in enumerate(_ROWS)}
        found = [(group, row) for group in self.groups for row in _ROWS if group[3] == row[1]]
        found.sort(key=lambda item: (item[0][0], item[0][2], item[0][1], order[item[1]]))
        return [(group, row[0], row[2]) for group, row in found]

    def row(self, group: Group, name: str, first: bool) -> dict[str, object]:
        """Make one row."""
        subject, explainer, suite, check = group
        block = self.blocks.get(group)
        chosen = None if block is None else block.at([1] if first else [s for s in block.stages if s >= 1])
        n = 0 if chosen is None else int(np.isfinite(chosen.values).any(axis=0).sum())
        planned = self.planned.get(group)
        expected = max(n, planned["values"] if planned else self.seen.get((subject, suite, check), 0))
        told = self._judge(group, block, chosen, n)
        reason = told.reason + (f"; by {FALLBACK}: the maps are too small for windows" if subject in self.small else "")
        if 0 < n < expected and chosen is not None:
            reason += f"; {n} of {expected} measured: {self._missing(group, chosen, n, expected)}"
        return {
            "subject": subject,
            "explainer": explainer,
            "suite": suite,
            "check": name,
            "n": n,
            "expected": expected,
            "estimate": told.interval.estimate,
            "ci_low": told.interval.low,
            "ci_high": told.interval.high,
            "verdict": told.verdict,
            "reason": reason,
        }

    def _judge(self, group: Group, block: Block | None, chosen: Block | None, n: int) -> Judgement:
        """Apply the rules in their order: is there something to compare, a scale to compare on, an answer?"""
        if block is None or chosen is None or (chosen.status == ABSENT).all():
            return Judgement("UNDEFINED", self._nothing(group, "no values yet"))
        others = [self.blocks.get((*group[:3], check)) for check in ("ceiling", "floor")]
        share, kind = _degenerate_share(block, others[0])
        if share > 0.5:
            return Judgement("UNDEFINED", f"the trained model's maps are {kind} in {share:.0%} of the cases")
        if n == 0:
            fitted = any((*group[:3], check) in self.planned for check in FITTED)
            return _without_values(chosen, fitted)
        for check, other in zip(("ceiling", "floor"), others, strict=True):
            if other is None or not np.isfinite(other.values).any():
                missing = self._nothing((*group[:3], check), f"run the check `{check}` too")
                return Judgement("UNDEFINED", f"there is no {check} to compare with: {missing}")
        ceiling, floor = (_flat(other) for other in others if other is not None)
        found = stats.sensitivity(chosen.values, ceiling, floor)
        return decide(found, self.threshold)

    def _nothing(self, group: Group, otherwise: str) -> str:
        """Say why a group has no values: its failures, or else the given words."""
        if group in self.failures:
            cells, message = self.failures[group]
            return f"{cells} failed {'cell' if cells == 1 else 'cells'} ({message})"
        if group in self.failed:
            return f"{self.failed[group]} failed {'cell' if self.failed[group] == 1 else 'cells'}"
        return otherwise

    def _missing(self, group: Group, chosen: Block, n: int, expected: int) -> str:
        """Say what became of the pairs without a value."""
        lost = ~np.isfinite(chosen.values).any(axis=0)
        worst = chosen.status.max(axis=0)[lost]
        counts = Counter(STATUSES[code] for code in worst if code != ABSENT)
        parts = [f"{count} {status}" for status, count in sorted(counts.items())]
        absent = expected - n - sum(counts.values())
        if absent > 0:
            parts.append(f"{absent} missing: {self._nothing(group, 'not computed yet')}")
        return ", ".join(parts)


def _measured(frame: pd.DataFrame, measure: str) -> tuple[dict[Group, Block], set[str]]:
    """The values of a measure, and the subjects whose maps have none of it and are judged by `FALLBACK`."""
    found = blocks(frame, measure)
    small = {group[0] for group in found} - {
        group[0] for group, each in found.items() if np.isfinite(each.values).any()
    }
    if not small:
        return found, small
    others = blocks(frame.loc[frame["subject"].isin(small)], FALLBACK)
    small &= {group[0] for group, each in others.items() if np.isfinite(each.values).any()}
    return {group: others.get(group, each) if group[0] in small else each for group, each in found.items()}, small


def decide(found: stats.Sensitivity, threshold: float) -> Judgement:
    """Turn the calibrated sensitivity into a verdict."""
    means = f"similarity {found.similarity:z.2f}, ceiling {found.ceiling:z.2f}, floor {found.floor:z.2f}"
    if found.ceiling - found.floor < SMALLEST_GAP:
        if found.ceiling >= AGREES:
            return Judgement("FAIL", f"blind to the whole model: {means}")
        return Judgement("UNRELIABLE", f"repeated runs do not agree with each other: {means}")
    interval = found.interval
    if np.isnan(interval.low):
        why = "no interval with fewer than two images or two seeds"
        return Judgement("INCONCLUSIVE", f"{why}: {means}", interval)
    if interval.high < threshold:
        return Judgement("FAIL", f"the maps stay: {means}", interval)
    if interval.low > threshold:
        return Judgement("PASS", f"the maps change: {means}", interval)
    return Judgement("INCONCLUSIVE", f"the interval holds the threshold {threshold:g}: {means}", interval)


def _without_values(chosen: Block, fitted: bool = False) -> Judgement:
    """Judge rows that are there but hold no value, perhaps of an explainer that takes the checks `FITTED` instead."""
    codes = Counter(STATUSES[code] for code in chosen.status[chosen.status != ABSENT].tolist())
    status, count = codes.most_common(1)[0]
    if status == "not-applicable":
        why = "the randomised models are dead, or the explainer was fitted to the trained one and shows the same without it"
        if fitted:
            why = "it was fitted to the trained model and shows the same without it; `collapse` and `refit` ask it instead"
        return Judgement("N/A", f"nothing to compare: {why}")
    return Judgement("UNDEFINED", f"no value: {count} of {sum(codes.values())} are {status}")


def _degenerate_share(block: Block, ceiling: Block | None) -> tuple[float, str]:
    """Share of the image x seed cases in which the trained model's map is zero or constant, and which it is.

    Stage 0 compares the trained model with itself, so its status is that of the trained map.
    """
    source = block.at([0])
    if (source.status == ABSENT).all():
        source = block if ceiling is None else ceiling
    codes = source.status[source.status != ABSENT]
    counts = [int((codes == code).sum()) for code in _DEGENERATE]
    kinds = ["zero", "constant"]
    return sum(counts) / max(codes.size, 1), kinds[int(np.argmax(counts))]


def _flat(block: Block) -> stats.Floats:
    """Images x repeats of a block whose stages are all of one kind."""
    return np.asarray(np.concatenate(list(block.values), axis=1), dtype=np.float64)
