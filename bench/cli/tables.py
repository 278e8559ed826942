"""What `run`, `plan` and `verify` print: the verdict table and the table of cells."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from .guard import say

if TYPE_CHECKING:
    import pandas as pd
    from rich.table import Table

    from bench.runner import Prepared

WIDTH = 150
"""Columns of a table that goes into a file or a pipe."""

COLOURS = {"PASS": "green", "FAIL": "red", "INCONCLUSIVE": "yellow"}
CHECKS = ("cascading", "cascading-all", "independent")


def show_verdicts(table: pd.DataFrame) -> None:
    """Print one line per explainer, the references last.

    On randomisation: the verdict, and the sensitivity D with its interval where it is defined. On other suites: per check
    the verdict, and the estimate with half the width of its 95% interval.

    Args:
        table: as `reports.verdicts` gives it.
    """
    from rich.text import Text

    from bench.suites import REFERENCES

    for (subject, suite), rows in table.groupby(["subject", "suite"], sort=False):
        if not set(rows["check"]) & set(CHECKS):
            _show_checks(f"{suite} of {subject}", rows)
            continue
        view = _table(("explainer", "verdict", "D, head random", "D, cascade", "D, one layer", "n", "why"))
        view.title, view.title_justify = Text(f"{suite} of {subject}"), "left"
        groups: dict[str, list[dict[str, Any]]] = {
            str(name): [{str(key): value for key, value in row.items()} for row in group.to_dict("records")]
            for name, group in rows.groupby("explainer", sort=False)
        }
        for name in sorted(groups, key=lambda name: (name in REFERENCES, list(groups).index(name))):
            checks = {str(row["check"]): row for row in groups[name]}
            first = checks.get(CHECKS[0]) or next(iter(checks.values()))
            verdict = str(first["verdict"])
            view.add_row(
                Text(name, style="dim" if name in REFERENCES else ""),
                Text(verdict, style=COLOURS.get(verdict, "magenta")),
                *(_interval(checks.get(check)) for check in CHECKS),
                f"{first['n']}/{first['expected']}",
                Text(str(first["reason"])),
            )
        _print(view)


def _show_checks(title: str, rows: pd.DataFrame) -> None:
    """Print the verdicts of a suite whose checks stand beside each other."""
    from rich.text import Text

    from bench.suites import suites

    references = {name for suite in suites() for name in suite.references}
    checks = list(dict.fromkeys(rows["check"]))
    shared = "perturbation-"
    view = _table(("explainer", *(check.removeprefix(shared) for check in checks), "n"))
    view.title, view.title_justify = Text(title), "left"
    found = {(str(row["explainer"]), str(row["check"])): row for row in rows.to_dict("records")}
    names = list(dict.fromkeys(str(name) for name in rows["explainer"]))
    for name in sorted(names, key=lambda name: (name in references, names.index(name))):
        own = [found.get((name, check)) for check in checks]
        counts = sorted({f"{row['n']}/{row['expected']}" for row in own if row is not None and row["expected"]})
        cells = [
            Text("-") if row is None else Text(_brief(row), style=COLOURS.get(str(row["verdict"]), "magenta"))
            for row in own
        ]
        view.add_row(Text(name, style="dim" if name in references else ""), *cells, ", ".join(counts[:2]))
    _print(view)


def show_claims(table: pd.DataFrame) -> None:
    """Print what papers claim beside what was measured.

    Args:
        table: as `reports.claims.judge_claims` gives it.
    """
    from rich.text import Text

    from reports.claims import AGREES, DIFFERS, UNTESTED, figure

    colours = {AGREES: "green", DIFFERS: "red", UNTESTED: "magenta"}
    for paper, rows in table.groupby("paper", sort=False):
        view = _table(("the paper says", "measured here", "bound", "n", "verdict"))
        view.title, view.title_justify = f"claims of {paper}", "left"
        for row in rows.to_dict("records"):
            said = str(row["verdict"])
            why = f" ({row['reason']})" if said == UNTESTED else ""
            view.add_row(
                Text(f"{row['statement']} ({row['where']})"), Text(f"{row['measured']}: {figure(row) or '-'}"),
                Text(str(row["bound"])), str(row["n"]), Text(said + why, style=colours.get(said, "yellow")),
            )  # fmt: skip
        for column in view.columns:
            column.no_wrap = False
        _print(view)


def _brief(row: Mapping[Any, Any]) -> str:
    """A verdict with its estimate and half the width of the interval, for example `PASS 0.34 ±0.04`."""
    if row["estimate"] != row["estimate"]:
        return str(row["verdict"])
    half = (row["ci_high"] - row["ci_low"]) / 2
    return f"{row['verdict']} {row['estimate']:.2f}" + ("" if half != half else f" ±{half:.2f}")


def show_plan(prepared: Prepared) -> None:
    """Print the cells of a run by subject, check and explainer, and how much work is left."""
    from rich.text import Text

    state = dict.fromkeys(prepared.failures, "failed") | dict.fromkeys(prepared.done, "done")
    counts: dict[tuple[str, str, str], Counter[str]] = {}
    for task in prepared.plan.tasks:
        cell = task.cell
        counter = counts.setdefault((cell.subject, cell.check, cell.explainer), Counter())
        counter[state.get(cell.key, "missing")] += 1
    view = _table(("subject", "check", "explainer", "cells", "done", "missing", "failed"))
    for group, counter in counts.items():
        numbers = (counter.total(), *(counter[name] for name in ("done", "missing", "failed")))
        view.add_row(*(Text(name) for name in group), *(str(number) for number in numbers))
    _print(view)
    left = prepared.plan.missing(prepared.done)
    passes = sum(task.cost for task in left)
    workers = "1 process" if prepared.jobs == 1 else f"{prepared.jobs} processes"
    print(
        f"{len(prepared.plan.tasks)} cells, {len(left)} to compute in {len(prepared.plan.shards(left))} shards with "
        f"{workers} on {', '.join(prepared.facts.devices)}: about {passes:,.0f} forward-backward passes of one image"
    )
    print(f"run folder: {prepared.config.folder()}")
    for notice in () if prepared.config.quiet else prepared.notices:
        say(f"note: {notice}")


def _interval(row: dict[str, Any] | None) -> str:
    if row is None or row["estimate"] != row["estimate"]:
        return "-"
    if row["ci_low"] != row["ci_low"]:
        return f"{row['estimate']:.2f}"  # too few images or seeds for an interval; the last column says so
    return f"{row['estimate']:.2f} ({row['ci_low']:.2f}, {row['ci_high']:.2f})"


def _table(columns: tuple[str, ...]) -> Table:
    from rich.table import Table

    view = Table(box=None, pad_edge=False)
    for name in columns:
        number = name in ("cells", "done", "missing", "failed", "n")
        view.add_column(name, no_wrap=name != "why", justify="right" if number else "left")
    return view


def _print(view: Table) -> None:
    from rich.console import Console

    console = Console()
    (console if console.is_terminal else Console(width=WIDTH)).print(view)
