"""Leaderboards as Markdown that fits a README, as CSV with every number, and as a page."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from reports import html
from reports.board_runs import GATES
from reports.files import RunFolderError
from reports.leaderboard import NOT_RUN, Leaderboard
from reports.scores import RANKED, Score
from reports.tables import escaped, to_markdown

MARKS = ("<!-- leaderboard -->", "<!-- end of leaderboard -->")
"""Lines of a Markdown file between which a leaderboard is put."""


def writer(path: Path) -> Callable[[Leaderboard], str]:
    """The way to write a leaderboard into a file of this name.

    Raises:
        RunFolderError: the suffix is none of `.md`, `.csv` and `.html`.
    """
    ways = {".md": to_text, ".csv": to_csv, ".html": to_page}
    if path.suffix not in ways:
        raise RunFolderError(f"--out {path}: the name must end in {', '.join(ways)}.")
    return ways[path.suffix]


def between_marks(path: Path, text: str) -> str:
    """Return the content of a file with a leaderboard put between its marks, or the leaderboard alone without marks.

    Args:
        path: a file that may be absent.
        text: the leaderboard.
    """
    if path.suffix != ".md" or not path.exists():
        return text
    whole = path.read_text(encoding="utf-8")
    before, start, rest = whole.partition(MARKS[0])
    _, end, after = rest.partition(MARKS[1])
    return f"{before}{start}\n\n{text}\n{end}{after}" if start and end else text


def to_text(board: Leaderboard) -> str:
    """Write a leaderboard as Markdown.

    Args:
        board: as `reports.rank_explainers` gives it.
    """
    lines = [_line(row) for row in _plain(board.rows)]
    gates, aspects = _used(board)
    columns = ["rank", "explainer", *gates, *aspects, "passes", "time", "cells", "note"]
    table = pd.DataFrame(lines, columns=columns) if lines else pd.DataFrame(columns=columns)
    parts = [to_markdown(table), *(f"{escaped(text)}\n" for text in (_reading(board), *board.notes))]
    if len(board.agreement):
        parts.append("Agreement of the orders (Kendall's tau, 95% interval):\n")
        parts.append(to_markdown(_agreement_lines(board.agreement)))
    return "\n".join(parts)


def to_csv(board: Leaderboard) -> str:
    """Write a leaderboard as CSV: one row per explainer, every score with its interval.

    Args:
        board: as `reports.rank_explainers` gives it.
    """
    table = board.rows.copy()
    for name, values in _score_columns(board).items():
        table[name] = values
    return table.to_csv(index=False, lineterminator="\n")


def to_page(board: Leaderboard) -> str:
    """Write a leaderboard as one self-contained HTML page.

    Args:
        board: as `reports.rank_explainers` gives it.
    """
    rows = [{**row, "line": _line(row), "scores": []} for row in _plain(board.rows)]
    gates, aspects = _used(board)
    for score in board.scores:
        for row in rows:
            row["scores"].append(_interval(score, str(row["explainer"])))
    return html.fill(
        "leaderboard.html",
        rows=rows,
        gates=gates,
        aspects=aspects,
        scores=[score.label for score in board.scores],
        reading=_reading(board).strip(),
        notes=board.notes,
        agreement=_plain(board.agreement),
        subjects=board.subjects,
        runs=board.runs,
    )


def _used(board: Leaderboard) -> tuple[list[str], list[str]]:
    """The gates that were run and the aspects that were measured."""
    gates = [gate for gate in GATES if (board.rows[gate] != NOT_RUN).any()]
    return gates, [aspect for aspect in RANKED if any(score.aspect == aspect for score in board.scores)]


def _reading(board: Leaderboard) -> str:
    """How to read the table."""
    by = ", ".join(dict.fromkeys(score.label for score in board.scores))
    return (
        "Gates first: an explainer that fails one is not ranked. Ranks are those among the explainers that pass and are "
        "complete; brackets hold 95% intervals (bootstrap crossed over images and seeds), and explainers that share a letter "
        f"cannot be told apart (Holm).{f' Ranked by {by}.' if by else ''} Cost of one explanation: forward and backward passes "
        "of the model, and the median time here, in which passes shared with another explainer count once.\n"
    )


def _line(row: dict[str, Any]) -> dict[str, Any]:
    """One explainer in words."""
    shown = {"rank": _rank(row, ""), "explainer": row["explainer"], **{gate: row[gate] for gate in GATES}}
    shown.update({aspect: _rank(row, f"{aspect}_") for aspect in RANKED})
    shown["passes"] = "" if row["cost"] is None else f"{row['cost']:g}"
    shown["time"] = _time(row["seconds"])
    shown["cells"] = f"{row['cells']} of {row['planned']}"
    lacks = f": no {row['lacks']}" if row["status"] == "incomplete" and row["lacks"] else ""
    shown["note"] = "" if row["status"] == "ranked" else row["status"] + lacks
    return shown


def _rank(row: dict[str, Any], prefix: str) -> str:
    """Rank with interval and group, such as `2 [1, 4] ab`."""
    rank, low, high, ties = (row[prefix + name] for name in ("rank", "rank_low", "rank_high", "ties"))
    return "" if rank is None else f"{rank:g}" + (f" [{low:g}, {high:g}]" if low is not None else "") + f" {ties}"


def _time(seconds: float | None) -> str:
    """A duration in the unit that suits it.

    >>> _time(0.0123), _time(None)
    ('12 ms', '')
    """
    if seconds is None:
        return ""
    return (
        f"{seconds:.1f} s"
        if seconds >= 1
        else f"{1000 * seconds:.0f} ms"
        if seconds >= 0.01
        else f"{1000 * seconds:.1f} ms"
    )


def _interval(score: Score, name: str) -> dict[str, float | None]:
    """Estimate and 95% interval of one explainer."""
    column = score.of([name])[:, 0]
    if not np.isfinite(column[0]):
        return {"estimate": None, "ci_low": None, "ci_high": None}
    drawn = column[1:][np.isfinite(column[1:])]
    low, high = np.quantile(drawn, [0.025, 0.975]) if drawn.size else (None, None)
    return {"estimate": float(column[0]), "ci_low": _number(low), "ci_high": _number(high)}


def _number(value: Any) -> float | None:
    """A number, or None."""
    return None if value is None else float(value)


def _score_columns(board: Leaderboard) -> dict[str, list[float | None]]:
    """Every score as three columns."""
    columns: dict[str, list[float | None]] = {}
    for score in board.scores:
        found = [_interval(score, str(name)) for name in board.rows["explainer"]]
        for part in ("estimate", "ci_low", "ci_high"):
            end = "" if part == "estimate" else f" {part}"
            columns[f"{score.measure} {score.label}{end}"] = [each[part] for each in found]
    return columns


def _agreement_lines(table: pd.DataFrame) -> pd.DataFrame:
    """The agreements as a triangle: every measure against those after it."""
    labels = list(dict.fromkeys([*table["first"], *table["second"]]))
    cells = {}
    for first, second, tau, low, high, _ in table.itertuples(index=False, name=None):
        cells[first, second] = f"{tau:z.2f} [{low:z.2f}, {high:z.2f}]" if low == low else f"{tau:z.2f}"
    shown: dict[str, list[str]] = {"": labels[:-1]}
    for column in labels[1:]:
        shown[column] = [cells.get((row, column), "") for row in labels[:-1]]
    return pd.DataFrame(shown)


def _plain(table: pd.DataFrame) -> list[dict[str, Any]]:
    """Rows with None for every kind of null."""
    rows = table.astype(object).where(table.notna(), None).to_dict("records")
    return [{str(name): value for name, value in row.items()} for row in rows]
