"""What `--features` takes: which network the features of Frechet and kernel distances come from; torch-free."""

from __future__ import annotations

import hashlib
import os
from importlib.util import find_spec
from pathlib import Path

from models.naming import UsageError, near, placeless

ORACLE, INCEPTION = "oracle", "inception"
NAMES = (ORACLE, INCEPTION)
WEIGHTS = "weights-inception-2015-12-05-6726825d.pth"
"""File of Inception's weights as torch-fidelity names it."""
KERNEL_ONLY = (
    "--features inception: a Frechet distance of its 2,048 features needs 20,480 images and a set holds at most 1,024, so "
    "a whole set has kernel distances (KID) alone; the features of the oracle have both"
)
"""What a run in Inception's features says."""


def check(text: str) -> None:
    """Refuse what can be no source of features.

    Raises:
        UsageError: neither a known name nor `FILE:function`, or something that is not on this machine.

    Example:
        >>> check("oracle")
    """
    if text == INCEPTION:
        _check_inception()
    if text in NAMES:
        return
    place, colon, function = text.rpartition(":")
    if not colon or not place or not function:
        raise UsageError(
            f"--features {text!r}: allowed are {', '.join(NAMES)} and FILE.py:function or package.module:function, a "
            f"function that returns images (n, C, H, W) in [0, 1] -> features (n, d){near(text, NAMES)}"
        )
    if place.endswith(".py") and not Path(place).is_file():
        raise UsageError(f"--features {text!r}: the file {place} does not exist")


def remarks(text: str) -> list[str]:
    """What a user of these features should know before a run.

    Example:
        >>> remarks("oracle")
        []
    """
    return [KERNEL_ONLY] if text == INCEPTION else []


def inception_file() -> Path:
    """Where the weights of Inception have to lie: among those of torch.hub."""
    cache = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    home = os.environ.get("TORCH_HOME") or f"{cache}/torch"
    return Path(home).expanduser() / "hub" / "checkpoints" / WEIGHTS


def _check_inception() -> None:
    file = inception_file()
    if find_spec("torch_fidelity") is None:
        raise UsageError(
            f"--features inception needs the package torch-fidelity (pip install torch-fidelity) and its weights as {file}; "
            "or take --features oracle, or a network of yours as --features FILE.py:function"
        )
    if not file.is_file():
        raise UsageError(
            f"--features inception needs the weights {file}, which are not there, and nothing is fetched without being asked: "
            f"put {WEIGHTS} of torch-fidelity's release v0.2.0 there, or take --features oracle or FILE.py:function"
        )


def identity(text: str) -> str:
    """What names the features in keys and results: a name, or that of the file with a digest of what is in it.

    Example:
        >>> identity("inception")
        'inception'
    """
    place = text.rpartition(":")[0]
    if not place.endswith(".py"):
        return text
    digest = hashlib.sha256(Path(place).read_bytes()).hexdigest()[:16]
    return f"{placeless(text)} {digest}"


def reachable(text: str) -> str:
    """The text as a process in another folder takes it."""
    place, _, function = text.rpartition(":")
    return f"{Path(place).resolve()}:{function}" if place.endswith(".py") else text
