"""Files that are whole or absent: atomic writing, and record files that carry their own digest.

A file is written under a temporary name in its own folder, flushed to the disk, and renamed.  Whoever is
killed in between leaves a temporary file at worst, which readers do not look at.

A record file is Parquet with page checksums, and its footer holds the sha256 of the whole file (taken with
the digest's own place filled with zeros).  So a torn, cut or flipped file is found without decoding it.
"""

from __future__ import annotations

import errno
import hashlib
import io
import json
import os
import socket
import uuid
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from reports.schema import ARROW_SCHEMA, SCHEMA_VERSION, SchemaError, refuse_newer

MAX_ROWS, MAX_BYTES = 1 << 24, 1 << 30
"""Rows and unpacked bytes of a record file, beyond which it is taken for one made to harm."""

_MARK = b"sanity-bench.sha256"
_CELLS = b"sanity-bench.cells"
_VERSION = b"sanity-bench.schema"
_BLANK = b"0" * 64
_HOST = "".join(letter if letter.isalnum() else "-" for letter in socket.gethostname())[:32]

_ADVICE = {
    errno.ENOSPC: "the disk is full: free some space, or give --out a folder on another disk",
    errno.EDQUOT: "the disk quota is used up: free some space, or give --out a folder on another disk",
    errno.EACCES: "no permission to write there: change the rights, or give --out another folder",
    errno.EPERM: "no permission to write there: change the rights, or give --out another folder",
    errno.EROFS: "the disk is mounted read-only: give --out a folder that can be written",
    errno.ENOTDIR: "a part of the path is a file and not a folder: give --out another folder",
    errno.EEXIST: "a part of the path is a file and not a folder: give --out another folder",
}


class RunFolderError(ValueError):
    """A run folder that cannot be made, opened, read or written, with what to do about it."""


class DamagedFile(Exception):
    """A file that is torn, cut or altered; it counts as missing."""


