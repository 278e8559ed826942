"""Tables of pixel perturbation: scores beside random order, paired differences to the rivals, curves with bands."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import pandas as pd

from reports import paired, stats
from reports.frame import GROUP, Group
from reports.grid import Block, blocks
from reports.judge_perturbation import OWN_IMAGE, SUITES, Place, Scored, faced, replacement, scored

ORDERS = ("morf", "lerf", "random")
"""Most relevant first, least relevant first, random order."""

SCORES = ("abpc", "aopc", "insertion", "deletion", "abpc-logit", "aopc-logit", "abpc-accuracy", "aopc-accuracy")
_Z = 1.959963984540054


def scores(frame: pd.DataFrame) -> pd.DataFrame:
    """Mean of every score and its paired difference to random order.

    Args:
        frame: tidy records of any suites.

    Returns:
        One row per subject, explainer, suite, check and measure: `mean` and `random` (means over the images that have
        both, unit of the measure), `difference` with `ci_low` and `ci_high` (95%, bootstrap over images) and the number
        `n` of images.

    Example:
        >>> from reports.schema import empty
        >>> len(scores(empty()))
        0
    """
    own = frame[frame["suite"].isin(SUITES).to_numpy(dtype=bool)]
    rows: list[dict[str, Any]] = []
    for measure in SCORES:
        chance = blocks(own, f"{measure}-random")
        for group, block in blocks(own, measure).items():
            if group not in chance:
                continue
            first, second = _column(block), _column(chance[group])
            shared = [image for image in first if image in second]
            if not shared:
                continue
            values = np.array([[first[image], second[image]] for image in shared])
            (interval,) = stats.mean_over_images((values[:, 0] - values[:, 1])[None])
            rows.append(
                {
                    **dict(zip(GROUP, group, strict=True)), "measure": measure, "mean": float(values[:, 0].mean()),
                    "random": float(values[:, 1].mean()), "difference": interval.estimate, "ci_low": interval.low,
                    "ci_high": interval.high, "n": len(shared),
                }
            )  # fmt: skip
    columns = [*GROUP, "measure", "mean", "random", "difference", "ci_low", "ci_high", "n"]
    return pd.DataFrame(rows, columns=columns).astype(dict.fromkeys((*GROUP, "measure"), "str"))


def rivals(frame: pd.DataFrame) -> pd.DataFrame:
    """Paired differences of ABPC to random order, to the brightness of the image and to a blob in the centre.

    These are the comparisons that the verdict `faithfulness` rests on; where more than half of the maps order no pixels
    there are none.

    Args:
        frame: tidy records of any suites.

    Returns:
        One row per subject, explainer, suite, check and `rival` (random order, |x|, centre): `difference` (unit probability,
        > 0 = the explainer is better) with `ci_low` and `ci_high` (95%, t), `p`, `p_adjusted` (Holm, over all comparisons
        of the explainer) and the number `n` of images.

    Example:
        >>> from reports.schema import empty
        >>> len(rivals(empty()))
        0
    """
    known = scored(frame)
    places: dict[Place, list[str]] = {}
    for (subject, explainer, suite, check), own in known.items():
        judged = own.asked and own.flat <= own.asked / 2 and len(own.differences)
        if judged and replacement(check) != OWN_IMAGE:
            places.setdefault((subject, suite, explainer), []).append(check)
    rows = [row for place, checks in places.items() for row in _compared(known, place, checks)]
    columns = [*GROUP, "rival", "difference", "ci_low", "ci_high", "p", "p_adjusted", "n"]
    return pd.DataFrame(rows, columns=columns).astype(dict.fromkeys((*GROUP, "rival"), "str"))


def _compared(known: Mapping[Group, Scored], place: Place, checks: Iterable[str]) -> list[dict[str, Any]]:
    """The rows of one explainer."""
    found = faced(known, place, checks)
    adjusted = paired.holm([each.p for each in found.values()])
    subject, suite, explainer = place
    return [
        {
            "subject": subject, "explainer": explainer, "suite": suite, "check": check, "rival": rival,
            "difference": each.mean, "ci_low": each.low, "ci_high": each.high, "p": each.p, "p_adjusted": float(p),
            "n": each.pairs,
        }
        for ((check, rival), each), p in zip(found.items(), adjusted, strict=True)
    ]  # fmt: skip


def curves(frame: pd.DataFrame) -> pd.DataFrame:
    """Curves of the target's probability with 95% bands over images.

    Every cell stores mean and standard deviation of its images at every step; those of all cells together follow
    exactly from them.

    Args:
        frame: tidy records of any suites.

    Returns:
        One row per subject, explainer, suite, check, `order` (one of `ORDERS`) and `stage` (step): `share` of replaced
        pixels in [0, 1], `mean` probability, `low` and `high` of its 95% band, number `n` of images.
    """
    chosen = frame["measure"].str.startswith("curve-", na=False) & frame["suite"].isin(SUITES) & frame["value"].notna()
    own = frame.loc[chosen.to_numpy(dtype=bool), [*GROUP, "cell", "stage", "measure", "value"]]
    columns = [*GROUP, "order", "stage", "share", "mean", "low", "high", "n"]
    if not len(own):
        return pd.DataFrame(columns=columns)
    counts = own[own["measure"] == "curve-images"].set_index("cell")["value"]
    points = own[own["measure"] != "curve-images"].copy()
    points["spread"] = points["measure"].str.endswith("-sd")
    points["order"] = points["measure"].str.removeprefix("curve-").str.removesuffix("-sd")
    keys = [*GROUP, "order", "stage"]
    wide = points.pivot(index=[*keys, "cell"], columns="spread", values="value")
    n = counts.reindex(wide.index.get_level_values("cell")).to_numpy(dtype=np.float64)
    mean, sd = wide[False].to_numpy(dtype=np.float64), wide[True].to_numpy(dtype=np.float64)
    sums = pd.DataFrame({"n": n, "first": n * mean, "second": n * (sd**2 + mean**2)}, index=wide.index)
    total = sums.groupby(keys, sort=True, observed=True).sum().reset_index()
    total["mean"] = total["first"] / total["n"]
    variance = (total["second"] / total["n"] - total["mean"] ** 2).clip(lower=0)
    reach = _Z * np.sqrt(variance / (total["n"] - 1).where(total["n"] > 1))
    total["low"], total["high"] = total["mean"] - reach, total["mean"] + reach
    total["share"] = (total["stage"] / total["stage"].max()).astype("float64")
    return total[columns].astype(dict.fromkeys((*GROUP, "order"), "str"))


def _column(block: Block) -> dict[str, float]:
    """Image id -> value, where there is one."""
    values = block.values[0, :, 0]
    return {image: float(value) for image, value in zip(block.images, values, strict=True) if np.isfinite(value)}
