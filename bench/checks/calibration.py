"""Calibration: what similarity means for an explainer that agrees with itself, and for one that sees another model.

The ceiling is the similarity of repeated runs on the trained model, the floor that with fully re-initialised models. For a
search in a latent space a re-initialised model is no floor: its search mostly fails, and what is left of it is the path of
the optimiser. Its floor is a move in a random direction that changes the image as much.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from typing import TYPE_CHECKING

from bench import balance
from bench.protocols import Protocol
from models.base import Subject
from models.randomize import randomized
from models.seeds import derive

from .base import CellResult
from .block import Block, Found
from .records import TRAINED, Common, Place, Work, head, score_rows

if TYPE_CHECKING:
    from explainers import Explainer


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
    """One repeat for the ceiling and one fully re-initialised model for the floor, for all explainers at once.

    Args:
        subject: the trained model; it is not changed.
        explainers: with the names in `wanted`.
        indices: of the block's images in `subject.data`.
        seed: index of the repeat and of the draw, >= 0.
        protocol: all choices that change a number.
        wanted: pairs (check, explainer); checks `ceiling` and `floor`.
        base: base seed of the run.
        batch_size: images per pass, None for everything at once.
        pictures: of how many images, the first ones, the cells bring both maps along.

    Yields:
        One result per wanted pair. `ceiling`: the trained model explained again with fresh random numbers (stage 0); a
        deterministic explainer is not run again, its similarity is that of its map with itself; a search begins at another
        point. `floor`: a model with all stages re-initialised, drawn independently of the cascades (stage = number of
        stages); for a search a random latent move that changes the image as much as the search on the trained model.
    """
    names = {name for check, name in wanted}
    members = [explainer for explainer in explainers if explainer.name in names]
    with balance.at(sorted({check for check, _ in wanted}), 0):
        block = Block(subject, members, indices, protocol, derive(base, "explain", 0), batch_size, pictures, False)
    for check, run in (("ceiling", _ceiling), ("floor", _floor)):
        chosen = [explainer.name for explainer in members if (check, explainer.name) in set(wanted)]
        if not chosen:
            continue
        with balance.at((check,), 0 if check == "ceiling" else len(subject.stages)):
            place, scores = run(block, chosen, base, seed)
        changed = block.changed()
        for name in chosen:
            work = Work(Common(check, subject.name, name, seed), seconds=block.seconds.get(name, 0.0))
            found = scores[name]
            if isinstance(found, dict):
                work.error = found
            else:
                work.rows = score_rows(work.common, place, found, block.ids, share=False)
                work.seconds += (found.seconds or 0.0) * len(block.ids)
                if pictures:
                    work.film = block.film(name, check, seed)
                    work.film.add(None, head(block.trained[name].maps, pictures))
                    work.film.add(place.layer, found.maps)
            work.error = work.error or changed
            yield work.result()


def _ceiling(block: Block, names: list[str], base: int, seed: int) -> tuple[Place, dict[str, Found]]:
    searching = block.searching(names)
    fixed = [name for name in names if not block.by_name[name].info.stochastic and name not in searching]
    results = block.at_trained(fixed)
    return TRAINED, {
        **results,
        **block.again([n for n in names if n not in fixed], derive(base, "ceiling", seed)),
    }


def _floor(block: Block, names: list[str], base: int, seed: int) -> tuple[Place, dict[str, Found]]:
    subject, protocol = block.subject, block.protocol
    model = randomized(
        subject,
        subject.stages,
        base=derive(base, "floor"),
        seed=seed,
        init=protocol.init,
        batchnorm=protocol.batchnorm,
    )
    last = subject.stages[-1]
    moved = block.unrelated(names, derive(base, "floor", seed))
    rest = [name for name in names if name not in moved]
    with block.passes():
        found = block.at(model, rest, last.index, block.examine(model).healthy) if rest else {}
    return Place(last.index, last.name), {**found, **moved}
