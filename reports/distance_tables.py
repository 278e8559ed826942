"""Distances of counterfactuals to real images: all of them, and with and without the class, with what was refused and why."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

CHECK = "distribution"
GROUPS = ("overall", "present", "absent")
COLUMNS = ("subject", "explainer", "group", "n", "d", "fid", "fid_floor", "kid", "kid_floor", "remark")
PER_FEATURE, FEWEST = 10, 200
"""Images that a Frechet distance needs per feature and at least; a group has exactly the latter, or no distance."""


def distances(frame: pd.DataFrame) -> pd.DataFrame:
    """The distances of every explainer's set and of its two groups.

    Args:
        frame: tidy records of any suites.

    Returns:
        One row per subject, explainer and group: `n` images on each side of the distances (where they are refused: how many
        there are), `d` dimensions of the Frechet distance, `fid` (squared feature units) and `kid` (kernel units, all
        features), each with the distance between two sets of real images as floor, null where refused; `remark` says how
        many images were needed. Distances are biased by n and d: compare rows of equal n and d only.

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
    whole = group == "overall"
    suffix = "" if whole else f"-{group}"
    members = values.get("set-size" if whole else f"members-{group}")
    features = values.get("feature-size" if whole else "group-features")
    if members is None or features is None:
        return None
    found = {
        f"{name}{kind.replace('-', '_')}": values.get(f"{name}{kind}{suffix}", np.nan)
        for name in ("fid", "kid") for kind in ("", "-floor")
    }  # fmt: skip
    there = {name: number == number for name, number in found.items()}
    if whole:
        need = max(PER_FEATURE * int(features), FEWEST)
        remark = "" if there["fid"] else f"fid refused: {int(members)} images, {need} needed"
    elif not there["kid"]:
        lacking = "real images" if members >= FEWEST else f"images, not {int(members)},"
        remark = f"refused: {FEWEST} {lacking} are needed"
    else:
        remark = "" if there["kid_floor"] else f"no floor: {2 * FEWEST} real images are needed"
    n = FEWEST if not whole and there["kid"] else int(members)
    return {"n": n, "d": int(features), **found, "remark": remark}
