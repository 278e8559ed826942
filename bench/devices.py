"""Where work runs: reading `--device`, one slot per worker, and smaller batches when memory runs out."""

from __future__ import annotations

import fcntl
import os
import re
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import IO

from models.naming import UsageError

_DEVICE = re.compile(r"cuda(:\d+)?")
_SAYS_OUT_OF_MEMORY = ("out of memory", "can't allocate memory", "not enough memory")
_held: dict[str, IO[str]] = {}


def check_device(text: str) -> tuple[str, ...]:
    """The devices that `--device` names, before it is known which exist.

    Args:
        text: `auto`, `cpu`, `cuda`, or a comma list of `cuda:N`.

    Raises:
        UsageError: the text names something else.

    Example:
        >>> check_device("cuda:0,cuda:1")
        ('cuda:0', 'cuda:1')
    """
    names = tuple(dict.fromkeys(part.strip() for part in text.split(",")))
    if names in (("auto",), ("cpu",)) or all(_DEVICE.fullmatch(name) for name in names):
        return names
    raise UsageError(f"--device {text!r}: allowed are auto, cpu, cuda, or a list such as cuda:0,cuda:1")


def available(text: str, count: Callable[[], int] | None = None) -> list[str]:
    """The devices to use, in order.

    Args:
        text: as `check_device` takes it.
        count: number of CUDA devices; default: as torch sees them.

    Returns:
        `["cpu"]`, or one or more `cuda:N`.

    Raises:
        UsageError: a device was asked for that this machine does not have.

    Example:
        >>> available("auto", count=lambda: 0), available("cuda", count=lambda: 2)
        (['cpu'], ['cuda:0', 'cuda:1'])
    """
    names = check_device(text)
    if names == ("cpu",):
        return ["cpu"]
    found = (count or _cuda_count)()
    if names == ("auto",):
        return [f"cuda:{index}" for index in range(found)] or ["cpu"]
    wanted = [f"cuda:{index}" for index in range(max(found, 1))] if names == ("cuda",) else list(names)
    missing = [name for name in wanted if name != "cuda" and int(name.partition(":")[2]) >= found]
    if missing or "cuda" in wanted:
        there = ", ".join(["cpu", *(f"cuda:{index}" for index in range(found))])
        absent = ", ".join(missing) or "a list with a bare cuda"
        raise UsageError(f"--device {text!r}: {absent} is not here; this machine has {there}")
    return wanted


def _cuda_count() -> int:
    import torch

    return torch.cuda.device_count() if torch.cuda.is_available() else 0


def take_slot(devices: Sequence[str], slots: int = 1, folder: Path | None = None) -> str:
    """The device of this worker process, held until the process ends.

    A lock file per (device, slot) spreads the workers evenly whatever the order in which they start; the system frees
    it when a process dies. When every slot is taken the device with the lowest process-dependent index is shared.

    Args:
        devices: candidates, in order of preference.
        slots: workers per device, >= 1.
        folder: where the lock files live; default: the system's temporary folder.
    """
    if tuple(devices) == ("cpu",):
        return "cpu"
    for held in _held:
        if held.rpartition("/")[0] in devices:
            return held.rpartition("/")[0]
    place = folder or Path(tempfile.gettempdir()) / f"sanity-bench-{os.getuid()}"
    place.mkdir(mode=0o700, parents=True, exist_ok=True)
    for slot in range(slots):
        for device in devices:
            lock = (place / f"{device.replace(':', '-')}.{slot}.lock").open("w")
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                lock.close()
                continue
            _held[f"{device}/{slot}"] = lock
            return device
    return devices[os.getpid() % len(devices)]


def out_of_memory(error: BaseException) -> bool:
    """Whether an error says that memory ran out, on a device or on the host.

    Example:
        >>> out_of_memory(RuntimeError("CUDA out of memory. Tried to allocate 2 GiB")), out_of_memory(ValueError("x"))
        (True, False)
    """
    return isinstance(error, MemoryError) or says_out_of_memory(type(error).__name__, str(error))


def says_out_of_memory(kind: str, message: str) -> bool:
    """The same of an error that was written down as the name of its type and its message."""
    if kind in ("OutOfMemoryError", "MemoryError"):
        return True
    text = message.lower()
    return kind == "RuntimeError" and any(words in text for words in _SAYS_OUT_OF_MEMORY)


def smaller_batch(rows: int) -> int | None:
    """The number of images at once to try after memory ran out: half, and None when one is already too much.

    Example:
        >>> smaller_batch(16), smaller_batch(3), smaller_batch(1)
        (8, 1, None)
    """
    return rows // 2 if rows > 1 else None


def release() -> None:
    """Give cached device memory back, where torch is loaded and has a device."""
    import sys

    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_available():
        torch.cuda.empty_cache()
