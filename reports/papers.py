"""What a paper claims and how it is computed from stored records: plain data that goes into a run folder."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

RELATIONS = ("value", "difference", "ratio")
STATISTICS = ("mean", "median")


@dataclass(frozen=True)
class Term:
    """One number from the records: a measure of one explainer on one subject, over images and seeds.

    Attributes:
        subject: name of the model, as in the column `subject`.
        explainer: name of the explainer; `(model)` for rows about the model alone.
        check: name of the check.
        measure: name of the measure; empty: the estimate of the verdict of that name.
        statistic: `mean` or `median` over the images, after the mean over the seeds.
        stage: only the rows of this stage; None for all.
        low, high: names of measures that hold the interval of a number that has no images; empty for none.
        repeats: seeds only repeat what is drawn anew for every image, so that images alone are drawn for the interval.
    """

    subject: str
    explainer: str
    check: str
    measure: str = ""
    statistic: str = "mean"
    stage: int | None = None
    low: str = ""
    high: str = ""
    repeats: bool = False


@dataclass(frozen=True)
class Claim:
    """One statement of a paper, and the number that speaks for or against it.

    Attributes:
        name: short, unique within its paper.
        statement: what the paper says, in our words.
        where: section, figure or table of the paper.
        measured: what the number is, in words, with its unit.
        first: the number.
        second: what it is compared with; None for a plain value.
        relation: `value` (of first), `difference` (first - factor * second) or `ratio` (first / second).
        base: what is taken off both terms of a ratio: (first - base) / (second - base); None for nothing.
        factor: see `relation`.
        at_least, at_most: where the number has to be for the statement to hold; None for no bound.
        untestable: why the statement cannot be tested here; empty where it can.

    Raises:
        ValueError: a relation without its terms, no bound, or a statement that neither has a number nor says why not.
    """

    name: str
    statement: str
    where: str
    measured: str = ""
    first: Term | None = None
    second: Term | None = None
    relation: str = "value"
    factor: float = 1.0
    base: Term | None = None
    at_least: float | None = None
    at_most: float | None = None
    untestable: str = ""

    def __post_init__(self) -> None:
        """Refuse what cannot be computed."""
        if self.untestable:
            return
        if self.relation not in RELATIONS:
            raise ValueError(f"claim {self.name!r}: relation is {self.relation!r}; allowed are {', '.join(RELATIONS)}")
        if self.first is None or (self.second is None) != (self.relation == "value"):
            raise ValueError(
                f"claim {self.name!r}: {self.relation} needs {'one term' if self.relation == 'value' else 'two terms'}"
            )
        if self.base is not None and self.relation != "ratio":
            raise ValueError(f"claim {self.name!r}: base is for a ratio, not for {self.relation}")
        if self.at_least is None and self.at_most is None:
            raise ValueError(f"claim {self.name!r} has no bound; give at_least or at_most")
        for term in self.terms:
            if term.statistic not in STATISTICS:
                raise ValueError(
                    f"claim {self.name!r}: statistic is {term.statistic!r}; allowed are {', '.join(STATISTICS)}"
                )

    @property
    def terms(self) -> tuple[Term, ...]:
        """The numbers that the claim needs."""
        return tuple(term for term in (self.first, self.second, self.base) if term is not None)

    @property
    def bound(self) -> str:
        """The bound in words.

        >>> term = Term("m", "e", "c", "v")
        >>> Claim("a", "s", "w", first=term, at_least=0.25).bound
        'at least 0.25'
        """
        parts = [("at least", self.at_least), ("at most", self.at_most)]
        return " and ".join(f"{words} {value:g}" for words, value in parts if value is not None)


@dataclass(frozen=True)
class Paper:
    """The claims of one paper that a suite tests.

    Attributes:
        suite: name of the suite.
        title: of the paper, with authors and year.
        claims: in the order of the paper.
    """

    suite: str
    title: str
    claims: tuple[Claim, ...]

    def record(self) -> dict[str, Any]:
        """The paper as JSON."""
        return asdict(self)


def paper_of(content: Mapping[str, Any]) -> Paper:
    """The inverse of `Paper.record`.

    Raises:
        TypeError, ValueError, LookupError: it does not hold a paper.

    >>> paper = Paper("paper-x", "X", (Claim("a", "s", "w", untestable="no data"),))
    >>> paper_of(paper.record()) == paper
    True
    """
    claims: Sequence[Mapping[str, Any]] = content["claims"]
    return Paper(str(content["suite"]), str(content["title"]), tuple(_claim(each) for each in claims))


def _claim(content: Mapping[str, Any]) -> Claim:
    terms = {name: None if content[name] is None else Term(**content[name]) for name in ("first", "second", "base")}
    return Claim(**{**content, **terms})
