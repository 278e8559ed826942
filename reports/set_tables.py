"""Sets of counterfactuals side by side: distances to real images, identity, and agreement with what was requested."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from reports import stats

CHECKS = ("spread", "extreme")
PER_IMAGE = ("request-error", "closeness", "verification")
PER_SET = ("fid", "fid-reconstruction", "fid-floor", "kid", "kid-reconstruction", "kid-floor")
COLUMNS = ("subject", "check", "explainer", "measure", "value", "ci_low", "ci_high", "n", "among", "remark")
PER_FEATURE, FEWEST = 10, 200
"""Images that a Frechet distance needs per feature and at least."""


def asked_sets(frame: pd.DataFrame) -> pd.DataFrame:
    """The sets that were asked for probabilities spread over all tenths, and for the far end.

    Args:
        frame: tidy records of any suites.

    Returns:
        One row per subject, check, explainer and measure with a value: shares and probabilities in [0, 1] with a 95%
        interval (bootstrap over images); distances of the whole set in squared feature units (`fid`) and kernel units
        (`kid`) without one; `n` the images behind it. Distances are biased by the number of images: compare equal n only.
        `among`: the images among which one's own has to be the nearest (`closeness`), which by chance it is once in so
        many. A Frechet distance that was refused has a null and in `remark` how many images it needs.

    Example:
        >>> from reports.schema import empty
        >>> len(asked_sets(empty()))
        0
    """
    own = frame[(frame["check"].isin(CHECKS) & frame["value"].notna()).to_numpy(dtype=bool)]
    rows: list[dict[str, Any]] = []
    for (subject, check, explainer), group in own.groupby(["subject", "check", "explainer"], sort=True, observed=True):
        size, features, among = (_values(group, name) for name in ("set-size", "feature-size", "closeness-among"))
        for measure in (*PER_SET, *PER_IMAGE):
            values, remark = _values(group, measure), ""
            if not len(values) and measure == "fid" and len(features):
                values, remark = np.asarray([np.nan]), _refused(int(size.min()), int(features[0]))
            if not len(values):
                continue
            found = stats.mean_over_images(values[None])[0] if measure in PER_IMAGE and len(values) > 1 else None
            rows.append(
                {
                    "subject": subject, "check": check, "explainer": explainer, "measure": measure,
                    "value": float(values.mean()),
                    "ci_low": np.nan if found is None else found.low,
                    "ci_high": np.nan if found is None else found.high,
                    "n": len(values) if measure in PER_IMAGE else int(size.sum()),
                    "among": among[0] if measure == "closeness" and len(among) else np.nan,
                    "remark": remark,
                }
            )  # fmt: skip
    return pd.DataFrame(rows, columns=list(COLUMNS))


def _values(group: pd.DataFrame, measure: str) -> stats.Floats:
    """The values of one measure."""
    return group.loc[(group["measure"] == measure).to_numpy(dtype=bool), "value"].to_numpy(dtype=np.float64)


def _refused(images: int, features: int) -> str:
    """Why there is no Frechet distance.

    >>> _refused(128, 64)
    'fid refused: 128 images, 640 needed'
    """
    return f"fid refused: {images} images, {max(PER_FEATURE * features, FEWEST)} needed"


def figure(table: pd.DataFrame, subject: str) -> Figure | None:
    """Draw kernel distance and identity per explainer, spread requests beside the far end; None without such values.

    Args:
        table: as `asked_sets` gives it.
        subject: name of the model.
    """
    own = table[(table["subject"] == subject).to_numpy(dtype=bool)]
    shown = [name for name in ("kid", "closeness", "verification") if (own["measure"] == name).any()]
    if not shown:
        return None
    names = sorted(own["explainer"].unique())
    made = Figure(figsize=(2.6 + 2.2 * len(shown), 0.34 * len(names) + 1.3), layout="constrained")
    axes = made.subplots(1, len(shown), sharey=True, squeeze=False)[0]
    marks = {"spread": ("o", "#0b6aa2"), "extreme": ("s", "#b5541c")}
    for axis, measure in zip(axes, shown, strict=True):
        for check, (mark, color) in marks.items():
            rows = own[((own["measure"] == measure) & (own["check"] == check)).to_numpy(dtype=bool)]
            places = [names.index(name) for name in rows["explainer"]]
            axis.plot(rows["value"], places, mark, color=color, markersize=5, label=check, fillstyle="none")
            for place, low, high in zip(places, rows["ci_low"], rows["ci_high"], strict=True):
                axis.plot([low, high], [place, place], color=color, linewidth=1)
        axis.set_title(measure, fontsize=9)
        axis.set_yticks(range(len(names)), names, fontsize=7)
        axis.grid(axis="x", alpha=0.3)
    axes[-1].legend(fontsize=7)
    return made
