"""Which planted attributes counterfactuals change: shares, what was asked against what changed, what changes together."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from reports import stats

CHECK = "attributes"
_FLIP = "flip-"
_ASKED = "flip-asked"
_HAD, _MOVED = "had-", "change-"
ALL = "(mean)"
"""The attribute of the row that holds the mean over the others: the correlation difference itself."""
TOGETHER = ("subject", "explainer", "attribute", "together", "in_data", "difference", "ci_low", "ci_high", "n")
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
    own = own[~own["measure"].astype(str).str.startswith((_HAD, _MOVED)).to_numpy(dtype=bool)]
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


def correlations(frame: pd.DataFrame) -> pd.DataFrame:
    """Do attributes change together that have nothing to do with each other in the data?

    Args:
        frame: tidy records of any suites.

    Returns:
        One row per subject, explainer and attribute that was not asked about, and one more for their mean (`ALL`):
        `together`, the correlation of its signed change with that of the attribute that was asked about, and `in_data`, that
        of the two attributes in the explained images, both in [-1, 1]; `difference`, |together - in_data| in [0, 2], 0 is
        best, with a 95% interval (bootstrap over images); `n` images. The correlation with what never changes counts as 0.
        An absolute value is above 0 by chance too: by about 1.1 / sqrt(n) where nothing hangs together.

    Source: Jeanneret et al. 2022, section 4.3 (correlation difference, CD).

    Example:
        >>> from reports.schema import empty
        >>> len(correlations(empty()))
        0
    """
    own = frame[((frame["check"] == CHECK) & frame["value"].notna()).to_numpy(dtype=bool)]
    own = own[own["measure"].astype(str).str.startswith((_HAD, _MOVED)).to_numpy(dtype=bool)]
    rows: list[dict[str, Any]] = []
    for (subject, explainer), group in own.groupby(["subject", "explainer"], sort=True, observed=True):
        wide = group.pivot_table(index="image", columns="measure", values="value", observed=True).dropna(axis="columns")
        others = [str(name).removeprefix(_MOVED) for name in wide.columns if str(name).startswith(_MOVED)]
        others = [name for name in others if name != "asked" and f"{_HAD}{name}" in wide]
        if not others or not {f"{_MOVED}asked", f"{_HAD}asked"} <= set(wide.columns):
            continue
        found = {
            name: [_correlation(wide, f"{kind}{name}", f"{kind}asked") for kind in (_MOVED, _HAD)] for name in others
        }
        gaps = {name: np.abs(together - data) for name, (together, data) in found.items()}
        about = {"subject": subject, "explainer": explainer, "n": len(wide)}
        for name, (together, data) in found.items():
            said = {"attribute": name, "together": float(together[0]), "in_data": float(data[0])}
            rows.append(about | said | _with_interval(gaps[name]))
        mean = np.mean(list(gaps.values()), axis=0)
        rows.append(about | {"attribute": ALL, "together": np.nan, "in_data": np.nan} | _with_interval(mean))
    return pd.DataFrame(rows, columns=list(TOGETHER))


def _correlation(wide: pd.DataFrame, one: str, other: str) -> stats.Floats:
    """Correlation of two columns, of the images themselves first and then of resampled ones, (1 + resamples,)."""
    x, y = wide[one].to_numpy(dtype=np.float64), wide[other].to_numpy(dtype=np.float64)
    moments = stats.resampled_means(np.stack([x, y, x * y, x * x, y * y])[:, :, None])
    mx, my, xy, xx, yy = moments.T
    size = np.sqrt(np.maximum(xx - mx**2, 0) * np.maximum(yy - my**2, 0))
    still = size < 1e-12
    return np.asarray(np.where(still, 0.0, (xy - mx * my) / np.where(still, 1.0, size)), dtype=np.float64)


def _with_interval(values: stats.Floats) -> dict[str, float]:
    """The first value, and the interval of the resampled ones after it; it reaches to the estimate."""
    low, high = np.quantile(values[1:], [0.025, 0.975])
    estimate = float(values[0])
    return {"difference": estimate, "ci_low": min(float(low), estimate), "ci_high": max(float(high), estimate)}


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
