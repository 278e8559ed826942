"""The run folder as a worker sees it: the folder itself, or a parcel of files that its parent puts there."""

from __future__ import annotations

import base64
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from reports.files import sha256
from reports.store import Store

SENT = ("records", "failures", "pictures", "maps", "provenance")

_known: dict[str, tuple[str, Store]] = {}


def home(folder: Path) -> str:
    """What tells a run folder from another one at the same path on another machine."""
    return sha256((folder / "config.json").read_bytes())


@contextmanager
def reached(path: str, mark: str, settings: Mapping[str, Any], files: dict[str, str]) -> Iterator[Store]:
    """The store that a worker writes to.

    Args:
        path: the run folder.
        mark: as `home` gives it, empty where worker and parent share the disk for sure.
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
        return home(path) == mark
    except OSError:
        return False


def _opened(path: str) -> Store:
    """The store at a path; kept, since it knows which files it has read, until its settings are written anew."""
    now = home(Path(path)) if (Path(path) / "config.json").exists() else ""
    if path not in _known or _known[path][0] != now:
        _known.clear()
        _known[path] = (now, Store.open(path))
    return _known[path][1]
