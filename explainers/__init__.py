"""Explainers of image classifiers: a registry of functions with cards, and one rule engine beneath many of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .info import Info
from .registry import card, cards, cost_of, expand, get, identity, label, names, register, resolve, select

if TYPE_CHECKING:
    from .base import Explainer, ExplainerError, Explanation
    from .engine import UnsupportedOperation

__all__ = [
    "Explainer", "ExplainerError", "Explanation", "Info", "UnsupportedOperation", "card", "cards", "expand", "get",
    "cost_of", "identity", "label", "names", "register", "resolve", "select",
]  # fmt: skip


def __getattr__(name: str) -> Any:
    if name in ("Explainer", "Explanation", "ExplainerError"):
        from . import base

        return getattr(base, name)
    if name == "UnsupportedOperation":
        from .engine import UnsupportedOperation

        return UnsupportedOperation
    raise AttributeError(f"module 'explainers' has no attribute {name!r}")
