"""The leaderboard: who passes the gates, and among those, who is better at what, and how sure that is.

Randomisation and class discrimination are gates and no ranks: noise that is seeded by the weights passes the first.
Among explainers that pass, those are ranked whose cells are all there, by faithfulness and by localisation; every rank
has an interval, and those that cannot be told apart share a letter.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from reports import ranks, stats
from reports.board_runs import GATES, INSTEAD, in_words, lacking, read
from reports.scores import RANKED, Score

NOT_RUN = "not run"
REFERENCE = "reference"
RANK_COLUMNS = ("rank", "rank_low", "rank_high", "ties")


@dataclass(frozen=True)
class Leaderboard:
    """Explainers in their order.

    Attributes:
        rows: one per explainer, best first, then those that are not ranked: `explainer`, `group`, `status` (`ranked` or
            why not), one column per gate, `rank` with `rank_low` and `rank_high`, `ties`, the same four per aspect
            (`faithfulness_rank`, ...), `seconds` and `cost` per explanation, `cells` of `planned`, and what it `lacks`
            that most of the others were measured on, which counts as planned.
        scores: what they were ranked by.
        agreement: Kendall's tau between every two scores: `first`, `second`, `tau`, `ci_low`, `ci_high`, `explainers`.
        notes: what to know when reading it.
        subjects: models.
        runs: folders.
    """

    rows: pd.DataFrame
    scores: list[Score]
    agreement: pd.DataFrame
    notes: list[str] = field(default_factory=list)
    subjects: list[str] = field(default_factory=list)
    runs: list[str] = field(default_factory=list)


def rank_explainers(runs: Sequence[str | Path], *, resamples: int = stats.RESAMPLES) -> Leaderboard:
    """Rank the explainers of one or more runs.

    Args:
        runs: run folders; together they may hold several suites, models and data sets, but each measurement once.
        resamples: number of bootstrap samples.

    Raises:
        RunFolderError: a folder cannot be read, or two of them hold the same measurement.
        SchemaError: a newer release wrote one of them.

    Example:
        >>> import reports
        >>> reports.rank_explainers(["runs/randomization", "runs/perturbation"]).rows      # doctest: +SKIP
    """
    loaded = read(runs)
    cards: dict[str, dict[str, Any]] = {}
    for run in loaded:
        cards.update({name: dict(card) for name, card in run.cards.items()})
    table = pd.concat([run.verdicts for run in loaded], ignore_index=True)
    groups = {group for run in loaded for group in run.cells}
    names = sorted({group[1] for group in groups if not group[1].startswith("(")})
    scores = [score for run in loaded for score in run.scores(resamples)]
    gates = {gate: _gate(table, *place) for gate, place in GATES.items()}
    lacks = lacking(loaded, [name for name in names if cards.get(name, {}).get("group") != REFERENCE])
    rows = []
    for name in names:
        done, planned = (sum(run.count(name)[part] for run in loaded) for part in (0, 1))
        card = cards.get(name, {})
        times = [value for run in loaded for value in run.seconds(name)]
        row = {
            "explainer": name,
            "group": str(card.get("group", "")),
            **{gate: found.get(name, NOT_RUN) for gate, found in gates.items()},
            "seconds": float(np.median(times)) if times else float("nan"),
            "cost": float(card.get("cost", float("nan"))),
            "cells": done,
            "planned": planned + sum(lacks.get(name, {}).values()),
        }
        status = _status(row, gates, scores)
        unknown = [gate for gate, found in gates.items() if found and row[gate] == NOT_RUN and status == "incomplete"]
        said = in_words(lacks[name], loaded) if name in lacks else "; ".join(unknown)
        rows.append({**row, "status": status, "lacks": said})
    _without_scores(rows, scores)
    eligible = [str(row["explainer"]) for row in rows if row["status"] == "ranked"]
    used, notes = _usable(scores, eligible)
    placed = _placed(used, eligible)
    board = _ordered(pd.DataFrame([{**row, **placed.get(str(row["explainer"]), {})} for row in rows]), rows)
    notes = [*_remarks(gates, scores, eligible), *notes]
    failed = {name for run in loaded for name in names if run.count(name)[0] < run.count(name)[1]}
    compared = [str(row["explainer"]) for row in rows if row["group"] != REFERENCE and row["explainer"] not in failed]
    subjects = sorted({group[0] for group in groups})
    return Leaderboard(board, used, _agreement(scores, compared), notes, subjects, [str(path) for path in runs])


def gate_rows(table: pd.DataFrame, suite: str, checks: Sequence[str]) -> pd.DataFrame:
    """The verdicts that are a gate: on each subject those of the first of the checks that it has.

    Args:
        table: `reports.verdicts`.
        suite, checks: as in `GATES`.
    """
    place = {check: number for number, check in enumerate(checks)}
    place.update({other: place[check] for check, other in INSTEAD.items() if check in place})
    rows = table[(table["suite"] == suite) & table["check"].isin(list(place))]
    rows = rows[~(rows["check"].isin(list(INSTEAD.values())) & (rows["verdict"] == "N/A"))]
    judged = set(zip(rows["subject"], rows["explainer"], rows["check"], strict=True))
    replaced = [
        (subject, explainer, INSTEAD.get(check)) in judged
        for subject, explainer, check in zip(rows["subject"], rows["explainer"], rows["check"], strict=True)
    ]
    rows = rows[~np.array(replaced, dtype=bool)]
    order = rows["check"].map(place)
    return rows[order == order.groupby(rows["subject"]).transform("min")]


def _gate(table: pd.DataFrame, suite: str, checks: Sequence[str]) -> dict[str, str]:
    """Verdict of each explainer over all subjects: PASS everywhere, or what stands in the way and where."""
    rows = gate_rows(table, suite, checks)
    subjects = rows["subject"].nunique()
    found = {}
    for name, part in rows.groupby("explainer"):
        words = part.groupby("verdict", sort=True)["subject"].apply(list).to_dict()
        bad = {str(word): where for word, where in words.items() if word != "PASS"}
        if not bad:
            found[str(name)] = "PASS" if part["subject"].nunique() == subjects else NOT_RUN
        elif len(bad) == 1 and len(next(iter(bad.values()))) == subjects:
            found[str(name)] = next(iter(bad))
        else:
            found[str(name)] = "; ".join(f"{word} on {', '.join(map(str, where))}" for word, where in bad.items())
    return found


def _status(row: dict[str, Any], gates: dict[str, dict[str, str]], scores: list[Score]) -> str:
    """`ranked`, or why an explainer is not."""
    if row["group"] == REFERENCE:
        return REFERENCE
    if not gates["randomisation"]:
        return "no gate: the suite randomization was not run"
    for gate, found in gates.items():
        if found and row[gate] not in ("PASS", NOT_RUN):
            return f"gate: {gate}"
    if row["cells"] < row["planned"] or any(found and row[gate] == NOT_RUN for gate, found in gates.items()):
        return "incomplete"
    return "ranked" if scores else "passes"


def _without_scores(rows: list[dict[str, Any]], scores: list[Score]) -> None:
    """An explainer without a score that most others have is incomplete; it must not take the score from the others."""
    able = [row for row in rows if row["status"] == "ranked"]
    names = [str(row["explainer"]) for row in able]
    for score in scores:
        has = np.isfinite(score.of(names)[0])
        if 2 * has.sum() > len(names) and score.images > 1:
            for row, there in zip(able, has, strict=True):
                if not there:
                    row["status"] = "incomplete"
                    row["lacks"] = "; ".join(part for part in (row["lacks"], score.label) if part)


def _usable(scores: list[Score], eligible: list[str]) -> tuple[list[Score], list[str]]:
    """The scores that every eligible explainer has; a score that only some can have ranks nobody."""
    used, notes = [], []
    for score in scores:
        has = np.isfinite(score.of(eligible)[0])
        if score.images < 2:
            # One image has no spread that an interval could come from.
            notes.append(f"{score.label} ranks nobody, as it rests on one image.")
        elif eligible and has.all():
            used.append(score)
        elif has.any():
            lack = ", ".join(name for name, there in zip(eligible, has, strict=True) if not there)
            notes.append(f"{score.label} ranks nobody, as not every explainer has it (none for {lack}).")
    return used, notes


def _placed(scores: list[Score], names: list[str]) -> dict[str, dict[str, Any]]:
    """Ranks with intervals and groups, overall and per aspect.

    Scores of different units are brought to one: each is divided by its standard deviation over the explainers.  An
    aspect is the mean of its scores, the overall rank is that of the mean of the aspects, taken anew in every resample.
    """
    if not scores or not names:
        return {}
    found: dict[str, dict[str, Any]] = {name: {} for name in names}
    aspects = {}
    for aspect in RANKED:
        own = [_standard(score.of(names)) for score in scores if score.aspect == aspect]
        if own:
            aspects[aspect] = np.mean(own, axis=0)
            _enter(found, names, aspects[aspect], f"{aspect}_")
    _enter(found, names, np.mean(list(aspects.values()), axis=0), "")
    return found


def _standard(drawn: stats.Floats) -> stats.Floats:
    """Divide by the spread of the estimates over the explainers."""
    spread = float(np.std(drawn[0]))
    return drawn / spread if spread > 0 else drawn


def _enter(found: dict[str, dict[str, Any]], names: list[str], drawn: stats.Floats, prefix: str) -> None:
    """Write rank, interval and group of each explainer."""
    intervals = ranks.rank_intervals(ranks.ranked(drawn))
    letters = ranks.tie_groups(drawn[0], ranks.separable(drawn))
    for name, interval, letter in zip(names, intervals, letters, strict=True):
        values = (interval.estimate, interval.low, interval.high, letter)
        found[name].update({prefix + column: value for column, value in zip(RANK_COLUMNS, values, strict=True)})


def _ordered(table: pd.DataFrame, rows: list[dict[str, Any]]) -> pd.DataFrame:
    """Ranked ones first by rank, then the others by why they are not, references last."""
    wanted = [*RANK_COLUMNS, *(f"{aspect}_{column}" for aspect in RANKED for column in RANK_COLUMNS)]
    front = ["explainer", "group", "status", *GATES]
    table = table.reindex(columns=[*front, *wanted, "seconds", "cost", "cells", "planned", "lacks"])
    if not rows:
        return table
    later = table["status"].map({"ranked": 0, "passes": 0, "incomplete": 1, REFERENCE: 3}).fillna(2)
    keys = pd.DataFrame(
        {"later": later, "rank": table["rank"].astype("float64").fillna(np.inf), "name": table["explainer"]}
    )
    return table.loc[keys.sort_values(["later", "rank", "name"], kind="stable").index].reset_index(drop=True)


def _remarks(gates: dict[str, dict[str, str]], scores: list[Score], eligible: list[str]) -> list[str]:
    """What was not run, and what a rank rests on."""
    notes = [f"The gate {gate} was not run." for gate, found in gates.items() if not found]
    aspects = {score.aspect for score in scores}
    notes += [f"Nothing was measured about {aspect}." for aspect in RANKED if aspect not in aspects]
    if not eligible and scores:
        notes.append("No explainer passes the gates with all its cells, so none is ranked.")
    return notes


def _agreement(scores: list[Score], names: list[str]) -> pd.DataFrame:
    """Kendall's tau between every two scores, over the explainers that both have, three at least."""
    rows = []
    for first, second in combinations([score for score in scores if score.images > 1], 2):
        one, other = first.of(names), second.of(names)
        both = int((np.isfinite(one[0]) & np.isfinite(other[0])).sum())
        if both < 3:
            continue
        found = ranks.agreement(one, other)
        numbers = {"tau": found.estimate, "ci_low": found.low, "ci_high": found.high, "explainers": both}
        rows.append({"first": first.label, "second": second.label, **numbers})
    return pd.DataFrame(rows, columns=["first", "second", "tau", "ci_low", "ci_high", "explainers"])
