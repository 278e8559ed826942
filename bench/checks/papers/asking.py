"""One block of images and one explainer at a time, for the checks of papers: explain, measure, write rows."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from torch import Tensor

from bench.checks.base import FAILED, NOT_APPLICABLE, OK, CellResult, CheckInfo
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

    def rows(self, info: CheckInfo, explainer: str, found: Measured, seconds: float) -> list[dict[str, Any]]:
        """One row per measure and image; what has no value is not applicable, unless the explainer gave the image up."""
        return [
            self._row(info, explainer, measure.name, place, found, seconds)
            for measure in info.measures for place in range(len(self.ids))
        ]  # fmt: skip

    def _row(
        self, info: CheckInfo, explainer: str, measure: str, place: int, found: Measured, seconds: float
    ) -> dict[str, Any]:
        given = found.values.get(measure)
        lost = FAILED if found.failed is not None and found.failed[place] == FAILED else NOT_APPLICABLE
        value = None if given is None else float(given[place])
        there = value is not None and value == value  # NaN stands for "has none"
        return {
            "suite": info.suite, "check": info.name, "subject": self.subject.name, "explainer": explainer,
            "seed": self.seed, "stage": None, "layer": None, "image": self.ids[place],
            "target": int(self.request.targets[place]), "measure": measure, "value": value if there else None,
            "status": OK if there else lost, "seconds": seconds / len(self.ids),
        }  # fmt: skip


@dataclass(frozen=True)
class Measured:
    """What one check found about one explainer.

    Attributes:
        values: by measure, (n,) each; NaN where an image has none.
        pictures: what the cell brings along for the page, or None.
        failed: per image the explainer's own word, `failed` for one that it gave up; None where it said nothing.
    """

    values: Values
    pictures: dict[str, Any] | None = None
    failed: Sequence[str] | None = None


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
            found = Measured({})
            try:
                found = measure(explainer)
                result.pictures = found.pictures
            except UsageError:
                pass  # it does not take such a model: there is nothing to measure, and nothing failed
            except Exception as raised:
                result.error = described(raised)
            result.seconds = time.perf_counter() - start
            if result.error is None:
                result.rows = asked.rows(info, explainer.name, found, result.seconds)
            yield result
