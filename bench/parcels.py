"""The run folder as a worker sees it: the folder itself, or a parcel of files that its parent puts there."""

from __future__ import annotations

import base64
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any
from uuid import uuid4

from reports.files import sha256, unwritable
from reports.store import Store

from .claims import FOLDER

SENT = ("records", "failures", "pictures", "maps", "provenance")

_known: dict[str, tuple[str, Store]] = {}


@contextmanager
def home(folder: Path) -> Iterator[str]:
    """Mark a run folder for the time of a run, so that workers tell it from another one at the same path of their machine.

    Nothing that is in the folder anyway would do: a run of equal settings may have been made on the other machine too.

    Args:
        folder: the run folder.

    Yields:
        The mark, which is random. One that a killed run left behind is nobody's home again.

    Raises:
        RunFolderError: the folder cannot be written.
    """
    mark = uuid4().hex
    path = _mark(folder, mark)
    try:
        path.parent.mkdir(exist_ok=True)
        path.write_text(mark)
    except OSError as error:
        raise unwritable(path, error) from error
    try:
        yield mark
    finally:
        with suppress(OSError):
            path.unlink(missing_ok=True)


@contextmanager
def reached(path: str, mark: str, settings: Mapping[str, Any], files: dict[str, str]) -> Iterator[Store]:
    """The store that a worker writes to.

    Args:
        path: the run folder.
        mark: as `home` yields it, empty where worker and parent share the disk for sure.
        settings: `config` and `protocol` of the folder.
        files: gets what was written, name -> base64, where the folder cannot be reached.

    Raises:
        RunFolderError: the folder cannot be opened.
    """
    if not mark or _is_home(Path(path), mark):
        yield _opened(path)
        return
    with tempfile.TemporaryDirectory(prefix="sanity-bench-") as beside:
        store = Store.create(Path(beside) / "run", settings["config"], settings["protocol"], {}, {})
        yield store
        for kind in SENT:
            for file in sorted((store.path / kind).rglob("*")):
                if file.is_file() and file.suffix != ".tmp":
                    files[file.relative_to(store.path).as_posix()] = base64.b64encode(file.read_bytes()).decode()


def unpack(store: Store, files: Mapping[str, str]) -> None:
    """Put the files of a parcel into the run folder.

    Raises:
        RunFolderError: a name or content that no worker writes, or the folder cannot be written.
    """
    for name, content in files.items():
        store.adopt(name, base64.b64decode(content))


def _is_home(path: Path, mark: str) -> bool:
    try:
        return _mark(path, mark).read_text() == mark
    except (OSError, ValueError):
        return False


def _mark(folder: Path, mark: str) -> Path:
    return folder / FOLDER / f"{mark}.home"


def _opened(path: str) -> Store:
    """The store at a path; kept, since it knows which files it has read, until its settings are written anew."""
    settings = Path(path) / "config.json"
    now = sha256(settings.read_bytes()) if settings.exists() else ""
    known = _known.get(path)
    if known is None or known[0] != now:
        known = (now, Store.open(path))
        _known.clear()
        _known[path] = known
    # Not looked up once more: another thread may have put something else there.
    return known[1]
