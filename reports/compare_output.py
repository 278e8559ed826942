"""Comparisons as a comment on a pull request (Markdown), for continuous integration (JUnit XML), as a page (HTML)."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from typing import Any
from xml.etree import ElementTree

import pandas as pd

from reports import html
from reports.compare import OUTCOMES, REGRESSIONS, Comparison
from reports.frame import GROUP
from reports.tables import to_markdown

MOST = 40
"""Rows of one outcome in Markdown; a comment on a pull request is cut off at 65,536 letters."""

_FORBIDDEN = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_QUIET = ("same", "new")


def to_text(found: Comparison) -> str:
    """Write a comparison as Markdown: what needs a look first, what is unchanged as a number only.

    Args:
        found: as `reports.compare_runs` gives it.
    """
    parts = [f"## {headline(found)}\n", *(f"{sentence}\n" for sentence in sentences(found))]
    for outcome, meaning in OUTCOMES.items():
        if outcome in _QUIET:
            continue
        judged = found.verdicts[found.verdicts["outcome"] == outcome]
        rows = found.rows[found.rows["outcome"] == outcome]
        if len(judged) or len(rows):
            parts.append(f"### {outcome}\n\n{meaning}\n")
        if len(judged):
            parts.append(_cut(_verdict_lines(judged)))
        if len(rows):
            parts.append(_cut(_row_lines(rows)))
    if found.notes:
        parts.append("### Other differences\n\n" + to_markdown(pd.DataFrame({"what": found.notes})))
    return "\n".join(parts)


def headline(found: Comparison) -> str:
    """The result in a few words, by exit code."""
    count = found.count(*REGRESSIONS)
    return {
        0: "No regression",
        1: f"{count} {'regression' if count == 1 else 'regressions'}",
        3: "No regression, but not everything was measured",
        4: "Not comparable"
        if not found.count(*(set(OUTCOMES) - {"not-comparable", "new"}))
        else "Partly not comparable",
    }[found.exit_code]


def sentences(found: Comparison) -> list[str]:
    """What was counted, in words."""
    said = []
    for name, table in (("verdicts", found.verdicts), ("measured rows", found.rows)):
        counts = Counter(table["outcome"])
        listed = ", ".join(f"{counts[outcome]} {outcome}" for outcome in OUTCOMES if counts[outcome])
        said.append(f"{len(table)} {name}: {listed or 'none'}.")
    if found.incomplete:
        said.append(f"{found.incomplete} planned cells of the current run have no records.")
    return said


def to_junit(found: Comparison) -> str:
    """Write a comparison as JUnit XML: regressions fail, what cannot be compared or is missing is skipped.

    Args:
        found: as `reports.compare_runs` gives it.
    """
    root = ElementTree.Element("testsuites", name="sanity-bench compare")
    for title, table in (("verdicts", found.verdicts), ("values", found.rows)):
        counts = Counter(table["outcome"])
        failures = sum(counts[outcome] for outcome in REGRESSIONS)
        skipped = counts["not-comparable"] + counts["missing"]
        suite = ElementTree.SubElement(
            root,
            "testsuite",
            name=title,
            tests=str(len(table)),
            failures=str(failures),
            skipped=str(skipped),
            errors="0",
        )
        for row in _plain(table):
            name = " / ".join(str(row[key]) for key in ("explainer", "check", "measure") if row.get(key))
            case = ElementTree.SubElement(
                suite, "testcase", classname=_legal(f"{row['subject']}.{row['suite']}"), name=_legal(name)
            )
            said = _legal(f"{row['outcome']}: {_change(row)}; {row['reason'] or OUTCOMES[row['outcome']]}")
            if row["outcome"] in REGRESSIONS:
                ElementTree.SubElement(case, "failure", type=row["outcome"], message=said)
            elif row["outcome"] in ("not-comparable", "missing"):
                ElementTree.SubElement(case, "skipped", message=said)
    ElementTree.indent(root, " ")
    return '<?xml version="1.0" encoding="utf-8"?>\n' + ElementTree.tostring(root, encoding="unicode") + "\n"


def to_page(found: Comparison) -> str:
    """Write a comparison as one self-contained HTML page.

    Args:
        found: as `reports.compare_runs` gives it.
    """
    groups = []
    for outcome, meaning in OUTCOMES.items():
        judged = _plain(found.verdicts[found.verdicts["outcome"] == outcome])
        rows = _plain(found.rows[found.rows["outcome"] == outcome])
        if judged or rows:
            folded = outcome in _QUIET
            groups.append({"outcome": outcome, "meaning": meaning, "verdicts": judged, "rows": rows, "folded": folded})
    return html.fill(
        "compare.html",
        headline=headline(found),
        sentences=sentences(found),
        groups=groups,
        notes=found.notes,
        names=found.names,
        good=found.exit_code == 0,
    )


def _change(row: dict[str, Any]) -> str:
    """From what to what, with the difference where it is a number."""
    if isinstance(row["baseline"], str) or isinstance(row["current"], str):
        return f"{row['baseline'] or 'nothing'} before, {row['current'] or 'nothing'} now"
    if row["baseline"] is None or row["current"] is None:
        return "no pairs"
    interval = "" if row["ci_low"] is None else f" [{row['ci_low']:+.3f}, {row['ci_high']:+.3f}]"
    where = f" at {row['layer'] or 'the trained model'}" if row["stage"] is not None else ""
    return (
        f"{row['baseline']:.3f} before, {row['current']:.3f} now, difference {row['difference']:+.3f}{interval}{where}, "
        f"p = {row['p']:.2g}, {row['n']} pairs"
    )


def _verdict_lines(table: pd.DataFrame) -> pd.DataFrame:
    """Columns of verdicts for readers."""
    shown = table[[*GROUP, "baseline", "current", "reason"]]
    return shown.rename(columns={"baseline": "verdict before", "current": "verdict now"}).drop(columns="suite")


def _row_lines(table: pd.DataFrame) -> pd.DataFrame:
    """Columns of measured rows for readers."""
    layers = table["layer"].fillna(table["stage"].astype("string").fillna(""))
    shown = table.assign(where=layers)[
        [
            "subject",
            "explainer",
            "check",
            "measure",
            "where",
            "baseline",
            "current",
            "difference",
            "p",
            "threshold",
            "reason",
        ]
    ]
    return shown.rename(columns={"baseline": "before", "current": "now"})


def _cut(table: pd.DataFrame) -> str:
    """The first rows as Markdown, and how many more there are."""
    text = to_markdown(table.head(MOST))
    return text if len(table) <= MOST else f"{text}\n{len(table) - MOST} more rows are on the page (`--html`).\n"


def _plain(table: pd.DataFrame) -> list[dict[str, Any]]:
    """Rows with None for every kind of null."""
    rows: Iterable[dict[Any, Any]] = table.astype(object).where(table.notna(), None).to_dict("records")
    return [{str(name): value for name, value in row.items()} for row in rows]


def _legal(text: str) -> str:
    """Leave out the letters that XML does not know."""
    return _FORBIDDEN.sub("", text)
