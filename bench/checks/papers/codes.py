"""The check `fitted-codes` on AE+VAE: whether its two autoencoders do their work, and how far its maps differ and repeat."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from functools import partial
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from bench.checks.base import CellResult
from bench.protocols import Protocol
from models.base import Subject
from models.naming import UsageError

from .asking import Asked, Measured, results
from .declared import CHECKS, FITTED

if TYPE_CHECKING:
    from explainers import Explainer

_INFO = next(info for info in CHECKS if info.name == FITTED)


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
    """Measure the explanations of one block of images; explainers other than AE+VAE are not applicable.

    Args:
        subject, explainers, indices, seed, protocol, wanted, base, batch_size, pictures: as in
            `bench.checks.generative.run`.

    Yields:
        One result per wanted pair.
    """
    block = Asked.of(subject, indices, seed, protocol, base, batch_size)
    yield from results(block, explainers, set(wanted), {FITTED: (_INFO, partial(_codes, block))})


def _codes(block: Asked, explainer: Explainer) -> Measured:
    """What the autoencoders draw, and how maps compare with each other and with edges."""
    from explainers.contrastive.amortised import pearson
    from explainers.contrastive.embedding.explain import NAME, fitted
    from explainers.contrastive.embedding.vectors import embedder

    _check(explainer)
    params, images = dict(explainer.resolved.params), block.request.images
    pair, embed = fitted(block.subject, NAME, params).to(images.device), embedder(block.subject, str(params["layer"]))
    with torch.no_grad():
        wanted, codes = pair.aligned(embed(images)), pair.images.encode(images)
        own, again = pair.decode(codes), pair.decode(pair.centres(embed(images)))
    maps = block.explain(explainer).map()
    other = block.explain(explainer, seed=block.request.seed + 1).map()
    return Measured({
        "code-error": _error(own, images), "redrawn-error": _error(again, images),
        "code-agreement": pearson(codes[:, None], wanted[:, None]), "again": pearson(maps, other),
        "across": pearson(maps, maps.roll(1, 0)), "edges": pearson(maps, edges(images)),
    })  # fmt: skip


def edges(images: Tensor) -> Tensor:
    """Size of the difference of neighbouring pixels, (n, H, W), mean over channels.

    Example:
        >>> float(edges(torch.ones(1, 1, 4, 4)).abs().max())
        0.0
    """
    down = images.diff(dim=2, append=images[:, :, -1:])
    right = images.diff(dim=3, append=images[:, :, :, -1:])
    return (down.square() + right.square()).sqrt().mean(1)


def _error(drawn: Tensor, images: Tensor) -> Tensor:
    return (drawn - images).double().square().flatten(1).mean(1)


def _check(explainer: Explainer) -> None:
    if explainer.info.name != "ae-vae":
        raise UsageError(f"{explainer.name} has no codes of an embedding")
