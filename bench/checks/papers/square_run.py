"""The check `planted-square`: what explanations of "why no bag" have inside the square, and what it does."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import torch

from bench.checks.base import CellResult
from bench.protocols import Protocol
from models.base import Subject
from models.variants import SQUARE_CLASS, SQUARE_COLUMNS, SQUARE_ROWS

from . import square
from .asking import Asked, Measured, results
from .declared import CHECKS, SQUARE

if TYPE_CHECKING:
    from explainers import Explainer

_INFO = next(info for info in CHECKS if info.name == SQUARE)


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
    """Measure the explanations of one block of images, which are to be no bags and without squares.

    An explainer with counterfactuals is asked as it is and has to move toward bag (`probe=8`). Of any other the map of bag
    less that of the predicted class is measured, which asks the same question. Images that the model takes for bags have
    nothing to ask about.

    Args:
        subject, explainers, indices, seed, protocol, wanted, base, batch_size: as in `bench.checks.generative.run`.
        pictures: of how many images maps and counterfactuals are brought along.

    Yields:
        One result per wanted pair.
    """
    square.check_suits(tuple(subject.data.shape), subject.class_names)
    block = Asked.of(subject, indices, seed, protocol, base, batch_size)
    measure = _Square(block, pictures)
    yield from results(block, explainers, set(wanted), {SQUARE: (_INFO, measure)})


class _Square:
    """Measures one explainer."""

    def __init__(self, block: Asked, pictures: int) -> None:
        self.block, self.pictures = block, pictures
        self.source = block.request.targets

    def __call__(self, explainer: Explainer) -> Measured:
        """Values per image, NaN where the image is taken for a bag, and pictures."""
        block, images = self.block, self.block.request.images
        found = block.explain(explainer)
        logits = block.subject.predict_logits
        added = square.gap(logits, images, self.source) - square.gap(logits, square.marked(images), self.source)
        values = {"square-added": added}
        made = found.counterfactual
        if made is None:
            bag = block.explain(explainer, torch.full_like(self.source, SQUARE_CLASS))
            maps = bag.attribution - found.attribution
            toward = self.source != SQUARE_CLASS
        else:
            maps = made - images
            toward = (found.target == SQUARE_CLASS) & (self.source != SQUARE_CLASS)
            values |= {"square-change": square.change(images, made), **square.causal(logits, images, made, self.source)}
        values["square-energy"] = square.energy(maps)
        nothing = torch.full((len(images),), float("nan"), dtype=torch.float64)
        kept = {name: torch.where(toward.cpu(), each.double().cpu(), nothing) for name, each in values.items()}
        pictures = self._picture(explainer, maps, made) if self.pictures else None
        return Measured(kept, pictures, found.status)

    def _picture(self, explainer: Explainer, maps: torch.Tensor, made: torch.Tensor | None) -> dict[str, Any]:
        count, block = self.pictures, self.block
        arrays = {
            "maps": maps[:count].sum(1, keepdim=True).float().cpu().numpy(),
            "images": block.request.images[:count].float().cpu().numpy(),
        }
        if made is not None:
            arrays["counterfactuals"] = made[:count].float().cpu().numpy()
        names = block.subject.class_names
        meta = {
            "subject": block.subject.name, "explainer": explainer.name, "check": SQUARE, "seed": block.seed,
            "signed": True, "images": list(block.ids[:count]), "layers": [],
            "classes": [names[int(label)] for label in self.source[:count]],
            "square": [SQUARE_ROWS.start, SQUARE_ROWS.stop, SQUARE_COLUMNS.start, SQUARE_COLUMNS.stop],
        }  # fmt: skip
        return {"arrays": arrays, "meta": meta}
