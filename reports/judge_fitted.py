"""Verdicts on explainers that were fitted to the trained model: the two checks that they take in place of the cascade.

`collapse`: a series of images that does what was requested of the trained model must not do it for random models; if it
does, the agreement comes from elsewhere. `refit`: maps of a fit to a random model must have little in common with those of
the fit to the trained one, on the scale from maps of other images (0) to maps of a fit from another seed (1); if more than
half remains, most of a map is the generator's and not the classifier's.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from reports import stats
from reports.frame import Group, expectations, failure_messages, is_whole
from reports.grid import Block, blocks
from reports.verdict import AGREES, COLUMNS, SMALLEST_GAP, Judgement

CHECKS = ("collapse", "refit")
COLLAPSED = 0.3
"""Mean rank correlation with random models below which an agreement counts as gone."""
REMAINS = 0.5
"""Share of the agreement of two fits that may remain when one is to a random model."""
_MEASURES = ("agreement-trained", "agreement-random", "refit-random", "refit-same", "refit-other")


def judge(frame: pd.DataFrame) -> pd.DataFrame:
    """Judge fitted explainers.

    Args:
        frame: tidy records, best from `reports.load`, which also knows what was expected.

    Returns:
        Rows with the columns of `reports.verdict.COLUMNS`. `collapse`: `estimate` is the mean rank correlation of requested
        and achieved probability with random models, in [-1, 1], interval crossed over images and seeds; PASS below 0.3, FAIL
        above. `refit`: `estimate` is the share of the agreement of two fits that remains with a random model, 0 as
        different as maps of other images, 1 as alike as two fits to one model; PASS below 0.5, FAIL above.

    Example:
        >>> from reports.schema import empty
        >>> len(judge(empty()))
        0
    """
    own = frame[frame["check"].isin(CHECKS).to_numpy(dtype=bool)]
    measured = {name: blocks(own, name) for name in _MEASURES}
    planned, failures = expectations(frame), failure_messages(frame)
    groups = {group for found in measured.values() for group in found}
    if is_whole(frame):
        groups |= {group for group in planned if group[3] in CHECKS}
    rows = []
    for group in sorted(groups | {group for group in failures if group[3] in CHECKS}):
        told, n = _judged(group, measured, failures)
        subject, explainer, suite, check = group
        rows.append(
            {
                "subject": subject, "explainer": explainer, "suite": suite, "check": check, "n": n,
                "expected": max(planned.get(group, {}).get("values", n), n), "estimate": told.interval.estimate,
                "ci_low": told.interval.low, "ci_high": told.interval.high, "verdict": told.verdict, "reason": told.reason,
            }
        )  # fmt: skip
    return pd.DataFrame(rows, columns=list(COLUMNS)).astype(COLUMNS)


def _judged(
    group: Group, measured: dict[str, dict[Group, Block]], failures: dict[Group, tuple[int, str]]
) -> tuple[Judgement, int]:
    """The verdict on one explainer under one check, and the number of values behind it."""
    if group in failures:
        cells, message = failures[group]
        return Judgement("UNDEFINED", f"{cells} failed {'cell' if cells == 1 else 'cells'} ({message})"), 0
    block = measured["agreement-random" if group[3] == "collapse" else "refit-random"].get(group)
    n = 0 if block is None else int(np.isfinite(block.values).any(axis=0).sum())
    if block is None or not n:
        return Judgement("N/A", "shows no series with requested probabilities, which the check is about"), 0
    found = _collapsed(block, measured, group) if group[3] == "collapse" else _refitted(block, measured, group)
    return found, n


def _collapsed(block: Block, measured: dict[str, dict[Group, Block]], group: Group) -> Judgement:
    trained = measured["agreement-trained"][group].values
    own = float(np.nanmean(trained)) if np.isfinite(trained).any() else float("nan")
    interval = stats.crossed_mean(block.values)[0]
    means = f"rank correlation {interval.estimate:z.2f} with random models, {own:z.2f} with the trained one"
    if not own >= AGREES:
        return Judgement("UNRELIABLE", f"the series does not do what was requested to begin with: {means}", interval)
    return _sided(interval, COLLAPSED, ("the agreement is the classifier's", "the agreement stays"), means)


def _refitted(block: Block, measured: dict[str, dict[Group, Block]], group: Group) -> Judgement:
    same, other = (measured[name].get(group) for name in ("refit-same", "refit-other"))
    if same is None or other is None or not (np.isfinite(same.values).any() and np.isfinite(other.values).any()):
        return Judgement("UNDEFINED", "the maps have no variation, so there is no scale")
    found = stats.sensitivity(block.values[0], same.values[0], other.values[0], seeded=False)
    means = f"correlation {found.similarity:z.2f}, with another seed {found.ceiling:z.2f}, of other images {found.floor:z.2f}"
    if found.ceiling - found.floor < SMALLEST_GAP:
        verdict = "FAIL" if found.ceiling >= AGREES else "UNRELIABLE"
        return Judgement(verdict, f"maps of one fit are no more alike than those of other images: {means}")
    share = stats.Interval(1 - found.interval.estimate, 1 - found.interval.high, 1 - found.interval.low)
    return _sided(share, REMAINS, ("the maps follow the classifier", "the maps mostly come from elsewhere"), means)


def _sided(interval: stats.Interval, limit: float, words: tuple[str, str], means: str) -> Judgement:
    """PASS where the whole interval is below the limit, FAIL where it is above."""
    if np.isnan(interval.low):
        return Judgement("INCONCLUSIVE", f"no interval with fewer than two images or two seeds: {means}", interval)
    if interval.high < limit:
        return Judgement("PASS", f"{words[0]}: {means}", interval)
    if interval.low > limit:
        return Judgement("FAIL", f"{words[1]}: {means}", interval)
    return Judgement("INCONCLUSIVE", f"the interval holds {limit:g}: {means}", interval)
