"""A study from beginning to end: who counts, how groups differ, what a reader should know."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats

from reports.files import RunFolderError
from reports.study.agreement import agreement, words
from reports.study.groups import Comparison, Group, against_chance, compare, enough, possible_sizes
from reports.study.results import RATINGS, Refusal, Result
from reports.study.rules import Rules

ALPHA = 0.05
"""One-sided level of the tests."""


@dataclass(frozen=True)
class Study:
    """What came out.

    Attributes:
        trials: trials per participant.
        groups: one row per group: n, mean, sd, interval, p against guessing.
        tests: one row per pair of groups, `reports.study.groups.Comparison` with `holm`, the adjusted p.
        notes: what a reader should know, in sentences.
        curves: mean number of right answers after each trial per group, with 95% bands; empty without files.
        agreement: kappa and majority votes per group; empty without files.
        ratings: how many participants of each group gave which rating; empty without files.
        participants: one row per participant that was read: group, right answers, why left out.
        refused: files that were not used.
        power: one row per difference that was given and pair of groups: participants per group for 80% power (`needed`,
            NA where a million is not enough or a group has no spread); empty where none was given.
    """

    trials: int
    groups: pd.DataFrame
    tests: pd.DataFrame
    notes: list[str]
    curves: pd.DataFrame = field(default_factory=pd.DataFrame)
    agreement: pd.DataFrame = field(default_factory=pd.DataFrame)
    ratings: pd.DataFrame = field(default_factory=pd.DataFrame)
    participants: pd.DataFrame = field(default_factory=pd.DataFrame)
    refused: tuple[Refusal, ...] = ()
    power: pd.DataFrame = field(default_factory=pd.DataFrame)


def analyse(
    results: Sequence[Result],
    refused: Sequence[Refusal] = (),
    rules: Rules | None = None,
    differences: Sequence[float] = (),
) -> Study:
    """Analyse the results of one study.

    Args:
        results: participants, as `reports.study.results.read_results` gives them.
        refused: files that were not used.
        rules: rules of exclusion; None takes the defaults.
        differences: differences in right answers to find the number of participants for, above 0.

    Raises:
        RunFolderError: there are no results.
    """
    if not results:
        why = "".join(f"\n  {each.path}: {each.reason}" for each in refused)
        raise RunFolderError(f"none of the files can be analysed; give files that the study page made.{why}")
    by = "default rules" if rules is None else "rules declared beforehand"
    rules = rules or Rules()
    reasons = [rules.reason(result) for result in results]
    kept = [result for result, reason in zip(results, reasons, strict=True) if not reason]
    trials, names = max(result.planned for result in results), results[0].groups
    members = {name: [result for result in kept if result.group == name] for name in names}
    groups = [_group(name, [float(each.correct) for each in members[name]]) for name in names]
    people = [
        {"participant": each.participant, "group": each.group, "answered": len(each.trials), "right": each.correct,
         "rating": each.rating, "left_out": reason, "file": str(each.path)}
        for each, reason in zip(results, reasons, strict=True)
    ]  # fmt: skip
    table = _test_table(_tests(groups))
    left = len(results) - len(kept)
    notes = [
        f"{len(kept)} of {len(results)} participants count; {left} left out by the {by} "
        f"({'; '.join(rules.words())}); {len(refused)} {'file' if len(refused) == 1 else 'files'} refused.",
        *_notes(groups, table, trials),
        *_feelings(members),
    ]
    return Study(
        trials, _group_table(groups, trials), table, notes, _curves(members, trials),
        _agreements(members), _ratings(members), pd.DataFrame(people), tuple(refused), _power(groups, differences),
    )  # fmt: skip


def analyse_summary(path: Path, differences: Sequence[float] = ()) -> Study:
    """Analyse published means.

    Args:
        path: JSON object with `trials` and `groups`, a list of `name`, `n`, `mean` and `sd` (n - 1), the group that should
            learn least first.
        differences: differences in right answers to find the number of participants for, above 0.

    Raises:
        RunFolderError: the file is no such summary.
    """
    try:
        content = json.loads(path.read_bytes())
        trials = int(content["trials"])
        given: list[dict[str, Any]] = list(content["groups"])
        groups = [Group(str(g["name"]), int(g["n"]), float(g["mean"]), float(g["sd"])) for g in given]
        decimals = [len(repr(g["mean"]).partition(".")[2]) for g in given]
    except (OSError, ValueError, KeyError, TypeError, RecursionError, OverflowError) as error:
        raise RunFolderError(
            f'{path} is no summary: {type(error).__name__} {error}; it must read {{"trials": 20, "groups": [{{"name": "control", '
            '"n": 15, "mean": 9.7, "sd": 1.6}, ...]}.'
        ) from error
    for group in groups:
        if group.n < 2 or not (math.isfinite(group.mean) and group.sd >= 0 and math.isfinite(group.sd)) or trials < 1:
            raise RunFolderError(
                f"{path}: group {group.name!r} needs n of at least 2, a finite mean and an sd of 0 or more."
            )
    if len({group.name for group in groups}) < max(2, len(groups)):
        raise RunFolderError(f"{path}: at least two groups are needed, each with a name of its own.")
    table = _test_table(_tests(groups))
    doubts = [note for group, places in zip(groups, decimals, strict=True) if (note := _doubt(group, places))]
    notes = [*_notes(groups, table, trials), *doubts]
    return Study(trials, _group_table(groups, trials), table, notes, power=_power(groups, differences))


def _group(name: str, scores: list[float]) -> Group:
    """Mean and deviation of one group."""
    sd = float(np.std(scores, ddof=1)) if len(scores) > 1 else math.nan
    return Group(name, len(scores), float(np.mean(scores)) if scores else math.nan, sd)


def _tests(groups: Sequence[Group]) -> list[Comparison]:
    """Every group against every one that should learn less."""
    return [compare(later, earlier) for earlier, later in combinations(groups, 2)]


def _power(groups: Sequence[Group], differences: Sequence[float]) -> pd.DataFrame:
    """How many participants each pair of groups would need, with the deviations that they have."""
    columns = ["better", "worse", "sd_better", "sd_worse", "difference", "needed"]
    rows = [
        (later.name, earlier.name, later.sd, earlier.sd, each, enough(each, later, earlier))
        for earlier, later in combinations(groups, 2)
        for each in differences
    ]
    return pd.DataFrame(rows, columns=columns).astype({"needed": "Int64"})


def _group_table(groups: Sequence[Group], trials: int) -> pd.DataFrame:
    rows = []
    for group in groups:
        low, high, p = against_chance(group, trials / 2)
        rows.append({**asdict(group), "ci_low": low, "ci_high": high, "p_chance": p})
    return pd.DataFrame(rows)


def _test_table(tests: Sequence[Comparison]) -> pd.DataFrame:
    """The comparisons with p values adjusted by Holm's method for all that are defined."""
    table = pd.DataFrame([asdict(test) for test in tests], columns=list(Comparison.__dataclass_fields__))
    values = table["p"].to_numpy(dtype=float)
    adjusted = np.full(len(values), np.nan)
    order = [row for row in np.argsort(values, kind="stable") if np.isfinite(values[row])]
    reached = 0.0
    for place, row in enumerate(order):
        reached = max(reached, min(1.0, values[row] * (len(order) - place)))
        adjusted[row] = reached
    table.insert(list(table.columns).index("p") + 1, "holm", adjusted)
    return table.astype({"needed": "Int64"})


