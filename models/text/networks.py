"""The thesis' classifier of sentences, and an autoencoder of sentences on its embeddings.

A sentence travels as an image of one row: (1, 1, LONGEST) numbers in [0, 1], the number of each word divided by SCALE, 0
behind the last word. So a model of sentences is a subject like any other, and what is not about pixels applies to it.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from .words import LONGEST, NOTHING, SCALE, UNKNOWN


def rows_of(numbers: Tensor) -> Tensor:
    """Numbers of words (N, L) as rows (N, 1, 1, L) float32 in [0, 1]."""
    return (numbers.to(torch.float32) / SCALE)[:, None, None]


def numbers_of(rows: Tensor) -> Tensor:
    """Numbers of words (N, L) int64 of rows (N, 1, 1, L).

    >>> numbers_of(rows_of(torch.tensor([[5, 7, 0]]))).tolist()
    [[5, 7, 0]]
    """
    return (rows[:, 0, 0] * SCALE).round().long()


class WordBag(nn.Module):
    """Logits of the sum of the embeddings of the words of a sentence.

    Args:
        words: size of the dictionary.
        width: of an embedding.
        classes: number of logits.

    Source: Feghahati 2020, section 4.3.1, figure 4.2. The embedding is a linear layer on words as unit vectors, so that it
    can be drawn anew like any other layer.
    """

    def __init__(self, words: int, width: int = 64, classes: int = 2) -> None:
        super().__init__()
        self.embedding = nn.Linear(words, width, bias=False)
        self.output = nn.Linear(width, classes)

    def forward(self, rows: Tensor) -> Tensor:
        """Logits (N, K) of rows (N, 1, 1, L)."""
        numbers = numbers_of(rows)
        counts = rows.new_zeros(len(rows), self.embedding.in_features)
        counts.scatter_add_(1, numbers, (numbers != NOTHING).to(counts.dtype))
        logits: Tensor = self.output(self.embedding(counts))
        return logits

    def embedded(self, numbers: Tensor) -> Tensor:
        """M[w] of each word, (N, L, width); zero at empty places."""
        return self.embedding.weight.T[numbers] * (numbers != NOTHING)[..., None]

    def of_embeddings(self, embeddings: Tensor) -> Tensor:
        """Logits (N, K) of embeddings (N, L, width), zero at empty places."""
        logits: Tensor = self.output(embeddings.sum(1))
        return logits


class SentenceCoder(nn.Module):
    """Recurrent autoencoder of sentences: a code z, and one distribution over the dictionary per place.

    Both halves are bidirectional GRUs on the classifier's embeddings, which stay as they are; the scores of the words are
    products with the same embeddings. Each place has a vector that its word is multiplied with before the code is summed,
    and that the code is multiplied with when the word is read.

    Args:
        words: size of the dictionary.
        width: of an embedding.
        hidden: of each direction of the GRUs.
        code: length of z.

    Source: Shen et al. 2019, Educating text autoencoders, section 3, as Feghahati 2020, section 4.3.2 uses it. There the
    decoder reads the word that it has just written; here it reads the code alone, so that G(z) = [d_1, ..., d_m] of equation
    4.1 is a differentiable function of z.
    """

    def __init__(self, words: int, width: int = 64, hidden: int = 128, code: int = 128) -> None:
        super().__init__()
        self.register_buffer("embedding", torch.zeros(words, width), persistent=False)
        self.embedding: Tensor
        self.code = code
        self.encoder = nn.GRU(width, hidden, batch_first=True, bidirectional=True)
        self.bind = nn.Parameter(torch.randn(LONGEST, 2 * hidden) * 0.5)
        self.skip = nn.Linear(width, 2 * hidden)
        self.squeeze = nn.Linear(2 * hidden, code)
        self.spread = nn.Linear(code, 2 * hidden)
        self.unbind = nn.Parameter(torch.randn(LONGEST, 2 * hidden) * 0.5)
        self.decoder = nn.GRU(2 * hidden, hidden, batch_first=True, bidirectional=True)
        self.query = nn.Linear(4 * hidden, width)
        self.bias = nn.Parameter(torch.zeros(words))

    def encode(self, numbers: Tensor) -> Tensor:
        """Codes (N, code) of numbers of words (N, L)."""
        there = (numbers != NOTHING)[..., None]
        words = self.embedding[numbers] * there
        states, _ = self.encoder(words)
        bound = (states + self.skip(words)) * self.bind[: numbers.shape[1]] * there
        code: Tensor = self.squeeze(bound.sum(1))
        return code

    def queries(self, z: Tensor, length: int) -> Tensor:
        """What is compared with the embedding of each word at each place, (N, length, width)."""
        inputs = self.spread(z)[:, None] * self.unbind[:length]
        states, _ = self.decoder(inputs)
        found: Tensor = self.query(torch.cat([states, inputs], 2))
        return found

    def decode(self, z: Tensor, length: int) -> Tensor:
        """Scores d_i of all words at each place, (N, length, words); the empty place and `_unk_` are never chosen."""
        scores = self.queries(z, length) @ self.embedding.T + self.bias
        closed = torch.zeros_like(self.bias)
        closed[[NOTHING, UNKNOWN]] = -1e4
        return scores + closed
