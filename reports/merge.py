"""Join runs made on several machines, and say which cells they do not agree on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from reports import files, folders
from reports.compare import SAME_NUMBER
from reports.files import RunFolderError
from reports.frame import GROUP
from reports.store import Store

COLUMNS = (*GROUP, "seed", "cell", "values", "largest", "statuses", "runs")
_FOLDERS = ("pictures", "maps")


@dataclass(frozen=True)
class Merged:
    """What came of joining runs.

    Attributes:
        path: the joined run.
        planned: number of cells planned in any of the runs.
        missing: number of those without records.
        shared: number of cells that more than one run computed.
        disagreements: one row per shared cell with other numbers: `values` and `statuses` that differ, the `largest`
            difference, and the `runs` that disagree.  The first of the runs stands in the joined folder.
    """

    path: Path
    planned: int
    missing: int
    shared: int
    disagreements: pd.DataFrame


def merge_runs(runs: Sequence[str | Path], out: str | Path) -> Merged:
    """Join runs of one configuration into one folder.

    Cells that several runs computed have equal keys, so their records must be equal too; where they are not, the
    computation is not reproducible.  That is a finding and no error.

    Args:
        runs: run folders, made with the same configuration and protocol.
        out: the joined run; a new or empty folder, or one that an earlier merge of the same runs made.

    Raises:
        RunFolderError: a folder cannot be read or written, the runs have different configurations, or they measure the same
            thing under different weights, data or versions.
        SchemaError: a newer release wrote one of them.

    Example:
        >>> import reports
        >>> reports.merge_runs(["runs/part-1", "runs/part-2"], "runs/all").missing      # doctest: +SKIP
        0
    """
    stores = [Store.open(path) for path in runs]
    if any(store.path.resolve() == Path(out).resolve() for store in stores):
        raise RunFolderError(f"--out {out}: is one of the runs to join; give a new folder.")
    first = stores[0]
    for store in stores[1:]:
        differing = folders.differences((first.config, first.protocol), (store.config, store.protocol))
        if differing:
            raise RunFolderError(
                f"{first.path} and {store.path} cannot be joined, they were made with another configuration each: "
                f"{'; '.join(differing)}. Only parts of one run are joined; `bench compare` sets runs against each other."
            )
    plan = _plan(stores)
    made = Store.create(out, first.config, first.protocol, first.measures, first.explainers)
    for store in stores[1:]:
        made = Store.create(out, store.config, store.protocol, store.measures, store.explainers)
    made.write_plan(plan)
    for store in stores:
        made.write_papers([paper.record() for paper in store.papers()])
    owner: dict[str, Store] = {}
    found: list[dict[str, Any]] = []
    shared: set[str] = set()
    for store in stores:
        done = store.done()
        both = sorted(done & owner.keys())
        shared |= set(both)
        for earlier in stores:
            found += _disagreements(earlier, store, [key for key in both if owner[key] is earlier])
        _copy(store, made, done - owner.keys())
        owner.update(dict.fromkeys(done - owner.keys(), store))
    for store in stores:
        for key, info in store.failures().items():
            if key not in owner:
                made.write_failure(key, info)
        for name, info in store.provenance().items():
            made.write_provenance(name, info)
    missing = len({cell["key"] for cell in plan} - made.done())
    return Merged(made.path, len(plan), missing, len(shared), pd.DataFrame(found, columns=list(COLUMNS)))


def to_words(merged: Merged) -> str:
    """Say what came of joining runs."""
    lines = [
        f"{merged.planned - merged.missing} of {merged.planned} cells, {merged.shared} of them in more than one run"
    ]
    bad = merged.disagreements
    if len(bad):
        lines.append(f"{len(bad)} cells differ between runs and are not reproducible; the first run was kept:")
        for row in bad.head(20).to_dict("records"):
            lines.append(
                f"  {row['check']} of {row['explainer']} on {row['subject']}, seed {row['seed']}: {row['values']} values "
                f"by up to {row['largest']:.3g}, {row['statuses']} statuses ({row['runs']}, cell {row['cell'][:12]})"
            )
        if len(bad) > 20:
            lines.append(f"  and {len(bad) - 20} more")
    elif merged.shared:
        lines.append("all of these agree")
    return "\n".join([*lines, f"run folder: {merged.path}"])


def _plan(stores: Sequence[Store]) -> list[dict[str, Any]]:
    """All planned cells, each once."""
    cells: dict[str, dict[str, Any]] = {}
    places: dict[tuple[Any, ...], str] = {}
    for store in stores:
        for cell in store.plan():
            cells.setdefault(cell["key"], cell)
            for image in cell["images"]:
                place = (*(cell[name] for name in GROUP), cell["seed"], image)
                if places.setdefault(place, cell["key"]) != cell["key"]:
                    raise RunFolderError(
                        f"{stores[0].path} and {store.path} cannot be joined: both hold {cell['check']} of {cell['explainer']} "
                        f"on {cell['subject']} (seed {cell['seed']}), under other weights, data, versions or numerics. "
                        f"`bench compare` sets such runs against each other."
                    )
    return list(cells.values())


def _copy(store: Store, made: Store, keys: set[str]) -> None:
    """Copy the records of some cells, and the maps that belong to them."""
    there = made.done(keys)
    records = store.records(keys - there)
    for key, rows in records.groupby("cell", sort=False):
        made.write_records(str(key), rows.reset_index(drop=True))
    # A finished cell may have no rows at all.
    for key in keys - there - set(records["cell"]):
        made.write_records(key, [])
    for name in _FOLDERS:
        folder = store.path / name
        for path in sorted(folder.glob("*.npz")) if folder.is_dir() else []:
            if path.stem in keys and not (made.path / name / path.name).exists():
                files.write(made.path / name / path.name, path.read_bytes())


def _disagreements(first: Store, second: Store, keys: Sequence[str]) -> list[dict[str, Any]]:
    """Compare the records of cells that two runs computed."""
    if not keys:
        return []
    # Rows of one cell stand in one order, wherever they were computed.
    old, new = (
        {str(key): part for key, part in store.records(set(keys)).groupby("cell", sort=False)}
        for store in (first, second)
    )
    rows = []
    for key in keys:
        if key not in old or key not in new:
            continue
        before, after = old[key], new[key]
        found = _differences(before, after)
        if found:
            about: Mapping[str, Any] = {str(name): value for name, value in before.iloc[0].items()}
            same = {name: about[name] for name in (*GROUP, "seed")}
            rows.append({**same, "cell": key, **found, "runs": f"{first.path} and {second.path}"})
    return rows


def _differences(before: pd.DataFrame, after: pd.DataFrame) -> dict[str, Any]:
    """Count the values and statuses that differ; empty where none do."""
    if len(before) != len(after):
        return {"values": abs(len(before) - len(after)), "largest": float("nan"), "statuses": 0}
    one, other = (side["value"].to_numpy(dtype=np.float64) for side in (before, after))
    gap = np.abs(one - other)
    scale = np.maximum(1.0, np.abs(one))
    far = np.isfinite(gap) & (gap > SAME_NUMBER * np.where(np.isfinite(scale), scale, 1.0))
    statuses = int((before["status"].to_numpy() != after["status"].to_numpy()).sum())
    if not far.any() and not statuses:
        return {}
    return {"values": int(far.sum()), "largest": float(gap[far].max(initial=0.0)), "statuses": statuses}
