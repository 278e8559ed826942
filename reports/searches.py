"""What came of searches along the stages: how many met their goal, how many had nothing to do.

A map of a search that did not meet its goal is the nearest attempt. Where a network is random most searches fail, so that
a low similarity there may be about attempts; the shares stand beside the similarity for that reason.
"""

from __future__ import annotations

from typing import Any

import pandas as pd

from reports.frame import GROUP

MEASURES = {"feasible-share": "feasible", "trivial-share": "trivial"}
COLUMNS = [*GROUP, "stage", "layer", "feasible", "trivial", "cells"]


def searches(frame: pd.DataFrame) -> pd.DataFrame:
    """Shares of feasible and of trivial searches per stage.

    Args:
        frame: tidy records.

    Returns:
        One row per subject, explainer, suite, check and stage: `feasible`, the share of images whose search met its goal
        (trivial ones included), and `trivial`, the share of those with nothing to move, both in [0, 1], means over blocks of
        images and seeds; null where models are dead; and the number of `cells` behind them.

    Example:
        >>> from reports.schema import empty
        >>> list(searches(empty())["feasible"])
        []
    """
    rows = frame[frame["measure"].isin(list(MEASURES)).to_numpy(dtype=bool)]
    if not len(rows):
        return pd.DataFrame(columns=COLUMNS)
    plain = rows.astype(dict.fromkeys((*GROUP, "measure", "layer"), object))
    keys = [*GROUP, "stage"]
    values = plain.pivot_table(
        index=keys, columns="measure", values="value", aggfunc="mean", dropna=False, observed=True
    )
    found = values.reindex(columns=list(MEASURES)).rename(columns=MEASURES)
    known = plain[plain["measure"] == "feasible-share"].groupby(keys, sort=True, dropna=False)
    found["layer"], found["cells"] = known["layer"].first(), known.size()
    return found[found["cells"].notna()].reset_index()[COLUMNS].sort_values(keys, ignore_index=True)


def arranged(table: pd.DataFrame) -> dict[str, Any]:
    """The shares of one subject and suite as explainers x stages of the cascade, for the page.

    Args:
        table: rows of `searches` about one subject and suite.

    Returns:
        `layers`, names of the stages, and `rows`: explainer and per stage the shares `feasible` and `trivial`, or None.
    """
    cascade = table[table["check"] == "cascading"]
    stages = sorted({int(stage) for stage in cascade["stage"]})
    layers = cascade.dropna(subset=["layer"]).groupby("stage")["layer"].first().to_dict()
    rows = []
    for name, part in cascade.groupby("explainer", sort=True):
        shares = {
            int(row["stage"]): {key: float(row[key]) for key in MEASURES.values()}
            for row in part.to_dict("records")
            if row["feasible"] == row["feasible"]
        }
        rows.append({"explainer": str(name), "values": [shares.get(stage) for stage in stages]})
    return {"layers": [str(layers.get(stage, "trained")) for stage in stages], "rows": rows}
