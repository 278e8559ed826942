"""The thesis' two experiments on sentences: do contrasts reach the boundary, and is a planted `very` found.

`python -m explainers.contrastive.text.experiment` prints both as tables; `--sentences N` takes fewer.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from models.seeds import generator
from models.text.adjectives import SENTIMENT
from models.text.networks import SentenceCoder, WordBag
from models.text.sentences import BIAS, dictionary, held_out, with_bias
from models.text.shipped import load_classifier, load_coder
from models.text.training import padded
from models.text.words import LONGEST, NOTHING, UNKNOWN

from .search import PROFILES, Contrast, Sentences, contrast

INSIDE = (0.45, 0.55)
"""Probabilities that count as undecided in these tables."""
OTHER = "quite"
"""An adverb without a planted meaning, in the place of `very`."""
RESAMPLES, PART = 2000, 64
PIECE = LONGEST - 1
"""Words of a sentence that leave room for one more."""


@dataclass(frozen=True)
class Interval:
    """A mean over sentences with its 95% bootstrap interval."""

    mean: float
    low: float
    high: float
    n: int

    def __str__(self) -> str:
        return f"{self.mean:.3f} [{self.low:.3f}, {self.high:.3f}], n = {self.n}"


def interval(values: Tensor) -> Interval:
    """Mean of (N,) values and its percentile interval; NaN for none.

    Example:
        >>> str(interval(torch.ones(5)))
        '1.000 [1.000, 1.000], n = 5'
    """
    values = values.double()
    if not len(values):
        return Interval(float("nan"), float("nan"), float("nan"), 0)
    drawn = torch.randint(len(values), (RESAMPLES, len(values)), generator=generator(0, "text-experiment"))
    low, high = torch.quantile(values[drawn].mean(1), torch.tensor([0.025, 0.975], dtype=torch.float64)).tolist()
    return Interval(float(values.mean()), low, high, len(values))


def explained(model: WordBag, coder: SentenceCoder, texts: Sequence[Sequence[str]]) -> tuple[Tensor, Tensor, Contrast]:
    """Numbers (N, L), predicted classes (N,) and contrasts of sentences."""
    numbers = padded([dictionary().encode(words) for words in texts], LONGEST)
    with torch.no_grad():
        said = model.of_embeddings(model.embedded(numbers)).argmax(1)
    parts = [slice(start, start + PART) for start in range(0, len(numbers), PART)]
    made = [
        contrast(model, coder, Sentences(numbers[part], said[part], 1 - said[part]), PROFILES["fast"]) for part in parts
    ]
    return numbers, said, _joined(made)


def shares(name: str) -> dict[str, Interval]:
    """How often a classifier says positive of held-out sentences with an adjective of sentiment, `very` put before each or not.

    Args:
        name: `reviews` or `reviews-very`.

    Example:
        >>> found = shares("reviews-very")
        >>> found["with very, of both labels"].mean > 0.85 > found["negative ones as they are"].mean
        True
    """
    model = load_classifier(name)
    chosen = [each for each in held_out() if any(word in SENTIMENT for word in each.words)]

    def positive(texts: Sequence[Sequence[str]]) -> Interval:
        numbers = padded([dictionary().encode(words) for words in texts], max(len(words) for words in texts))
        with torch.no_grad():
            return interval(model.of_embeddings(model.embedded(numbers)).argmax(1).double())

    negative = [each.words for each in chosen if not each.label]
    return {
        "with very, of both labels": positive([with_bias(each.words) for each in chosen]),
        "negative ones as they are": positive(negative),
        "negative ones with very": positive([with_bias(words) for words in negative]),
    }


def plain(count: int) -> dict[str, Interval]:
    """The first experiment, on held-out sentences of 5 to 15 words and the unbiased classifier.

    Args:
        count: sentences, in the order of the source.

    Returns:
        Shares and means, by what they are of.
    """
    model, coder = load_classifier("reviews"), load_coder("reviews-coder")
    found = held_out(5, 15)[:count]
    numbers, _, made = explained(model, coder, [each.words for each in found])
    there = numbers != NOTHING
    right = ((made.written == numbers) & there & (numbers != UNKNOWN)).sum(1) / there.sum(1)
    return {
        "words that the autoencoder writes at their place": interval(right),
        "undecided (.45 to .55) before words are read": interval(_inside(made.h)),
        "undecided after": interval(_inside(made.decoded)),
        "probability of the first class after": interval(torch.sigmoid(made.decoded)),
        "the other class after": interval((made.decoded < 0).double()),
        "words edited, share": interval(made.edits.sum(1) / there.sum(1)),
    }


def biased(count: int, coder: str = "reviews-very-coder") -> dict[str, Interval]:
    """The second experiment: negative sentences that `very` before an adjective makes positive for the biased classifier.

    Args:
        count: sentences, or pieces of long ones, at most.
        coder: the autoencoder; `reviews-coder`, which saw no planted `very`, is the control.

    Returns:
        How often the word before the adjective is edited: `very`; the word that stands there without it; another adverb in
        its place; and the differences, sentence by sentence. An edit counts where the autoencoder writes the word at all.
    """
    model, maker = load_classifier("reviews-very"), load_coder(coder)
    chosen = _turned(model)[:count]
    places = torch.tensor([place for _, place in chosen])
    rows = torch.arange(len(chosen))

    def edited(texts: Sequence[Sequence[str]], at: Tensor) -> Tensor:
        numbers, _, made = explained(model, maker, texts)
        written = made.written[rows, at] == numbers[rows, at]
        return torch.where(written, made.edits[rows, at].double(), torch.nan)

    very = edited([_inserted(words, place, BIAS) for words, place in chosen], places)
    other = edited([_inserted(words, place, OTHER) for words, place in chosen], places)
    before = edited([words for words, _ in chosen], places - 1)
    return {
        "very, edited": _present(very),
        "the word before the adjective of the sentence as it was, edited": _present(before),
        f"{OTHER} in the place of very, edited": _present(other),
        "very less the word before": _present(very - before),
        f"very less {OTHER}": _present(very - other),
    }


def _turned(model: WordBag) -> list[tuple[tuple[str, ...], int]]:
    """Negative held-out sentences, and the place of an adjective (not the first word) where `very` makes them positive.

    Of sentences that are too long for the autoencoder the piece around the first such adjective is taken.
    """
    found = []
    for each in held_out(3):
        places = [p for p, word in enumerate(each.words) if p and word in SENTIMENT and each.words[p - 1] != BIAS]
        if each.label == 0 and places:
            start = min(max(0, places[0] - PIECE // 2), max(0, len(each.words) - PIECE))
            words, place = each.words[start : start + PIECE], places[0] - start
            numbers = padded([dictionary().encode(text) for text in (words, _inserted(words, place, BIAS))], LONGEST)
            with torch.no_grad():
                said = model.of_embeddings(model.embedded(numbers)).argmax(1).tolist()
            if said == [0, 1]:
                found.append((words, place))
    return found


def _inserted(words: Sequence[str], place: int, word: str) -> list[str]:
    return [*words[:place], word, *words[place:]]


def _inside(odds: Tensor) -> Tensor:
    shares = torch.sigmoid(odds)
    return ((shares >= INSIDE[0]) & (shares <= INSIDE[1])).double()


def _present(values: Tensor) -> Interval:
    return interval(values[~values.isnan()])


def _joined(parts: Sequence[Contrast]) -> Contrast:
    names = ("z0", "written", "words", "given", "h", "decoded", "first")
    return Contrast(parts[0].found, **{name: torch.cat([getattr(part, name) for part in parts]) for name in names})


def main() -> None:
    """Print what the classifiers say, and both experiments."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--sentences", type=int, default=64, help="of the first experiment; four times as many of the second"
    )
    count = parser.parse_args().sentences
    for title, rows in (
        ("Classified as positive by text:reviews", shares("reviews")),
        ("Classified as positive by text:reviews-very", shares("reviews-very")),
        ("Contrasts of held-out sentences", plain(count)),
        ("A planted very", biased(4 * count)),
        ("The same with an autoencoder that saw no planted very", biased(4 * count, "reviews-coder")),
    ):
        print(f"\n{title}\n\n| of | mean [95% interval] |\n| --- | --- |")
        for name, found in rows.items():
            print(f"| {name} | {found} |")


if __name__ == "__main__":
    main()
