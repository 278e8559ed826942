"""Randomisation: explanations of models with more and more random layers, compared with those of the trained model.

One block of images and one seed are walked once for all explainers: the explanations of the trained model are computed
once, every randomised model is built once, and the maps of all explainers are measured in one call per stage.

Source: Adebayo et al. 2018, Sanity checks for saliency maps, sections 3 and 4.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from bench import balance
from bench.protocols import Protocol
from models.base import Subject
from models.randomize import cascade, randomized
from models.seeds import derive
from models.stages import Stage

from .base import MODEL, CellResult
from .block import Block, Found
from .health import Health
from .records import TRAINED, Common, Place, Work, health_rows, score_rows

if TYPE_CHECKING:
    from explainers import Explainer

__all__ = ["run_block"]

WALKS = ("cascading", "independent", "bottom-up")
"""Checks that walk over the stages: from the output down, one at a time, from the input up."""


def run_block(
    subject: Subject,
    explainers: Sequence[Explainer],
    indices: Sequence[int],
    seed: int,
    *,
    protocol: Protocol,
    wanted: Collection[tuple[str, str]],
    base: int,
    batch_size: int | None = None,
    pictures: int = 0,
) -> Iterator[CellResult]:
    """Randomisation of one block of images with one seed, for all explainers at once.

    Args:
        subject: the trained model; it is not changed.
        explainers: with the names in `wanted`.
        indices: of the block's images in `subject.data`.
        seed: index of the draw of the random weights, >= 0.
        protocol: all choices that change a number.
        wanted: pairs (check, explainer); checks `cascading`, `independent` and `bottom-up`, and for the explainer `(model)`
            the same with `health-` before them.
        base: base seed of the run.
        batch_size: images per pass, None for everything at once.
        pictures: of how many images, the first ones, the cells of `cascading` bring maps along.

    Yields:
        One result per wanted pair. An explainer that raises gives a result with its error; the others go on. The first
        stage of `cascading` and `independent` is the same model, computed once.
    """
    names = {name for check, name in wanted}
    members = [explainer for explainer in explainers if explainer.name in names]
    with balance.at(sorted({check for check, name in wanted if name != MODEL}), 0):
        block = Block(subject, members, indices, protocol, derive(base, "explain", seed), batch_size, pictures)
    yield from _Walk(block, set(wanted), base, seed).run()


class _Walk:
    """One walk over the stages of a subject; see `run_block`."""

    def __init__(self, block: Block, wanted: set[tuple[str, str]], base: int, seed: int) -> None:
        self.block, self.base, self.seed = block, base, seed
        self.cells: dict[tuple[str, str], Work] = {}
        for check, name in sorted(wanted):
            self.cells[check, name] = work = Work(Common(check, block.subject.name, name, seed))
            work.seconds = block.seconds.get(name, 0.0)
            if block.pictures and check == "cascading" and name in block.trained:
                work.film = block.film(name, check, self.seed)

    def _open(self, check: str) -> list[str]:
        """Explainers with unfinished work in a check."""
        return [
            name for name in self.block.by_name if (check, name) in self.cells and not self.cells[check, name].error
        ]

    def _needs(self, check: str) -> bool:
        return bool(self._open(check)) or (f"health-{check}", MODEL) in self.cells

    def run(self) -> Iterator[CellResult]:
        """All cells, walk by walk."""
        both = list(dict.fromkeys(self._open("cascading") + self._open("independent")))
        every = list(dict.fromkeys(both + self._open("bottom-up")))
        self._keep(WALKS, TRAINED, self.block.at_trained(every), self.block.health)
        if self._needs("cascading") or self._needs("independent"):
            # Where only the independent walk is wanted, the cascade is left after its first stage, which both share.
            self._walk_cascade(both)
        yield from self._finished("cascading")
        if self._needs("independent"):
            self._walk_independent()
        yield from self._finished("independent")
        if self._needs("bottom-up"):
            self._walk_up()
        yield from self._finished("bottom-up")

    def _models(self) -> dict[str, Any]:
        protocol = self.block.protocol
        return {"base": self.base, "seed": self.seed, "init": protocol.init, "batchnorm": protocol.batchnorm}

    def _walk_cascade(self, both: list[str]) -> None:
        for number, (stage, model) in enumerate(cascade(self.block.subject, **self._models()), 1):
            first = number == 1
            checks = ("cascading", "independent") if first else ("cascading",)
            self._visit(checks, stage, model, both if first else self._open("cascading"))
            if not self._needs("cascading"):
                return

    def _walk_independent(self) -> None:
        for stage in self.block.subject.stages[1:]:
            model = randomized(self.block.subject, [stage], **self._models())
            self._visit(("independent",), stage, model, self._open("independent"))

    def _walk_up(self) -> None:
        stages = self.block.subject.stages
        for number in range(1, len(stages) + 1):
            model = randomized(self.block.subject, stages[-number:], **self._models())
            # Stages count what is random, so that here 1 is the layer that reads the image.
            self._visit(("bottom-up",), replace(stages[-number], index=number), model, self._open("bottom-up"))

    def _visit(self, checks: tuple[str, ...], stage: Stage, model: Subject, names: list[str]) -> None:
        with self.block.passes():
            health = self.block.examine(model)
            with balance.at([check for check in checks if self._open(check)], stage.index):
                scores = self.block.at(model, names, stage.index, health.healthy)
        self._keep(checks, Place(stage.index, stage.name), scores, health)

    def _keep(self, checks: tuple[str, ...], place: Place, scores: dict[str, Found], health: Health) -> None:
        for check in checks:
            model = self.cells.get((f"health-{check}", MODEL))
            if model:
                model.rows += health_rows(model.common, place, health)
            for name, found in scores.items():
                work = self.cells.get((check, name))
                if work is None or work.error:
                    continue
                if isinstance(found, dict):
                    work.error = found
                    continue
                work.rows += score_rows(work.common, place, found, self.block.ids, share=True)
                work.seconds += (found.seconds or 0.0) * len(self.block.ids) if place.stage else 0.0
                if work.film:
                    work.film.add(place.layer, found.maps)

    def _finished(self, check: str) -> Iterator[CellResult]:
        changed = self.block.changed()
        for (kind, _), work in self.cells.items():
            if kind in (check, f"health-{check}"):
                work.error = work.error or changed
                yield work.result()
