"""Words of a sentence, and the dictionary that numbers them; free of torch.

A sentence is its words in lower case, without punctuation; numbers of digits are one word, `_num_`. Words outside the
dictionary are `_unk_`.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

NOTHING, UNKNOWN = 0, 1
"""Numbers of the place behind the last word, and of every word that is not in the dictionary."""
SPECIAL = ("", "_unk_")
SCALE = 1 << 14
"""Words that a row can tell apart; a power of two, so that numbers survive the division."""
LONGEST = 16
"""Words of the longest sentence that travels as a row."""
_WORD = re.compile(r"[a-z]+(?:'[a-z]+)*|[0-9]+")


def split_words(text: str) -> list[str]:
    """The words of a text.

    Example:
        >>> split_words("It's a très funny, 90-minute film!")
        ["it's", 'a', 'tres', 'funny', '_num_', 'minute', 'film']
    """
    plain = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode().lower()
    return ["_num_" if word[0].isdigit() else word for word in _WORD.findall(plain)]


@dataclass(frozen=True)
class Dictionary:
    """Words and their numbers.

    Attributes:
        words: word of each number, the two special ones first.
        numbers: number of each word.

    Example:
        >>> found = Dictionary(("", "_unk_", "good", "film"))
        >>> found.encode(["good", "flick"]), found.decode([3, 2, 0])
        ([2, 1], ['film', 'good'])
    """

    words: tuple[str, ...]
    numbers: dict[str, int] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "numbers", {word: number for number, word in enumerate(self.words)})

    def __len__(self) -> int:
        return len(self.words)

    def encode(self, words: Iterable[str]) -> list[int]:
        """The number of each word, UNKNOWN where it has none."""
        return [self.numbers.get(word, UNKNOWN) for word in words]

    def decode(self, numbers: Iterable[int]) -> list[str]:
        """The word of each number; empty places are left out."""
        return [self.words[number] for number in numbers if number != NOTHING]


def dictionary_of(sentences: Iterable[Sequence[str]], least: int) -> Dictionary:
    """The words that occur at least `least` times, the most frequent first, equal ones in the order of the alphabet."""
    counts = Counter(word for words in sentences for word in words)
    kept = sorted((word for word, count in counts.items() if count >= least), key=lambda word: (-counts[word], word))
    return Dictionary((*SPECIAL, *kept))
