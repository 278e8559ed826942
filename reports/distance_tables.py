"""Distances of counterfactuals to real images: all of them, and with and without the class, with what was refused and why."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

CHECK = "distribution"
GROUPS = ("overall", "present", "absent")
COLUMNS = ("subject", "explainer", "group", "n", "fid", "fid_floor", "kid", "kid_floor", "remark")
PER_FEATURE, FEWEST, FEWEST_KERNEL = 10, 200, 100
"""Images that a Frechet distance needs per feature and at least, and a kernel distance of a group."""


def distances(frame: pd.DataFrame) -> pd.DataFrame:
    """The distances of every explainer's set and of its two groups.

    Args:
        frame: tidy records of any suites.

    Returns:
        One row per subject, explainer and group: `n` images on each side, `fid` (squared feature units) and `kid` (kernel
        units) with the distance between two sets of real images as floor (of the whole set only), null where refused;
        `remark` says how many images were needed. Distances are biased by n: compare equal n only.

    Source: Singla et al. 2020, Table 1.

    Example:
        >>> from reports.schema import empty
        >>> len(distances(empty()))
        0
    """
    own = frame[((frame["check"] == CHECK) & frame["value"].notna()).to_numpy(dtype=bool)]
    rows: list[dict[str, Any]] = []
    for (subject, explainer), part in own.groupby(["subject", "explainer"], sort=True, observed=True):
        # Blocks beyond the first are sets of their own; the first is the one that every explainer has.
        first = part.drop_duplicates("measure")
        values = dict(zip(first["measure"].astype(str), first["value"].astype(float), strict=True))
        for group in GROUPS:
            row = _row(values, group)
            if row is not None:
                rows.append({"subject": subject, "explainer": explainer, "group": group, **row})
    return pd.DataFrame(rows, columns=list(COLUMNS))


def _row(values: dict[str, float], group: str) -> dict[str, Any] | None:
    """The numbers of one group; None where the model has no such group."""
    suffix = "" if group == "overall" else f"-{group}"
    count = values.get("set-size" if not suffix else f"size{suffix}")
    if count is None or "feature-size" not in values:
        return None
    found = {name: values.get(f"{name}{suffix}", np.nan) for name in ("fid", "kid")}
    floors = {f"{name}_floor": values.get(f"{name}-floor", np.nan) if not suffix else np.nan for name in ("fid", "kid")}
    need = max(PER_FEATURE * int(values["feature-size"]), FEWEST)
    remarks = []
    if found["fid"] != found["fid"]:
        remarks.append(f"fid refused: {int(count)} images, {need} needed")
    if found["kid"] != found["kid"]:
        remarks.append(f"kid refused: {int(count)} images, {FEWEST_KERNEL} needed")
    return {"n": int(count), **found, **floors, "remark": "; ".join(remarks)}
