"""Load a run folder as one tidy frame that knows what was expected."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa

from reports import schema
from reports.store import Store

Cells = Iterable[Mapping[str, Any]]
Group = tuple[str, str, str, str]

GROUP = ("subject", "explainer", "suite", "check")
"""What one verdict is about."""


def load(path: str | Path | Store, *, coded: bool = False) -> pd.DataFrame:
    """Load the tidy records of a run folder.

    A failed cell has one row with status `failed` in which stage, image, measure and value are null, so that
    no failure gets lost on the way to a table.

    Args:
        path: a run folder.
        coded: give texts as categoricals: a fifth of the memory, and quicker, for runs of millions of records.

    Returns:
        One row per measured value with the columns of `reports.schema.COLUMNS`.  `frame.attrs` holds, as
        plain JSON, what was `expected` per subject, explainer, suite and check, the `failures`, the
        `protocol`, the `measures`, the number of `rows`, and the path of the `run`.

    Raises:
        RunFolderError: there is no run folder, or its settings are damaged.
        SchemaError: a newer release wrote it.

    Example:
        >>> import reports
        >>> frame = reports.load("runs/a")                               # doctest: +SKIP
        >>> frame[frame.measure == "ssim"].groupby("stage").value.mean()  # doctest: +SKIP
    """
    store = path if isinstance(path, Store) else Store.open(path)
    plan = store.plan()
    failures = store.failures()
    frame = store.records(coded=coded)
    failed = schema.from_arrow(_failed_rows(plan, failures), coded=coded)
    if len(failed):
        parts = schema.alike([frame, failed]) if coded else [frame, failed]
        frame = pd.concat(parts, ignore_index=True)
    frame.attrs = {
        "run": str(store.path),
        "rows": len(frame),
        "expected": SharedList(_expected(plan)),
        "failures": SharedList(_failures(plan, failures)),
        "protocol": SharedDict(store.protocol),
        "measures": SharedDict(store.measures),
    }
    return frame


class SharedList(list[Any]):
    """A list that copies of a frame have in common: pandas copies what a frame carries along with every selection of rows."""

    def __deepcopy__(self, memo: object) -> SharedList:
        return self


class SharedDict(dict[str, Any]):
    """A dictionary that copies of a frame have in common, for the same reason."""

    def __deepcopy__(self, memo: object) -> SharedDict:
        return self


def expectations(frame: pd.DataFrame) -> dict[Group, dict[str, int]]:
    """Return what the plan expects per subject, explainer, suite and check; empty without a plan.

    The values are `cells`, `values` (image x seed pairs), `images` and `seeds`.
    """
    entries = frame.attrs.get("expected", [])
    numbers = ("cells", "values", "images", "seeds")
    return {_group(entry): {name: entry[name] for name in numbers} for entry in entries}


def failure_messages(frame: pd.DataFrame) -> dict[Group, tuple[int, str]]:
    """Return the number of failed cells and the first message per subject, explainer, suite and check."""
    entries = frame.attrs.get("failures", [])
    return {_group(entry): (entry["cells"], entry["message"]) for entry in entries}


def is_whole(frame: pd.DataFrame) -> bool:
    """Tell whether the frame is as it was loaded, so that an absent explainer is missing and not filtered."""
    return bool(frame.attrs.get("rows") == len(frame))


def message(info: Mapping[str, Any]) -> str:
    """Return type and message of a failure on one line, at most 200 characters.

    >>> message({"type": "ValueError", "message": "no conv layer\\nfound"})
    'ValueError: no conv layer found'
    """
    kind, text = info.get("type"), " ".join(str(info.get("message") or "no message").split())
    line = f"{kind}: {text}" if kind else text
    return line if len(line) <= 200 else line[:199] + "…"


def _group(cell: Mapping[str, Any]) -> Group:
    """Return the group of a cell; what it does not say is unknown."""
    subject, explainer, suite, check = (str(cell.get(name, "(unknown)")) for name in GROUP)
    return subject, explainer, suite, check


def _failed_rows(plan: Cells, failures: Mapping[str, Mapping[str, Any]]) -> pa.Table:
    """One row per failed cell; a cell that the plan does not know names itself in its failure."""
    cells = {cell["key"]: cell for cell in plan}
    rows = []
    for key, info in failures.items():
        cell = {**info, **cells.get(key, {})}
        rows.append(
            {
                **dict.fromkeys(schema.COLUMNS),
                **dict(zip(GROUP, _group(cell), strict=True)),
                "seed": cell.get("seed"),
                "status": "failed",
                "cell": key,
            }
        )
    return schema.to_arrow(rows, "failures")


def _expected(plan: Cells) -> list[dict[str, Any]]:
    """Sum the plan up per subject, explainer, suite and check."""
    totals: dict[Group, dict[str, Any]] = {}
    for cell in plan:
        total = totals.setdefault(_group(cell), {"cells": 0, "values": 0, "images": set(), "seeds": set()})
        total["cells"] += 1
        total["values"] += len(cell["images"])
        total["images"].update(cell["images"])
        total["seeds"].add(cell["seed"])
    return [
        {
            **dict(zip(GROUP, group, strict=True)),
            "cells": total["cells"],
            "values": total["values"],
            "images": len(total["images"]),
            "seeds": len(total["seeds"]),
        }
        for group, total in totals.items()
    ]


def _failures(plan: Cells, failures: Mapping[str, Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Sum the failures up per subject, explainer, suite and check, with the first message of each."""
    cells = {cell["key"]: cell for cell in plan}
    totals: dict[Group, dict[str, Any]] = {}
    for key in sorted(failures):
        cell = {**failures[key], **cells.get(key, {})}
        total = totals.setdefault(_group(cell), {"cells": 0, "message": message(failures[key])})
        total["cells"] += 1
    return [{**dict(zip(GROUP, group, strict=True)), **total} for group, total in totals.items()]
