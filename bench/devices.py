"""Where work runs: reading `--device`, one slot per worker, and smaller batches when memory runs out."""

from __future__ import annotations

import fcntl
import os
import re
import socket
import stat
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import IO, TYPE_CHECKING

from models.naming import UsageError

if TYPE_CHECKING:
    from models.base import Subject

_DEVICE = re.compile(r"cuda(:\d+)?")
_SAYS_OUT_OF_MEMORY = ("out of memory", "can't allocate memory", "not enough memory", "status_alloc_failed")
_HOST = "".join(letter if letter.isalnum() else "-" for letter in socket.gethostname())[:32]
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

    A lock file per (host, device, slot) spreads the workers evenly whatever the order in which they start; the system frees
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
    place = _lock_folder(folder)
    for slot in range(slots):
        for device in devices:
            lock = _locked(place / f"{_HOST}.{physical(device)}.{slot}.lock")
            if lock is not None:
                _held[f"{device}/{slot}"] = lock
                return device
    return devices[os.getpid() % len(devices)]


def physical(device: str) -> str:
    """What a device is called whatever `CUDA_VISIBLE_DEVICES` shows, as part of a file name.

    Example:
        >>> physical("cpu")
        'cpu'
    """
    kind, _, index = device.partition(":")
    shown = [part.strip() for part in os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",") if part.strip()]
    if kind == "cuda" and index and int(index) < len(shown):
        index = shown[int(index)]
    return re.sub(r"[^0-9A-Za-z]+", "-", f"{kind}-{index}").strip("-")


def _lock_folder(folder: Path | None) -> Path:
    """The folder of the lock files; where anybody may write, one that somebody else has put there is not used."""
    place = folder or Path(tempfile.gettempdir()) / f"sanity-bench-{os.getuid()}"
    try:
        place.mkdir(mode=0o700, parents=True, exist_ok=True)
        found = place.lstat()
    except OSError as error:
        raise UsageError(
            f"cannot make {place} for the locks of devices ({error}); set TMPDIR to a folder of your own"
        ) from error
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid():
        raise UsageError(f"{place} belongs to somebody else; set TMPDIR to a folder of your own")
    return place


def _locked(path: Path) -> IO[str] | None:
    """The file with its lock, None if another process holds it. A link in its place is not followed."""
    try:
        file = os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600), "r+")
    except OSError as error:
        raise UsageError(f"cannot open {path} ({error}); remove it") from error
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        file.close()
        return None
    return file


def warm_up(subject: Subject) -> None:
    """One pass forward and backward before anything is timed.

    The first pass on a GPU loads its code and makes its plans, which is no cost of the explainer that happens to be first.
    On the processor nothing is done.
    """
    import torch

    if subject.device.type != "cuda":
        return
    image = subject.data.load([0]).to(subject.device).requires_grad_()
    logits = subject.logits(image)
    if logits.requires_grad:
        torch.autograd.grad(logits.amax(), image, allow_unused=True)
    torch.cuda.synchronize(subject.device)


def out_of_memory(error: BaseException) -> bool:
    """Whether an error says that memory ran out, on a device or on the host.

    Example:
        >>> out_of_memory(RuntimeError("CUDA out of memory. Tried to allocate 2 GiB")), out_of_memory(ValueError("x"))
        (True, False)
    """
    return isinstance(error, MemoryError) or says_out_of_memory(type(error).__name__, str(error))


def says_out_of_memory(kind: str, message: str) -> bool:
    """The same of an error that was written down as the name of its type and its message."""
    if kind.endswith("MemoryError"):  # also torch's OutOfMemoryError and numpy's _ArrayMemoryError
        return True
    text = message.lower()
    return kind in ("RuntimeError", "AcceleratorError") and any(words in text for words in _SAYS_OUT_OF_MEMORY)


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
