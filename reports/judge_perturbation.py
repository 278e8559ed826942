"""Verdicts on pixel perturbation: does the model forget its class sooner when the most relevant pixels go first?

One replacement supports no claim: a replacement rewards explainers that share its baseline, and most explainers lose to
the brightness of the image or to a blob in the middle under some replacement.  So every replacement has its own row,
and a further row, `faithfulness`, says in how many of them an explainer beats all three of random order, |x| and centre.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from reports import paired, stats
from reports.frame import Group, expectations, failure_messages, is_whole
from reports.grid import ABSENT, Block, blocks
from reports.schema import STATUSES
from reports.verdict import COLUMNS

SUITES = ("pixel-perturbation", "patch-perturbation")
MEASURE = "abpc"
SUMMARY = "faithfulness"
RANDOM, BRIGHTNESS, CENTRE = "random order", "|x|", "centre"
BASELINES = {BRIGHTNESS: "input", CENTRE: "centre"}
"""What an explainer must beat beside random order, and the explainer that stands for it."""

ALPHA = 0.05
OWN_IMAGE = "counterfactual"
"""The replacement that differs from explainer to explainer, so that no two can be compared under it."""

_DEGENERATE = ("degenerate-zero", "degenerate-constant")
_NO_INTERVAL = stats.Interval(float("nan"), float("nan"), float("nan"))
Place = tuple[str, str, str]


@dataclass(frozen=True)
class Scored:
    """The scores of one explainer under one replacement.

    Attributes:
        own: image id -> ABPC; a map without an order stands in with the random order's, which is what its ties are.
        random: image id -> ABPC of the random order.
        counts: number of images per status.
    """

    own: Mapping[str, float]
    random: Mapping[str, float]
    counts: Mapping[str, int]

    @property
    def differences(self) -> stats.Floats:
        """ABPC minus that of the random order, per image."""
        return _paired(self.own, self.random)

    @property
    def asked(self) -> int:
        """Number of images that the model gets right."""
        return sum(self.counts.values()) - self.counts.get("not-applicable", 0)

    @property
    def flat(self) -> int:
        """Number of maps that order no pixels; nothing is judged where they are more than half."""
        return sum(self.counts.get(status, 0) for status in _DEGENERATE)


@dataclass
class _Row:
    """The right half of one row of the table."""

    verdict: str
    reason: str
    n: int = 0
    interval: stats.Interval = field(default_factory=lambda: _NO_INTERVAL)


def judge(frame: pd.DataFrame) -> pd.DataFrame:
    """Judge every explainer on pixel and patch perturbation.

    Args:
        frame: tidy records, best from `reports.load`, which also knows what was expected.

    Returns:
        Rows with the columns of `reports.verdict.COLUMNS`.  One per replacement: `estimate` is the mean paired
        difference of ABPC to random order (unit probability, > 0 = better than chance) with its 95% bootstrap interval
        over images; PASS above 0, FAIL with an upper bound <= 0.  One named `faithfulness`: `estimate` is the share of
        replacements under which the explainer beats random order, |x| and centre (paired, Holm-adjusted for all its
        comparisons); PASS if that is so under every one of at least two, FAIL if it loses to one of the three under
        every replacement, else INCONCLUSIVE.

    Source:
        ABPC: Samek et al. 2017.  Several replacements: Rong et al. 2022; Sturmfels et al. 2020 on baselines.

    Example:
        >>> from reports.schema import empty
        >>> len(judge(empty()))
        0
    """
    table = _Table(frame)
    rows = [row for place in table.places() for row in table.rows(place)]
    return pd.DataFrame(rows, columns=list(COLUMNS)).astype(COLUMNS)


def scored(frame: pd.DataFrame) -> dict[Group, Scored]:
    """The scores of every explainer under every replacement, image by image.

    Args:
        frame: tidy records of any suites.
    """
    own = frame[frame["suite"].isin(SUITES).to_numpy(dtype=bool)]
    found, random = blocks(own, MEASURE), blocks(own, f"{MEASURE}-random")
    # Random orders are the same for all explainers, so an image without a map of one has its value from another.
    shared: dict[Place, dict[str, float]] = defaultdict(dict)
    for (subject, _, suite, check), block in random.items():
        shared[subject, suite, check].update(_values(block))
    result = {}
    for group, block in found.items():
        subject, _, suite, check = group
        known = shared[subject, suite, check]
        if replacement(check) == OWN_IMAGE:
            known = _values(random[group]) if group in random else {}
        status = _statuses(block)
        scores = {**_values(block), **{i: known[i] for i in known if status.get(i) in _DEGENERATE}}
        result[group] = Scored(scores, known, Counter(status.values()))
    return result


def replacement(check: str) -> str:
    """The replacement that a check is about.

    >>> replacement("perturbation-blur-patches")
    'blur'
    """
    return check.removeprefix("perturbation-").removesuffix("-patches")


class _Table:
    """What the rows are made from."""

    def __init__(self, frame: pd.DataFrame) -> None:
        """Arrange the records and what was expected of them."""
        self.scored = scored(frame)
        self.planned = {group: facts for group, facts in expectations(frame).items() if group[2] in SUITES}
        self.failures = failure_messages(frame)
        bad = frame[((frame["status"] == "failed") & frame["suite"].isin(SUITES)).to_numpy(dtype=bool)]
        failed = set(zip(bad["subject"], bad["explainer"], bad["suite"], bad["check"], strict=True))
        self.groups = {*self.scored, *failed, *(self.planned if is_whole(frame) else ())}
        self.order: dict[str, int] = {}
        for group in (*self.planned, *sorted(self.groups)):
            self.order.setdefault(group[3], len(self.order))

    def places(self) -> list[Place]:
        """Subject, suite and explainer of every set of rows."""
        return sorted({(subject, suite, explainer) for subject, explainer, suite, _ in self.groups})

    def rows(self, place: Place) -> Iterable[dict[str, object]]:
        """The row of every replacement, then their summary."""
        subject, suite, explainer = place
        checks = [group[3] for group in self.groups if (group[0], group[2], group[1]) == place]
        checks.sort(key=lambda check: (self.order[check], check))
        made = {check: self._row((subject, explainer, suite, check)) for check in checks}
        made[SUMMARY] = self._summary(place, made)
        most = max((self._expected((subject, explainer, suite, check)) for check in checks), default=0)
        for check, row in made.items():
            expected = most if check == SUMMARY else self._expected((subject, explainer, suite, check))
            yield {
                "subject": subject, "explainer": explainer, "suite": suite, "check": check, "n": row.n,
                "expected": max(expected, row.n), "estimate": row.interval.estimate, "ci_low": row.interval.low,
                "ci_high": row.interval.high, "verdict": row.verdict, "reason": row.reason,
            }  # fmt: skip

    def _expected(self, group: Group) -> int:
        """Number of images that were to be scored; those that the model gets wrong were not."""
        found = self.scored.get(group)
        here = sum(found.counts.values()) if found else 0
        planned = self.planned[group]["values"] if group in self.planned else here
        return max(planned, here) - (found.counts.get("not-applicable", 0) if found else 0)

    def _row(self, group: Group) -> _Row:
        """Judge one explainer under one replacement against random order."""
        found = self.scored.get(group)
        if found is None or not found.counts:
            return _Row("UNDEFINED", self._nothing(group))
        counts, asked, flat = found.counts, found.asked, found.flat
        if not asked:
            return _not_applicable(group, self._wrong(group))
        if flat > asked / 2:
            kind = max(_DEGENERATE, key=lambda status: counts.get(status, 0)).removeprefix("degenerate-")
            return _Row("UNDEFINED", f"the maps are {kind} on {flat} of {asked} images: they order no pixels")
        differences = found.differences
        if not len(differences):
            return _Row("UNDEFINED", f"no value: {_listed(counts)}")
        (interval,) = stats.mean_over_images(differences[None])
        chance = float(np.mean([found.random[image] for image in found.own]))
        means = f"ABPC {interval.estimate + chance:z.3f}, random order {chance:z.3f}"
        lost = self._lost(group, found, len(differences))
        return _Row(*_decide(interval, means, lost), n=len(differences), interval=interval)

    def _wrong(self, group: Group) -> bool:
        """Whether no explainer has a value under the other replacements: the model gets every image wrong."""
        subject, explainer, suite, _ = group
        others = [
            found for own, found in self.scored.items() if (own[0], own[1], own[2]) == (subject, explainer, suite)
        ]
        return all(set(found.counts) == {"not-applicable"} for found in others)

    def _nothing(self, group: Group) -> str:
        """Say why there are no values."""
        if group in self.failures:
            cells, message = self.failures[group]
            return f"{cells} failed {'cell' if cells == 1 else 'cells'} ({message})"
        return "no values yet"

    def _lost(self, group: Group, found: Scored, n: int) -> str:
        """Say what became of the images without a value."""
        parts, wrong = [], found.counts.get("not-applicable", 0)
        if wrong:
            parts.append(f"{wrong} that the model gets wrong are left out")
        if found.flat:
            parts.append(f"{found.flat} maps without an order count as random order")
        rest = {status: count for status, count in found.counts.items() if status in ("non-finite", "failed")}
        if rest:
            parts.append(f"without a value: {_listed(rest)}")
        missing = self._expected(group) - sum(found.counts.values()) + wrong
        if missing > 0:
            parts.append(f"{missing} missing: {self._nothing(group)}")
        return "".join(f"; {part}" for part in parts)

    def _summary(self, place: Place, made: Mapping[str, _Row]) -> _Row:
        """Judge one explainer over all replacements that explainers can be compared under."""
        explainer = place[2]
        checks = [check for check in made if replacement(check) != OWN_IMAGE]
        known = [check for check in checks if made[check].n]
        if not known:
            verdicts = [made[check].verdict for check in checks]
            kind = "N/A" if verdicts and set(verdicts) == {"N/A"} else "UNDEFINED"
            return _Row(kind, made[checks[0]].reason if checks else "only its own counterfactuals replaced pixels")
        against = faced(self.scored, place, known)
        judged = dict(zip(against, _outcomes(list(against.values())), strict=True))
        rivals = list(dict.fromkeys(rival for _, rival in judged))
        beaten = [check for check in known if all(judged.get((check, rival), 1) > 0 for rival in rivals)]
        lost = [check for check in known if any(judged.get((check, rival), 1) < 0 for rival in rivals)]
        absent = [name for name, own in BASELINES.items() if name not in rivals and own != explainer]
        share = len(beaten) / len(known)
        reason = _told(judged, known, beaten, rivals)
        if absent:
            reason += f"; {' and '.join(absent)} did not run beside it"
        if len(known) < len(checks):
            reason += f"; no values under {_names(check for check in checks if check not in known)}"
        verdict = "INCONCLUSIVE"
        if len(known) < 2:
            reason += "; one replacement alone supports no claim"
        elif len(beaten) == len(checks) and not absent:
            verdict = "PASS"
        elif len(lost) == len(known):
            verdict = "FAIL"
        n = min(made[check].n for check in known)
        return _Row(verdict, reason, n, stats.Interval(share, float("nan"), float("nan")))


def _decide(interval: stats.Interval, means: str, lost: str) -> tuple[str, str]:
    """Verdict and reason of one replacement."""
    if np.isnan(interval.low):
        return "INCONCLUSIVE", f"no interval with fewer than two images: {means}{lost}"
    if interval.low > 0:
        return "PASS", f"better than random order: {means}{lost}"
    if interval.high <= 0:
        return "FAIL", f"not better than random order: {means}{lost}"
    return "INCONCLUSIVE", f"the interval holds 0: {means}{lost}"


def _not_applicable(group: Group, wrong: bool) -> _Row:
    """Judge where no image has a value by nature."""
    if wrong:
        return _Row("N/A", "the model gets none of these images right")
    return _Row("N/A", "the explainer has no counterfactual image to take pixels from")


def faced(
    scores: Mapping[Group, Scored], place: Place, checks: Iterable[str]
) -> dict[tuple[str, str], paired.Difference]:
    """Paired differences of one explainer to random order and to each baseline, per replacement.

    Args:
        scores, place, checks: see `scored`; subject, suite, explainer; those under which the explainer has values.

    Returns:
        (check, rival) -> mean difference of ABPC over their common images, > 0 = the explainer is better.
    """
    subject, suite, explainer = place
    found: dict[tuple[str, str], paired.Difference] = {}
    for check in checks:
        own = scores[subject, explainer, suite, check]
        found[check, RANDOM] = paired.difference(own.differences[:, None])
        for rival, name in BASELINES.items():
            other = scores.get((subject, name, suite, check))
            if other is not None and name != explainer and other.own:
                found[check, rival] = paired.difference(_paired(own.own, other.own)[:, None])
    return found


def _outcomes(differences: list[paired.Difference]) -> list[int]:
    """1 better, -1 worse, 0 neither, with all comparisons of one explainer adjusted together."""
    adjusted = paired.holm([each.p for each in differences])
    return [int(np.sign(each.mean)) if p < ALPHA else 0 for each, p in zip(differences, adjusted, strict=True)]


def _told(judged: Mapping[tuple[str, str], int], known: list[str], beaten: list[str], rivals: list[str]) -> str:
    """Say under which replacements the claim holds, and what stands against it under the others."""
    against = {
        check: [rival for rival in rivals if judged.get((check, rival), 1) <= 0]
        for check in known
        if check not in beaten
    }
    listed = ", ".join(rivals[:-1]) + f" and {rivals[-1]}" if len(rivals) > 1 else rivals[0]
    if not against:
        return f"beats {listed} under every replacement: {_names(known)}"
    parts = [f"{replacement(check)} ({', '.join(names)})" for check, names in against.items()]
    if beaten:
        return f"depends on the replacement: beats {listed} under {_names(beaten)}, not under {', '.join(parts)}"
    return f"beats {listed} together under no replacement; not ahead of: {', '.join(parts)}"


def _names(checks: Iterable[str]) -> str:
    """The replacements of checks as a list of words."""
    return ", ".join(replacement(check) for check in checks)


def _listed(counts: Mapping[str, int]) -> str:
    """Numbers of images per status as words."""
    return ", ".join(f"{count} {status}" for status, count in sorted(counts.items()))


def _values(block: Block) -> dict[str, float]:
    """Image id -> value, where there is one."""
    column = block.values.reshape(-1, len(block.images), len(block.seeds))[0, :, 0]
    return {image: float(value) for image, value in zip(block.images, column, strict=True) if np.isfinite(value)}


def _statuses(block: Block) -> dict[str, str]:
    """Image id -> status, where there is a row."""
    codes = block.status[0, :, 0]
    return {image: STATUSES[code] for image, code in zip(block.images, codes, strict=True) if code != ABSENT}


def _paired(first: Mapping[str, float], second: Mapping[str, float]) -> stats.Floats:
    """First minus second on the images that both have, in the order of the first."""
    return np.array([first[image] - second[image] for image in first if image in second], dtype=np.float64)
