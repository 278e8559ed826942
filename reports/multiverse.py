"""The multiverse of a verdict: would other reasonable choices of how maps are compared have come to the same one?

A run that was made with `--keep-maps` holds the maps that its verdicts rest on.  They are scored again under every
combination of normalisation, window, reduction and resolution; what the model and the random draws were stays fixed.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from reports import stats, verdict
from reports.maps import read_maps
from reports.pictures import Picture
from reports.rescoring import Choice, all_choices, similarity
from reports.store import Store

COLUMNS = (
    "subject", "explainer", "verdict", "same", "universes", "share", "others", "normalisation", "window", "reduction",
    "resolution", "measure", "images", "seeds",
)  # fmt: skip
_SIDES = {"similarity": "cascading", "ceiling": "ceiling", "floor": "floor"}
_NOTHING = stats.Interval(float("nan"), float("nan"), float("nan"))


@dataclass(frozen=True)
class Multiverse:
    """Verdicts under every choice.

    Attributes:
        summary: one row per subject and explainer: the `verdict` under the recommended choice, in how many of the
            `universes` it is the `same`, the `share`, the `others` with their counts, and per dimension the share of the
            same verdict when only that dimension is changed.
        universes: one row per subject, explainer and choice: the choice, D as `estimate` with its interval, `verdict`.
    """

    summary: pd.DataFrame
    universes: pd.DataFrame


def rescore(run: str | Path, choices: list[Choice] | None = None) -> Multiverse:
    """Score the stored maps of a run under other choices.

    Args:
        run: a run folder made with `--keep-maps`.
        choices: what to try; by default all combinations, the recommended one first.

    Returns:
        Verdicts on `cascading`: only the output layer is random.  Both tables are empty where no maps were kept.

    Raises:
        RunFolderError, SchemaError: the run cannot be read.

    Source:
        Steegen et al., Increasing transparency through a multiverse analysis, 2016.

    Example:
        >>> import reports
        >>> reports.rescore("runs/a").summary[["explainer", "verdict", "share"]]      # doctest: +SKIP
    """
    store = Store.open(run)
    kept = read_maps(run)
    threshold = float(store.protocol.get("parameters", {}).get("threshold", verdict.THRESHOLD))
    tried = choices or all_choices()
    rows: list[dict[str, Any]] = []
    groups = sorted({(str(each.meta["subject"]), str(each.meta["explainer"])) for each in kept})
    for subject, explainer in groups:
        own = [each for each in kept if (each.meta["subject"], each.meta["explainer"]) == (subject, explainer)]
        fixed = not store.explainers.get(explainer, {}).get("stochastic", True)
        rows += [
            {"subject": subject, "explainer": explainer, **row} for row in _universes(own, fixed, tried, threshold)
        ]
    universes = pd.DataFrame(rows)
    return Multiverse(_summary(universes, tried[0]), universes)


def _universes(own: list[Picture], fixed: bool, tried: list[Choice], threshold: float) -> list[dict[str, Any]]:
    """Verdict on one explainer under each choice whose window fits."""
    images = sorted({str(image) for each in own for image in each.meta["images"]})
    sides = {name: [each for each in own if each.meta["check"] == check] for name, check in _SIDES.items()}
    rows = []
    for choice in tried:
        values = {name: _values(part, images, choice) for name, part in sides.items()}
        if any(found is None for found in values.values()):
            continue
        table = {name: found for name, found in values.items() if found is not None}
        if fixed and not sides["ceiling"]:
            table["ceiling"] = np.ones((len(images), 1))
        word, interval = _verdict(table, threshold)
        shape = {"images": len(images), "seeds": table["similarity"].shape[1]}
        numbers = {"estimate": interval.estimate, "ci_low": interval.low, "ci_high": interval.high}
        rows.append({**vars(choice), **numbers, "verdict": word, **shape})
    return rows


def _values(part: list[Picture], images: list[str], choice: Choice) -> stats.Floats | None:
    """Similarities as images x seeds; None where the window does not fit."""
    seeds = sorted({int(each.meta["seed"]) for each in part})
    table = np.full((len(images), len(seeds)), np.nan)
    for each in part:
        maps = np.asarray(each.arrays["maps"], dtype=np.float64)
        found = similarity(maps[:, 0], maps[:, 1], bool(each.meta["signed"]), choice)
        if found is None:
            return None
        rows = [images.index(str(image)) for image in each.meta["images"]]
        table[rows, seeds.index(int(each.meta["seed"]))] = found
    return table


def _verdict(table: dict[str, stats.Floats], threshold: float) -> tuple[str, stats.Interval]:
    """Judge as the checks are judged."""
    if any(not np.isfinite(values).any() for values in table.values()):
        return "UNDEFINED", _NOTHING
    found = stats.sensitivity(table["similarity"], table["ceiling"], table["floor"], resamples=500)
    told = verdict.decide(found, threshold)
    return told.verdict, told.interval


def _summary(universes: pd.DataFrame, usual: Choice) -> pd.DataFrame:
    """One row per subject and explainer."""
    rows = []
    names = list(vars(usual))
    for (subject, explainer), part in universes.groupby(["subject", "explainer"]) if len(universes) else []:
        here = (part[names] == pd.Series(vars(usual))).all(axis=1)
        own = str(part.loc[here, "verdict"].iloc[0]) if here.any() else str(part["verdict"].mode().iloc[0])
        counts = Counter(part["verdict"])
        single = {name: _share(part, names, name, usual, own) for name in names}
        others = ", ".join(f"{count} {word}" for word, count in counts.most_common() if word != own)
        rows.append(
            {
                "subject": subject, "explainer": explainer, "verdict": own, "same": counts[own], "universes": len(part),
                "share": counts[own] / len(part), "others": others, **single,
                "images": int(part["images"].max()), "seeds": int(part["seeds"].max()),
            }
        )  # fmt: skip
    return pd.DataFrame(rows, columns=list(COLUMNS))


def _share(part: pd.DataFrame, names: list[str], one: str, usual: Choice, own: str) -> float:
    """Share of the same verdict among the universes that differ from the usual one in one dimension only."""
    # Spearman has no normalisation and no window; with another measure these cannot stay as they are.
    free = {one} | ({"normalisation", "window"} if one == "measure" else set())
    rest = [name for name in names if name not in free]
    near = (part[rest] == pd.Series({name: vars(usual)[name] for name in rest})).all(axis=1)
    changed = part[near & (part[one] != vars(usual)[one])]
    return float((changed["verdict"] == own).mean()) if len(changed) else float("nan")