def _notes(groups: Sequence[Group], tests: pd.DataFrame, trials: int) -> list[str]:
    """What a reader should know before believing a table of means."""
    lines = [f"Chance is {trials / 2:g} of {trials}: that many right answers come from guessing alone."]
    lows = {group.name: against_chance(group, trials / 2)[0] for group in groups}
    above = [name for name, low in lows.items() if low > trials / 2]
    unclear = [name for name, low in lows.items() if math.isnan(low)]
    if above:
        lines.append(f"Better than guessing (95% interval of the mean above {trials / 2:g}): {', '.join(above)}.")
    elif len(unclear) < len(lows):
        lines.append(f"No group is better than guessing: no 95% interval of a mean lies above {trials / 2:g}.")
    if unclear:
        lines.append(f"No interval (fewer than two participants, or all with the same score): {', '.join(unclear)}.")
    known = [row for row in tests.to_dict("records") if row["p"] == row["p"]]
    found = [_claim(row) for row in known if row["p"] < ALPHA]
    strict = [_claim(row) for row in known if row["holm"] < ALPHA]
    lines.append(
        f"Significant at one-sided {ALPHA:g}: {', '.join(found)}; with Holm's correction for {len(known)} comparisons: "
        f"{', '.join(strict) or 'none'}."
        if found
        else f"None of the {len(known)} differences is significant at one-sided {ALPHA:g}; that is no evidence of no effect."
        if known
        else "No difference can be tested: that takes two participants in either group, not all with the same score."
    )
    for row in known:
        if row["difference"] <= 0:
            lines.append(
                f"{_claim(row)}: the difference seen is not in the direction claimed; no number follows from it."
            )
        elif row["needed"] is not pd.NA:
            lines.append(
                f"{_claim(row)}: if the difference seen ({row['difference']:.2f}) is the true one, {row['needed']} participants "
                "per group find it with 80% power."
            )
    lines.append(
        "A difference seen in a small study tends to be too large, so these numbers of participants are lower limits."
    )
    return lines


