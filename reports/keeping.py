"""The part of a run that a leaderboard rests on, small enough to be kept in a repository.

Kept are the plan, the settings, the failures and, of the records, the measures that verdicts and ranks are made from.
A leaderboard of the kept part is the leaderboard of the run.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa

from reports import files, folders, schema
from reports.files import RunFolderError
from reports.scores import CERTIFIED, RANKED
from reports.store import Store

_VERDICTS = {
    "randomization": ("ssim",),
    "class-discrimination": ("ssim", "mass", "contrast", "chance", "abstains", "exact", "outside"),
    "pixel-perturbation": ("abpc", "abpc-random"),
    "patch-perturbation": ("abpc", "abpc-random"),
}
MEASURES = frozenset(
    {CERTIFIED, *(measure for pairs in RANKED.values() for _, measure in pairs)}
    | {measure for names in _VERDICTS.values() for measure in names}
)
"""Measures that verdicts of the suites with gates or ranks, and ranks, are made from."""


def keep_parts(runs: Sequence[str | Path], folder: str | Path) -> list[Path]:
    """Write the parts of some runs that a leaderboard rests on; parts that are there already are replaced.

    Args:
        runs: run folders.
        folder: each run gets a folder below it, named as the run.

    Returns:
        The folders, in the order of the runs.

    Raises:
        RunFolderError: a run cannot be read, two have the same name, or the folder holds something else or cannot be
            written.

    Example:
        >>> keep_parts(["runs/zoo"], "docs/leaderboard")         # doctest: +SKIP
        [PosixPath('docs/leaderboard/zoo')]
    """
    names = [Path(run).resolve().name for run in runs]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise RunFolderError(
            f"two runs are called {twice[0]!r}: rename one, as the kept parts are named after the runs."
        )
    return [_keep(Store.open(run), Path(folder) / name) for run, name in zip(runs, names, strict=True)]


def _keep(run: Store, target: Path) -> Path:
    """Write the part of one run."""
    if target.resolve() == run.path.resolve():
        raise RunFolderError(f"{target} is the run itself: give --keep another folder.")
    folders.refuse_foreign(target)
    _clear(target)
    measures = {name: facts for name, facts in run.measures.items() if name in MEASURES}
    kept = Store.create(target, run.config, run.protocol, measures, run.explainers)
    kept.write_plan(run.plan())
    for key, info in run.failures().items():
        kept.write_failure(key, {name: text for name, text in info.items() if name != "traceback"})
    for name, info in run.provenance().items():
        kept.write_provenance(name, info)
    records = run.records(coded=True)
    wanted = (records["measure"].isin(MEASURES) | records["image"].isna()).to_numpy(dtype=bool)
    # A cell without such a measure is kept whole, so that it still counts as done.
    wanted = wanted | ~records["cell"].isin(records.loc[wanted, "cell"].unique()).to_numpy(dtype=bool)
    chosen = schema.check(records[wanted])
    if len(chosen):
        table = pa.Table.from_pandas(chosen, schema=schema.ARROW_SCHEMA, preserve_index=False)
        cells = [(str(key), int(count)) for key, count in chosen["cell"].value_counts(sort=False).items()]
        data = files.encode_records(table.replace_schema_metadata(None), cells)
        files.write(target / "packs" / f"{files.sha256(data)[:16]}.parquet", data)
    return target


def _clear(target: Path) -> None:
    """Remove what was kept before."""
    for pattern in ("packs/*.parquet", "records/*/*.parquet", "failures/*.json", "provenance/*.json", "*.json"):
        for path in target.glob(pattern):
            path.unlink()
