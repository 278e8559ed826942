"""Certificates that are shipped beside the weights, and the certificate that has to hold before maps are scored."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ..data import ImageSet
from ..zoo.catalogue import FOLDER
from .certificate import Certificate, read
from .certifying import DRAWS, certify

if TYPE_CHECKING:
    from ..base import Subject

DIGESTED = 32
LOOKED_AT = 1_000


def data_digest(data: ImageSet) -> str:
    """sha256 of the ids, labels and pixels of the first 32 images, which stand for how all are made."""
    return data.digest(range(min(DIGESTED, len(data))))


def path_of(name: str) -> Path:
    """File of the shipped certificate of a zoo classifier."""
    return FOLDER / f"{name}.certificate.json"


def stored(subject: Subject) -> Certificate | None:
    """The shipped certificate, where it is of these weights and these images; else None.

    Example:
        >>> import models
        >>> stored(models.load("fmnist-cue")).verdict
        'certified'
    """
    path = path_of(subject.name)
    if "/" in subject.name or not path.is_file():
        return None
    found = read(json.loads(path.read_text()))
    same = (found.weights, found.data) == (subject.weights_digest, subject.data.name)
    return found if same and found.digest == data_digest(subject.data) else None


def required(subject: Subject, indices: Sequence[int] | None = None) -> Certificate:
    """The certificate of a model on its images, shipped or computed.

    Args:
        subject: a model whose data carry a truth.
        indices: images that it has to cover; None looks at the first 1,000.

    Raises:
        UsageError: it does not hold; the message says which line failed.
    """
    wanted = list(range(min(LOOKED_AT, len(subject.data)))) if indices is None else list(indices)
    found = stored(subject)
    if found is None or not found.covers(wanted):
        found = certify(subject, wanted)
    return found.require()


def store(subject: Subject, *, draws: int = DRAWS) -> Certificate:
    """Certify all images and write the certificate beside the weights (used when the zoo itself is made)."""
    found = certify(subject, range(len(subject.data)), draws=draws)
    path_of(subject.name).write_text(json.dumps(found.record(), separators=(",", ":")) + "\n")
    return found
