"""Random choices keyed by what they are for, so that any image of a data set can be made alone and in any order.

They are built on the raw words of a bit generator, whose stream numpy guarantees, and not on numpy's or torch's
distributions, which may change between versions.
"""

from __future__ import annotations

import numpy as np

from ..seeds import derive


class Draws:
    """A stream of choices that depends on the base seed and the named parts alone.

    Args:
        base: base seed.
        parts: strings and integers that name the stream, for example `("fmnist-mosaic/test", 42)`.

    Example:
        >>> Draws(0, "a", 1).order(4) == Draws(0, "a", 1).order(4)
        True
    """

    def __init__(self, base: int, *parts: str | int) -> None:
        self._bits = np.random.PCG64(derive(base, *parts))

    def below(self, limit: int) -> int:
        """An integer in [0, limit)."""
        return int(self._bits.random_raw()) % limit

    def order(self, count: int) -> list[int]:
        """A permutation of 0 ... count - 1."""
        words = self._bits.random_raw(count)
        return [int(place) for place in np.argsort(words, kind="stable")]
