"""Checks from outside: a function that gives one number per image, registered under a name; each is a suite of its own."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from bench.sized import Size, Suite
from models.naming import UsageError, placeless

from .base import CheckInfo, Measure

FAMILY = "own_run"
DIRECTIONS = ("higher", "lower", "none")
SIZES = {"quick": Size(16, 1, dear=Size(4, 1)), "standard": Size(64, 1), "full": Size(256, 1)}


@dataclass(frozen=True)
class Own:
    """A check from outside.

    Attributes:
        info: what it declares.
        function: `(subject, explain, images, targets, *, seed) -> one number per image`.
        origin: `file.py:function`, without folders.
        limit: what separates PASS from FAIL; None where no verdict is wanted.
    """

    info: CheckInfo
    function: Callable[..., Any]
    origin: str
    limit: float | None


_OWN: dict[str, Own] = {}


def register(
    name: str,
    *,
    direction: str = "none",
    limit: float | None = None,
    unit: str = "value",
    low: float | None = None,
    high: float | None = None,
    summary: str = "",
    version: int = 1,
) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Decorator that makes a function a check, and a suite of the same name.

    The function gets `(subject, explain, images, targets, *, seed)`: a private copy of the model; `explain(images, targets)`,
    which gives maps (N, H, W) of the explainer under test, and with `model=` those for another model; images (N, C, H, W) in
    [0, 1]; classes (N,). It returns one number per image, NaN where there is none.

    Args:
        name: of the check, of its suite and of what it measures; letters, digits and dashes.
        direction: which way is better for an explanation: `higher`, `lower` or `none`.
        limit: with a direction other than `none`, the mean beyond which an explainer passes; None for no verdict.
        unit: what 1 means.
        low, high: smallest and largest possible value, None for unbounded.
        summary: one line; default: the first line of the docstring.
        version: raise it when the numbers change, so that stored results are not taken for new ones.

    Raises:
        UsageError: the name is taken or is not a name; another direction; a limit without a direction.

    Example:
        >>> @register("doc-mass", direction="higher", limit=0.0)
        ... def mass(subject, explain, images, targets, *, seed):
        ...     return explain(images, targets).sum((1, 2))
        >>> suite_of("doc-mass").checks
        ('doc-mass',)
    """
    if not name or not all(char.isalnum() or char in "-_" for char in name):
        raise UsageError(f"{name!r} cannot be a check's name; use letters, digits, '-', '_'")
    if direction not in DIRECTIONS:
        raise UsageError(f"check {name!r}: direction is {direction!r}; allowed are {', '.join(DIRECTIONS)}")
    if limit is not None and direction == "none":
        raise UsageError(f"check {name!r}: a limit of {limit:g} needs a direction, 'higher' or 'lower'")

    def add(function: Callable[..., Any]) -> Callable[..., Any]:
        from . import CHECKS

        file = inspect.getsourcefile(function)
        origin = placeless(f"{file or function.__module__}:{function.__qualname__}")
        taken = CHECKS.get(name)
        measured = any(
            measure.name == name for info in CHECKS.values() if info is not taken for measure in info.measures
        )
        if measured or (taken is not None and (name not in _OWN or _OWN[name].origin != origin)) or _is_suite(name):
            raise UsageError(f"the name {name!r} is taken by a check, measure or suite; choose another for {origin}")
        said = summary or next(iter((function.__doc__ or "").strip().splitlines()), "")
        measure = Measure(name, unit, direction, low, high, None, said)
        info = CheckInfo(name, version, name, (measure,), said, family=FAMILY, staged=False)
        _OWN[name] = Own(info, function, origin, limit)
        CHECKS[name] = info
        return function

    return add


def own(name: str) -> Own | None:
    """The check from outside of this name, or None."""
    return _OWN.get(name)


def names() -> list[str]:
    """The checks from outside that were loaded."""
    return list(_OWN)


def suite_of(name: str) -> Suite:
    """The suite of a check from outside: the check itself, with the explainers of the suite on randomisation."""
    from bench import suites

    return Suite(
        name, _OWN[name].info.summary, (name,), suites.RANDOMIZATION_EXPLAINERS, references=suites.REFERENCES, sizes=SIZES,
    )  # fmt: skip


def declared(name: str) -> dict[str, Any]:
    """What the side table of the measures says about a check from outside; empty for the others."""
    found = _OWN.get(name)
    return {} if found is None else {"origin": found.origin, "limit": found.limit}


def _is_suite(name: str) -> bool:
    from bench import suites

    return name == suites.ALL or any(suite.name == name for suite in suites.built_in())
