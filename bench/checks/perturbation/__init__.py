"""Pixel perturbation: does the model forget its class when the relevant pixels go, and not when the others do?

Source: Samek et al. 2017; Singla et al. 2020, section 4.3; Rong et al. 2022.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .run import run_block

__all__ = ["run_block"]


def __getattr__(name: str) -> Any:
    """Load what computes when it is asked for: a table of the checks needs no torch."""
    if name == "run_block":
        from .run import run_block

        return run_block
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
