"""The explainers of sentences: one value per word."""

from __future__ import annotations

import torch
from torch import Tensor

from models.base import Subject
from models.naming import UsageError, near
from models.text.networks import WordBag, numbers_of, rows_of
from models.text.shipped import MEMBERS, load_coder
from models.text.words import NOTHING

from ...base import ExplainerError, Partial
from ...passes import fingerprint, remembered
from ..start import Anchor
from .search import PROFILES, UNDECIDED, Contrast, Sentences, contrast

MAPS = ("given", "edits")
CODER = "own"
"""The autoencoder on the embeddings of the classifier that is explained."""


def classifier_of(subject: Subject, name: str) -> WordBag:
    """The classifier of sentences of a subject.

    Raises:
        ExplainerError: the subject reads images.
    """
    if not isinstance(subject.model, WordBag):
        raise ExplainerError(f"{name} explains sentences, and {subject.name} reads images; take text:reviews")
    return subject.model


def word_gradient(subject: Subject, images: Tensor, targets: Tensor, *, seed: int) -> Tensor:
    """Gradient of the explained class's logit by each word's embedding, times the embedding, (N, 1, 1, L), logits.

    Values sum to the logit less the bias where the classifier is linear in its embeddings.

    Source: Shrikumar et al. 2016, Not just a black box (gradient times input).
    """
    model = classifier_of(subject, "word-gradient")
    with torch.enable_grad():
        embedded = model.embedded(numbers_of(images)).detach().requires_grad_(True)
        chosen = model.of_embeddings(embedded).gather(1, targets[:, None]).sum()
        (slope,) = torch.autograd.grad(chosen, embedded)
    return (slope * embedded.detach()).sum(2)[:, None, None]


def word_occlusion(subject: Subject, images: Tensor, targets: Tensor, *, seed: int) -> Tensor:
    """What the logit of the explained class loses when a word is left out, (N, 1, 1, L), logits.

    Source: Li et al. 2016, Understanding neural networks through representation erasure, equation 1 (logits in place of
    log-likelihoods).
    """
    model = classifier_of(subject, "word-occlusion")
    numbers = numbers_of(images)
    with torch.no_grad():
        embedded = model.embedded(numbers)
        whole = model.of_embeddings(embedded).gather(1, targets[:, None])
        lost = []
        for place in range(numbers.shape[1]):
            left = embedded.clone()
            left[:, place] = 0
            lost.append(whole - model.of_embeddings(left).gather(1, targets[:, None]))
    values = torch.cat(lost, 1) * (numbers != NOTHING)
    return values[:, None, None]


def word_contrast(
    subject: Subject,
    images: Tensor,
    targets: Tensor,
    *,
    seed: int,
    map: str = "given",
    coder: str = CODER,
    profile: str = "fast",
    anchor: Anchor | None = None,
) -> Partial:
    """CDeepEx on sentences: what each place gives up on the way to the nearest undecided sentence, (N, 1, 1, L).

    Args:
        map: `given` (log odds that each place gives up, summing to those of the whole way) or `edits` (1 where the word
            becomes another one).
        coder: autoencoder of the zoo; `own` is the one on the embeddings of the classifier that is explained.
        profile: `fast`, or `paper` for the published growth of the penalty.
        anchor: the trained network whose spread of logits is used.

    Returns:
        The map with the contrast and what the autoencoder writes of the sentence itself as rows. `extra` has per sentence `h`
        and `decoded`: log odds before and after the words are read.

    Source: Feghahati 2020, chapter 4.
    """
    if map not in MAPS:
        raise UsageError(f"map is {map!r}; allowed are {', '.join(MAPS)}{near(map, MAPS)}")
    if profile not in PROFILES:
        raise UsageError(f"profile is {profile!r}; allowed are {', '.join(PROFILES)}{near(profile, PROFILES)}")
    model = classifier_of(subject, "word-contrast")
    if model.output.out_features != 2:
        raise ExplainerError(f"word-contrast needs two classes; {subject.name} has {model.output.out_features}")
    maker = load_coder(coder_of(subject) if coder == CODER else coder)
    scale = 1.0 if anchor is None else anchor.scale(subject)
    asked = Sentences(numbers_of(images), targets, 1 - targets, scale)

    def compute() -> Contrast:
        return contrast(model, maker, asked, PROFILES[profile])

    key = ("sentences", id(subject), fingerprint(images), fingerprint(targets), coder, profile, id(anchor))
    made = remembered(key, (subject, images, targets, anchor), compute)
    values = made.given if map == "given" else made.edits.to(images.dtype)
    broken = ~made.found.finite | ~torch.isfinite(made.h)
    return Partial(
        values[:, None, None], counterfactual=rows_of(made.words), reconstruction=rows_of(made.written), failed=broken,
        latents=(made.z0, made.found.z), source=targets, target=asked.probe, outcome=outcomes(made, broken),
        extra={"h": made.h, "decoded": made.decoded, "first": made.first, "steps": made.found.steps},
    )  # fmt: skip


def coder_of(subject: Subject) -> str:
    """Name of the autoencoder on the embeddings of a classifier of the zoo.

    Raises:
        ExplainerError: another classifier has none of its own.
    """
    name = f"{subject.spec.get('name', '')}-coder"
    known = [each.shown for each in MEMBERS.values() if each.kind == "coder"]
    if name not in known:
        raise ExplainerError(f"{subject.name} has no autoencoder of its own; name one: word-contrast[coder={known[0]}]")
    return name


def outcomes(made: Contrast, broken: Tensor) -> tuple[str, ...]:
    """How each search ended, one of explainers.base.OUTCOMES."""
    still = ~(made.found.z != made.z0).any(1)
    met = made.h.abs() <= UNDECIDED
    return tuple(
        "failed" if bad else "trivial" if same and fits else "converged" if fits else "infeasible"
        for bad, same, fits in zip(broken.tolist(), still.tolist(), met.tolist(), strict=True)
    )
