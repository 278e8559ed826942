"""Tables of class discrimination: every measure with and without the certificate, and how many pairs it keeps."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from reports import stats
from reports.class_values import ALIKE, EXACT, LOCATED, Values
from reports.frame import GROUP, Group

CHECKS = (*LOCATED, EXACT, *ALIKE)
"""The checks with a value per image; ceiling and floor are read by verdicts."""

MEASURES = (
    "mass",
    "mass-abs",
    "mass-near",
    "hit",
    "contrast",
    "auprc",
    "chance",
    "outside",
    "exact",
    "ssim",
    "spearman",
)
"""What the tables show, in their order; see `bench list checks`."""


def discrimination(frame: pd.DataFrame) -> pd.DataFrame:
    """Mean of every measure over the certified pairs of image and class, and over all pairs.

    Args:
        frame: tidy records of any suites.

    Returns:
        One row per subject, explainer, suite, check and measure: `certified` with `ci_low` and `ci_high` (95%, bootstrap
        over images) over the `kept` pairs, null where the check has no certificate; `all`, `all_low`, `all_high` over the
        `n` pairs with a value, all in the unit of the measure. A map without positive relevance has a mass of 0, as in
        the verdicts.

    Example:
        >>> from reports.schema import empty
        >>> len(discrimination(empty()))
        0
    """
    values = Values(frame)
    rows: list[dict[str, Any]] = []
    for group in values.groups(CHECKS):
        flags = values.certified(group)
        for measure in MEASURES:
            found = values.masses(group) if measure == "mass" else values.of(group, measure)
            if not found:
                continue
            kept = [value for image, value in found.items() if flags.get(image) == 1]
            inside, every = _mean(kept), _mean(list(found.values()))
            rows.append(
                {
                    **dict(zip(GROUP, group, strict=True)), "measure": measure, "certified": inside.estimate,
                    "ci_low": inside.low, "ci_high": inside.high, "kept": len(kept), "all": every.estimate,
                    "all_low": every.low, "all_high": every.high, "n": len(found),
                }
            )  # fmt: skip
    columns = [*GROUP, "measure", "certified", "ci_low", "ci_high", "kept", "all", "all_low", "all_high", "n"]
    return pd.DataFrame(rows, columns=columns).astype(dict.fromkeys((*GROUP, "measure"), "str"))


def certificates(frame: pd.DataFrame) -> pd.DataFrame:
    """How many images could be asked about, and of how many the certificate says that the model uses the evidence.

    Args:
        frame: tidy records of any suites.

    Returns:
        One row per subject, suite and check that has certificates: `images` planned or seen, `left_out` because the
        model does not find in them what they show, `asked` about, `kept` by the certificate, and `share` = kept / asked in
        [0, 1], null where nothing was asked. These do not depend on the explainer.
    """
    values = Values(frame)
    found: dict[tuple[str, str, str], list[Group]] = {}
    for group in values.groups(CHECKS):
        if values.certified(group):
            found.setdefault((group[0], group[2], group[3]), []).append(group)
    rows = []
    for (subject, suite, check), groups in found.items():
        # Cells may be missing for some explainers; the one with the most rows tells.
        group = max(groups, key=values.expected)
        flags, left_out = values.certified(group), values.left_out(group)
        kept, asked = sum(flag == 1 for flag in flags.values()), len(flags)
        rows.append(
            {
                "subject": subject, "suite": suite, "check": check, "images": values.expected(group),
                "left_out": left_out, "asked": asked, "kept": kept, "share": kept / asked if asked else np.nan,
            }
        )  # fmt: skip
    columns = ["subject", "suite", "check", "images", "left_out", "asked", "kept", "share"]
    return pd.DataFrame(rows, columns=columns).astype(dict.fromkeys(columns[:3], "str"))


def _mean(values: list[float]) -> stats.Interval:
    return stats.mean_over_images(np.array([values], dtype=np.float64).reshape(1, -1))[0]
