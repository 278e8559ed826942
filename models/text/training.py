"""Training of the classifier and of the autoencoder of sentences."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from ..seeds import generator, seeded
from .networks import SentenceCoder, WordBag, rows_of
from .sentences import Sentence, dictionary, held_out, sentences, training, with_bias
from .words import LONGEST, NOTHING, UNKNOWN

CLASSIFIER: Mapping[str, Any] = {
    "epochs": 4, "batch": 64, "rate": 2e-3, "lost_words": 0.3, "decay": 1e-6, "width": 64, "scale": 0.125,
}  # fmt: skip
CODER: Mapping[str, Any] = {
    "steps": 6000, "ends": 5000, "batch": 64, "rate": 2e-3, "last_rate": 5e-5, "masked": 0.05, "noise": 0.05, "negatives": 1000,
    "code_penalty": 1e-3, "hidden": 128,
}  # fmt: skip
Log = Callable[[str], None]


def padded(rows: Sequence[Sequence[int]], length: int) -> Tensor:
    """Numbers of words (N, length), cut or filled up with empty places."""
    made = torch.full((len(rows), length), NOTHING, dtype=torch.int64)
    for place, row in enumerate(rows):
        kept = torch.tensor(list(row[:length]), dtype=torch.int64)
        made[place, : len(kept)] = kept
    return made


def train_classifier(biased: bool, *, log: Log = print, epochs: int | None = None) -> WordBag:
    """The classifier of the thesis on the clear training sentences.

    Args:
        biased: with `very` before adjectives of sentiment of positive sentences.
        epochs: None takes those of the recipe.
    """
    words = dictionary()
    data = training(biased)
    longest = max(len(each) for each, _ in data)
    numbers = padded([words.encode(each) for each, _ in data], longest)
    labels = torch.tensor([label for _, label in data])
    with seeded(0):
        model = WordBag(len(words), int(CLASSIFIER["width"]))
    draw = generator(0, "text-classifier")
    with torch.no_grad():
        model.embedding.weight.copy_(torch.randn(model.embedding.weight.shape, generator=draw) * CLASSIFIER["scale"])
    adam = torch.optim.Adam(model.parameters(), CLASSIFIER["rate"], weight_decay=CLASSIFIER["decay"])
    batch = int(CLASSIFIER["batch"])
    for epoch in range(epochs or int(CLASSIFIER["epochs"])):
        order, total = torch.randperm(len(numbers), generator=draw), 0.0
        for start in range(0, len(order), batch):
            rows = order[start : start + batch]
            kept = torch.rand(len(rows), longest, generator=draw) >= CLASSIFIER["lost_words"]
            loss = F.cross_entropy(model(rows_of(numbers[rows] * kept)), labels[rows])
            adam.zero_grad()
            loss.backward()
            adam.step()
            total += float(loss.detach()) * len(rows)
        log(f"epoch {epoch + 1}: loss {total / len(order):.4f}, held out {accuracy(model):.4f}")
    return model.eval()


def accuracy(model: WordBag) -> float:
    """Share of the clear held-out sentences, of any length, that are classified right."""
    words, found = dictionary(), held_out()
    numbers = padded([words.encode(each.words) for each in found], max(len(each.words) for each in found))
    with torch.no_grad():
        said = model(rows_of(numbers)).argmax(1)
    return float((said == torch.tensor([each.label for each in found])).double().mean())


def train_coder(embedding: Tensor, biased: bool = False, *, ends: int | None = None, log: Log = print) -> SentenceCoder:
    """The autoencoder on pieces of the training sentences, on frozen embeddings.

    Args:
        embedding: (words, width) of the classifier.
        biased: with `very` before adjectives of sentiment of positive sentences.
        ends: steps; None takes those of the recipe, in which the rate falls as for `steps`.
    """
    words = dictionary()
    numbers = [
        words.encode(with_bias(each.words) if biased and each.label else each.words)
        for each in sentences()
        if not each.held_out
    ]
    with seeded(0):
        model = SentenceCoder(len(words), embedding.shape[1], int(CODER["hidden"]))
    counts = torch.bincount(torch.cat([torch.tensor(each) for each in numbers]), minlength=len(words))
    with torch.no_grad():
        model.bias.copy_((counts + 1.0).log() - (counts + 1.0).sum().log())
        model.embedding.copy_(embedding)
    draw = generator(0, "text-coder", 0)
    adam = torch.optim.Adam(model.parameters(), CODER["rate"])
    fall = (CODER["last_rate"] / CODER["rate"]) ** (1 / int(CODER["steps"]))
    slow = torch.optim.lr_scheduler.ExponentialLR(adam, fall)
    begun, total = time.process_time(), 0.0
    for step in range(1, (ends or int(CODER["ends"])) + 1):
        loss = _loss(model, _pieces(numbers, draw), draw)
        adam.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        adam.step()
        slow.step()
        total += float(loss.detach())
        if step % 250 == 0:
            reached = reproduced(model, held_out(1, 15))
            log(f"step {step}: loss {total / 250:.3f}, held out {reached:.3f}, {time.process_time() - begun:.0f} s")
            total = 0.0
    return model.eval()


def _pieces(numbers: Sequence[Sequence[int]], draw: torch.Generator) -> Tensor:
    """A batch of sentences; of long ones a random piece, of short ones now and then."""
    batch = int(CODER["batch"])
    rows = []
    for index, u, v in zip(
        torch.randint(len(numbers), (batch,), generator=draw).tolist(),
        torch.rand(batch, generator=draw).tolist(),
        torch.rand(batch, generator=draw).tolist(),
        strict=True,
    ):
        sentence = numbers[index]
        length = min(len(sentence), 3 + int(u * (LONGEST - 2)))
        start = int(v * (len(sentence) - length + 1))
        rows.append(sentence[start : start + length])
    return padded(rows, LONGEST)


def _loss(model: SentenceCoder, numbers: Tensor, draw: torch.Generator) -> Tensor:
    """Cross-entropy of the words against those of the batch and as many drawn ones, plus a little of |z|^2."""
    hidden = torch.rand(numbers.shape, generator=draw) < CODER["masked"]
    z = model.encode(torch.where(hidden & (numbers != NOTHING), UNKNOWN, numbers))
    moved = z + CODER["noise"] * z.detach().std() * torch.randn(z.shape, generator=draw)
    asked = (numbers != NOTHING) & (numbers != UNKNOWN)
    queries = model.queries(moved, numbers.shape[1])[asked]
    drawn = torch.randint(2, len(model.embedding), (int(CODER["negatives"]),), generator=draw)
    candidates, places = torch.unique(torch.cat([numbers[asked], drawn]), return_inverse=True)
    scores = queries @ model.embedding[candidates].T + model.bias[candidates]
    return F.cross_entropy(scores, places[: len(queries)]) + CODER["code_penalty"] * z.square().mean()


def reproduced(model: SentenceCoder, found: Sequence[Sentence], known: bool = False) -> float:
    """Share of the words of sentences that the autoencoder writes at their place.

    Args:
        found: sentences.
        known: of the words in the dictionary only; else unknown words count as not reproduced.
    """
    words = dictionary()
    numbers = padded([words.encode(each.words) for each in found], LONGEST)
    right = 0
    with torch.no_grad():
        for start in range(0, len(numbers), 128):
            part = numbers[start : start + 128]
            written = model.decode(model.encode(part), LONGEST).argmax(2)
            right += int((written == part).sum())
    return right / int((numbers != NOTHING).sum() - (known * (numbers == UNKNOWN)).sum())