def write(path: Path, data: bytes) -> None:
    """Write a file so that any reader, at any time, finds the old content or the new one.

    Args:
        path: where the file will be; its folder is made when absent.
        data: the whole content.

    Raises:
        RunFolderError: the disk is full, or the folder cannot be written.
    """
    temporary = path.parent / f".{path.name}.{_HOST}.{os.getpid()}.{uuid.uuid4().hex}.tmp"
    try:
        make_folder(path.parent)
        try:
            with temporary.open("xb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            os.replace(temporary, path)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
        _flush_folder(path.parent)
    except OSError as error:
        raise unwritable(path, error) from error


def make_folder(path: Path) -> None:
    """Make a folder and its parents, and flush each new name to the disk."""
    if path.is_dir():
        return
    make_folder(path.parent)
    path.mkdir(exist_ok=True)
    _flush_folder(path.parent)


def unwritable(path: Path, error: OSError) -> RunFolderError:
    """Say in one sentence why a path could not be written and what to do."""
    reason = _ADVICE.get(error.errno or 0, f"{error.strerror or error}; give --out another folder")
    return RunFolderError(f"cannot write {path}: {reason}.")


def remove(path: Path) -> None:
    """Remove a file that may be absent.

    Raises:
        RunFolderError: the folder cannot be written.
    """
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        raise unwritable(path, error) from error


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Write a JSON object atomically.

    Raises:
        RunFolderError: the content has no JSON form, or the folder cannot be written.
    """
    try:
        text = json.dumps(content, indent=1, ensure_ascii=False, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise RunFolderError(f"cannot write {path}: {error}; only JSON values are stored.") from error
    write(path, text.encode() + b"\n")


def as_json(content: Mapping[str, Any]) -> dict[str, Any]:
    """Return an object as it will come back from a JSON file (tuples become lists, keys become texts)."""
    try:
        plain: dict[str, Any] = json.loads(json.dumps(dict(content), allow_nan=False))
    except (TypeError, ValueError) as error:
        raise RunFolderError(f"{error}; only JSON values are stored.") from error
    return plain


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON object.

    Raises:
        DamagedFile: the file is not a whole JSON object.
        FileNotFoundError: there is no such file.
    """
    try:
        content = json.loads(path.read_bytes())
    except (ValueError, RecursionError) as error:
        raise DamagedFile(f"{path} is not whole JSON") from error
    if not isinstance(content, dict):
        raise DamagedFile(f"{path} is not a JSON object")
    return content


def is_damaged_json(path: Path) -> bool:
    """Tell whether there is a file and no whole JSON object in it."""
    try:
        read_json(path)
    except FileNotFoundError:
        return False
    except (DamagedFile, OSError):
        return True
    return False


def sha256(data: bytes | bytearray) -> str:
    """Return the sha256 of bytes, as 64 hexadecimal digits."""
    return hashlib.sha256(data).hexdigest()


def encode_records(table: pa.Table, cells: Sequence[tuple[str, int]] | None = None) -> bytes:
    """Turn a table of records into the bytes of a record file, digest included.

    Args:
        table: records with `reports.schema.ARROW_SCHEMA`.
        cells: key and number of rows of each cell in it, in their order; by default as the table says.
    """
    if cells is None:
        cells = [(key, count) for key, count in Counter(table.column("cell").to_pylist()).items()]
    contents = json.dumps([[key, count] for key, count in cells], separators=(",", ":")).encode()
    buffer = io.BytesIO()
    options = {"compression": "snappy", "write_statistics": False, "store_schema": False}
    with pq.ParquetWriter(buffer, ARROW_SCHEMA, write_page_checksum=True, **options) as writer:
        writer.write_table(table)
        writer.add_key_value_metadata({_CELLS: contents, _VERSION: str(SCHEMA_VERSION).encode(), _MARK: _BLANK})
    blank = bytearray(buffer.getvalue())
    place = _place(blank)
    blank[place : place + len(_BLANK)] = sha256(blank).encode()
    return bytes(blank)


def is_whole(data: bytes) -> bool:
    """Tell whether the bytes of a record file are those that were written."""
    blank = bytearray(data)
    try:
        place = _place(blank)
    except DamagedFile:
        return False
    written = bytes(blank[place : place + len(_BLANK)])
    blank[place : place + len(_BLANK)] = _BLANK
    return sha256(blank).encode() == written


def is_record_of(data: bytes, key: str) -> bool:
    """Tell whether the bytes of a record file are whole, and those of this cell and no other."""
    try:
        file, _, cells = _opened(data, "a record file")
        return cells == [(key, file.metadata.num_rows)] if cells else bool(decode_records(data, "a record file", key))
    except SchemaError:
        # A newer release wrote it: that is said when it is read, and is no damage.
        return True
    except DamagedFile:
        return False


def decode_records(data: bytes, where: str, key: str | None = None) -> tuple[pa.Table, int]:
    """Read the bytes of a record file.

    Args:
        data: the whole content of the file.
        where: its name for messages.
        key: the cell that they must belong to, all of them.

    Returns:
        The table as stored, and the schema version it was stored under.

    Raises:
        DamagedFile: the bytes are not those that were written, or belong to another cell.
        SchemaError: a newer release wrote the file.
    """
    file, version, cells = _opened(data, where)
    with _decoding(where):
        table = file.read(use_threads=False)
        table.validate(full=True)
        # Files of schema 1 do not say what they hold; one without rows has nothing that could name another cell.
        named = [name for name, _ in cells] if cells else table.column("cell").unique().to_pylist()
        if key is not None and [name for name in named if name != key]:
            raise ValueError("it belongs to another cell")
        return table, version


def read_contents(path: Path) -> tuple[list[tuple[str, int]], int]:
    """Return key and number of rows of each cell in a pack, and its schema version.

    Raises:
        DamagedFile: the file is torn or altered.
        SchemaError: a newer release wrote it.
        OSError: the file cannot be read.
    """
    _, version, cells = _opened(path.read_bytes(), str(path))
    return cells, version


def read_column(path: Path, name: str) -> pa.ChunkedArray:
    """Read one column of a record file whose digest was compared before; texts come encoded as dictionaries.

    Raises:
        DamagedFile: it cannot be decoded.
    """
    texts = [name] if pa.types.is_string(ARROW_SCHEMA.field(name).type) else []
    with _decoding(str(path)), pq.ParquetFile(path, read_dictionary=texts) as file:
        column = file.read(columns=[name], use_threads=False).column(name)
        column.validate(full=True)
        return column


def _opened(data: bytes, where: str) -> tuple[pq.ParquetFile, int, list[tuple[str, int]]]:
    """Open a whole record file: the file, its schema version, key and number of rows of each cell (schema 1: none)."""
    if not is_whole(data):
        raise DamagedFile(f"{where} is torn or altered")
    with _decoding(where):
        file = pq.ParquetFile(pa.BufferReader(data), page_checksum_verification=True)
        version = refuse_newer(int(file.metadata.metadata[_VERSION]), where)
        _refuse_bomb(file)
        if version == SCHEMA_VERSION and not file.schema_arrow.equals(ARROW_SCHEMA):
            raise ValueError("its columns are others")
        said = json.loads(file.metadata.metadata.get(_CELLS, b"[]"))
        cells = [(str(key), int(count)) for key, count in said]
        if cells and (
            min(count for _, count in cells) < 0 or sum(count for _, count in cells) != file.metadata.num_rows
        ):
            raise ValueError("its cells have another number of rows")
        return file, version, cells


@contextmanager
def _decoding(where: str) -> Iterator[None]:
    """Turn what Arrow raises on a file that it cannot decode into `DamagedFile`."""
    try:
        yield
    except (SchemaError, FileNotFoundError):
        raise
    except (OSError, pa.ArrowException, LookupError, ValueError, TypeError, MemoryError, RecursionError) as error:
        raise DamagedFile(f"{where} cannot be decoded: {error}") from error


def _refuse_bomb(file: pq.ParquetFile) -> None:
    """Refuse a file that would grow out of bounds when it is unpacked."""
    about = file.metadata
    unpacked = sum(about.row_group(number).total_byte_size for number in range(about.num_row_groups))
    if about.num_rows > MAX_ROWS or unpacked > MAX_BYTES or about.num_columns > 100:
        raise ValueError(f"{about.num_rows:,} rows and {unpacked:,} bytes when unpacked are too much for one file")


def _place(data: bytearray) -> int:
    """Offset of the digest: it follows its mark (and two bytes of framing) in the footer."""
    mark = data.rfind(_MARK)
    place = mark + len(_MARK) + 2
    if mark < 0 or place + len(_BLANK) > len(data) or data[-4:] != b"PAR1":
        raise DamagedFile("no digest")
    return place


def _flush_folder(path: Path) -> None:
    """Flush the names in a folder to the disk, so that a rename survives a power cut."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