def _claim(row: Mapping[Any, Any]) -> str:
    """What a test asks."""
    return f"{row['better']} > {row['worse']}"


def _doubt(group: Group, decimals: int) -> str:
    """Say so if a mean cannot be one of whole-number scores; too few decimals can tell nothing."""
    sizes = possible_sizes(group, decimals)
    if group.n in sizes or 10**decimals <= 2 * group.n:
        return ""
    near = f"; {' or '.join(str(n) for n in sizes)} can" if sizes else ""
    return (
        f"{group.name}: {group.n} whole-number scores cannot have the mean {group.mean:.{decimals}f}{near} (GRIM test)."
    )


def _curves(members: dict[str, list[Result]], trials: int) -> pd.DataFrame:
    """Mean cumulative right answers after each trial, with pointwise 95% bands of the mean."""
    rows = []
    for name, people in members.items():
        if not people:
            continue
        right = np.zeros((len(people), trials))
        for row, each in zip(right, people, strict=True):
            row[: len(each.trials)] = [answer.right for answer in each.trials]
        total = right.cumsum(axis=1)
        n = len(people)
        error = total.std(axis=0, ddof=1) / math.sqrt(n) if n > 1 else np.full(trials, np.nan)
        half = error * (float(stats.t.ppf(0.975, n - 1)) if n > 1 else math.nan)
        for place, mean in enumerate(total.mean(axis=0)):
            rows.append(
                {"group": name, "trial": place + 1, "n": n, "mean": mean, "ci_low": mean - half[place],
                 "ci_high": mean + half[place]}
            )  # fmt: skip
    return pd.DataFrame(rows, columns=["group", "trial", "n", "mean", "ci_low", "ci_high"])


def _agreements(members: dict[str, list[Result]]) -> pd.DataFrame:
    rows = []
    for name, people in members.items():
        found = agreement(people)
        rows.append({"group": name, **asdict(found), "words": words(found.kappa)})
    return pd.DataFrame(rows)


def _ratings(members: dict[str, list[Result]]) -> pd.DataFrame:
    rows = []
    for name, people in members.items():
        given = [each.rating for each in people if each.rating is not None]
        counts = {label: given.count(value + 1) for value, label in enumerate(RATINGS)}
        rows.append({"group": name, "n": len(given), "mean": float(np.mean(given)) if given else math.nan, **counts})
    return pd.DataFrame(rows)


def _feelings(members: dict[str, list[Result]]) -> list[str]:
    """Whether the groups rate their feedback differently."""
    given = [[each.rating for each in people if each.rating is not None] for people in members.values()]
    given = [values for values in given if values]
    if len(given) < 2 or len({value for values in given for value in values}) < 2:
        return []
    p = float(stats.kruskal(*given).pvalue)
    return [
        f"Ratings of the {len(given)} groups: Kruskal-Wallis p {p:.4f}. How helpful feedback feels is not what was learned."
    ]
