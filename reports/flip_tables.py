"""Which planted attributes counterfactuals change: shares with intervals, and what was asked against what changed."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from reports import stats

CHECK = "attributes"
_FLIP = "flip-"
_ASKED = "flip-asked"
COLUMNS = ("subject", "explainer", "measure", "mean", "ci_low", "ci_high", "n")


def changes(frame: pd.DataFrame) -> pd.DataFrame:
    """What changes under each explainer on each subject.

    Args:
        frame: tidy records of any suites.

    Returns:
        One row per subject, explainer and measure of the check `attributes` with values: the mean over images, a share in
        [0, 1] (`changed-attributes`: a number), its 95% interval (bootstrap over images) and the number of images.

    Example:
        >>> from reports.schema import empty
        >>> len(changes(empty()))
        0
    """
    own = frame[((frame["check"] == CHECK) & frame["value"].notna()).to_numpy(dtype=bool)]
    rows: list[dict[str, Any]] = []
    for (subject, explainer, measure), group in own.groupby(
        ["subject", "explainer", "measure"], sort=True, observed=True
    ):
        values = group.groupby("image", observed=True)["value"].mean().to_numpy(dtype=np.float64)
        found = stats.mean_over_images(values[None])[0] if len(values) > 1 else None
        rows.append(
            {
                "subject": subject, "explainer": explainer, "measure": measure, "mean": float(values.mean()),
                "ci_low": np.nan if found is None else found.low, "ci_high": np.nan if found is None else found.high,
                "n": len(values),
            }
        )  # fmt: skip
    return pd.DataFrame(rows, columns=list(COLUMNS))


def flip_matrix(frame: pd.DataFrame) -> pd.DataFrame:
    """Share of the counterfactuals that change an attribute, per subject and explainer (rows) and attribute (columns).

    A row belongs to a subject whose classes are about one attribute, which stands in its name; a good explainer changes
    that one and no other.
    """
    table = changes(frame)
    attributes = [name for name in table["measure"].unique() if str(name).startswith(_FLIP) and name != _ASKED]
    own = table[table["measure"].isin(attributes).to_numpy(dtype=bool)]
    wide = own.pivot_table(index=["subject", "explainer"], columns="measure", values="mean", observed=True)
    return wide.rename(columns=lambda name: str(name).removeprefix(_FLIP))


def heat_map(matrix: pd.DataFrame) -> Figure:
    """Draw the matrix of `flip_matrix` with its numbers.

    Args:
        matrix: shares in [0, 1], at least one row.
    """
    rows = [f"{subject}\n{explainer}" for subject, explainer in matrix.index]
    figure = Figure(figsize=(6.6, 0.62 * len(rows) + 1.2), layout="constrained")
    axis = figure.subplots()
    values = matrix.to_numpy(dtype=np.float64)
    drawn = axis.imshow(values, cmap="Blues", vmin=0, vmax=1, aspect="auto")
    axis.set_xticks(range(len(matrix.columns)), [str(name) for name in matrix.columns])
    axis.set_yticks(range(len(rows)), rows, fontsize=7)
    axis.set_xlabel("attribute that changes")
    for (row, column), value in np.ndenumerate(values):
        axis.text(
            column, row, f"{value:.2f}", ha="center", va="center", color="white" if value > 0.6 else "black", fontsize=8
        )
    figure.colorbar(drawn, ax=axis, label="share of counterfactuals", shrink=0.9)
    return figure
