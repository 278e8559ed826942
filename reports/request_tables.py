"""What a model answers to each requested probability, with intervals over images: expected against achieved."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from reports import stats

CHECK = "requests"
TENTHS = tuple(range(10))
UNCHANGED = "(unchanged image)"
"""The explainer that shows the image itself whatever is requested."""
COLUMNS = ("subject", "explainer", "requested", "achieved", "ci_low", "ci_high", "n")


def achieved(frame: pd.DataFrame) -> pd.DataFrame:
    """Mean achieved probability for each tenth that was requested.

    Args:
        frame: tidy records of any suites.

    Returns:
        One row per subject, explainer and tenth with values: `requested`, the middle of the tenth, and `achieved`, the mean
        over images of the probability of the target, both in [0, 1], with its 95% interval (bootstrap over images) and
        `n` images. Per subject ten rows of the explainer `UNCHANGED`, which shows the image itself.

    Source: Singla et al. 2020, section 4.1 and figure 3.

    Example:
        >>> from reports.schema import empty
        >>> len(achieved(empty()))
        0
    """
    own = frame[((frame["check"] == CHECK) & frame["value"].notna()).to_numpy(dtype=bool)]
    rows: list[dict[str, Any]] = []
    for subject, part in own.groupby("subject", sort=True, observed=True):
        still = np.asarray([], dtype=np.float64)
        for explainer, group in part.groupby("explainer", sort=True, observed=True):
            for tenth in TENTHS:
                values = _per_image(group, f"achieved-{5 + 10 * tenth:02d}")
                rows += _row(str(subject), str(explainer), tenth, values)
            unchanged = _per_image(group, "achieved-unchanged")
            still = unchanged if len(unchanged) > len(still) else still
        for tenth in TENTHS:
            rows += _row(str(subject), UNCHANGED, tenth, still)
    return pd.DataFrame(rows, columns=list(COLUMNS))


def _per_image(group: pd.DataFrame, measure: str) -> stats.Floats:
    """One value per image."""
    own = group[(group["measure"] == measure).to_numpy(dtype=bool)]
    return own.groupby("image", observed=True)["value"].mean().to_numpy(dtype=np.float64)


def _row(subject: str, explainer: str, tenth: int, values: stats.Floats) -> list[dict[str, Any]]:
    """One point of a curve; none where there are no values."""
    if not len(values):
        return []
    found = stats.mean_over_images(values[None])[0]
    return [
        {
            "subject": subject, "explainer": explainer, "requested": round(0.05 + tenth / 10, 2),
            "achieved": float(values.mean()), "ci_low": found.low, "ci_high": found.high, "n": len(values),
        }
    ]  # fmt: skip
