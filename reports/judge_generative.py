"""Verdicts on counterfactuals: are they more than adversarial images, and does a series do what was requested?

An adversarial image also changes the model's answer, and it looks like the image it was made from. What it does not do
is to convince another network. So a counterfactual passes if an independent network finds its target likelier, by more
than it does for adversarial images of the same question. A model that decides by something no other model uses, a
planted bias for example, rightly fails here: its counterfactuals convince nobody else.
"""

from __future__ import annotations

import re

import numpy as np
import pandas as pd

from reports import stats
from reports.frame import Group, expectations, failure_messages, is_whole
from reports.grid import Block, blocks
from reports.verdict import COLUMNS

SUITE = "generative"
ADVERSARIAL = "counterfactual-pgd"
_PROBE = re.compile(r"[\[,]probe=([^,\]]+)")
CHECKS = ("counterfactual", "requests", "cycles", "attributes")
_NONE = stats.Interval(float("nan"), float("nan"), float("nan"))
_SHOWN = {
    "counterfactual": ("reached", "validity", "intrusion", "proximity-l1", "transfer-validity", "exchange"),
    "requests": ("agreement", "error", "error-unchanged", "span", "agreement-independent"),
    "cycles": ("self-error", "cycle-error", "away", "rounds-error"),
    "attributes": ("flip-asked", "flips-beside", "changed-attributes", "confounding", "flips-reconstruction"),
}
_LACKING = {
    "counterfactual": "gives no counterfactual, or does not take such a model",
    "requests": "gives no series with requested probabilities, or does not take such a model",
    "cycles": "gives no series of two frames or more with requested probabilities, so there is no way back to ask for",
    "attributes": "no attribute is planted in these images, or the explainer does not take such a model",
}
_COMPARED = {
    "requests": ("error-unchanged", "error"),
    "cycles": ("away", "cycle-error"),
    "attributes": ("flip-asked", "flips-beside"),
}
"""Check -> the measure that has to exceed another, image by image."""


def judge(frame: pd.DataFrame) -> pd.DataFrame:
    """Judge the counterfactuals of every explainer.

    Args:
        frame: tidy records, best from `reports.load`, which also knows what was expected.

    Returns:
        Rows with the columns of `reports.verdict.COLUMNS`. `counterfactual`: `estimate` is how much more likely an
        independent network finds the target than it does for adversarial images, mean paired difference over images in
        [-1, 1] with its 95% bootstrap interval; PASS above 0, FAIL with an upper bound <= 0. `requests`: `estimate` is
        by how much the series misses the requested probabilities less than the unchanged image does, in [-1, 1], judged
        alike. `cycles`: `estimate` is how much nearer to the image the series comes on its way back from the far end than
        the far end is, mean absolute difference per value in [-1, 1], judged alike. `attributes`: `estimate` is how much
        more often the planted attribute that was asked about changes than the others do, in [-1, 1], judged alike. The
        checks on sets compare explainers with each other and have no verdict.

    Example:
        >>> from reports.schema import empty
        >>> len(judge(empty()))
        0
    """
    own = frame[(frame["suite"] == SUITE).to_numpy(dtype=bool)]
    measured = {name: blocks(own, name) for names in _SHOWN.values() for name in (*names, "transfer-gain")}
    planned, failures = expectations(frame), failure_messages(frame)
    groups = {group for found in measured.values() for group in found}
    if is_whole(frame):
        groups |= {group for group in planned if group[2] == SUITE}
    rows = []
    for group in sorted(group for group in groups if group[3] in CHECKS):
        verdict, reason, n, interval = _judged(group, measured, failures)
        expected = planned.get(group, {}).get("values", n)
        subject, explainer, suite, check = group
        rows.append(
            {
                "subject": subject, "explainer": explainer, "suite": suite, "check": check, "n": n,
                "expected": max(expected, n), "estimate": interval.estimate, "ci_low": interval.low,
                "ci_high": interval.high, "verdict": verdict, "reason": reason,
            }
        )  # fmt: skip
    return pd.DataFrame(rows, columns=list(COLUMNS)).astype(COLUMNS)


def adversarial(explainer: str) -> str:
    """The adversarial images of the same question as an explainer's: toward the same probe class.

    >>> adversarial("cdeepex[generator=ae,probe=random]"), adversarial("xgem")
    ('counterfactual-pgd[probe=random]', 'counterfactual-pgd')
    """
    probe = _PROBE.search(explainer)
    return f"{ADVERSARIAL}[probe={probe[1]}]" if probe and probe[1] != "second" else ADVERSARIAL


def _judged(
    group: Group, measured: dict[str, dict[Group, Block]], failures: dict[Group, tuple[int, str]]
) -> tuple[str, str, int, stats.Interval]:
    check = group[3]
    if group in failures:
        cells, message = failures[group]
        return "UNDEFINED", f"{cells} failed {'cell' if cells == 1 else 'cells'} ({message})", 0, _NONE
    shown = "; ".join(
        _mean(name, measured[name].get(group)) for name in _SHOWN[check] if _has(measured[name].get(group))
    )
    if not shown:
        return "N/A", _LACKING[check], 0, _NONE
    if check == "counterfactual":
        one, other = (
            measured["transfer-gain"].get(group),
            measured["transfer-gain"].get((group[0], adversarial(group[1]), *group[2:])),
        )
        if one is None or not _has(one):
            return "N/A", f"there is no independent network for these images; {shown}", 0, _NONE
        if other is None or not _has(other):
            return (
                "UNDEFINED",
                f"{adversarial(group[1])} was not run beside it, so there is nothing to compare with; {shown}",
                0,
                _NONE,
            )
    else:
        one, other = (measured[name][group] for name in _COMPARED[check])
    gain = _paired(one, other)
    if len(gain) < 2:
        return "INCONCLUSIVE", f"no interval with fewer than two images; {shown}", len(gain), _NONE
    interval = stats.mean_over_images(gain[None])[0]
    if interval.low > 0:
        return "PASS", f"{_GOOD[check]}; {shown}", len(gain), interval
    if interval.high <= 0:
        return "FAIL", f"{_BAD[check]}; {shown}", len(gain), interval
    return "INCONCLUSIVE", f"the interval holds 0; {shown}", len(gain), interval


_GOOD = {
    "counterfactual": "an independent network is convinced by more than adversarial images convince it",
    "requests": "the series comes nearer to what was requested than the unchanged image",
    "cycles": "from the far end the series comes back nearer to the image",
    "attributes": "what was asked about changes more often than what was not",
}
_BAD = {
    "counterfactual": "an independent network is convinced no more than by adversarial images",
    "requests": "the series is no nearer to what was requested than the unchanged image",
    "cycles": "from the far end the series comes no nearer to the image again",
    "attributes": "what was asked about changes no more often than what was not",
}


def _paired(one: Block, other: Block) -> stats.Floats:
    """Differences per image, over the images that have both."""
    left, right = (dict(zip(block.images, block.values[0].mean(axis=1), strict=True)) for block in (one, other))
    found = [left[image] - right[image] for image in left if image in right]
    differences = np.asarray(found, dtype=np.float64)
    return differences[np.isfinite(differences)]


def _has(block: Block | None) -> bool:
    return block is not None and bool(np.isfinite(block.values).any())


def _mean(name: str, block: Block | None) -> str:
    values = np.asarray([]) if block is None else block.values[np.isfinite(block.values)]
    return f"{name} {values.mean():.2f}"
