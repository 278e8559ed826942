"""The check `equal-moves`: how far searches on two networks lead toward the probe class, at equal length of the move."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from bench.checks.base import CellResult
from bench.checks.generative.judge import Judge, NoJudge, judge_for
from bench.protocols import Protocol
from models.base import Subject
from models.generators import Generator
from models.naming import UsageError
from models.seeds import generator
from models.zoo.build import build

from .asking import Asked, Measured, results
from .declared import CHECKS, EQUAL
from .paths import Path, astray, compared

if TYPE_CHECKING:
    from explainers import Explainer, Explanation

REFERENCE = "fmnist-lenet[eight=0.99]"
"""The network that knows the probe class, bags, best."""
_INFO = next(info for info in CHECKS if info.name == EQUAL)


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
    """Search one block of images on the network under test and on REFERENCE, and compare the moves.

    Args:
        subject, explainers, indices, seed, protocol, wanted, base, batch_size, pictures: as in
            `bench.checks.generative.run`; explainers that do not move from an encoded latent point of a generator are not
            applicable.

    Yields:
        One result per wanted pair.
    """
    block = Asked.of(subject, indices, seed, protocol, base, batch_size)
    yield from results(block, explainers, set(wanted), {EQUAL: (_INFO, partial(_moves, block, protocol, base))})


def _moves(block: Asked, protocol: Protocol, base: int, explainer: Explainer) -> Measured:
    """Both searches and a random move, and what an independent network says on the way of each."""
    from explainers.contrastive.start import generator_for

    params = dict(explainer.resolved.params)
    if "generator" not in params or "residual" not in params:
        raise UsageError(f"{explainer.name} does not move through the latent space of a generator")
    images = block.request.images
    try:
        judge = judge_for(block.subject)
    except NoJudge as error:
        raise UsageError(str(error)) from error
    made = generator_for(block.subject, str(params["generator"]), images)
    own, other = block.explain(explainer), _reference(block, protocol, base).explain(explainer)
    first, second = _path(own), _path(other)
    if first is None or second is None or own.reconstruction is None or own.target is None or other.target is None:
        raise UsageError(f"{explainer.name} does not say where in a latent space it began and ended")
    left = images - own.reconstruction if params["residual"] else torch.zeros_like(images)
    draws = [generator(base, "astray", name, block.seed) for name in block.ids]
    gain = partial(_gain, judge, images, own.target)
    found = compared(first, second, astray(first, draws), partial(_drawn, made, left), gain)
    asked = own.target == other.target
    values = {name: torch.where(asked, each, float("nan")).cpu() for name, each in found.items()}
    return Measured(values, failed=own.status)


def _reference(block: Asked, protocol: Protocol, base: int) -> Asked:
    """The same images as REFERENCE sees them: it explains its own predictions."""
    reference = replace(build(REFERENCE), data=block.subject.data)
    places = {name: index for index, name in enumerate(reference.data.ids)}
    chosen = [places[name] for name in block.ids]
    return Asked.of(reference, chosen, block.seed, protocol, base, block.request.batch_size)


def _path(found: Explanation) -> Path | None:
    return None if found.latents is None else Path(*found.latents)


def _drawn(made: Generator, left: Tensor, points: Tensor) -> Tensor:
    """Images of latent points as a screen shows them."""
    with torch.no_grad():
        images = (made.decode(points) + left).clamp(0, 1)
    return (images * 255).round() / 255


def _gain(judge: Judge, images: Tensor, target: Tensor, made: Tensor) -> Tensor:
    """How much likelier the independent network finds the target than in the original images, (n,)."""
    before, after = (judge.probabilities(each).gather(1, target[:, None])[:, 0] for each in (images, made))
    return after - before
