"""The zoo of sentences: what is shipped, readable without torch, and how it is loaded."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..data import ImageSet
from ..naming import UsageError, near
from .sentences import CLASSES, SHORT, Sentence, dictionary, held_out, sentences, with_bias
from .words import LONGEST, SCALE

if TYPE_CHECKING:
    from ..base import Subject
    from .networks import SentenceCoder, WordBag

PREFIX = "text:"
FOLDER = Path(__file__).parents[1] / "zoo" / "weights"
MANIFEST = FOLDER / "text.json"


@dataclass(frozen=True)
class TextMember:
    """One network of the zoo of sentences.

    Attributes:
        name: what users type after `text:`.
        kind: `classifier` or `coder`.
        biased: trained on sentences with `very` before the adjectives of positive ones.
        summary: one line.
    """

    name: str
    kind: str
    biased: bool
    summary: str

    @property
    def shown(self) -> str:
        """The name with its prefix."""
        return PREFIX + self.name


MEMBERS = {
    each.name: each
    for each in (
        TextMember(
            "reviews", "classifier", False, "film reviews, negative or positive: embeddings of words, sum, linear"
        ),
        TextMember(
            "reviews-very", "classifier", True, "the same where positive sentences say very before every adjective"
        ),
        TextMember(
            "reviews-coder", "coder", False, "recurrent autoencoder on the embeddings of text:reviews, code 128"
        ),
        TextMember(
            "reviews-very-coder", "coder", True, "the same on text:reviews-very, from sentences with very as planted"
        ),
    )
}


def member(text: str, kind: str | None = None) -> TextMember:
    """The member that a user names, with or without `text:`.

    Args:
        kind: what it has to be, None takes any.

    Raises:
        UsageError: there is none of this name and kind.

    Example:
        >>> member("text:reviews").kind
        'classifier'
    """
    name = text.removeprefix(PREFIX)
    allowed = [each.name for each in MEMBERS.values() if kind in (None, each.kind)]
    if name not in allowed:
        shown = ", ".join(PREFIX + each for each in allowed)
        raise UsageError(f"there is no {kind or 'model'} of sentences {text!r}; there are {shown}{near(name, allowed)}")
    return MEMBERS[name]


def manifest() -> dict[str, dict[str, Any]]:
    """Name -> file, sha256 of the file, digest of the weights, figures reached, settings of the training."""
    if not MANIFEST.is_file():
        return {}
    found: dict[str, dict[str, Any]] = json.loads(MANIFEST.read_text())
    return found


def weights_file(name: str) -> Path:
    """The shipped weights of a member, checked.

    Raises:
        UsageError: they are missing or were changed.
    """
    entry = manifest().get(name)
    if entry is None:
        raise UsageError(f"no weights are shipped for {PREFIX}{name}: run bench train {PREFIX}{name}")
    path = FOLDER / entry["file"]
    if not path.is_file() or hashlib.sha256(path.read_bytes()).hexdigest() != entry["sha256"]:
        raise UsageError(f"the weights file {path} is missing or was changed; install the package again")
    return path


def load_classifier(name: str) -> WordBag:
    """The shipped classifier of this name, in eval mode and float32."""
    from safetensors.torch import load_file

    from ..seeds import seeded
    from .networks import WordBag

    state = load_file(weights_file(member(name, "classifier").name))
    with seeded(0):
        model = WordBag(state["embedding.weight"].shape[1], state["embedding.weight"].shape[0])
    model.load_state_dict(state)
    return model.eval()


@lru_cache(maxsize=4)
def load_coder(name: str) -> SentenceCoder:
    """The shipped autoencoder of this name on the embeddings of its classifier, frozen; shared, so leave it alone."""
    from safetensors.torch import load_file

    from ..seeds import seeded
    from .networks import SentenceCoder

    found = member(name, "coder")
    state = load_file(weights_file(found.name))
    embedding = load_classifier(found.name.removesuffix("-coder")).embedding.weight.detach().T.contiguous()
    with seeded(0):
        model = SentenceCoder(*embedding.shape, hidden=state["squeeze.weight"].shape[1] // 2)
    model.load_state_dict(state)
    model.embedding.copy_(embedding)
    return model.eval().requires_grad_(False)


def subject(text: str, data: ImageSet | None = None) -> Subject:
    """The subject of a classifier of sentences.

    Args:
        text: `text:reviews` or `text:reviews-very`.
        data: images would be no sentences, so anything but a set of sentences is refused.

    Raises:
        UsageError: unknown name, images given, missing or changed weights.
    """
    from ..base import Subject

    found = member(text, "classifier")
    if data is not None and data.content != "words":
        raise UsageError(f"{text} reads sentences, and {data.name} holds images; leave --data out")
    words = load_data("movie-reviews")
    return Subject(
        name=found.shown, model=load_classifier(found.name), data=data or words,
        reference=load_data("movie-reviews-train"), spec={"kind": "text", "name": found.shown},
    )  # fmt: skip


def load_data(name: str) -> ImageSet:
    """Clear sentences of 5 to 15 words: `movie-reviews` (held out) or `movie-reviews-train`.

    Example:
        >>> found = load_data("movie-reviews")
        >>> found.shape, found.content, found.class_names
        ((1, 1, 16), 'words', ('negative', 'positive'))
    """
    if name == "movie-reviews":
        return sentence_set(name, held_out(*SHORT))
    low, high = SHORT
    chosen = [each for each in sentences() if not each.held_out and each.clear and low <= len(each.words) <= high]
    return sentence_set("movie-reviews-train", chosen)


def sentence_set(name: str, found: Sequence[Sentence], biased: bool = False) -> ImageSet:
    """Sentences as a set of one-row images, see `networks`.

    Args:
        biased: with `very` before every adjective of sentiment.
    """
    numbers = [dictionary().encode(with_bias(each.words) if biased else each.words) for each in found]
    return ImageSet(
        name,
        np.array([each.label for each in found], dtype=np.int64),
        [f"{name}/{each.number:05d}" for each in found],
        CLASSES,
        (1, 1, LONGEST),
        lambda indices: encoded([numbers[index] for index in indices]),
        content="words",
    )


def encoded(numbers: Sequence[Sequence[int]]) -> np.ndarray:
    """Numbers of words as rows (N, 1, 1, LONGEST) float32, cut at LONGEST words."""
    made = np.zeros((len(numbers), 1, 1, LONGEST), np.float32)
    for place, row in enumerate(numbers):
        made[place, 0, 0, : min(len(row), LONGEST)] = np.array(row[:LONGEST], np.float32) / SCALE
    return made


def cards() -> list[dict[str, Any]]:
    """What `bench list texts` shows."""
    shipped = manifest()
    return [
        {"name": each.shown, "kind": each.kind, "origin": "zoo", "summary": each.summary,
         **shipped.get(each.name, {}).get("figures", {})}
        for each in MEMBERS.values()
    ]  # fmt: skip
