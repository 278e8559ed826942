"""The independent network that judges counterfactuals, and the embedding in which identity is measured.

Neither may have anything to do with what is explained: a measure taken from the model under test rewards adversarial
images, and the features of a classifier tell objects of one class hardly apart.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor

from models.base import Subject
from models.naming import UsageError

from .identity import equal_error

JUDGE = "fmnist-oracle"
EMBEDDING = "fashion-mnist-ae"
PAIRS = 1000
"""Pairs of images from which the equal-error threshold is found."""


class NoJudge(ValueError):
    """There is no independent network for these images; measures that need one are not applicable, with this reason."""


@dataclass(frozen=True, eq=False)
class Judge:
    """An independent network, seen through the classes of the model under test.

    Attributes:
        name: what reports call it.
        subject: the network.
        classes: position of each class of the model under test among the judge's classes.
    """

    name: str
    subject: Subject
    classes: tuple[int, ...]

    def probabilities(self, images: Tensor) -> Tensor:
        """(n, K) over the classes of the model under test; what the judge gives to its other classes stays away."""
        found = self.subject.predict_logits(images).softmax(1)
        return found[:, list(self.classes)]

    def features(self, images: Tensor) -> Tensor:
        """(n, d) penultimate features."""
        network = self.subject.model
        mean, std = self.subject.module.mean, self.subject.module.std
        with torch.no_grad():
            parts = [network.features((part - mean) / std) for part in images.split(256)]  # type: ignore[operator]
        return torch.cat(parts)


def judge_for(subject: Subject) -> Judge:
    """The independent network for the images of a subject.

    Raises:
        NoJudge: its classes or the size of its images are not those of the subject.
    """
    try:
        found = _loaded(JUDGE)
    except UsageError as error:
        raise NoJudge(str(error)) from error
    names = list(found.class_names)
    missing = [name for name in subject.class_names if name not in names]
    if missing:
        raise NoJudge(f"the independent network {JUDGE} knows {', '.join(names)} and not {', '.join(missing)}")
    if tuple(found.data.shape) != tuple(subject.data.shape):
        raise NoJudge(f"the independent network {JUDGE} sees images of {found.data.shape}, not {subject.data.shape}")
    return Judge(JUDGE, found, tuple(names.index(name) for name in subject.class_names))


@dataclass(frozen=True, eq=False)
class Embedding:
    """A common embedding of images, with the cosine at which it confuses as many as it separates.

    Attributes:
        name: what reports call it.
        threshold: cosine above which two images count as the same object.
        error: share of pairs on the wrong side there; an embedding above 0.2 verifies nothing.
    """

    name: str
    threshold: float
    error: float

    def __call__(self, images: Tensor) -> Tensor:
        """(n, d) float32."""
        return _encoded(self.name, images)


def embedding_for(subject: Subject) -> Embedding:
    """The embedding for the images of a subject, its threshold found on training images.

    Raises:
        NoJudge: none is at hand for images of this size.
    """
    import models

    try:
        made = models.load_generator(EMBEDDING)
    except UsageError as error:
        raise NoJudge(str(error)) from error
    if made.encode is None or tuple(made.shape) != tuple(subject.data.shape):
        raise NoJudge(f"the embedding {EMBEDDING} sees images of {made.shape}, not {tuple(subject.data.shape)}")
    images = subject.reference.load(range(min(PAIRS, len(subject.reference))))
    codes, shifted, others = (_encoded(EMBEDDING, x) for x in (images, nudged(images), images.roll(1, 0)))
    cosine = torch.nn.functional.cosine_similarity
    threshold, share = equal_error(cosine(codes, shifted), cosine(codes, others))
    return Embedding(EMBEDDING, threshold, share)


def nudged(images: Tensor) -> Tensor:
    """The same objects a little otherwise: one pixel to the side and a tenth darker, (n, C, H, W) in [0, 1]."""
    return 0.9 * torch.roll(images, (1, 1), dims=(2, 3))


def _encoded(name: str, images: Tensor) -> Tensor:
    import models

    encode = models.load_generator(name).encode
    if encode is None:
        raise NoJudge(f"{name} has no encoder")
    with torch.no_grad():
        return torch.cat([encode(part) for part in images.split(256)])


@lru_cache(maxsize=2)
def _loaded(name: str) -> Subject:
    import models

    return models.load(name)
