"""What a generator's name stands for at this moment, for the keys of stored results; free of torch."""

from __future__ import annotations

import hashlib
import json
from functools import lru_cache
from pathlib import Path

from models.text import shipped
from models.zoo import catalogue


def generator_digest(text: str) -> str:
    """sha256 of the shipped weights that a generator's name may stand for, or of the file that a user's comes from.

    Args:
        text: the parameter `generator`: `vae`, a member of the zoo, `file.py:function`, a file of weights.

    Returns:
        The digest; empty for `package.module:function`, whose version is that of the package.
    """
    if ":" in text or text.endswith(".safetensors"):
        path = Path(text.rpartition(":")[0] or text)
        own = path.suffix in (".py", ".safetensors") and path.is_file()
        return hashlib.sha256(path.read_bytes()).hexdigest() if own else ""
    return _shipped(text)


def coders_digest() -> str:
    """sha256 of the digests of all shipped autoencoders of sentences."""
    found = {name: entry["digest"] for name, entry in sorted(shipped.manifest().items())}
    return hashlib.sha256(json.dumps(found).encode()).hexdigest()


@lru_cache(maxsize=32)
def _shipped(text: str) -> str:
    kind = text.partition("[")[0].split("-")[-1]
    found = {
        name: entry["digest"]
        for name, entry in sorted(catalogue.manifest().items())
        if kind in name.split("-") and any(name.startswith(stem) for stem in _generators())
    }
    return hashlib.sha256(json.dumps(found).encode()).hexdigest()


def _generators() -> list[str]:
    return [each.name for each in catalogue.MEMBERS.values() if each.kind == "generator"]
