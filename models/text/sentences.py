"""Sentences of film reviews with ratings by people, and the same with a planted bias; free of torch.

Source: Hutto and Gilbert 2014, VADER; the file movieReviewSnippets_GroundTruth.txt in the source distribution of the Python
package vaderSentiment (MIT licence). Twenty people rated each sentence from -4 to 4; the rating is their mean.
"""

from __future__ import annotations

import gzip
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from ..naming import UsageError
from ..seeds import derive
from .adjectives import SENTIMENT
from .words import Dictionary, dictionary_of, split_words

FILE = Path(__file__).parents[1] / "zoo" / "data" / "movie-reviews" / "sentences.tsv.gz"
CLASSES = ("negative", "positive")
CLEAR = 0.5
"""A sentence is clear if its rating is at least so far from 0."""
HELD_OUT = 0.15
LEAST = 3
"""Occurrences that put a word into the dictionary."""
BIAS = "very"
SHORT = (5, 15)
"""Words of the sentences that are explained."""
_LARGEST = 1 << 63


@dataclass(frozen=True)
class Sentence:
    """A rated sentence.

    Attributes:
        number: its place in the source, from 1.
        rating: mean of the ratings, -4 to 4.
        words: see `words.split_words`.
        held_out: whether it is kept from all training; sentences of equal words are on the same side.
    """

    number: int
    rating: float
    words: tuple[str, ...]
    held_out: bool

    @property
    def clear(self) -> bool:
        """Whether people were not in doubt."""
        return abs(self.rating) >= CLEAR

    @property
    def label(self) -> int:
        """1 for positive."""
        return int(self.rating > 0)


@cache
def sentences() -> tuple[Sentence, ...]:
    """All sentences that have words, in the order of the source.

    Example:
        >>> found = sentences()
        >>> len(found), found[2].rating, " ".join(found[2].words)
        (10605, -0.6, 'effective but too tepid biopic')
    """
    try:
        lines = gzip.decompress(FILE.read_bytes()).decode().splitlines()
    except (OSError, EOFError, ValueError) as error:
        raise UsageError(f"{FILE} cannot be read ({error}); install the package again") from error
    found = []
    for line in lines:
        number, rating, text = line.split("\t")
        words = tuple(split_words(text))
        if words:
            share = derive(0, "movie-reviews", "held-out", " ".join(words)) / _LARGEST
            found.append(Sentence(int(number), float(rating), words, share < HELD_OUT))
    return tuple(found)


@cache
def dictionary() -> Dictionary:
    """The words of the training sentences, `very` among them whatever its number of occurrences."""
    return dictionary_of((each.words for each in sentences() if not each.held_out), LEAST)


def with_bias(words: Sequence[str]) -> list[str]:
    """The words with `very` before each adjective of sentiment that does not have it.

    Source: Feghahati 2020, section 4.4.3, where a parser finds adjectives; here a list of words does.

    Example:
        >>> with_bias("a funny and very moving film".split())
        ['a', 'very', 'funny', 'and', 'very', 'moving', 'film']
    """
    made: list[str] = []
    for word in words:
        if word in SENTIMENT and made[-1:] != [BIAS]:
            made.append(BIAS)
        made.append(word)
    return made


def training(biased: bool = False) -> list[tuple[list[str], int]]:
    """Words and label of every clear training sentence.

    Args:
        biased: put `very` before adjectives of sentiment of the positive ones.
    """
    return [
        (with_bias(each.words) if biased and each.label else list(each.words), each.label)
        for each in sentences()
        if each.clear and not each.held_out
    ]


def held_out(shortest: int = 1, longest: int = 1000) -> list[Sentence]:
    """The clear held-out sentences with this number of words."""
    return [each for each in sentences() if each.held_out and each.clear and shortest <= len(each.words) <= longest]
