"""The verdict matrix of the page: explainers x checks, every cell with a link to what stands behind it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd

from reports.html import number

Card = Mapping[str, Any]

FIRST = ("randomization", "smoke", "class-discrimination")
"""Suites that are gates stand before the others."""


def evidence(verdicts: pd.DataFrame) -> list[dict[str, Any]]:
    """All verdicts as plain rows with an address each.

    Args:
        verdicts: `reports.verdicts`.

    Returns:
        The columns of the table and `id`, the address of the row on the page.
    """
    rows = verdicts.astype(object).where(verdicts.notna(), None).to_dict("records")
    return [
        {**{str(name): value for name, value in row.items()}, "id": f"e{place}"} for place, row in enumerate(rows, 1)
    ]


def matrices(rows: list[dict[str, Any]], cards: Mapping[str, Card]) -> list[dict[str, Any]]:
    """Arrange verdicts as one matrix per subject.

    Args:
        rows: as `evidence` gives them.
        cards: side table of the explainers.

    Returns:
        Per subject `subject`, `suites` (name and number of columns), `checks` (names of the columns), `heads` (the
        same, shortened) and `rows`: the
        `explainer`, its `group` and `summary`, and per column a cell (`verdict`, `estimate`, `id`, `said`) or None;
        references stand last.
    """
    found = []
    for subject in sorted({str(row["subject"]) for row in rows}):
        own = [row for row in rows if row["subject"] == subject]
        columns = sorted({(rank(row["suite"]), _order(own, row), str(row["check"])) for row in own})
        places = [(suite, check) for (_, suite), _, check in columns]
        table: dict[str, dict[tuple[str, str], dict[str, Any]]] = {}
        for row in own:
            cell = {"verdict": row["verdict"], "estimate": row["estimate"], "id": row["id"], "said": said(row)}
            table.setdefault(str(row["explainer"]), {})[str(row["suite"]), str(row["check"])] = cell
        suites: dict[str, int] = {}
        for suite, _ in places:
            suites[suite] = suites.get(suite, 0) + 1
        found.append(
            {
                "subject": subject,
                "suites": list(suites.items()),
                "checks": [check for _, check in places],
                "heads": short([check for _, check in places]),
                "rows": [_row(name, table[name], places, cards.get(name, {})) for name in _names(table, cards)],
            }
        )
    return found


def rank(suite: str) -> tuple[int, str]:
    """Place of a suite on the page: gates first, then by name.

    >>> sorted(["pixel-perturbation", "randomization", "class-discrimination"], key=rank)
    ['randomization', 'class-discrimination', 'pixel-perturbation']
    """
    return (FIRST.index(suite) if suite in FIRST else len(FIRST)), suite


def short(checks: list[str]) -> list[str]:
    """Names of columns without the first word that three or more of them share.

    >>> short(["cascading", "perturbation-mean", "perturbation-blur", "perturbation-road"])
    ['cascading', 'mean', 'blur', 'road']
    """
    words = [check.partition("-")[0] for check in checks]
    shared = {word for word in words if words.count(word) >= 3}
    return [
        check.removeprefix(f"{word}-") if word in shared else check for check, word in zip(checks, words, strict=True)
    ]


def said(row: Mapping[str, Any]) -> str:
    """One verdict in one sentence, for a reader who points at it.

    >>> said({"explainer": "a", "check": "c", "verdict": "PASS", "estimate": 0.5, "ci_low": 0.4, "ci_high": 0.6, "n": 8,
    ...       "expected": 8, "reason": "the maps change"})
    'a, c: PASS. 0.50, 95% interval 0.40 to 0.60. 8 of 8 values. the maps change'
    """
    parts = [f"{row['explainer']}, {row['check']}: {row['verdict']}"]
    if row["estimate"] is not None:
        bounds = "" if row["ci_low"] is None else f", 95% interval {number(row['ci_low'])} to {number(row['ci_high'])}"
        parts.append(f"{number(row['estimate'])}{bounds}")
    return ". ".join([*parts, f"{row['n']} of {row['expected']} values", str(row["reason"])])


def _order(rows: list[dict[str, Any]], row: Mapping[str, Any]) -> int:
    """Place of a check among those of its suite: as the verdicts list them."""
    checks = list(dict.fromkeys(each["check"] for each in rows if each["suite"] == row["suite"]))
    return checks.index(row["check"])


def _names(table: Mapping[str, Any], cards: Mapping[str, Card]) -> list[str]:
    """Explainers by name, references last."""
    return sorted(table, key=lambda name: (cards.get(name, {}).get("group") == "reference", name))


def _row(
    name: str, cells: Mapping[tuple[str, str], dict[str, Any]], places: list[tuple[str, str]], card: Card
) -> dict[str, Any]:
    """One explainer."""
    return {
        "explainer": name,
        "group": str(card.get("group", "")),
        "summary": str(card.get("summary", "")),
        "cells": [cells.get(place) for place in places],
    }
