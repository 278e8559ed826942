"""The check `generator-swap`: are the maps of a search those that it gives with the generator of the data itself?"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from functools import partial
from typing import TYPE_CHECKING

from bench.checks.base import CellResult
from bench.protocols import Protocol
from models.base import Subject
from models.naming import Spec, UsageError

from .asking import Asked, Measured, results
from .declared import CHECKS, SWAP

if TYPE_CHECKING:
    from explainers import Explainer

OWN = "vae"
"""The generator of the data of the network under test."""
RANDOM = "counterfactual-random-latent"
_INFO = next(info for info in CHECKS if info.name == SWAP)


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
    """Explain one block of images with the generator that is given, with that of the data, and with random moves.

    Args:
        subject, explainers, indices, seed, protocol, wanted, base, batch_size, pictures: as in
            `bench.checks.generative.run`; explainers without a generator are not applicable.

    Yields:
        One result per wanted pair.
    """
    block = Asked.of(subject, indices, seed, protocol, base, batch_size)
    yield from results(block, explainers, set(wanted), {SWAP: (_INFO, partial(_likeness, block))})


def _likeness(block: Asked, explainer: Explainer) -> Measured:
    """Correlations of the maps; the random move is one of the generator that is given, and changes images as much."""
    import explainers
    from explainers.contrastive.amortised import pearson

    params = dict(explainer.resolved.params)
    if "generator" not in params or "probe" not in params:
        raise UsageError(f"{explainer.name} has no generator to exchange")
    own = Spec(explainer.info.name, tuple((key, OWN if key == "generator" else params[key]) for key in sorted(params)))
    random = Spec(RANDOM, (("generator", params["generator"]), ("probe", params["probe"])))
    given = block.explain(explainer)
    usual, moved = (block.explain(explainers.get(spec)) for spec in (own, random))
    maps = usual.map("signed")
    return Measured(
        {"swap-likeness": pearson(given.map("signed"), maps), "swap-floor": pearson(moved.map("signed"), maps)},
        failed=given.status,
    )
