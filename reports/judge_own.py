"""Verdicts on checks from outside: the mean over images against the limit that the check declares, if it declares one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from reports import stats
from reports.frame import Group, expectations, failure_messages, is_whole
from reports.grid import Block, blocks
from reports.verdict import COLUMNS, Judgement


def judge(frame: pd.DataFrame) -> pd.DataFrame:
    """Judge every explainer on every check from outside.

    Args:
        frame: tidy records, best from `reports.load`, which also knows what the checks declare.

    Returns:
        Rows with the columns of `reports.verdict.COLUMNS`: `estimate` is the mean over images (over seeds first) in the
        unit of the check, with its 95% bootstrap interval. PASS and FAIL where the whole interval is on one side of the
        declared limit, N/A where none is declared.

    Example:
        >>> from reports.schema import empty
        >>> len(judge(empty()))
        0
    """
    declared = own_checks(frame)
    own = frame[frame["check"].isin(declared).to_numpy(dtype=bool)]
    measured = {group: block for name in declared for group, block in blocks(own, name).items()}
    planned, failures = expectations(frame), failure_messages(frame)
    groups = {group for group in {*measured, *failures} if group[3] in declared}
    if is_whole(frame):
        groups |= {group for group in planned if group[3] in declared}
    rows = []
    for group in sorted(groups):
        block = measured.get(group)
        n = 0 if block is None else int(np.isfinite(block.values).sum())
        told = _judged(group, block, declared[group[3]], failures)
        subject, explainer, suite, check = group
        rows.append(
            {
                "subject": subject, "explainer": explainer, "suite": suite, "check": check, "n": n,
                "expected": max(planned.get(group, {}).get("values", n), n), "estimate": told.interval.estimate,
                "ci_low": told.interval.low, "ci_high": told.interval.high, "verdict": told.verdict, "reason": told.reason,
            }
        )  # fmt: skip
    return pd.DataFrame(rows, columns=list(COLUMNS)).astype(COLUMNS)


def own_checks(frame: pd.DataFrame) -> dict[str, dict[str, Any]]:
    """What checks from outside declare, by name: direction, limit, unit, origin."""
    measures: Mapping[str, Any] = frame.attrs.get("measures", {})
    return {name: dict(entry) for name, entry in measures.items() if entry.get("origin")}


def _judged(
    group: Group, block: Block | None, declared: Mapping[str, Any], failures: Mapping[Group, tuple[int, str]]
) -> Judgement:
    if block is None or not np.isfinite(block.values).any():
        if group in failures:
            cells, message = failures[group]
            return Judgement("UNDEFINED", f"{cells} failed {'cell' if cells == 1 else 'cells'} ({message})")
        return Judgement("UNDEFINED", "no values" if block is not None else "no values yet")
    there = np.isfinite(block.values[0])
    means = np.where(there, block.values[0], 0).sum(axis=1)[there.any(axis=1)] / there.sum(axis=1)[there.any(axis=1)]
    interval = stats.mean_over_images(means[None])[0]
    limit, direction = declared["limit"], declared["direction"]
    said = f"mean {interval.estimate:z.3g}, {'more' if direction == 'higher' else 'less'} is better"
    if limit is None:
        return Judgement(
            "N/A",
            f"shown without a verdict, since the check declares no limit: mean {interval.estimate:z.3g}",
            interval,
        )
    if np.isnan(interval.low):
        return Judgement("INCONCLUSIVE", f"no interval with fewer than two images: {said}", interval)
    below, above = interval.high < limit, interval.low > limit
    if not below and not above:
        return Judgement("INCONCLUSIVE", f"the interval holds the limit {limit:g}: {said}", interval)
    good = above if direction == "higher" else below
    return Judgement(
        "PASS" if good else "FAIL", f"{'above' if above else 'below'} the limit {limit:g}: {said}", interval
    )
