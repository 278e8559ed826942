"""Sanity checks for explanation methods: command line, plan, workers, checks.

Names are loaded when they are first used, so that `import bench` is free of torch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .checks.own import register as register_check
    from .runner import Run, run

__all__ = ["Run", "register_check", "run"]


def __getattr__(name: str) -> Any:
    if name == "register_check":
        from .checks.own import register

        return register
    if name in __all__:
        from . import runner

        return getattr(runner, name)
    raise AttributeError(f"module 'bench' has no attribute {name!r}; it has {', '.join(__all__)}")


def __dir__() -> list[str]:
    return sorted(__all__)
