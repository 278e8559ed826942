"""Certificates: what has to hold of a model and made images before a map can be scored against the known evidence."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any

from ..naming import UsageError

RATIO = 3.0
"""The change by replacing the evidence of a class has to exceed this many times that by replacing anything else."""

MARGIN = 0.5
"""... and this share of how far the class stands above all classes that the image does not show."""

DIGITS = 4


@dataclass(frozen=True)
class Line:
    """One condition of a certificate.

    Attributes:
        name: short name.
        value: what was measured.
        limit: what was demanded, in words.
        holds: whether it was met.
        says: what was measured, in words.
    """

    name: str
    value: float
    limit: str
    holds: bool
    says: str


@dataclass(frozen=True)
class Pair:
    """Whether a model uses the evidence of one class in one image.

    Attributes:
        index: place of the image in its data set.
        label: the class.
        inside: fall of the class's logit when its evidence is replaced, mean of the draws (d_in).
        outside: largest absolute change of the logit when anything else is replaced (d_out).
        margin: the class's logit minus the largest logit of a class that the image does not show; where it shows all
            classes, the same as inside.
    """

    index: int
    label: int
    inside: float
    outside: float
    margin: float

    @property
    def found(self) -> bool:
        """Whether the model ranks the class above all classes that the image does not show."""
        return self.margin > 0

    @property
    def kept(self) -> bool:
        """Whether the model uses this evidence and little else: inside > 3 outside, inside > half of the margin."""
        return self.inside > 0 and self.inside > RATIO * self.outside and self.inside > MARGIN * self.margin


@dataclass(frozen=True, eq=False)
class Certificate:
    """What was found when the evidence in images was replaced under a model.

    Attributes:
        kind: kind of the Truth.
        subject: name of the model; `weights` is the digest of its weights.
        data: name of the images; `digest` is that of the first of them (see `models.truth.shipped.data_digest`).
        draws: replacements averaged per cell.
        lines: conditions of the whole data set.
        pairs: one per image and class shown.

    Example:
        >>> line = Line("kept", 0.0, ">= 0.1", False, "share of pairs kept")
        >>> certificate = Certificate("mosaic", "m", "", "d", "", 8, (line,), (Pair(0, 3, 1.0, 0.5, 2.0),))
        >>> certificate.verdict, certificate.keeps(0, 3)
        ('refused', False)
    """

    kind: str
    subject: str
    weights: str
    data: str
    digest: str
    draws: int
    lines: tuple[Line, ...]
    pairs: tuple[Pair, ...]

    @property
    def holds(self) -> bool:
        """Whether every line holds."""
        return all(line.holds for line in self.lines)

    @property
    def verdict(self) -> str:
        """`certified` or `refused`."""
        return "certified" if self.holds else "refused"

    @property
    def reason(self) -> str:
        """The lines that do not hold, in words; empty where all do."""
        return "; ".join(
            f"{line.name}: {line.says} is {line.value:.4g}, demanded is {line.limit}"
            for line in self.lines
            if not line.holds
        )

    @property
    def kept_share(self) -> float:
        """Share of the pairs that are kept, in [0, 1]; NaN without pairs."""
        return sum(pair.kept for pair in self.pairs) / len(self.pairs) if self.pairs else math.nan

    @property
    def found_share(self) -> float:
        """Share of the pairs whose class the model finds, in [0, 1]; NaN without pairs."""
        return sum(pair.found for pair in self.pairs) / len(self.pairs) if self.pairs else math.nan

    @cached_property
    def by_place(self) -> dict[tuple[int, int], Pair]:
        """(index, label) -> its pair."""
        return {(pair.index, pair.label): pair for pair in self.pairs}

    def covers(self, indices: Sequence[int]) -> bool:
        """Whether every one of these images was looked at."""
        return set(indices) <= {pair.index for pair in self.pairs}

    def keeps(self, index: int, label: int) -> bool:
        """Whether the pair of an image and a class that it shows is kept.

        Raises:
            UsageError: the certificate does not cover it.
        """
        found = self.by_place.get((index, label))
        if found is None:
            raise UsageError(
                f"the certificate of {self.subject} on {self.data} says nothing of class {label} in image {index}; "
                "certify that image, and ask for a class that it shows"
            )
        return found.kept

    def require(self) -> Certificate:
        """The certificate itself, where it holds.

        Raises:
            UsageError: it does not; the message says which line failed.
        """
        if not self.holds:
            raise UsageError(
                f"{self.data} cannot score maps of {self.subject}: its certificate is refused ({self.reason}); give a "
                "model that uses the known evidence, or other images"
            )
        return self

    def record(self) -> dict[str, Any]:
        """JSON-able; pairs as columns."""
        columns = ("index", "label", "inside", "outside", "margin")
        return {
            "kind": self.kind, "subject": self.subject, "weights": self.weights, "data": self.data, "digest": self.digest,
            "draws": self.draws, "verdict": self.verdict, "kept": self.kept_share, "found": self.found_share,
            "lines": [asdict(line) for line in self.lines],
            "pairs": {name: [getattr(pair, name) for pair in self.pairs] for name in columns},
        }  # fmt: skip


def read(record: Mapping[str, Any]) -> Certificate:
    """The certificate of a record."""
    names = ("index", "label", "inside", "outside", "margin")
    pairs = tuple(Pair(*values) for values in zip(*(record["pairs"][name] for name in names), strict=True))
    lines = tuple(Line(**line) for line in record["lines"])
    texts = (record[name] for name in ("kind", "subject", "weights", "data", "digest"))
    return Certificate(*texts, record["draws"], lines, pairs)


def rounded(value: float) -> float:
    """Four significant digits, so that what is stored and what is computed agree."""
    return float(f"{value:.{DIGITS}g}")


def at_least(name: str, value: float, limit: float, says: str) -> Line:
    """A line that demands a value of at least `limit`."""
    return Line(name, rounded(value), f">= {limit:g}", value >= limit, says)


def at_chance(name: str, right: int, count: int, chance: float, says: str) -> Line:
    """A line that demands that the 95% interval (Wilson) of a share of right answers does not lie above chance.

    An interval below chance does not refuse: it is luck, not a label that could be read.

    Example:
        >>> at_chance("probe", 11, 100, 0.1, "accuracy").holds, at_chance("probe", 90, 100, 0.1, "accuracy").holds
        (True, False)
    """
    value = right / count if count else math.nan
    holds = wilson(right, count)[0] <= chance
    return Line(name, rounded(value), f"a 95% interval that does not lie above {chance:g}", holds, says)


def wilson(right: int, count: int, z: float = 1.959964) -> tuple[float, float]:
    """The Wilson score interval of a share.

    Source: Wilson 1927; Brown, Cai, DasGupta 2001.
    """
    if count == 0:
        return 0.0, 1.0
    share = right / count
    middle = (share + z * z / (2 * count)) / (1 + z * z / count)
    half = z / (1 + z * z / count) * math.sqrt(share * (1 - share) / count + z * z / (4 * count * count))
    return middle - half, middle + half
