"""The records in a run folder: one file per finished cell, folded into packs when there are many.

A pack is a record file of many cells, in the order of the plan.  It is written before the files that it
replaces are removed, so a reader finds each cell in one place or in both, and never in none.
"""

from __future__ import annotations

import re
import time
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import pyarrow as pa

from reports import files, schema
from reports.files import DamagedFile, RunFolderError
from reports.spans import Span, column, encoded, joined

KEY = re.compile(r"[0-9a-f]{8,64}")
PACK_CELLS = 2048
"""Cells of a full pack; what a damaged pack can cost."""

PACK_BYTES = 128 << 20
"""Memory of the rows of a full pack; the cells of many images fill one sooner."""

ATTEMPTS = 50
"""Readings that may be overtaken by somebody who folds; each time the other one has got on, so it comes to an end."""

TICK = 2_000_000_000
"""Nanoseconds within which some file systems give two changes one time."""

_PACK = re.compile(r"[0-9a-f]{16}")
_Stamp = tuple[int, int, int]


@dataclass(frozen=True)
class _Pack:
    """A whole pack: its file, the place of each cell's rows in it (start, count), and its schema version."""

    path: Path
    places: dict[str, tuple[int, int]]
    version: int


class Records:
    """The record files of one run folder.

    Args:
        root: the run folder.
    """

    def __init__(self, root: Path) -> None:
        """Remember the folder; nothing is read before it is asked for."""
        self._loose = root / "records"
        self._packed = root / "packs"
        self._seen: dict[str, tuple[_Stamp, bool]] = {}
        self._packs: dict[str, tuple[_Stamp, _Pack | None]] = {}
        self._folders: dict[str, tuple[int, set[str]]] = {}

    def path(self, key: str) -> Path:
        """Return the place of a cell's own file."""
        return self._loose / valid(key)[:2] / f"{key}.parquet"

    def write(self, key: str, table: pa.Table) -> None:
        """Store the rows of one cell.

        Raises:
            SchemaError: rows of another cell are among them.
            RunFolderError: the disk is full, or the folder cannot be written.
        """
        path = self.path(key)
        strangers = [found for found in table.column("cell").unique().to_pylist() if found != key]
        if strangers:
            raise schema.SchemaError(f"rows of cell {key[:12]}: some say that they belong to cell {strangers[0]!r}.")
        files.write(path, files.encode_records(table, [(key, len(table))]))

    def done(self, keys: Iterable[str] | None = None) -> set[str]:
        """Return the keys, of these or of all, whose records are whole.

        Every file is read once and its digest compared; one that did not change since is not read again.
        """
        if keys is not None:
            wanted = set(keys)
            own = {key for key in wanted if self._whole(self.path(key))}
            return own | (wanted - own).intersection(self._places()) if own != wanted else own
        own = {path.stem for path in self._files() if self._whole(path)}
        # Packs are looked at last: what moves into one meanwhile is found there.
        return own.union(self._places())

    def glance(self) -> set[str]:
        """Return the keys of the finished cells as the names of the files tell: quick, for progress."""
        found: set[str] = set()
        for folder in sorted(self._loose.iterdir()) if self._loose.is_dir() else []:
            try:
                changed = folder.stat().st_mtime_ns
                known = self._folders.get(folder.name)
                if known is None or known[0] != changed or _fresh(changed):
                    known = (changed, {path.stem for path in named(folder, KEY, ".parquet")})
                    self._folders[folder.name] = known
            except OSError:
                continue
            found |= known[1]
        return found.union(self._places())

    def damaged(self) -> list[Path]:
        """Return the files that are torn, cut, altered or of another cell; one that vanishes meanwhile is not."""
        loose = [path for path in self._files() if not self._whole(path, absent=True)]
        return loose + [path for path in self._pack_files() if self._pack(path) is None and path.exists()]

    def read(self, keys: Collection[str] | None, planned: Sequence[str], *, coded: bool = False) -> pd.DataFrame:
        """Read records, cells in the order of the plan, then the others by key; rows as they were written.

        Args:
            keys: read these cells only; None means all.
            planned: keys of the plan in its order.
            coded: give texts as categoricals.

        Raises:
            SchemaError: a newer release wrote some of them.
        """
        for _ in range(ATTEMPTS):
            try:
                return self._read(keys, planned, coded=coded)
            except FileNotFoundError:
                # Somebody folded files into a pack just now; they are found there.
                continue
        return self._read(keys, planned, coded=coded, strict=False)

    def compact(self, planned: Sequence[str], least: int = PACK_CELLS) -> int:
        """Fold the files of single cells into packs.

        Args:
            planned: keys of the plan in its order.
            least: do nothing when there are fewer such files.

        Returns:
            The number of cells that were folded.

        Raises:
            RunFolderError: the folder cannot be written.
        """
        loose = {path.stem: path for path in self._files()}
        order = _ordered(loose, planned)
        if len(order) < max(1, least):
            return 0
        folded = 0
        for tables in self._handfuls({key: loose[key] for key in order}):
            cells = [(key, len(table)) for key, table in tables.items()]
            data = files.encode_records(pa.concat_tables(tables.values()), cells)
            files.write(self._packed / f"{files.sha256(data)[:16]}.parquet", data)
            for key in tables:
                files.remove(loose[key])
            folded += len(tables)
        for path in self._pack_files():
            # One that only could not be read at this moment may be whole.
            if self._pack(path) is None and _is_damaged(path):
                files.remove(path)
        return folded

    def _handfuls(self, loose: Mapping[str, Path]) -> Iterator[dict[str, pa.Table]]:
        """The rows of cells, as many at once as go into one pack; damaged files are left out."""
        tables: dict[str, pa.Table] = {}
        size = 0
        for key, path in loose.items():
            table = self._table(key, path)
            if table is None:
                continue
            tables[key] = table
            size += table.nbytes
            if len(tables) == PACK_CELLS or size >= PACK_BYTES:
                yield tables
                tables, size = {}, 0
        if tables:
            yield tables

    def _read(
        self, keys: Collection[str] | None, planned: Sequence[str], *, coded: bool, strict: bool = True
    ) -> pd.DataFrame:
        """Read once; a file that vanishes meanwhile is an error where `strict`, else it is missing."""
        chosen = None if keys is None else set(keys)
        loose = {path.stem: path for path in self._files() if chosen is None or path.stem in chosen}
        packs = [pack for path in self._pack_files() if (pack := self._pack(path)) is not None]
        there = {key: number for number, pack in enumerate(packs) for key in pack.places}
        order = _ordered({*loose, *(there if chosen is None else there.keys() & chosen)}, planned)
        tables: list[pa.Table] = [schema.ARROW_SCHEMA.empty_table()]
        rows = 0
        spans: list[Span] = []
        for key in order:
            table = self._table(key, loose[key], strict) if key in loose else None
            if table is not None:
                tables.append(table)
                spans.append((0, rows, len(table)))
                rows += len(table)
            elif key in there:
                spans.append((there[key] + 1, *packs[there[key]].places[key]))
        own = pa.concat_tables(tables)
        slices = list(joined(spans))
        columns = {}
        for name, kind in schema.COLUMNS.items():
            # One column after the other, so that all columns are never held twice.
            sources = [encoded(own.column(name)), *(_column(pack, name) for pack in packs)]
            columns[name] = column(sources, slices, kind, coded)
        return pd.DataFrame(columns, copy=False)

    def _table(self, key: str, path: Path, strict: bool = False) -> pa.Table | None:
        """Read the rows of one cell in the present schema; None where the file is damaged."""
        try:
            table, version = files.decode_records(path.read_bytes(), str(path), key)
        except FileNotFoundError:
            if strict:
                raise
            return None
        except (DamagedFile, OSError):
            return None
        if version == schema.SCHEMA_VERSION:
            return table
        frame = schema.check(schema.migrate(table.to_pandas(), version), str(path))
        return pa.Table.from_pandas(frame, schema=schema.ARROW_SCHEMA, preserve_index=False).replace_schema_metadata(
            None
        )

    def _files(self) -> Iterator[Path]:
        """Walk over the files of single cells; temporary and foreign files are not looked at."""
        if self._loose.is_dir():
            for folder in sorted(self._loose.iterdir()):
                yield from named(folder, KEY, ".parquet")

    def _pack_files(self) -> list[Path]:
        """List the packs."""
        return named(self._packed, _PACK, ".parquet")

    def _whole(self, path: Path, *, absent: bool = False) -> bool:
        """Tell whether the file of a cell is whole, reading it only when it is new; `absent` is said of no file."""
        try:
            stamp = _stamp(path)
            known = self._seen.get(path.stem)
            if known is None or known[0] != stamp or _fresh(stamp[1]):
                known = (stamp, files.is_record_of(path.read_bytes(), path.stem))
                self._seen[path.stem] = known
        except FileNotFoundError:
            return absent
        except OSError:
            return False
        return known[1]

    def _places(self) -> dict[str, Path]:
        """Return the cells in whole packs."""
        packs = [pack for path in self._pack_files() if (pack := self._pack(path)) is not None]
        return {key: pack.path for pack in packs for key in pack.places}

    def _pack(self, path: Path) -> _Pack | None:
        """Open a pack, checking its digest when it is new; None where it is damaged."""
        try:
            stamp = _stamp(path)
            known = self._packs.get(path.name)
            if known is None or known[0] != stamp or _fresh(stamp[1]):
                known = (stamp, _opened(path))
                self._packs[path.name] = known
        except OSError:
            return None
        return known[1]


