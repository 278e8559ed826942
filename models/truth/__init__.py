"""Images whose evidence is known, made at run time from other images and a seed, and certificates that a model uses it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .base import Box, Cell, Scene, Truth

if TYPE_CHECKING:
    from .certificate import Certificate, Line
    from .certifying import certify
    from .own import mosaics_of
    from .shipped import required, stored

__all__ = [
    "Box", "Cell", "Certificate", "Line", "Scene", "Truth", "certify", "mosaics_of", "required", "stored",
]  # fmt: skip

_PLACES = {
    "Certificate": "certificate", "Line": "certificate", "certify": "certifying", "mosaics_of": "own",
    "required": "shipped", "stored": "shipped",
}  # fmt: skip


def __getattr__(name: str) -> Any:
    if name not in _PLACES:
        raise AttributeError(f"module 'models.truth' has no attribute {name!r}")
    import importlib

    return getattr(importlib.import_module(f".{_PLACES[name]}", __name__), name)
