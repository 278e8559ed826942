"""A run folder: what was planned, what was computed, what failed, in files that are whole or absent.

One finished cell is one file, named by the key of the cell, so a double computation is a harmless overwrite
and several machines can write into one folder without a lock.  Nothing in a run folder is a pickle.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa

from reports import files, folders, pictures, planned, schema
from reports.files import DamagedFile, RunFolderError
from reports.papers import Paper, paper_of
from reports.pictures import Picture
from reports.records import KEY, PACK_CELLS, Records, named, valid

_NAME = re.compile(r"[0-9A-Za-z][0-9A-Za-z_-]{0,63}")
_MEND = "Delete the file and run again with the same settings."
_ADOPTED = {
    "records": (KEY, "parquet"),
    "failures": (KEY, "json"),
    "pictures": (KEY, "npz"),
    "maps": (KEY, "npz"),
    "provenance": (_NAME, "json"),
}


class Store:
    """A run folder on the disk.

    Attributes:
        path: the folder.
        config: the resolved configuration that the run was made with.
        protocol: name, hash and parameters of the protocol.
        measures: per measure its checks, unit, direction, range, null value and description.
        explainers: per explainer whether it is signed and stochastic, its group and a summary.

    Example:
        >>> import tempfile
        >>> protocol = {"name": "recommended", "hash": "0"}
        >>> store = Store.create(tempfile.mkdtemp(), {"images": 2}, protocol, {}, {})
        >>> row = dict(suite="s", check="c", subject="m", explainer="e", seed=0, stage=1, layer="fc",
        ...            image="i", target=3, measure="ssim", value=0.5, status="ok", seconds=0.1)
        >>> store.write_records("00c0ffee", [row])
        >>> store.done(), len(store.records())
        ({'00c0ffee'}, 1)
    """

    def __init__(self, path: Path) -> None:
        """Open a run folder; `Store.create` and `Store.open` are the doors."""
        self.path = path
        self._versions: dict[str, int] = {}
        self.config = self._settings("config.json")
        self.protocol = self._settings("protocol.json")
        self.measures = self._settings("measures.json")
        self.explainers = self._settings("explainers.json")
        self._records = Records(path)

    @classmethod
    def create(
        cls,
        path: str | Path,
        config: Mapping[str, Any],
        protocol: Mapping[str, Any],
        measures: Mapping[str, Any],
        explainers: Mapping[str, Any],
    ) -> Store:
        """Make a run folder, or open the one that is there if it was made with the same configuration.

        Args:
            path: the folder; it may be absent, empty, or a run folder.
            config: what the results depend on; leave out device, jobs, batch size, paths and the like.
            protocol: `name`, `hash` and `parameters`.
            measures: side table of the measures, by name.
            explainers: side table of the explainers, by name.

        Raises:
            RunFolderError: the folder holds something else, was made with another configuration or protocol,
                or cannot be written.
        """
        folder = Path(path)
        known = cls(folder) if (folder / "config.json").exists() else None
        if known is None:
            folders.refuse_foreign(folder)
        else:
            folders.refuse_other(folder, (known.config, known.protocol), (config, protocol))
            measures = {**known.measures, **measures}
            explainers = {**known.explainers, **explainers}
        # The configuration is written last: a folder that has one is complete.
        settings = {"measures": measures, "explainers": explainers, "protocol": protocol, "config": config}
        for name, content in settings.items():
            # What an older release wrote is written again, so that it leaves alone what it could not read whole.
            older = known is not None and known._versions[f"{name}.json"] < schema.SCHEMA_VERSION
            if known is None or older or getattr(known, name) != files.as_json(content):
                files.write_json(folder / f"{name}.json", {"schema": schema.SCHEMA_VERSION, **content})
        return cls(folder)

    @classmethod
    def open(cls, path: str | Path) -> Store:
        """Open an existing run folder.

        Raises:
            RunFolderError: there is no run folder at the path, or its settings are damaged.
            SchemaError: a newer release wrote it.
        """
        folder = Path(path)
        if folder.exists() and not folder.is_dir():
            raise RunFolderError(f"{folder} is a file and no run folder. Give the folder that `bench run` printed.")
        if not folder.is_dir():
            raise RunFolderError(f"no run folder at {folder}: `bench run --out {folder}` would make one.")
        if not (folder / "config.json").exists():
            raise RunFolderError(
                f"{folder} is not a run folder: it has no config.json. Give the folder that `bench run` printed."
            )
        return cls(folder)

    def write_plan(self, cells: Sequence[Mapping[str, Any]]) -> None:
        """Store what the run is expected to compute.

        Args:
            cells: per cell `key`, `suite`, `check`, `subject`, `explainer`, `seed`, `images` (ids) and `rows`
                (expected number, or None).
        """
        for cell in cells:
            valid(cell["key"])
        if self.plan() != cells:
            made = datetime.now(UTC).isoformat(timespec="seconds")
            files.write(self.path / "plan.json", planned.encode(cells, made))

    def write_papers(self, papers: Sequence[Mapping[str, Any]]) -> None:
        """Store what papers claim about the records, beside what is there of other papers.

        Args:
            papers: as `reports.papers.Paper.record` gives them.
        """
        if not papers:
            return
        held = {str(each["suite"]): each for each in (*(paper.record() for paper in self.papers()), *papers)}
        content = {"schema": schema.SCHEMA_VERSION, "papers": list(held.values())}
        files.write_json(self.path / "papers.json", content)

    def papers(self) -> list[Paper]:
        """Return the papers whose claims are tested; empty for a run that tests none.

        Raises:
            RunFolderError: the file is damaged.
        """
        path = self.path / "papers.json"
        try:
            return [paper_of(each) for each in files.read_json(path)["papers"]]
        except FileNotFoundError:
            return []
        except (DamagedFile, LookupError, TypeError, ValueError) as error:
            raise RunFolderError(f"{path} is damaged. {_MEND}") from error

    def plan(self) -> list[dict[str, Any]]:
        """Return the expected cells in their order; empty where no plan was written.

        Raises:
            RunFolderError: the file is damaged.
        """
        content = self._settings("plan.json")
        try:
            return planned.decode(content)
        except (TypeError, ValueError, LookupError) as error:
            raise RunFolderError(f"{self.path / 'plan.json'} is no plan: {error}. {_MEND}") from error

    def write_provenance(self, name: str, info: Mapping[str, Any]) -> None:
        """Store versions, hardware, digests and numerics of one process.

        Args:
            name: 1 to 64 letters, digits, `-` and `_`.
            info: any JSON object.
        """
        if not _NAME.fullmatch(name):
            raise RunFolderError(f"{name!r} cannot name a provenance file: use letters, digits, '-' and '_'.")
        files.write_json(self.path / "provenance" / f"{name}.json", info)

    def provenance(self) -> dict[str, dict[str, Any]]:
        """Return the stored provenance by name; a damaged file is left out."""
        return dict(_whole_json(self.path / "provenance", _NAME))

    def write_records(self, key: str, rows: Sequence[dict[str, Any]] | pd.DataFrame) -> None:
        """Store the records of a finished cell, which also forgets an earlier failure of it.

        Args:
            key: hexadecimal key of the cell.
            rows: the records; `cell` may be left out of dictionaries.

        Raises:
            SchemaError: the rows do not have the agreed shape.
            RunFolderError: the disk is full, or the folder cannot be written.
        """
        if isinstance(rows, pd.DataFrame):
            tidy = schema.check(rows, f"rows of cell {key[:12]}")
            table = pa.Table.from_pandas(tidy, schema=schema.ARROW_SCHEMA, preserve_index=False)
        else:
            table = schema.to_arrow(rows, valid(key))
        self._records.write(key, table.replace_schema_metadata(None))
        self.clear_failure(key)

    def write_failure(self, key: str, info: Mapping[str, Any]) -> None:
        """Store why a cell failed.

        Args:
            key: hexadecimal key of the cell.
            info: JSON object, at least `type` and `message`; also traceback, attempt, host and so on.
        """
        valid(key)
        files.write_json(self.path / "failures" / f"{key}.json", info)

    def clear_failure(self, key: str) -> None:
        """Forget the failure of a cell; nothing happens when there is none."""
        files.remove(self.path / "failures" / f"{valid(key)}.json")

    def failures(self) -> dict[str, dict[str, Any]]:
        """Return the stored failures by key, without those of cells that succeeded later."""
        found = dict(_whole_json(self.path / "failures", KEY))
        done = self._records.done(found)
        return {key: info for key, info in found.items() if key not in done}

    def done(self, keys: Iterable[str] | None = None) -> set[str]:
        """Return the keys, of these or of all, of the cells whose records exist and are whole.

        Every file is read once and its digest compared; a file that did not change since is not read again.
        """
        return self._records.done(keys)

    def glance(self) -> set[str]:
        """Return what `done` returns, quickly: file names are believed, as is good enough for progress."""
        return self._records.glance()

    def damaged(self) -> list[Path]:
        """Return the files that are torn, cut or altered; each counts as missing.

        Others may write and remove files meanwhile: a file that is gone when it is looked at is not damaged.
        """
        bad = self._records.damaged()
        for folder, pattern in (("failures", KEY), ("provenance", _NAME)):
            bad += [path for path in named(self.path / folder, pattern, ".json") if files.is_damaged_json(path)]
        bad += [path for path in named(self.path / "pictures", KEY, ".npz") if pictures.is_damaged(path)]
        return sorted(bad)

    def records(self, keys: Collection[str] | None = None, *, coded: bool = False) -> pd.DataFrame:
        """Read the stored records as one tidy frame.

        Args:
            keys: read these cells only; by default all.
            coded: give texts as categoricals, which takes a fifth of the memory.

        Returns:
            Records with the columns of `reports.schema.COLUMNS`: cells in the order of the plan, then cells
            that the plan does not name by key; rows within a cell as they were written.

        Raises:
            SchemaError: a newer release wrote some of them.
        """
        return self._records.read(keys, [cell["key"] for cell in self.plan()], coded=coded)

    def compact(self, least: int = PACK_CELLS) -> int:
        """Fold the files of finished cells into packs, which are quicker to read; the records stay the same.

        Args:
            least: do nothing when there are fewer such files.

        Returns:
            The number of cells that were folded.

        Raises:
            RunFolderError: the folder cannot be written.
        """
        return self._records.compact([cell["key"] for cell in self.plan()], least)

    def adopt(self, name: str, data: bytes) -> None:
        """Take in a file that a worker wrote where it could not reach this folder.

        Args:
            name: its place below the folder, for example `failures/<key>.json`.
            data: its content.

        Raises:
            RunFolderError: no worker writes such a file, or the folder cannot be written.
        """
        kind, _, rest = name.partition("/")
        stem, _, ending = rest.rpartition("/")[2].partition(".")
        pattern, expected = _ADOPTED.get(kind, (KEY, ""))
        if ending != expected or not pattern.fullmatch(stem) or rest != self._below(kind, stem, ending):
            raise RunFolderError(f"{name!r} is no file that a worker writes into a run folder.")
        if kind == "records" and not files.is_record_of(data, stem):
            raise RunFolderError(f"{name!r} is damaged, or holds the records of another cell.")
        files.write(self.path / name, data)
        if kind == "records":
            self.clear_failure(stem)

    @staticmethod
    def _below(kind: str, stem: str, ending: str) -> str:
        """Return the place of a file below the folder of its kind."""
        return f"{stem[:2]}/{stem}.{ending}" if kind == "records" else f"{stem}.{ending}"

    def write_picture(self, key: str, arrays: Mapping[str, Any], meta: Mapping[str, Any]) -> None:
        """Store the maps of a few images; the layout stands in `reports.pictures`.

        Args:
            key: hexadecimal key of the cell.
            arrays: named number arrays.
            meta: JSON object about them.
        """
        valid(key)
        files.write(self.path / "pictures" / f"{key}.npz", pictures.encode(arrays, meta))

    def read_pictures(self) -> list[Picture]:
        """Return the stored pictures in the order of their keys, without damaged ones."""
        found = []
        for path in named(self.path / "pictures", KEY, ".npz"):
            try:
                found.append(pictures.decode(path))
            except DamagedFile:
                continue
        return found

    def _settings(self, name: str) -> dict[str, Any]:
        """Read one of the settings files; an absent one is empty."""
        path = self.path / name
        try:
            content = files.read_json(path)
        except FileNotFoundError:
            return {}
        except DamagedFile as error:
            raise RunFolderError(f"{error}. {_MEND}") from error
        except OSError as error:
            raise RunFolderError(f"cannot read {path}: {error.strerror or error}.") from error
        self._versions[name] = schema.refuse_newer(content.pop("schema", schema.SCHEMA_VERSION), str(path))
        return content


def _whole_json(folder: Path, pattern: re.Pattern[str]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Walk over the whole JSON objects of a folder."""
    for path in named(folder, pattern, ".json"):
        try:
            yield path.stem, files.read_json(path)
        except (DamagedFile, OSError):
            continue
