"""An explanation of one sentence, as lines to read."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from models.base import Subject
from models.naming import UsageError
from models.text.networks import numbers_of, rows_of
from models.text.sentences import dictionary
from models.text.training import padded
from models.text.words import LONGEST, NOTHING, UNKNOWN, split_words

from ...asking import asked
from ...base import Explainer, Explanation


def tell(
    subject: Subject, text: str, explainers: Sequence[Explainer], *, target: int | None = None, seed: int = 0
) -> str:
    """The sentence, what each explainer says of it, and for contrasts both sentences with the words that change.

    Args:
        subject: a classifier of sentences, `models.load("text:reviews")`.
        text: the sentence.
        target: class to explain; None takes the prediction.

    Raises:
        UsageError: no words, too many of them, or a model of images.

    Example:
        >>> import explainers, models
        >>> print(tell(models.load("text:reviews"), "a dull film", [explainers.get("word-gradient")]).splitlines()[0])
        sentence: a dull film
    """
    if subject.data.content != "words":
        raise UsageError(f"{subject.name} reads images; give a model of sentences: --model text:reviews")
    words = split_words(text)
    if not 1 <= len(words) <= LONGEST:
        raise UsageError(f"the text has {len(words)} words; give 1 to {LONGEST}")
    if target is not None and not 0 <= target < subject.num_classes:
        raise UsageError(f"class {target} is none of {subject.name}; classes are 0 to {subject.num_classes - 1}")
    rows = rows_of(padded([dictionary().encode(words)], LONGEST))
    unknown = [word for word, number in zip(words, numbers_of(rows)[0].tolist(), strict=False) if number == UNKNOWN]
    lines = [f"sentence: {' '.join(words)}", f"  {_said(subject, rows)}"]
    if unknown:
        lines.append(f"  not in the dictionary: {', '.join(unknown)}")
    for explainer in explainers:
        made = asked(explainer, subject, rows, None if target is None else [target], seed)
        lines += _contrast(subject, explainer, made, words) if made.counterfactual is not None else []
        lines += _values(subject, explainer, made, words)
    return "\n".join(lines)


def _said(subject: Subject, rows: Tensor) -> str:
    """Class and probability of the one sentence."""
    shares = subject.predict_logits(rows).softmax(1)[0]
    best = int(shares.argmax())
    return f"{subject.class_names[best]}, probability {float(shares[best]):.3f}"


def _contrast(subject: Subject, explainer: Explainer, made: Explanation, words: Sequence[str]) -> list[str]:
    """Both sentences of a contrast."""
    ends = [each for each in (made.reconstruction, made.counterfactual) if each is not None]
    written, changed = (_words(each) for each in ends)
    same = sum(first == second for first, second in zip(written, words, strict=True))
    name = subject.class_names[int(made.targets[0])]
    before = float(torch.sigmoid((made.extra or {})["h"][0]))
    after = float(torch.sigmoid((made.extra or {})["decoded"][0]))
    pairs = [(first, second) for first, second in zip(written, changed, strict=True) if first != second]
    return [
        f"{explainer.name}: {(made.outcome or ('',))[0]}",
        f"  as the autoencoder writes it ({same} of {len(words)} words): {' '.join(written)}",
        f"    {_said(subject, ends[0])}",
        f"  contrast: {' '.join(changed)}",
        f"    probability of {name} {before:.3f} before words were read, {after:.3f} after",
        f"  removed: {', '.join(first for first, _ in pairs) or 'nothing'}",
        f"  added: {', '.join(second for _, second in pairs) or 'nothing'}",
    ]


def _values(subject: Subject, explainer: Explainer, made: Explanation, words: Sequence[str]) -> list[str]:
    """The value of each word, or its status."""
    if made.status[0] not in ("ok", "degenerate-zero"):
        return [f"{explainer.name}: {made.status[0]}"]
    values = made.map("signed")[0, 0, : len(words)].tolist()
    shown = "  ".join(f"{word} {value:+.2f}" for word, value in zip(words, values, strict=True))
    return [f"{explainer.name} for {subject.class_names[int(made.targets[0])]}:", f"  {shown}"]


def _words(rows: Tensor) -> list[str]:
    """The words of one row."""
    return [dictionary().words[number] for number in numbers_of(rows)[0].tolist() if number != NOTHING]
