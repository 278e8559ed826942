"""What the gates inside explainers found in a shard: the largest balance error and the maps given up, for provenance.

Methods that check their own balance (completeness, conservation) say by how much each map misses it. The records hold one
row per map whether the balance is kept or not; the errors themselves are noted here, per explainer, check and stage.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

from reports.store import Store

from .cell import digest

if TYPE_CHECKING:
    from torch import Tensor

NAME = "balance"
Place = tuple[tuple[str, ...], int | None]


class Book:
    """Balance errors of the maps that were made while it was open, by explainer, check and stage."""

    def __init__(self, checks: Iterable[str] = ()) -> None:
        self.place: Place = (tuple(checks), None)
        self._found: dict[tuple[str, Place], tuple[int, int, Tensor | None]] = {}

    def note(self, explainer: str, count: int, failed: int, residual: Tensor | None) -> None:
        """Add the maps of one call; explainers without a balance are left out unless a map failed.

        Args:
            explainer: its name.
            count: maps made.
            failed: maps that the explainer gave up.
            residual: (count,) relative errors, None where the method has no balance.
        """
        if residual is None and not failed:
            return
        key = (explainer, self.place)
        maps, lost, worst = self._found.get(key, (0, 0, None))
        if residual is not None:
            # Stays on its device: asking for the number would make a fast one wait at every call.
            most = residual.detach().amax()
            worst = most if worst is None else worst.maximum(most)
        self._found[key] = (maps + count, lost + failed, worst)

    def entries(self) -> dict[str, dict[str, list[list[Any]]]]:
        """Explainer -> check -> [stage, maps, failed maps, largest error] in the order of stages, JSON-able.

        Maps that serve several checks stand under each. An error that is no finite number is None, and so is the stage of
        checks without stages.
        """
        found: dict[str, dict[str, list[list[Any]]]] = {}
        for (explainer, (checks, stage)), (maps, failed, worst) in self._found.items():
            error = math.nan if worst is None else float(worst)
            row = [stage, maps, failed, float(f"{error:.3g}") if math.isfinite(error) else None]
            for check in checks:
                found.setdefault(explainer, {}).setdefault(check, []).append(row)
        return {
            explainer: {check: sorted(rows, key=lambda row: row[0] or 0) for check, rows in sorted(checked.items())}
            for explainer, checked in sorted(found.items())
        }


_BOOK: ContextVar[Book | None] = ContextVar("balance", default=None)


@contextmanager
def booked(store: Store, shard: str, checks: Iterable[str]) -> Iterator[None]:
    """Note balance errors for a shard, and store them when it ends.

    Args:
        store: the run folder.
        shard: its id.
        checks: names of its checks, for maps that serve all of them.
    """
    book = Book(sorted(set(checks)))
    token = _BOOK.set(book)
    try:
        yield
    finally:
        _BOOK.reset(token)
        found = book.entries()
        if found:
            # What is computed of a shard in a later run has a file of its own.
            store.write_provenance(f"{NAME}-{digest([shard, found])[:16]}", {NAME: found})


@contextmanager
def at(checks: Iterable[str], stage: int | None) -> Iterator[None]:
    """Say for which checks, and at which stage, the maps are that are made inside."""
    book = _BOOK.get()
    if book is None:
        yield
        return
    before = book.place
    book.place = (tuple(checks), stage)
    try:
        yield
    finally:
        book.place = before


def note(explainer: str, count: int, failed: int, residual: Tensor | None) -> None:
    """As `Book.note` in the open book, if there is one."""
    book = _BOOK.get()
    if book is not None:
        book.note(explainer, count, failed, residual)
