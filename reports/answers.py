"""What a reader wants to know first, answered in sentences: which explainers, how sure, at what cost, what failed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from reports import leaderboard
from reports.board_runs import GATES
from reports.leaderboard import REFERENCE

Answer = tuple[str, list[str]]


def answers(
    verdicts: pd.DataFrame,
    cards: Mapping[str, Mapping[str, Any]],
    seconds: Mapping[str, Sequence[float]],
    failures: Sequence[Mapping[str, Any]],
    state: Mapping[str, Any],
) -> list[Answer]:
    """Answer the four questions that a run is made for.

    Args:
        verdicts: `reports.verdicts` of the run.
        cards: side table of the explainers.
        seconds: seconds per explanation by explainer, one value per cell.
        failures: `reports.page.failure_rows`.
        state: `reports.page.completeness`.

    Returns:
        Questions with their answers, each a list of sentences.
    """
    own = [cards.get(str(name), {}).get("group") != REFERENCE for name in verdicts["explainer"]]
    judged = verdicts[np.asarray(own, dtype=bool)]
    found: list[Answer] = []
    for subject, part in judged.groupby("subject", sort=True):
        found.append((f"Which explainers may I use on {subject}?", _usable(part)))
        found.append((f"How sure is that on {subject}?", _sure(part)))
    found.append(("What did it cost?", _cost(seconds, cards)))
    found.append(("What failed?", _failed(failures, state)))
    return found


def gate_rows(verdicts: pd.DataFrame) -> pd.DataFrame:
    """The rows that open or close the way: randomisation at the output layer, class discrimination."""
    gates = {**GATES, "smoke": ("smoke", ("cascading",))}
    return pd.concat([leaderboard.gate_rows(verdicts, *place) for place in gates.values()])


def duration(seconds: float) -> str:
    """A duration in the unit that suits it.

    >>> duration(0.0123), duration(5400)
    ('12 ms', '1.5 hours')
    """
    if seconds < 5e-5:
        return "under 0.1 ms"
    for limit, unit, size in (
        (1, "ms", 0.001),
        (120, "s", 1),
        (7200 / 2, "minutes", 60),
        (float("inf"), "hours", 3600),
    ):
        if seconds < limit:
            value = seconds / size
            return f"{value:.0f} {unit}" if value >= 10 else f"{value:.1f} {unit}"
    return ""


def _usable(part: pd.DataFrame) -> list[str]:
    """Who passes every gate that was run, who does not, and who is open."""
    gates = gate_rows(part)
    if not len(gates):
        return ["No gate was run on it (randomisation, class discrimination), so this run cannot say."]
    words = {str(name): set(rows["verdict"]) for name, rows in gates.groupby("explainer")}
    passing = sorted(name for name, found in words.items() if found == {"PASS"})
    failing = sorted(name for name, found in words.items() if "FAIL" in found)
    rest = sorted(words.keys() - set(passing) - set(failing))
    run = [gate for gate, (suite, _) in GATES.items() if (gates["suite"] == suite).any()]
    through = f" ({', '.join(run)})" if run else ""
    sentences = [
        f"{_listed(passing)} {'passes' if len(passing) == 1 else 'pass'} every gate that was run{through}."
        if passing
        else f"None passes every gate that was run{through}."
    ]
    if failing:
        sentences.append(f"Do not use {_listed(failing)}: {'it fails' if len(failing) == 1 else 'they fail'} a gate.")
    if rest:
        why = {name: ", ".join(sorted(words[name] - {"PASS"})) for name in rest}
        sentences.append("Not decided: " + _listed([f"{name} ({why[name]})" for name in rest]) + ".")
    sentences.append("Passing says that a map depends on what was changed; it does not say that the map is right.")
    return sentences


def _sure(part: pd.DataFrame) -> list[str]:
    """What the verdicts rest on, and which of them is the closest to its limit."""
    gates = gate_rows(part)
    if not len(gates):
        return ["There are no verdicts on gates."]
    low, high = int(gates["n"].min()), int(gates["n"].max())
    rests = f"{high} values" if low == high else f"{low} to {high} values"
    sentences = [f"Each verdict needs the whole of a 95% interval on one side of its limit; it rests on {rests}."]
    sharp = gates[(gates["verdict"] == "PASS") & gates["ci_low"].notna()]
    if len(sharp):
        row = sharp.sort_values("ci_low", kind="stable").iloc[0]
        sentences.append(
            f"Of those that pass, {row['explainer']} is the closest to its limit: {row['estimate']:.2f} "
            f"[{row['ci_low']:.2f}, {row['ci_high']:.2f}] under {row['check']}."
        )
    open_ones = int((gates["verdict"] == "INCONCLUSIVE").sum())
    if open_ones:
        sentences.append(
            f"{open_ones} {'verdict is' if open_ones == 1 else 'verdicts are'} inconclusive; more images or seeds would decide."
        )
    short = gates[gates["n"] < gates["expected"]]
    if len(short):
        sentences.append(f"{len(short)} rest on fewer values than planned.")
    return sentences


def _cost(seconds: Mapping[str, Sequence[float]], cards: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """The cheapest and the dearest explainer, in passes of the model and in time."""
    names = [name for name in seconds if not name.startswith("(")]
    own = [name for name in names if cards.get(name, {}).get("group") != REFERENCE] or names
    sentences = []
    passes = {name: float(cards[name]["cost"]) for name in own if cards.get(name, {}).get("cost") is not None}
    if passes:
        first, last = (pick(sorted(passes), key=lambda name: passes[name]) for pick in (min, max))
        span = f"{passes[first]:g} ({first})"
        if passes[first] < passes[last]:
            span = f"from {span} to {passes[last]:g} ({last})"
        sentences.append(f"One explanation takes {span} forward and backward passes of the model.")
    times = {name: float(np.median(seconds[name])) for name in own if len(seconds[name])}
    if not times:
        return [*sentences, "No times were recorded."]
    last = max(sorted(times), key=lambda name: times[name])
    middle = float(np.median(list(times.values())))
    return [
        *sentences,
        f"In this run one explanation took {duration(times[last])} with the slowest explainer ({last}) and {duration(middle)} "
        "with the median one; passes that several explainers share are counted for the one that came first.",
    ]


def _failed(failures: Sequence[Mapping[str, Any]], state: Mapping[str, Any]) -> list[str]:
    """What has no values, and why."""
    sentences = [
        f"{row['explainer'] or 'An unknown explainer'}: {row['cells']} {'cell' if row['cells'] == 1 else 'cells'} "
        f"({', '.join(row['checks'])}): {row['message']}."
        for row in failures[:5]
    ]
    if len(failures) > 5:
        sentences.append(f"{len(failures) - 5} more are listed under Failures.")
    sentences += state.get("balance", [])
    if state["missing"]:
        sentences.append(f"{state['missing']} planned cells were not computed yet.")
    if state["damaged"]:
        sentences.append(f"{len(state['damaged'])} damaged files count as missing.")
    return sentences or ["Nothing: every planned cell has records."]


def _listed(parts: Sequence[str]) -> str:
    """Join words as in a sentence."""
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}"
