"""The claims of papers against stored records: our number with its interval, and whether it agrees."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from reports import stats, tables
from reports.papers import Claim, Paper, Term
from reports.stats import Interval

AGREES, DIFFERS, OPEN, UNTESTED = "agrees", "does not", "undecided", "not testable"
VERDICTS = (AGREES, DIFFERS, OPEN, UNTESTED)
MEANINGS = {
    AGREES: "The whole 95% interval (or a number that has none) is where the claim says.",
    DIFFERS: "The whole interval is where the claim says it is not.",
    OPEN: "The interval holds the bound: more images are needed.",
    UNTESTED: "There is no number: the reason says why.",
}
COLUMNS = {
    "paper": "str", "claim": "str", "statement": "str", "where": "str", "measured": "str", "first": "float64",
    "second": "float64", "estimate": "float64", "ci_low": "float64", "ci_high": "float64", "bound": "str", "n": "int64",
    "verdict": "str", "reason": "str",
}  # fmt: skip
RESAMPLES = 2000
_NONE = Interval(float("nan"), float("nan"), float("nan"))

Floats = npt.NDArray[np.float64]


def judge_claims(frame: pd.DataFrame, papers: Sequence[Paper], verdicts: pd.DataFrame | None = None) -> pd.DataFrame:
    """Compute every claim from the records.

    Intervals are percentile bootstraps over images, crossed with seeds where there are several that stand for something that
    all images share. Two terms with images in common are compared on these, image by image; else each is drawn again for
    itself. For few images or seeds intervals are widened as in `reports.stats`.

    Args:
        frame: tidy records.
        papers: what is claimed.
        verdicts: the verdict table, for claims about verdicts' estimates.

    Returns:
        One row per claim with the columns of `COLUMNS`: `first` and `second` are the two numbers, `estimate` their
        relation with its 95% interval (null where there is none), `n` the images (or values) behind it, `verdict` one
        of `VERDICTS`.

    Example:
        >>> from reports.schema import empty
        >>> len(judge_claims(empty(), []))
        0
    """
    known = pd.DataFrame() if verdicts is None else verdicts
    rows = [_row(paper, claim, _Values(frame, known)) for paper in papers for claim in paper.claims]
    return pd.DataFrame(rows, columns=list(COLUMNS)).astype(COLUMNS)


def decided(claim: Claim, found: Interval) -> tuple[str, str]:
    """The verdict on a number and the reason.

    >>> claim = Claim("a", "s", "w", first=Term("m", "e", "c", "v"), at_least=0.5)
    >>> decided(claim, Interval(0.7, 0.6, 0.8))[0], decided(claim, Interval(0.7, 0.4, 0.8))[0]
    ('agrees', 'undecided')
    """
    if not np.isfinite(found.estimate):
        return UNTESTED, "the number is not finite"
    none = not np.isfinite(found.low)
    low, high = (found.estimate, found.estimate) if none else (found.low, found.high)
    least = -np.inf if claim.at_least is None else claim.at_least
    most = np.inf if claim.at_most is None else claim.at_most
    beside = "; the number has no interval" if none else ""
    if low >= least and high <= most:
        return AGREES, f"{claim.bound}{beside}"
    if high < least or low > most:
        return DIFFERS, f"not {claim.bound}{beside}"
    return OPEN, f"the interval holds the bound: {claim.bound}"


def by_paper(table: pd.DataFrame, papers: Sequence[Paper]) -> list[dict[str, Any]]:
    """The claims as the page shows them: per paper its title, counts of verdicts, and rows with None for nulls."""
    shown = []
    for paper in papers:
        own = table[(table["paper"] == paper.suite).to_numpy(dtype=bool)]
        rows = own.astype(object).where(own.notna(), None).to_dict("records")
        counts = [(name, int((own["verdict"] == name).sum())) for name in VERDICTS]
        shown.append({"suite": paper.suite, "title": paper.title, "rows": rows, "counts": counts})
    return shown


def to_markdown(table: pd.DataFrame) -> str:
    """The claims as a Markdown table of claim, place in the paper, number with interval, bound and verdict.

    >>> from reports.schema import empty
    >>> to_markdown(judge_claims(empty(), [])).splitlines()[0]
    '| claim | where | measured | value | bound | n | verdict |'
    """
    rows = [
        {
            "claim": row["statement"], "where": row["where"], "measured": row["measured"], "value": figure(row),
            "bound": row["bound"], "n": str(row["n"]),
            "verdict": row["verdict"] + (f": {row['reason']}" if row["verdict"] == UNTESTED else ""),
        }
        for row in table.to_dict("records")
    ]  # fmt: skip
    columns = ["claim", "where", "measured", "value", "bound", "n", "verdict"]
    return tables.to_markdown(pd.DataFrame(rows, columns=columns).astype("str"))


def figure(row: Mapping[Any, Any]) -> str:
    """A number with its interval and the two numbers that it is made of.

    >>> figure({"estimate": 0.25, "ci_low": 0.2, "ci_high": 0.3, "first": 0.5, "second": 0.25})
    '0.250 [0.200, 0.300] (0.500 and 0.250)'
    """
    if row["estimate"] != row["estimate"]:
        return ""
    text = f"{row['estimate']:z.3f}"
    if row["ci_low"] == row["ci_low"]:
        text += f" [{row['ci_low']:z.3f}, {row['ci_high']:z.3f}]"
    return text if row["second"] != row["second"] else f"{text} ({row['first']:z.3f} and {row['second']:z.3f})"


@dataclass(frozen=True)
class _Found:
    """Values of a term: images x seeds where there are images; else a number with an interval of its own."""

    values: Floats
    images: tuple[str, ...] = ()
    own: Interval | None = None


class _Values:
    """Looks terms up in records and verdicts."""

    def __init__(self, frame: pd.DataFrame, verdicts: pd.DataFrame) -> None:
        self.frame, self.verdicts = frame, verdicts

    def find(self, term: Term) -> _Found | str:
        """The values of a term, or why there are none."""
        about = f"{term.measure or 'verdict'} of {term.explainer} on {term.subject} ({term.check})"
        if not term.measure:
            return self._verdict(term, about)
        rows = self._rows(term, term.measure)
        if not len(rows):
            return f"no {about}"
        there = rows[rows["value"].notna().to_numpy()]
        if not len(there):
            words = ", ".join(
                f"{count} {status}" for status, count in rows["status"].astype(str).value_counts().items()
            )
            return f"no value of {about}: {words}"
        if there["image"].isna().all():
            value = float(there["value"].mean())
            ends = [self._one(term, name) for name in (term.low, term.high)]
            return _Found(np.asarray([[value]]), own=Interval(value, *ends))
        table = there.pivot_table(index="image", columns="seed", values="value", aggfunc="mean", observed=True)
        if term.repeats:
            table = table.mean(axis=1).to_frame()
        return _Found(table.to_numpy(dtype=np.float64), tuple(str(name) for name in table.index))

    def _rows(self, term: Term, measure: str) -> pd.DataFrame:
        frame = self.frame
        chosen = (
            (frame["subject"] == term.subject) & (frame["explainer"] == term.explainer)
            & (frame["check"] == term.check) & (frame["measure"] == measure)
        )  # fmt: skip
        if term.stage is not None:
            chosen &= (frame["stage"] == term.stage).fillna(False)
        return frame[chosen.to_numpy(dtype=bool)]

    def _one(self, term: Term, measure: str) -> float:
        if not measure:
            return float("nan")
        values = self._rows(term, measure)["value"].dropna()
        return float(values.mean()) if len(values) else float("nan")

    def _verdict(self, term: Term, about: str) -> _Found | str:
        table = self.verdicts
        if not len(table):
            return f"no {about}"
        rows = table[
            (
                (table["subject"] == term.subject) & (table["explainer"] == term.explainer)
                & (table["check"] == term.check)
            ).to_numpy(dtype=bool)
        ]  # fmt: skip
        if not len(rows):
            return f"no {about}"
        row = rows.iloc[0]
        if not np.isfinite(row["estimate"]):
            return f"{about} is {row['verdict']}: {row['reason']}"
        own = Interval(float(row["estimate"]), float(row["ci_low"]), float(row["ci_high"]))
        return _Found(np.full((max(int(row["n"]), 1), 1), own.estimate), own=own)


def _row(paper: Paper, claim: Claim, values: _Values) -> dict[str, object]:
    row: dict[str, object] = {
        "paper": paper.suite, "claim": claim.name, "statement": claim.statement, "where": claim.where,
        "measured": claim.measured, "first": np.nan, "second": np.nan, "estimate": np.nan, "ci_low": np.nan,
        "ci_high": np.nan, "bound": claim.bound, "n": 0, "verdict": UNTESTED, "reason": claim.untestable,
    }  # fmt: skip
    if claim.untestable or claim.first is None:
        return row
    found = [values.find(term) for term in claim.terms]
    missing = [each for each in found if isinstance(each, str)]
    there = [each for each in found if isinstance(each, _Found)]
    if missing:
        return row | {"reason": "; ".join(missing)}
    one, parts, n = _related(claim, list(claim.terms), there)
    verdict, reason = decided(claim, one)
    return row | {
        "first": parts[0], "second": parts[1] if len(parts) > 1 else np.nan, "estimate": one.estimate,
        "ci_low": one.low, "ci_high": one.high, "n": n, "verdict": verdict, "reason": reason,
    }  # fmt: skip


def _related(claim: Claim, terms: list[Term], found: list[_Found]) -> tuple[Interval, list[float], int]:
    """The relation of one or two terms with its interval, their numbers, and how many images stand behind it."""
    n = min(len(each.values) for each in found)
    if claim.relation == "value" and found[0].own is not None:
        return found[0].own, [found[0].own.estimate], n
    if any(each.own is not None for each in found):
        points = [each.own.estimate if each.own else _plain(t, each) for t, each in zip(terms, found, strict=True)]
        number = float(_combined(claim, [np.asarray([value]) for value in points])[0])
        return Interval(number, float("nan"), float("nan")), points, n
    found = _on_common_images(found)
    drawn = _drawn(terms, found)
    numbers = _combined(claim, drawn)
    points = [float(each[0]) for each in drawn]
    n = min(len(each.values) for each in found)
    rest = numbers[1:][np.isfinite(numbers[1:])]
    if n < 2 or len(rest) < RESAMPLES // 2:
        return Interval(float(numbers[0]), float("nan"), float("nan")), points, n
    value = float(numbers[0])
    low, high = (float(end) for end in np.quantile(rest, [0.025, 0.975]))
    few = min(n, *(each.values.shape[1] for each in found if each.values.shape[1] > 1), stats.FEW)
    factor = stats.small_sample_factor(few)
    own = Interval(value, value - factor * max(value - low, 0.0), value + factor * max(high - value, 0.0))
    return own, points, n


def _combined(claim: Claim, drawn: list[Floats]) -> Floats:
    if claim.relation == "value":
        return drawn[0]
    if claim.relation == "difference":
        return np.asarray(drawn[0] - claim.factor * drawn[1])
    base = drawn[2] if claim.base is not None else 0.0
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray((drawn[0] - base) / (drawn[1] - base))


def _plain(term: Term, found: _Found) -> float:
    means = np.nanmean(found.values, axis=1)
    return float(np.median(means) if term.statistic == "median" else means.mean())


def _on_common_images(found: list[_Found]) -> list[_Found]:
    """All terms on the images that they have in common, in one order; as they are where there are fewer than two."""
    if len(found) < 2:
        return found
    common = sorted(set.intersection(*(set(each.images) for each in found)))
    if len(common) < 2:
        return found
    places = [[{name: at for at, name in enumerate(each.images)}[name] for name in common] for each in found]
    return [_Found(each.values[place], tuple(common)) for each, place in zip(found, places, strict=True)]


def _drawn(terms: list[Term], found: list[_Found]) -> list[Floats]:
    """Per term its number first, then that of each resample; equal images and seeds are drawn alike for both terms."""
    made = []
    for place, (term, each) in enumerate(zip(terms, found, strict=True)):
        paired = place == 0 or each.images == found[0].images
        images, seeds = each.values.shape
        rng = np.random.default_rng(0 if paired else place)
        chosen = np.concatenate([np.arange(images)[None], rng.integers(0, images, (RESAMPLES, images))])
        columns = np.random.default_rng(7).integers(0, seeds, (RESAMPLES, seeds))
        weights = np.stack([np.full(seeds, 1.0), *(np.bincount(row, minlength=seeds) for row in columns)])
        there = np.isfinite(each.values)
        with np.errstate(invalid="ignore"):
            means = (weights @ np.where(there, each.values, 0.0).T) / (weights @ there.T)
        picked = np.take_along_axis(means, chosen, axis=1)
        made.append(
            np.asarray(np.nanmedian(picked, axis=1) if term.statistic == "median" else np.nanmean(picked, axis=1))
        )
    return made
