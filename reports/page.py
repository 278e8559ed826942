"""What the page says, in plain values and words; the template only arranges it."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import pandas as pd

from reports import balance
from reports.frame import message
from reports.store import Store

ORDER = ("PASS", "FAIL", "INCONCLUSIVE", "UNRELIABLE", "UNDEFINED", "N/A")
_WORDS = {
    "PASS": ("passes", "pass"),
    "FAIL": ("fails", "fail"),
    "INCONCLUSIVE": ("is inconclusive", "are inconclusive"),
    "UNRELIABLE": ("is unreliable", "are unreliable"),
    "UNDEFINED": ("is undefined", "are undefined"),
    "N/A": ("is not applicable", "are not applicable"),
}


@dataclass(frozen=True)
class Shown:
    """A figure on the page.

    Attributes:
        title: one line above it.
        caption: how to read it.
        light: data address of the figure for a light page.
        dark: the same for a dark page; equal to `light` when it suits both.
    """

    title: str
    caption: str
    light: str
    dark: str


@dataclass(frozen=True)
class Section:
    """All about one subject under one suite.

    Attributes:
        subject: the model.
        suite: the suite.
        summary: sentences.
        counts: number of explainers per verdict, in the order of `ORDER`.
        rows: one per explainer; see `explainer_rows`.
        thesis: see `thesis_rows`.
        figures: figures by their place on the page: `intervals`, `curves`, `pictures`, `health`, `other`.
        searches: see `reports.searches.arranged`.
        table: of suites other than randomisation, in place of `rows`: see `reports.matrix.matrices`.
    """

    subject: str
    suite: str
    summary: list[str]
    counts: list[tuple[str, int]] = field(default_factory=list)
    rows: list[dict[str, Any]] = field(default_factory=list)
    thesis: dict[str, Any] = field(default_factory=dict)
    figures: dict[str, list[Shown]] = field(default_factory=dict)
    searches: dict[str, Any] = field(default_factory=dict)
    table: dict[str, Any] | None = None


def explainer_rows(
    verdicts: pd.DataFrame, thesis: pd.DataFrame, cards: Mapping[str, Mapping[str, Any]]
) -> list[dict[str, Any]]:
    """Fold the verdict table of one subject and suite into one row per explainer.

    Args:
        verdicts: `reports.verdicts` of the subject and suite.
        thesis: `reports.thesis_rule` of the same.
        cards: side table of the explainers.

    Returns:
        Per explainer `explainer`, `group`, `summary`, `checks` (name of the check to its cell), `main` (the
        cell that decides) and `thesis` (mean, sd and verdict at the first cascading stage, or None);
        references stand last.
    """
    first = thesis[(thesis["check"] == "cascading") & (thesis["stage"] == 1)].set_index("explainer")
    rows = []
    for name, part in verdicts.groupby("explainer", sort=True):
        card = cards.get(str(name), {})
        checks = {str(row["check"]): _cell(row) for row in part.to_dict("records")}
        beside = first.loc[name].to_dict() if name in first.index else None
        rows.append(
            {
                "explainer": str(name),
                "group": str(card.get("group", "")),
                "summary": str(card.get("summary", "")),
                "checks": checks,
                "main": checks.get("cascading") or next(iter(checks.values())),
                "thesis": beside and {key: _plain(beside[key]) for key in ("mean", "sd", "verdict")},
            }
        )
    return sorted(rows, key=lambda row: (row["group"] == "reference", row["explainer"]))


def thesis_rows(thesis: pd.DataFrame) -> dict[str, Any]:
    """Arrange the thesis' rule as explainers x stages.

    Returns:
        `layers` (names of the stages) and `rows` (explainer, verdict, and per stage mean and sd or None).
    """
    cascade = thesis[thesis["check"] == "cascading"]
    stages = sorted(int(stage) for stage in cascade["stage"].unique())
    names = cascade.dropna(subset=["layer"]).groupby("stage")["layer"].first().to_dict()
    rows = []
    for name, part in cascade.groupby("explainer", sort=True):
        by_stage = {int(row["stage"]): row for row in part.to_dict("records")}
        cells = [by_stage.get(stage) for stage in stages]
        values = [cell and {key: _plain(cell[key]) for key in ("mean", "sd")} for cell in cells]
        rows.append({"explainer": str(name), "verdict": str(part["verdict"].iloc[0]), "values": values})
    return {"layers": [str(names.get(stage, "trained")) for stage in stages], "rows": rows}


def summary(rows: list[dict[str, Any]], subject: str, threshold: float) -> list[str]:
    """Say in sentences what came out for one subject.

    Args:
        rows: as `explainer_rows` gives them.
        subject: the model.
        threshold: the limit that D is judged by.
    """
    own = asked(rows)
    beside = len(rows) - len(own)
    parts = [f"{count} {_WORDS[name][0 if count == 1 else 1]}" for name, count in count_verdicts(rows) if count]
    sentences = [
        f"{len(own)} {'explainer was' if len(own) == 1 else 'explainers were'} asked whether the map changes "
        f"when the output layer of {subject} is drawn anew: {_listed(parts)}."
    ]
    failing = [row["explainer"] for row in own if row["main"]["verdict"] == "FAIL"]
    if failing:
        sentences.append(
            f"The maps of {_listed(failing)} stay much as they were although the classifier is gone, "
            "so they cannot explain its decision."
        )
    broken = [row["explainer"] for row in own if row["main"]["n"] == 0 and "failed cell" in row["main"]["reason"]]
    if broken:
        sentences.append(f"There are no values of {_listed(broken)} because every attempt failed.")
    if beside:
        sentences.append(
            f"Beside them {'stands' if beside == 1 else 'stand'} {beside} reference "
            f"{'explainer' if beside == 1 else 'explainers'} whose verdict is known beforehand."
        )
    sentences.append(
        f"A verdict needs the whole 95% interval of D on one side of {threshold:g}, where 0 means blind and "
        "1 means as different as under a model drawn anew as a whole."
    )
    return sentences


def count_words(rows: list[dict[str, Any]], cards: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Say per check how many explainers got which verdict; references are not counted.

    Args:
        rows: verdicts of one subject and suite.
        cards: side table of the explainers.
    """
    own = [row for row in rows if cards.get(row["explainer"], {}).get("group") != "reference"] or rows
    sentences = []
    for check in dict.fromkeys(row["check"] for row in own):
        counts = Counter(row["verdict"] for row in own if row["check"] == check)
        parts = [f"{counts[name]} {_WORDS[name][0 if counts[name] == 1 else 1]}" for name in ORDER if counts[name]]
        sentences.append(f"{check}: {_listed(parts)}.")
    return sentences