def valid(key: str) -> str:
    """Return a key that is safe as a file name, or refuse it.

    Raises:
        RunFolderError: it is no text of 8 to 64 hexadecimal digits.
    """
    if not isinstance(key, str) or not KEY.fullmatch(key):
        raise RunFolderError(f"{key!r} is not a cell key: 8 to 64 hexadecimal digits in lower case are.")
    return key


def named(folder: Path, pattern: re.Pattern[str], ending: str) -> list[Path]:
    """List the files of a folder whose stem matches, sorted; an absent folder is empty."""
    try:
        return sorted(path for path in folder.iterdir() if path.suffix == ending and pattern.fullmatch(path.stem))
    except (FileNotFoundError, NotADirectoryError):
        return []


def _opened(path: Path) -> _Pack | None:
    """Read where the cells of a pack stand; None where the file is damaged."""
    try:
        cells, version = files.read_contents(path)
    except DamagedFile:
        return None
    places, start = {}, 0
    for key, count in cells:
        places[key] = (start, count)
        start += count
    return _Pack(path, places, version)


def _is_damaged(path: Path) -> bool:
    """Tell whether a pack can be read and is not whole."""
    try:
        return _opened(path) is None
    except OSError:
        return False


def _column(pack: _Pack, name: str) -> pa.ChunkedArray:
    """Read one column of a pack."""
    return files.read_column(pack.path, name)


def _stamp(path: Path) -> _Stamp:
    """Return what changes when a file is written or replaced, even if a clock is set back."""
    stat = path.stat()
    return stat.st_size, stat.st_mtime_ns, stat.st_ino


def _fresh(changed: int) -> bool:
    """Tell whether another change may yet get the same time; where clocks are wrong, a stamp is believed as it is."""
    return abs(time.time_ns() - changed) < TICK


def _ordered(keys: Collection[str], planned: Sequence[str]) -> list[str]:
    """Return keys in the order of the plan, then the others sorted."""
    known = keys if isinstance(keys, set | Mapping) else set(keys)
    first = dict.fromkeys(key for key in planned if key in known)
    return [*first, *sorted(key for key in known if key not in first)]
