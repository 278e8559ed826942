"""Verdicts on class discrimination: does a map answer for its class, and does it point at the evidence of that class?

`class-similarity`, `-probes`, `-top2`, `-least`: calibrated as randomisation is.  S is the similarity of the maps for two
classes, C that of repeated runs for one class (ceiling), F that with fully re-initialised models (floor), and
D = (C - S) / (C - F): 0 = blind to the class, 1 = as different as a full re-draw.  FAIL if the upper bound of D is
below the threshold, PASS if the lower bound is above it, INCONCLUSIVE between.  Without a scale (C - F < 0.1):
UNRELIABLE if repeated runs do not agree (C < 0.5), FAIL if the maps do not change with the class either, N/A if they
change with the class and not with the model, which no method that explains a model does.  Searches between the explained and
a probe class are asked for one class towards two probes (`-probes`); their ceiling is another beginning and their floor a
random latent move.  `-top2` is N/A for them: it swaps the two classes of one question, whose answer lies between both.

`grid-localisation`, `planted-cue`: a gate.  The share of positive relevance on the evidence of the class is set
against three things that know nothing of the class, paired per image: chance (the share of the pixels), the centre
blob and |x|.  PASS if all three lower bounds of the mean differences are above 0.  FAIL if an upper bound is at or
below 0, or if the map is insensitive to the class: the upper bound of the contrast (share of the map of a on a's
evidence minus that of the map of b) is at or below 0, or class similarity cannot be told from 1 (upper bound of D below
0.05).  INCONCLUSIVE between.  The estimate is a difference that is not above 0, else that with the smallest lower bound.

`exact-zero`: PASS only if every value outside the region that the logit depends on is exactly 0 in every map.

Verdicts are about certified pairs of image and class; the reason says what comes out without the certificate and how
many pairs it keeps.  Where a map has no positive relevance none of it is on the evidence: it counts as 0 and is counted.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from reports import stats
from reports.class_values import ALIKE, EXACT, LOCATED, PROBES, TOP2, Values
from reports.frame import Group
from reports.verdict import AGREES, COLUMNS, SMALLEST_GAP, threshold_of

SUITE = "class-discrimination"
ROWS = (*LOCATED, EXACT, *ALIKE)
"""The checks that are judged, in their order; ceiling and floor are read by others."""

INSENSITIVE = 0.05
"""With the upper bound of D below it the maps of two classes cannot be told apart."""

BASELINES = {"|x|": "input", "centre": "centre"}
CHANCE = "chance"
MEASURE = "ssim"
_NONE = stats.Interval(float("nan"), float("nan"), float("nan"))
_DEGENERATE = ("degenerate-zero", "degenerate-constant")


@dataclass(frozen=True)
class Judgement:
    """What a row of the verdict table says of its values."""

    verdict: str
    reason: str
    n: int = 0
    interval: stats.Interval = _NONE


def judge(frame: pd.DataFrame) -> pd.DataFrame:
    """Judge every explainer on class discrimination; the rules stand at the top of this module.

    Args:
        frame: tidy records, best from `reports.load`, which also knows what was expected.

    Returns:
        One row per subject, explainer and check with the columns of `reports.verdict.COLUMNS`.  `estimate` is D, the
        mean difference of the share of relevance to the strongest of chance, |x| and centre (> 0 = better), or for
        `exact-zero` the mean share of relevance outside (0 = none).

    Example:
        >>> from reports.schema import empty
        >>> len(judge(empty()))
        0
    """
    values = Values(frame)
    table = _Table(values, threshold_of(frame))
    rows = [_row(values, group, table.judge(group)) for group in _ordered(values.groups(ROWS))]
    return pd.DataFrame(rows, columns=list(COLUMNS)).astype(COLUMNS)


def _ordered(groups: list[Group]) -> list[Group]:
    """Put the gate first where the images were made to answer it, and last where mosaics of other images stand in."""
    made = {group[0] for group in groups if group[3] == "class-similarity"}
    return sorted(groups, key=lambda group: (group[:2], group[0] not in made and group[3] in LOCATED))


def _row(values: Values, group: Group, told: Judgement) -> dict[str, object]:
    subject, explainer, suite, check = group
    # A pair that is not certified is no missing value: the verdict is not about it.
    dropped = sum(flag != 1 for flag in values.certified(group).values())
    expected = max(told.n, values.expected(group) - values.left_out(group) - dropped)
    return {
        "subject": subject, "explainer": explainer, "suite": suite, "check": check, "n": told.n, "expected": expected,
        "estimate": told.interval.estimate, "ci_low": told.interval.low, "ci_high": told.interval.high,
        "verdict": told.verdict, "reason": told.reason + values.lost(group),
    }  # fmt: skip


class _Table:
    """Applies the rules to the values."""

    def __init__(self, values: Values, threshold: float) -> None:
        self.values, self.threshold = values, threshold

    def judge(self, group: Group) -> Judgement:
        """The verdict on one explainer under one check."""
        check = group[3]
        measure = "exact" if check == EXACT else MEASURE if check in ALIKE else "mass"
        statuses = self.values.statuses(group, measure)
        counts = Counter(statuses.values())
        asked = len(statuses) - counts["not-applicable"]
        if not statuses:
            return Judgement("UNDEFINED", self.values.nothing(group, "no values yet"))
        if not asked:
            return self._unasked(group)
        if check == TOP2 and self.values.of((*group[:3], PROBES), MEASURE):
            same = _mean(self.values.of(group, MEASURE))
            why = f"it swaps the two classes of one question, similarity {same:z.3f}; `{PROBES}` keeps one and changes the other"
            return Judgement("N/A", why)
        silent = self.values.silent(group) if check in LOCATED else set()
        flat = [image for image, status in statuses.items() if status in _DEGENERATE and image not in silent]
        kind = "constant" if counts["degenerate-constant"] > counts["degenerate-zero"] else "zero"
        if len(flat) > asked / 2:
            return Judgement("UNDEFINED", f"the maps are {kind} on {len(flat)} of {asked} images")
        if len(silent) > asked / 2:
            return Judgement("UNDEFINED", f"the maps hold no positive relevance on {len(silent)} of {asked} images")
        if check == EXACT:
            return self._exact(group)
        return self._gate(group) if check in LOCATED else self._alike(group)

    def _unasked(self, group: Group) -> Judgement:
        """Why no image could be asked, which is the same for all explainers if the model or the images are the cause."""
        if group[3] == PROBES:
            return Judgement("N/A", "it does not search between two classes, or there is no third one to ask about")
        if self.values.anyone(group):
            why = "this explainer needs images whose evidence is known, or was fitted to images of another kind"
            return Judgement("N/A", why)
        what = "fewer than two of the classes" if group[3] == "class-similarity" else "none of the classes asked about"
        return Judgement("UNDEFINED", f"the model finds {what} in every image ({self.values.left_out(group)} left out)")

    def sensitivity(self, group: Group, certified: bool) -> tuple[stats.Sensitivity, int] | None:
        """D of a check of similarity and its number of images; None without a ceiling or a floor."""
        own = self.values.of(group, MEASURE)
        if certified:
            own = {image: value for image, value in own.items() if self.values.certified(group).get(image) == 1}
        images = list(own)
        others = [self.values.table((*group[:3], check), MEASURE, images) for check in ("class-ceiling", "class-floor")]
        if not images or any(not np.isfinite(other).any() for other in others):
            return None
        column = np.array([[own[image]] for image in images])
        return stats.sensitivity(column, *others, seeded=False), len(images)

    def _alike(self, group: Group) -> Judgement:
        paired = bool(self.values.certified(group))
        found = self.sensitivity(group, paired)
        every = self.sensitivity(group, False)
        if every is None:
            for check in ("class-ceiling", "class-floor"):
                other = (*group[:3], check)
                if not self.values.of(other, MEASURE):
                    if self._without_floor(other):
                        similar = f"similarity {_mean(self.values.of(group, MEASURE)):z.3f}"
                        why = "it was fitted to the trained model, with no fit to random ones to compare with"
                        instead = "`collapse` and `refit` of the suite randomization ask it"
                        return Judgement("N/A", f"{why}; {instead}: {similar}")
                    said = self.values.nothing(other, f"run the check `{check}` too")
                    return Judgement("UNDEFINED", f"there is no {check} to compare with: {said}")
            return Judgement("UNDEFINED", "no value")
        beside = ""
        if paired:
            scale = "" if _no_scale(every[0]) else f", D {every[0].interval.estimate:z.2f}"
            beside = f"; {self._kept(group)}, without it similarity {every[0].similarity:z.3f}{scale}"
        if found is None:
            return Judgement("UNDEFINED", f"no pair of classes is certified{beside}")
        return _by_sensitivity(found[0], found[1], self.threshold, beside, "probe" if group[3] == PROBES else "class")

    def _without_floor(self, group: Group) -> bool:
        """Whether a floor is missing by design: it was not computed for this explainer, and for others it was."""
        statuses = set(self.values.statuses(group, MEASURE).values())
        return group[3] == "class-floor" and statuses == {"not-applicable"} and self.values.anyone(group)

    def _kept(self, group: Group) -> str:
        flags = self.values.certified(group)
        kept = sum(flag == 1 for flag in flags.values())
        return f"the certificate keeps {kept} of {len(flags)} ({kept / max(1, len(flags)):.0%})"

    def _gate(self, group: Group) -> Judgement:
        mass = self.values.masses(group)
        flags = self.values.certified(group)
        kept = {image: value for image, value in mass.items() if flags.get(image) == 1}
        beside = f"; {self._kept(group)}, without it mass {_mean(mass):z.3f}"
        silent = len(self.values.silent(group))
        beside += f"; {silent} maps without positive relevance count as 0" if silent else ""
        if not kept:
            return Judgement("UNDEFINED", f"no cell is certified: the model does not use them as it should{beside}")
        rivals = self._rivals(group)
        absent = [name for name in BASELINES if name not in rivals]
        faced = {name: _differences(kept, values) for name, values in rivals.items()}
        intervals = {name: stats.mean_over_images(values[None])[0] for name, values in faced.items() if len(values)}
        said = f"mass {_mean(kept):z.3f}, " + ", ".join(
            f"{name} {_mean({image: rivals[name][image] for image in kept if image in rivals[name]}):z.3f}"
            for name in intervals
        )
        said += "".join(f", {name} did not run" for name in absent) + beside
        worst = min(intervals.values(), key=lambda interval: (interval.high > 0, interval.low))
        return self._decide(group, intervals, absent, Judgement("", said, len(kept), worst))

    def _decide(
        self, group: Group, intervals: dict[str, stats.Interval], absent: list[str], told: Judgement
    ) -> Judgement:
        blind = self._insensitive(group)
        below = [name for name, interval in intervals.items() if interval.high <= 0]
        if blind:
            return Judgement("FAIL", f"insensitive to the class ({blind}): {told.reason}", told.n, told.interval)
        if below:
            return Judgement("FAIL", f"not above {' and '.join(below)}: {told.reason}", told.n, told.interval)
        if np.isnan(told.interval.low):
            return Judgement(
                "INCONCLUSIVE", f"no interval with fewer than two images: {told.reason}", told.n, told.interval
            )
        open_ = [name for name, interval in intervals.items() if interval.low <= 0]
        if open_:
            reason = f"the interval of the difference to {' and '.join(open_)} holds 0: {told.reason}"
            return Judgement("INCONCLUSIVE", reason, told.n, told.interval)
        if absent:
            reason = f"not every baseline ran beside it: {told.reason}"
            return Judgement("INCONCLUSIVE", reason, told.n, told.interval)
        return Judgement("PASS", f"above {', '.join(intervals)}: {told.reason}", told.n, told.interval)

    def _rivals(self, group: Group) -> dict[str, dict[str, float]]:
        """What knows nothing of the class: name -> share of relevance per image."""
        found = {CHANCE: self.values.of(group, "chance")}
        for name, explainer in BASELINES.items():
            values = self.values.masses((group[0], explainer, *group[2:]))
            if values:
                found[name] = values
        return found

    def _insensitive(self, group: Group) -> str:
        """Why the maps do not depend on the class that is asked about; empty where they may."""
        flags = self.values.certified(group)
        contrast = [value for image, value in self.values.of(group, "contrast").items() if flags.get(image) == 1]
        if contrast:
            (interval,) = stats.mean_over_images(np.array([contrast]))
            if interval.high <= 0:
                return f"contrast {interval.estimate:z.3f}"
        for check in ALIKE:
            known = (*group[:3], check)
            found = self.sensitivity(known, bool(self.values.certified(known)))
            if found is None:
                continue
            d = found[0]
            if d.interval.high < INSENSITIVE or _no_scale(d) == "FAIL":
                return f"similarity of the maps for two classes {d.similarity:z.3f}, ceiling {d.ceiling:z.2f}"
            break
        return ""

    def _exact(self, group: Group) -> Judgement:
        exact, outside = self.values.of(group, "exact"), self.values.of(group, "outside")
        leaking = [image for image, value in exact.items() if value != 1]
        (interval,) = stats.mean_over_images(np.array([list(outside.values())], dtype=np.float64).reshape(1, -1))
        if leaking:
            reason = f"{len(leaking)} of {len(exact)} maps hold relevance where nothing can matter, {interval.estimate:.2g} of it"
            return Judgement("FAIL", reason, len(exact), interval)
        if not exact:
            return Judgement("UNDEFINED", "no value")
        return Judgement("PASS", f"exactly 0 outside in all {len(exact)} maps", len(exact), interval)


def _no_scale(found: stats.Sensitivity) -> str:
    """The verdict where floor and ceiling lie together; empty where they do not."""
    if found.ceiling - found.floor >= SMALLEST_GAP:
        return ""
    if found.ceiling < AGREES:
        return "UNRELIABLE"
    return "FAIL" if found.ceiling - found.similarity < SMALLEST_GAP else "N/A"


def _by_sensitivity(found: stats.Sensitivity, n: int, threshold: float, beside: str, what: str) -> Judgement:
    """Turn the calibrated sensitivity to the class, or to the probe class, into a verdict."""
    means = f"similarity {found.similarity:z.3f}, ceiling {found.ceiling:z.2f}, floor {found.floor:z.2f}{beside}"
    flat, interval = _no_scale(found), found.interval
    words = {
        "FAIL": f"blind to the {what} and to the model",
        "UNRELIABLE": "repeated runs do not agree with each other",
        "N/A": f"the maps change with the {what} and not with the model, so there is no floor",
    }
    if flat:
        return Judgement(flat, f"{words[flat]}: {means}", n)
    if np.isnan(interval.low):
        return Judgement("INCONCLUSIVE", f"no interval with fewer than two images: {means}", n, interval)
    if interval.high < threshold:
        return Judgement(
            "FAIL", f"the maps of two {'classes' if what == 'class' else 'probes'} are alike: {means}", n, interval
        )
    if interval.low > threshold:
        return Judgement("PASS", f"the maps change with the {what}: {means}", n, interval)
    return Judgement("INCONCLUSIVE", f"the interval holds the threshold {threshold:g}: {means}", n, interval)


def _differences(own: dict[str, float], other: dict[str, float]) -> npt.NDArray[np.float64]:
    return np.array([value - other[image] for image, value in own.items() if image in other], dtype=np.float64)


def _mean(values: dict[str, float]) -> float:
    return float(np.mean(list(values.values()))) if values else float("nan")
