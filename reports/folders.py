"""Which folder a run may be made in: an empty one, or one that was made with the same settings."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from reports import files
from reports.files import RunFolderError

Settings = tuple[Mapping[str, Any], Mapping[str, Any]]
"""Configuration and protocol of a run."""

_OWN = {"papers.json", "config.json", "protocol.json", "measures.json", "explainers.json", "plan.json", "report"}
_OWN |= {"provenance", "records", "packs", "failures", "pictures", "maps", "claims"}


def refuse_foreign(folder: Path) -> None:
    """Refuse to make a run folder in a place that holds somebody's files.

    Raises:
        RunFolderError: it does, or it cannot be read.
    """
    try:
        names = (item.name for item in folder.iterdir())
        strangers = sorted(name for name in names if name not in _OWN and not name.endswith(".tmp"))
    except FileNotFoundError:
        return
    except OSError as error:
        raise files.unwritable(folder, error) from error
    if strangers:
        held = f"it holds {strangers[0]!r}"
        raise RunFolderError(f"{folder} is not a run folder and not empty ({held}): give --out a new folder.")


def refuse_other(folder: Path, there: Settings, now: Settings) -> None:
    """Refuse a folder that was made with another configuration, naming the keys that differ.

    Args:
        folder: the run folder.
        there: the settings that it was made with.
        now: those that are wanted.

    Raises:
        RunFolderError: they differ.
    """
    differing = differences(there, now)
    if differing:
        raise RunFolderError(
            f"the run folder {folder} was made with another configuration: {'; '.join(differing)}. "
            f"Give --out another folder, or the settings it was made with, or remove the folder."
        )


def differences(there: Settings, now: Settings) -> list[str]:
    """What differs between the settings that a folder was made with and others, one text per key.

    >>> differences(({"images": 3}, {}), ({"images": 4}, {}))
    ['images (3 there, 4 now)']
    """
    was, wanted = there[0], files.as_json(now[0])
    found = [
        f"{key} ({was.get(key, 'absent')!r} there, {wanted.get(key, 'absent')!r} now)"
        for key in sorted(was.keys() | wanted.keys())
        if was.get(key, "absent") != wanted.get(key, "absent")
    ]
    if there[1].get("hash") != now[1].get("hash"):
        names = (there[1].get("name"), now[1].get("name"))
        found.append(f"protocol ({names[0]!r} there, {names[1]!r} now; their hashes differ)")
    return found
