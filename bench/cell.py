"""A cell: one piece of work, its identity and its key.

The key names the file that holds the cell's records, so "done" means that the file exists and reads. Only what can
change a result stands in the identity; device, batch size, jobs, backend, order, host and paths do not.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any

IDENTITY_VERSION = 1


def canonical(value: Any) -> str:
    """The one JSON text of a value: sorted keys, no spaces, ASCII, no NaN or infinity.

    Raises:
        ValueError: the value holds NaN or an infinity.
        TypeError: the value holds something that JSON has no form for.

    Example:
        >>> canonical({"b": 1, "a": (True, "x")})
        '{"a":[true,"x"],"b":1}'
    """
    return json.dumps(value, sort_keys=True, ensure_ascii=True, separators=(",", ":"), allow_nan=False)


def digest(value: Any) -> str:
    """sha256 (hex) of the canonical JSON of a value.

    Example:
        >>> digest([])[:8]
        '4f53cda1'
    """
    return hashlib.sha256(canonical(value).encode()).hexdigest()


@dataclass(frozen=True)
class Cell:
    """One explainer, one check, one block of images, one seed, on one subject.

    Attributes:
        suite: the suite that asked for it; a label, not part of the identity.
        check: name of the check, for example `cascading`.
        check_identity: canonical JSON of what the check depends on (parameters, protocol hash, version).
        subject: display name of the subject.
        subject_identity: canonical JSON of `Subject.identity()` (name, parameters, digests).
        explainer: display name, or `(model)` for rows about the model alone.
        explainer_identity: canonical JSON of the resolved specification and its version.
        images: stable ids of the block's images, in order.
        images_digest: sha256 of their ids and contents; a picture replaced under the same name is another picture.
        seed: index of the seed, repeat or draw, >= 0.
        base: the run's base seed.
        dtype: numerics, for example `float32`.
        rows: how many records are expected, None where the plan cannot tell.
    """

    suite: str
    check: str
    check_identity: str
    subject: str
    subject_identity: str
    explainer: str
    explainer_identity: str
    images: tuple[str, ...]
    images_digest: str
    seed: int
    base: int
    dtype: str
    rows: int | None = None

    def identity(self) -> dict[str, Any]:
        """Everything that the result depends on, and nothing else (JSON-able)."""
        return {
            "identity": IDENTITY_VERSION,
            "subject": json.loads(self.subject_identity),
            "explainer": json.loads(self.explainer_identity),
            "check": {"name": self.check, **json.loads(self.check_identity)},
            "images": self.images_digest,
            "seed": {"base": self.base, "index": self.seed},
            "numerics": {"dtype": self.dtype},
        }

    @cached_property
    def key(self) -> str:
        """sha256 (64 hex digits) of the canonical JSON of the identity.

        Example:
            >>> from dataclasses import replace
            >>> cell = Cell("s", "cascading", "{}", "m", "{}", "saliency", "{}", ("a/0",), "d", 0, 0, "float32")
            >>> len(cell.key), cell.key == replace(cell, suite="other").key, cell.key == replace(cell, seed=1).key
            (64, True, False)
        """
        # The canonical JSON of `identity`, put together from parts that many cells share.
        name = canonical(self.check)
        text = (
            f'{{"check":{_joined(self.check_identity, name)},"explainer":{_again(self.explainer_identity)},'
            f'"identity":{IDENTITY_VERSION},"images":{canonical(self.images_digest)},'
            f'"numerics":{{"dtype":{canonical(self.dtype)}}},"seed":{{"base":{self.base:d},"index":{self.seed:d}}},'
            f'"subject":{_again(self.subject_identity)}}}'
        )
        return hashlib.sha256(text.encode()).hexdigest()

    def entry(self) -> dict[str, Any]:
        """The cell as it stands in `plan.json`."""
        return {
            "key": self.key,
            "suite": self.suite,
            "check": self.check,
            "subject": self.subject,
            "explainer": self.explainer,
            "seed": self.seed,
            "images": list(self.images),
            "rows": self.rows,
        }


@lru_cache(maxsize=4096)
def _again(text: str) -> str:
    """A JSON text in its canonical form."""
    return canonical(json.loads(text))


@lru_cache(maxsize=4096)
def _joined(text: str, name: str) -> str:
    """The canonical form of an object with its name in it."""
    return canonical({"name": json.loads(name), **json.loads(text)})
