"""Marks of the shards that are being computed: they divide the work of a folder among runs, and tell who died.

A mark is a hint and no lock. Where it misleads, a shard is computed twice, which gives the same files twice.
"""

from __future__ import annotations

import json
import os
import socket
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from reports.files import unwritable

FOLDER = "claims"
BEAT = 5.0
"""Seconds between two signs of life of a worker."""
EXPIRE = 60.0
"""A mark of another machine that gave no sign for so many seconds, by the clock of who looks, is of the dead."""
_HOST = "".join(letter if letter.isalnum() else "-" for letter in socket.gethostname())[:32]


@dataclass
class Claims:
    """The marks in one run folder, as one process sees them.

    Args:
        store: the run folder.
    """

    store: Path
    _beats: dict[str, tuple[object, float]] = field(default_factory=dict)

    @property
    def folder(self) -> Path:
        """Where the marks are."""
        return self.store / FOLDER

    def all(self) -> dict[str, dict[str, Any]]:
        """Every mark that can be read: id of the shard -> label, host, process, run and so on."""
        found = {}
        for path in sorted(self.folder.glob("*")):
            mark = _read(path) if path.suffix == "" else None
            if mark is not None:
                found[path.name] = mark
        return found

    def live(self) -> dict[str, dict[str, Any]]:
        """The marks of shards that are being computed."""
        return {name: mark for name, mark in self.all().items() if self.alive(name, mark)}

    def of(self, run: str) -> dict[str, dict[str, Any]]:
        """The marks of one run."""
        return {name: mark for name, mark in self.all().items() if mark.get("run") == run}

    def alive(self, name: str, mark: dict[str, Any]) -> bool:
        """Whether the process that made a mark still works on it, as far as can be told from here."""
        if mark.get("host") == socket.gethostname():
            return process_lives(mark.get("process"), mark.get("started"))
        known = self._beats.get(name)
        if known is None or known[0] != mark.get("beat"):
            # Only a beat that changes is a sign of life; the clocks of two machines are never compared.
            self._beats[name] = known = (mark.get("beat"), time.monotonic())
        return time.monotonic() - known[1] < EXPIRE

    def deaths(self, name: str) -> int:
        """How many processes of this machine died one after the other while they computed a shard."""
        mark = _read(self.folder / name)
        return 0 if mark is None or self.alive(name, mark) else int(mark.get("deaths", 0)) + 1

    def release(self, run: str) -> None:
        """Remove the marks of a run that was ended in good order, and those of dead processes of this machine."""
        for name, mark in self.all().items():
            if mark.get("run") == run or (mark.get("host") == socket.gethostname() and not self.alive(name, mark)):
                (self.folder / name).unlink(missing_ok=True)
        # Notes are listed before marks: who begins meanwhile makes its mark before its note.
        notes = list(self.folder.glob("*.note"))
        marked = self.all()
        for note in notes:
            if note.stem not in marked:
                note.unlink(missing_ok=True)
        for half in self.folder.glob(".*.tmp"):
            _, _, host, process, *_ = *half.name.split("."), "", "", ""
            if host == _HOST and process.isdecimal() and not process_lives(int(process)):
                half.unlink(missing_ok=True)

    @contextmanager
    def taken(self, name: str, label: str, run: str) -> Iterator[bool]:
        """Mark a shard while it is computed.

        Args:
            name: id of the shard.
            label: what people read.
            run: token of the run that asks.

        Yields:
            False if another run is computing it; nothing is marked then.

        Raises:
            RunFolderError: the folder cannot be written.
        """
        path = self.folder / name
        mark = {
            "label": label, "host": socket.gethostname(), "process": os.getpid(), "started": started(os.getpid()),
            "run": run, "deaths": self.deaths(name), "beat": 0,
        }  # fmt: skip
        try:
            self.folder.mkdir(exist_ok=True)
            if not self._took(path, mark):
                yield False
                return
        except OSError as error:
            raise unwritable(path, error) from error
        over = threading.Event()
        beating = threading.Thread(target=_beat, args=(path, mark, over), daemon=True)
        beating.start()
        try:
            yield True
        finally:
            over.set()
            # A sign of life that is being written must not outlive the mark.
            beating.join()
            path.unlink(missing_ok=True)

    def _took(self, path: Path, mark: dict[str, Any]) -> bool:
        """Set a mark unless another run computes the shard; of two that ask at the same moment only one gets it."""
        if _write(path, mark, new=True):
            return True
        there = _read(path)
        if there is not None and there.get("run") != mark["run"] and self.alive(path.name, there):
            return False
        return _write(path, mark)


def process_lives(process: object, since: object = None) -> bool:
    """Whether a process of this machine exists, is no zombie, and is the one that was started at that time."""
    if not isinstance(process, int) or process <= 0:
        return False
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return since is None or started(process) == since


def started(process: int) -> str | None:
    """When a process was started, in the ticks of the system; empty for a zombie, None where the system does not say."""
    try:
        text = Path(f"/proc/{process}/stat").read_text()
    except OSError:
        return None
    rest = text.rpartition(")")[2].split()
    return "" if rest[0] == "Z" else rest[19]


def _beat(path: Path, mark: dict[str, Any], over: threading.Event) -> None:
    """Give a sign of life until the shard is finished."""
    beat = 0
    while not over.wait(BEAT):
        beat += 1
        try:
            _write(path, {**mark, "beat": beat})
        except OSError:
            continue


def _write(path: Path, mark: dict[str, Any], *, new: bool = False) -> bool:
    """Write a mark so that it is never seen half; it need not survive a power cut.

    Returns:
        False if it was to be `new` and there is one already.
    """
    temporary = path.with_name(f".{path.name}.{_HOST}.{os.getpid()}.{uuid.uuid4().hex}.tmp")
    try:
        temporary.write_text(json.dumps(mark))
        if new:
            try:
                os.link(temporary, path)
                return True
            except OSError:  # there is one, or the file system has no links
                if path.exists():
                    return False
        os.replace(temporary, path)
        return True
    finally:
        temporary.unlink(missing_ok=True)


def _read(path: Path) -> dict[str, Any] | None:
    """A mark, or None where there is none that can be read."""
    try:
        mark = json.loads(path.read_text())
    except (OSError, ValueError, RecursionError):
        return None
    return mark if isinstance(mark, dict) else None
