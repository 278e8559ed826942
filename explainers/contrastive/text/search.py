"""The sentence between two classes: nearest code of an autoencoder at which the classifier is undecided, read as words."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from models.text.networks import SentenceCoder, WordBag
from models.text.words import NOTHING

from ..lagrangian import PAPER, Found, Schedule, Tolerance, search
from ..steady import steady

SOUGHT = Tolerance(equality=0.098, inequality=0.0)
"""|log odds| of the search; 0.1 is what counts as undecided, as it does for images: probabilities of 0.475 to 0.525."""
UNDECIDED = 0.1
PROFILES = {"fast": Schedule(outer=10, inner=10), "paper": PAPER}
"""A third of the steps that images take: one constraint, few codes."""


def softmax_embedding(scores: Tensor, table: Tensor) -> Tensor:
    """SE: the mean embedding of the words at each place, (N, L, width).

    Args:
        scores: (N, L, K) of the words of the dictionary at each place.
        table: (K, width) embeddings.

    Source: Feghahati 2020, equation 4.3; there the sum runs over the places as well, while its text and equation 4.2 keep
    one embedding per place, as here.

    Example:
        >>> sure = torch.tensor([[[0.0, 100.0]]])
        >>> softmax_embedding(sure, torch.tensor([[1.0, 2.0], [3.0, 4.0]])).tolist()
        [[[3.0, 4.0]]]
    """
    return scores.softmax(2) @ table


@dataclass(frozen=True, eq=False)
class Sentences:
    """What a search starts from.

    Attributes:
        numbers: (N, L) words, 0 behind the last.
        source: (N,) classes.
        probe: (N,) the other classes.
        scale: factor on logits, see `start.Anchor.scale`.
    """

    numbers: Tensor
    source: Tensor
    probe: Tensor
    scale: float = 1.0


@dataclass(frozen=True, eq=False)
class Contrast:
    """What a search found.

    Attributes:
        found: codes, steps, feasibility.
        z0: (N, code) where it began.
        written: (N, L) words that the autoencoder makes of the sentence itself.
        words: (N, L) words of the contrast.
        given: (N, L) log odds of source against probe that each place gives up between the two ends, in soft embeddings.
        h: (N,) log odds of the soft embeddings at the end.
        decoded: (N,) log odds of the words of the contrast.
        first: (N,) log odds of the soft embeddings where the search began.
    """

    found: Found
    z0: Tensor
    written: Tensor
    words: Tensor
    given: Tensor
    h: Tensor
    decoded: Tensor
    first: Tensor

    @property
    def edits(self) -> Tensor:
        """(N, L) bool, places whose word is another one at the end."""
        return self.written != self.words


def contrast(model: WordBag, coder: SentenceCoder, asked: Sentences, schedule: Schedule) -> Contrast:
    """Search from the code of each sentence to the nearest at which source and probe are equally likely.

    The residual of images has no counterpart: what the autoencoder cannot write of a sentence is no part of the answer, so
    that the contrast is read against what it writes of the sentence itself.

    Args:
        model: the classifier; its own embeddings are mixed, whatever those of the autoencoder.

    Source: Feghahati 2020, section 4.3.3, equation 4.4.
    """
    there = asked.numbers != NOTHING
    table, length = model.embedding.weight.T, asked.numbers.shape[1]
    decode = steady(lambda z: coder.decode(z, length))
    against = _difference(model, asked)

    def soft(z: Tensor, rows: Tensor) -> Tensor:
        return softmax_embedding(decode(z), table) * there[rows][..., None]

    def constraints(z: Tensor, rows: Tensor) -> tuple[Tensor, Tensor]:
        h = against(model.of_embeddings(soft(z, rows)), rows)
        return h, torch.full_like(h, float("-inf"))[:, None]

    with torch.no_grad():
        z0 = steady(coder.encode)(asked.numbers)
    found = search(constraints, z0, schedule, SOUGHT)
    every = torch.arange(len(z0), device=z0.device)
    with torch.no_grad():
        begun, ended = soft(z0, every), soft(found.z, every)
        written, words = (decode(z).argmax(2) * there for z in (z0, found.z))
        weights = model.output.weight
        change = (weights[asked.source] - weights[asked.probe]) * asked.scale
        given = ((begun - ended) * change[:, None]).sum(2)
        first, last = (against(model.of_embeddings(each), every) for each in (begun, ended))
        decoded = against(model.of_embeddings(model.embedded(words)), every)
    return Contrast(found, z0, written, words, given, last, decoded, first)


def _difference(model: WordBag, asked: Sentences) -> Callable[[Tensor, Tensor], Tensor]:
    """Log odds of source against probe from logits (n, K) of some rows."""

    def of(logits: Tensor, rows: Tensor) -> Tensor:
        two = [logits.gather(1, each[rows, None])[:, 0] for each in (asked.source, asked.probe)]
        return (two[0] - two[1]) * asked.scale

    return of
