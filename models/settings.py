"""Settings of torch that a user's code may change for everybody: put back after it."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


@contextmanager
def settings_kept() -> Iterator[None]:
    """Put gradient mode, default type and default device back afterwards.

    A file that ends with `torch.set_grad_enabled(False)`, as scripts that only predict do, would otherwise take the gradient
    from every explainer that comes after it.

    Example:
        >>> import torch
        >>> with settings_kept():
        ...     _ = torch.set_grad_enabled(False)
        >>> torch.is_grad_enabled()
        True
    """
    before = _settings()
    try:
        yield
    finally:
        after = _settings()
        if before != after:
            _set(*before)


def _settings() -> tuple[bool, str, str]:
    """Gradient mode, default type and device; those that torch begins with where it is not imported yet."""
    torch: Any = sys.modules.get("torch")
    if torch is None:
        return True, "float32", "cpu"
    kind = str(torch.get_default_dtype()).removeprefix("torch.")
    return torch.is_grad_enabled(), kind, str(torch.get_default_device())


def _set(gradients: bool, kind: str, device: str) -> None:
    import torch

    torch.set_grad_enabled(gradients)
    torch.set_default_dtype(getattr(torch, kind))
    torch.set_default_device(None if device == "cpu" else device)
