"""Certificates that are shipped beside the weights, and the certificate that has to hold before maps are scored."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from ..data import ImageSet
from ..zoo.catalogue import FOLDER
from .certificate import Certificate, read
from .certifying import DRAWS, certify

if TYPE_CHECKING:
    from ..base import Subject

DIGESTED = 32
LOOKED_AT = {"mosaic": 64, "difull": 64, "cue": 256}
"""Images on which the lines of a data set are judged where no certificate is shipped, so that they do not depend on the
images that are asked for."""


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
    found = _kept(path, path.stat().st_mtime_ns)
    same = (found.weights, found.data) == (subject.weights_digest, subject.data.name)
    return found if same and found.digest == data_digest(subject.data) else None


def required(subject: Subject, indices: Sequence[int] = ()) -> Certificate:
    """The certificate of a model on its images, shipped or computed, with the pairs of these images.

    Args:
        subject: a model whose data carry a truth.
        indices: images that it has to cover beside those on which the lines are judged.

    Raises:
        UsageError: it does not hold, the message says which line failed; or what `certify` refuses.
    """
    found = stored(subject)
    if found is None:
        count = 1 if subject.data.truth is None else LOOKED_AT[subject.data.truth.kind]
        found = subject.kept("certificate", lambda: certify(subject, range(min(count, len(subject.data)))))
    found.require()
    known = {pair.index for pair in found.pairs}
    missing = [index for index in indices if index not in known]
    return replace(found, pairs=(*found.pairs, *certify(subject, missing).pairs)) if missing else found


@lru_cache(maxsize=8)
def _kept(path: Path, changed: int) -> Certificate:
    return read(json.loads(path.read_text()))


def store(subject: Subject, *, draws: int = DRAWS) -> Certificate:
    """Certify all images and write the certificate beside the weights (used when the zoo itself is made)."""
    found = certify(subject, range(len(subject.data)), draws=draws)
    path_of(subject.name).write_text(json.dumps(found.record(), separators=(",", ":")) + "\n")
    return found
