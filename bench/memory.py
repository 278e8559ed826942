"""The memory that explanations may use: reading `--memory`, the default, and what happens when it runs out."""

from __future__ import annotations

import ctypes
import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from models.naming import UsageError
from reports.store import Store

from .devices import smaller_batch

if TYPE_CHECKING:
    from explainers import Explainer
    from explainers.memory import Limit
    from models.base import Subject

LEAST = 1 << 30
"""Below this the default never goes: networks that need less are explained alike whatever is free."""

_HEAP = {-3: 1 << 30, -1: 1 << 28}
"""M_MMAP_THRESHOLD and M_TRIM_THRESHOLD of malloc.h: below the first, blocks come from the heap; above the second, what is
free at the end of the heap goes back to the system."""

_ours = {"reuses": False}
_defaults: dict[str, int] = {}

UNITS = {
    "KB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12, "KIB": 1 << 10, "MIB": 1 << 20, "GIB": 1 << 30, "TIB": 1 << 40,
}  # fmt: skip


def size(text: str, option: str = "--memory") -> int:
    """The bytes that an option such as `--memory` names.

    Args:
        text: a number and KB, MB, GB, TB (powers of 1000) or KiB, MiB, GiB, TiB (powers of 1024).
        option: its name for the message.

    Raises:
        UsageError: the text is no size, or none above zero.

    Example:
        >>> size("2GB"), size("1.5 MiB")
        (2000000000, 1572864)
    """
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([A-Za-z]+)", text.strip())
    unit = UNITS.get(match[2].upper()) if match else None
    found = int(float(match[1]) * unit) if match and unit else 0
    if found < 1:
        raise UsageError(f"{option} {text!r}: write a size such as 500MB, 2GB or 1.5GiB")
    return found


def share(text: str | None, slots: int, free: int | None) -> int:
    """Bytes that one worker may use.

    Args:
        text: as `size` takes it, for all workers of a device together; None for the default: half of what is free.
        slots: workers on the device, >= 1.
        free: bytes free on the device, None if that cannot be known.

    Returns:
        The bytes. The default is rounded down to a power of two, so that small changes of what is free change nothing,
        and is at least `LEAST`.

    Example:
        >>> share("2GB", 2, None), share(None, 1, 21 << 30) >> 30, share(None, 8, 1 << 20) >> 30
        (1000000000, 8, 1)
    """
    if text is not None:
        return max(1, size(text) // slots)
    half = max(1, (free or 0) // 2)
    return max(LEAST, (1 << (half.bit_length() - 1)) // slots)


def default(device: str, slots: int) -> int:
    """The default share of one worker on a device; found once per process, so that its shards are computed alike."""
    if device not in _defaults:
        _defaults[device] = share(None, slots, free(device))
    return _defaults[device]


def free(device: str = "cpu", proc: Path = Path("/proc"), cgroup: Path = Path("/sys/fs/cgroup")) -> int | None:
    """Bytes free on a device now, within the limit of a container; None if that cannot be known.

    Args:
        device: `cpu` or `cuda:N`.
        proc, cgroup: where the system says so.
    """
    if device != "cpu":
        import torch

        return int(torch.cuda.mem_get_info(device)[0])
    known = [value for value in (_available(proc), _within_container(cgroup)) if value is not None]
    return min(known) if known else None


def _available(proc: Path) -> int | None:
    try:
        found = re.search(r"^MemAvailable:\s+(\d+) kB", (proc / "meminfo").read_text(), re.MULTILINE)
    except OSError:
        found = None
    if found:
        return int(found[1]) * 1024
    if "SC_PHYS_PAGES" in os.sysconf_names:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2
    return None


def _within_container(cgroup: Path) -> int | None:
    old = ("memory/memory.limit_in_bytes", "memory/memory.usage_in_bytes")
    for most, used in (("memory.max", "memory.current"), old):
        try:
            return max(0, int((cgroup / most).read_text()) - int((cgroup / used).read_text()))
        except (OSError, ValueError):
            continue
    return None


def reuse_freed() -> bool:
    """Let this process use freed memory again instead of giving it back to the system and asking anew; tells whether it does.

    Passes free and ask for the same megabytes over and over, and the system clears each page that it hands out: a sixth of
    the time of the randomisation suite. Only for processes that belong to the product, since it concerns all of one; with the
    allocator of another system, or where the user has chosen (`MALLOC_...`), nothing changes.
    """
    if any(name.startswith("MALLOC_") for name in os.environ):
        return False
    try:
        choose = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):
        return False
    _ours.update(reuses=all(choose(option, value) == 1 for option, value in _HEAP.items()))
    return _ours["reuses"]


def give_back() -> None:
    """Give freed memory back to the system between two shards, where `reuse_freed` holds on to it."""
    if _ours["reuses"]:
        ctypes.CDLL(None).malloc_trim(0)


class Shortage:
    """How many images at once are tried after memory ran out, and the record of it.

    Args:
        store: the run folder.
        shard: id of the shard that is computed.
        limit: what explanations may use; its rows are lowered.
        notices: remarks for the user, which are added to.
    """

    def __init__(self, store: Store, shard: str, limit: Limit, notices: list[str]) -> None:
        self._store, self._shard, self._limit, self._notices = store, shard, limit, notices
        self._cells: dict[str, dict[str, Any]] = {}

    def next(self, subject: Subject, explainers: Sequence[Explainer], images: int) -> int | None:
        """Images at once to go on with if memory runs out now; None if there is one at once already."""
        from explainers.memory import rows

        copies = max((card.rows for each in explainers for card in each.cards), default=1)
        return smaller_batch(min(images * copies, rows(*subject.data.shape[-2:])))

    def note(self, short: Mapping[str, str], rows: int, names: Mapping[str, str]) -> None:
        """Lower the number and write down for which cells; their numbers agree with others' up to rounding only.

        Args:
            short: error by the key of each cell for which memory ran out.
            rows: images at once from now on.
            names: explainers by the keys of their cells.
        """
        self._limit.rows = rows
        for key, message in short.items():
            first = (message.splitlines() or [""])[0]
            self._cells[key] = {"explainer": names[key], "images-at-once": rows, "error": first}
        self._store.write_provenance(f"memory-{self._shard}", {"memory-ran-out": self._cells})
        who = ", ".join(sorted({names[key] for key in short}))
        self._notices.append(f"memory ran out for {who}; went on with {rows} at once")
