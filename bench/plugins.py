"""Explainers, models and checks from outside: files and modules given with `--plugin`, and installed entry points."""

from __future__ import annotations

import importlib
import sys
import traceback
from collections.abc import Iterable
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from models.functions import guest, name_of_file, run_file
from models.naming import UsageError, said

from .checks import own

_registered: set[str] = set()

GROUPS = ("sanity_bench.explainers", "sanity_bench.models", "sanity_bench.checks")


@dataclass(frozen=True)
class Plugin:
    """One plug-in and whether it could be loaded.

    Attributes:
        name: what the user gave, or the name of the entry point.
        origin: file, module, or distribution that it comes from.
        group: entry point group, or `--plugin`.
        error: why it is unavailable, empty when it is not.
        trace: the traceback of that error.
    """

    name: str
    origin: str
    group: str
    error: str = ""
    trace: str = ""

    @property
    def notice(self) -> str:
        """What a user is told where it is unavailable."""
        return f"plug-in {self.name} is unavailable: {self.error}"


def load(given: Iterable[str]) -> list[Plugin]:
    """Import the plug-ins given by the user and installed explainers; a broken one is reported, never fatal.

    Args:
        given: files ending in `.py`, names of entry points, or names of importable modules.

    Raises:
        UsageError: a file that does not exist.
    """
    before = _names()
    loaded = [_load_given(name) for name in given] + [_load_entry(entry) for entry in _entries(GROUPS[0])]
    _registered.update(_names() - before)
    return loaded


def of_this_process() -> set[str]:
    """Explainers, and checks as `check NAME`, that the running program registered itself: no other process finds them."""
    return _names() - _registered


def _names() -> set[str]:
    import explainers

    found = {card.name for card in explainers.cards() if card.origin != "built-in"}
    return found | {f"check {name}" for name in own.names()}


def model_names() -> dict[str, str]:
    """Models from entry points: name -> `module:function`, as `models.load` takes it."""
    return {entry.name: entry.value for entry in _entries(GROUPS[1])}


def check_names() -> dict[str, str]:
    """Checks from entry points: name -> where from. Their code is run once the user names one, with --suite or --plugin."""
    return {entry.name: _origin(entry) for entry in _entries(GROUPS[2])}


def _entries(group: str) -> list[metadata.EntryPoint]:
    return sorted(metadata.entry_points(group=group), key=lambda entry: entry.name)


def _load_entry(entry: metadata.EntryPoint) -> Plugin:
    origin = _origin(entry)
    try:
        with guest(Path.cwd()):
            entry.load()
    except (Exception, SystemExit) as error:
        return Plugin(entry.name, origin, entry.group, said(error), traceback.format_exc())
    return Plugin(entry.name, origin, entry.group)


def _origin(entry: metadata.EntryPoint) -> str:
    return entry.dist.name if entry.dist is not None else entry.value


def _load_given(name: str) -> Plugin:
    path = Path(name)
    is_file = path.suffix == ".py" or path.exists()
    named = [] if is_file else [entry for group in GROUPS for entry in _entries(group) if entry.name == name]
    if named:
        return _load_entry(named[0])
    if is_file and not path.is_file():
        raise UsageError(
            f"--plugin {name!r}: there is no such file; give a .py file or the name of an importable module"
        )
    try:
        with guest(path.resolve().parent if is_file else Path.cwd()):
            origin = _import_file(path) if is_file else importlib.import_module(name).__file__ or name
    except (Exception, SystemExit) as error:
        return Plugin(name, name, "--plugin", said(error), traceback.format_exc())
    return Plugin(name, origin, "--plugin")


def _import_file(path: Path) -> str:
    """Import a file once per process."""
    name = name_of_file(path)
    if name not in sys.modules:
        run_file(path, name)
    return str(path.resolve())