def asked(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the explainers that a run is about: all but the references, or these if there are no others."""
    return [row for row in rows if row["group"] != "reference"] or rows


def count_verdicts(rows: list[dict[str, Any]]) -> list[tuple[str, int]]:
    """Count the explainers that the run is about per verdict of the output layer, in the order of `ORDER`."""
    counts = Counter(str(row["main"]["verdict"]) for row in asked(rows))
    return [(name, counts[name]) for name in ORDER]


def completeness(store: Store, records: pd.DataFrame) -> dict[str, Any]:
    """Count planned, finished, failed and missing cells, and say which maps were given up."""
    planned = {cell["key"] for cell in store.plan()}
    done = store.done()
    failed = set(store.failures())
    return {
        "planned": len(planned),
        "done": len(planned & done) if planned else len(done),
        "failed": len(failed),
        "missing": len(planned - done - failed),
        "damaged": [path.name for path in store.damaged()],
        "values": int(records["value"].notna().sum()),
        "balance": balance.sentences(store.provenance()),
    }


def failure_rows(store: Store) -> list[dict[str, Any]]:
    """Sum the failures up: equal messages of one explainer stand in one row, with one traceback."""
    cells = {cell["key"]: cell for cell in store.plan()}
    found: dict[tuple[str, str], dict[str, Any]] = {}
    for key, info in sorted(store.failures().items()):
        cell = {**info, **cells.get(key, {})}
        about = (str(cell.get("explainer", "")), message(info))
        first = {"cells": 0, "checks": set(), "traceback": str(info.get("traceback") or "")}
        row = found.setdefault(about, first)
        row["cells"] += 1
        row["checks"].add(str(cell.get("check", "")))
    return [
        {"explainer": explainer, "message": text, **row, "checks": sorted(row["checks"])}
        for (explainer, text), row in sorted(found.items())
    ]


def _cell(row: Mapping[Any, Any]) -> dict[str, Any]:
    """One cell of the verdict table in plain values; what is not defined is None."""
    return {key: _plain(row[key]) for key in ("n", "expected", "estimate", "ci_low", "ci_high", "verdict", "reason")}


def _plain(value: Any) -> Any:
    """Turn nulls of any kind into None."""
    return None if value is None or value is pd.NA or (isinstance(value, float) and math.isnan(value)) else value


def _listed(parts: list[str]) -> str:
    """Join words as in a sentence.

    >>> _listed(["a", "b", "c"])
    'a, b and c'
    """
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}" if parts else "none"
