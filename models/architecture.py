"""What a user's network computes apart from its weights, as a digest: its modules, and the code of those that are his own."""

from __future__ import annotations

import hashlib
import inspect
import re
from collections.abc import Iterator
from types import FunctionType

from torch import nn

_PLACE = re.compile(r" at 0x[0-9a-fA-F]+")
LIBRARIES = ("torch", "torchvision")
"""Their modules are known by their names and settings; provenance records the versions."""


def architecture_digest(model: nn.Module) -> str:
    """sha256 of how a network shows itself and of the source of the methods of its own classes.

    Two networks with the same weights may differ in a stride, in an activation or in what `forward` does between its layers.

    Args:
        model: any module; where the source of a class is not at hand, its name stands for it.

    Returns:
        64 hex digits, the same in every process and for the same files in any folder.

    Example:
        >>> architecture_digest(nn.ReLU()) == architecture_digest(nn.ReLU()) != architecture_digest(nn.ELU())
        True
    """
    classes = {kind for module in model.modules() for kind in type(module).__mro__}
    own = sorted((kind for kind in classes if _is_own(kind)), key=lambda kind: kind.__qualname__)
    total = hashlib.sha256(_PLACE.sub("", repr(model)).encode())
    for kind in own:
        total.update(f"\0{kind.__qualname__}".encode())
        for source in sorted(_sources(kind)):
            total.update(f"\0{source}".encode())
    return total.hexdigest()


def _is_own(kind: type) -> bool:
    return issubclass(kind, nn.Module) and kind.__module__.partition(".")[0] not in LIBRARIES


def _sources(kind: type) -> Iterator[str]:
    """Source of the methods that a class defines; found by their code, since two files may share a module's name."""
    for value in vars(kind).values():
        if isinstance(value, FunctionType):
            try:
                yield inspect.getsource(inspect.unwrap(value))
            except (OSError, TypeError):
                yield value.__qualname__
