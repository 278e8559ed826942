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
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from reports.schema import ARROW_SCHEMA, SCHEMA_VERSION, SchemaError, refuse_newer

_MARK = b"sanity-bench.sha256"
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


def encode_records(table: pa.Table) -> bytes:
    """Turn a table of records into the bytes of a record file, digest included.

    Args:
        table: records with `reports.schema.ARROW_SCHEMA`.
    """
    buffer = io.BytesIO()
    options = {"compression": "snappy", "write_statistics": False, "store_schema": False}
    with pq.ParquetWriter(buffer, ARROW_SCHEMA, write_page_checksum=True, **options) as writer:
        writer.write_table(table)
        writer.add_key_value_metadata({_MARK: _BLANK, _VERSION: str(SCHEMA_VERSION).encode()})
    blank = bytearray(buffer.getvalue())
    place = _place(blank)
    blank[place : place + len(_BLANK)] = hashlib.sha256(blank).hexdigest().encode()
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
    return hashlib.sha256(blank).hexdigest().encode() == written


def decode_records(data: bytes, where: str) -> tuple[pa.Table, int]:
    """Read the bytes of a record file.

    Args:
        data: the whole content of the file.
        where: its name for messages.

    Returns:
        The table as stored, and the schema version it was stored under.

    Raises:
        DamagedFile: the bytes are not those that were written.
        SchemaError: a newer release wrote the file.
    """
    if not is_whole(data):
        raise DamagedFile(f"{where} is torn or altered")
    try:
        file = pq.ParquetFile(pa.BufferReader(data), page_checksum_verification=True)
        version = refuse_newer(int(file.metadata.metadata[_VERSION]), where)
        return file.read(use_threads=False), version
    except SchemaError:
        raise
    except (OSError, pa.ArrowException, KeyError, ValueError) as error:
        raise DamagedFile(f"{where} cannot be decoded: {error}") from error


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
