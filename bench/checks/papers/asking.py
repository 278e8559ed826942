"""One block of images and one explainer at a time, for the checks of papers: explain, measure, write rows."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from bench.checks.base import NOT_APPLICABLE, OK, CellResult, CheckInfo
from bench.checks.passes import Guard, Request, described
from bench.protocols import Protocol
from models.base import Subject
from models.naming import UsageError
from models.seeds import derive

if TYPE_CHECKING:
    from explainers import Explainer, Explanation

Values = Mapping[str, Tensor]


@dataclass(frozen=True)
class Asked:
    """One block of images with what explainers are asked about it.

    Attributes:
        subject: the model under test.
        ids: names of the images.
        seed: index of the draw.
        request: images, explained classes (the model's predictions), seed, protocol.
        guard: hands out private copies.
    """

    subject: Subject
    ids: tuple[str, ...]
    seed: int
    request: Request
    guard: Guard

    @staticmethod
    def of(
        subject: Subject, indices: Sequence[int], seed: int, protocol: Protocol, base: int, batch_size: int | None
    ) -> Asked:
        """The block with these indices."""
        chosen = list(indices)
        images = subject.data.load(chosen).to(subject.device)
        request = Request(images, subject.predict(images), derive(base, "explain", seed), protocol, batch_size)
        return Asked(
            subject, tuple(subject.data.ids[index] for index in chosen), seed, request, Guard(subject, request)
        )

    def explain(self, explainer: Explainer, targets: Tensor | None = None, seed: int | None = None) -> Explanation:
        """What an explainer says, about other classes or with other draws where they are given."""

        def ask(subject: Subject, request: Request) -> Explanation:
            return explainer.explain(
                subject, request.images, targets=request.targets if targets is None else targets,
                seed=request.seed if seed is None else seed, batch_size=request.batch_size,
            )  # fmt: skip

        return self.guard.call(explainer.name, ask)

    def rows(self, info: CheckInfo, explainer: str, values: Values, seconds: float) -> list[dict[str, Any]]:
        """One row per measure and image; what has no value is not applicable."""
        return [
            self._row(info, explainer, measure.name, place, values.get(measure.name), seconds)
            for measure in info.measures for place in range(len(self.ids))
        ]  # fmt: skip

    def _row(
        self, info: CheckInfo, explainer: str, measure: str, place: int, given: Tensor | None, seconds: float
    ) -> dict[str, Any]:
        value = None if given is None else float(given[place])
        there = value is not None and value == value  # NaN stands for "has none"
        return {
            "suite": info.suite, "check": info.name, "subject": self.subject.name, "explainer": explainer,
            "seed": self.seed, "stage": None, "layer": None, "image": self.ids[place],
            "target": int(self.request.targets[place]), "measure": measure, "value": value if there else None,
            "status": OK if there else NOT_APPLICABLE, "seconds": seconds / len(self.ids),
        }  # fmt: skip


Measured = tuple[Values, dict[str, Any] | None]
"""Values by measure, and the pictures that a cell brings along or None."""


def results(
    asked: Asked, explainers: Sequence[Explainer], wanted: set[tuple[str, str]],
    measures: Mapping[str, tuple[CheckInfo, Callable[[Explainer], Measured]]],
) -> Iterator[CellResult]:  # fmt: skip
    """One result per wanted pair of check and explainer.

    Args:
        asked: the block.
        explainers: those named in `wanted`.
        wanted: pairs (check, explainer).
        measures: check -> what it declares, and explainer -> values per image. UsageError says that the explainer does not
            take such a model: its rows are then not applicable. Any other exception is a failure of the cell.
    """
    for explainer in explainers:
        for check in sorted(check for check, name in wanted if name == explainer.name):
            info, measure = measures[check]
            start = time.perf_counter()
            result = CellResult(explainer.name, check, seed=asked.seed)
            values: Values = {}
            try:
                with torch.no_grad():
                    values, result.pictures = _values(partial(measure, explainer))
            except Exception as raised:
                result.error = described(raised)
            result.seconds = time.perf_counter() - start
            if result.error is None:
                result.rows = asked.rows(info, explainer.name, values, result.seconds)
            yield result


def _values(measure: Callable[[], Measured]) -> Measured:
    try:
        with torch.enable_grad():
            return measure()
    except UsageError:
        return {}, None
