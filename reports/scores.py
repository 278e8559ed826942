"""What explainers are ranked by, and what an explanation costs: numbers per explainer from tidy records."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

import numpy as np
import pandas as pd

from reports import stats
from reports.grid import Block, blocks, is_first

RANKED = {
    "faithfulness": (("perturbation-*", "abpc"),),
    "localisation": (("grid-localisation", "mass"), ("planted-cue", "mass")),
}
"""What explainers are ranked by: check and measure; larger is better in all of them."""


CERTIFIED = "certified"
"""Measure that is 1 where the model is known to use the evidence; other pairs of image and class are not scored."""


@dataclass(frozen=True)
class Score:
    """One measure of one check on one subject, of all explainers.

    Attributes:
        aspect: key of `RANKED`.
        subject, check, measure: what was measured.
        names: explainers.
        drawn: (1 + resamples, explainers), larger = better; the estimates stand in the first row.
        images: number of images that it rests on, of the explainer that has the fewest.
    """

    aspect: str
    subject: str
    check: str
    measure: str
    names: tuple[str, ...]
    drawn: stats.Floats
    images: int

    @property
    def label(self) -> str:
        """What it is called in tables."""
        return f"{self.check} of {self.subject}"

    def of(self, names: Sequence[str]) -> stats.Floats:
        """The columns of some explainers; NaN for one that was not measured."""
        places = {name: place for place, name in enumerate(self.names)}
        missing = np.full(len(self.drawn), np.nan)
        columns = [self.drawn[:, places[name]] if name in places else missing for name in names]
        return np.stack(columns, axis=1) if columns else np.zeros((len(self.drawn), 0))


def scores_of(frame: pd.DataFrame, *, resamples: int = stats.RESAMPLES) -> list[Score]:
    """What explainers are ranked by: every score of every subject, resampled together.

    Args:
        frame: tidy records.
        resamples: number of bootstrap samples.
    """
    found = []
    certificates = blocks(frame, CERTIFIED)
    for aspect, pairs in RANKED.items():
        for pattern, measure in pairs:
            parts: dict[tuple[str, str], dict[str, stats.Floats]] = {}
            for group, block in blocks(frame, measure).items():
                if fnmatchcase(group[3], pattern):
                    values = _certified(block, certificates.get(group))
                    parts.setdefault((group[0], group[3]), {})[group[1]] = values
            for (subject, check), members in sorted(parts.items()):
                width = max(values.shape[1] for values in members.values())
                stack = np.stack([_padded(values, width) for values in members.values()])
                if not np.isfinite(stack).any():
                    continue
                drawn = stats.resampled_means(stack, resamples=resamples)
                counts = np.isfinite(stack).any(axis=2).sum(axis=1)
                least = int(counts[counts > 0].min())
                found.append(Score(aspect, subject, check, measure, tuple(members), drawn, least))
    return found


def faithfulness_intervals(scores: Sequence[Score]) -> dict[str, stats.Interval]:
    """Mean over the scores that most explainers have, with its 95% interval.

    Args:
        scores: faithfulness of one subject under several replacements.
    """
    names = sorted({name for score in scores for name in score.names})
    shared = [score for score in scores if 2 * np.isfinite(score.of(names)[0]).sum() > len(names)]
    if not shared:
        return {}
    drawn = np.mean([score.of(names) for score in shared], axis=0)
    low, high = np.quantile(drawn[1:], [0.025, 0.975], axis=0)
    return {
        name: stats.Interval(float(drawn[0, place]), float(low[place]), float(high[place]))
        for place, name in enumerate(names)
    }


def faithfulness_of_images(frame: pd.DataFrame) -> tuple[list[str], stats.Floats]:
    """Faithfulness of each explainer on each image: the mean over replacements and seeds.

    Args:
        frame: tidy records of one subject.

    Returns:
        Explainers, and (explainers, images); NaN where one of the replacements that most have is missing.
    """
    pattern, measure = RANKED["faithfulness"][0]
    parts: dict[str, dict[str, pd.Series[float]]] = {}
    for (_, explainer, _, check), block in blocks(frame, measure).items():
        if fnmatchcase(check, pattern):
            there = np.isfinite(block.values[-1])
            total = np.where(there, block.values[-1], 0.0).sum(axis=1)
            count = there.sum(axis=1)
            means = np.where(count > 0, total / np.maximum(count, 1), np.nan)
            parts.setdefault(check, {})[explainer] = pd.Series(means, index=list(block.images))
    names = sorted({name for members in parts.values() for name in members})
    # A replacement that only some explainers can have (their own counterfactual) says nothing about the others.
    common = [
        members
        for members in parts.values()
        if 2 * sum(column.notna().any() for column in members.values()) > len(names)
    ]
    tables = [pd.DataFrame(members).reindex(columns=names).T for members in common]
    if not tables:
        return names, np.zeros((len(names), 0))
    images = sorted({image for table in tables for image in table.columns})
    stack = np.stack([table.reindex(columns=images).to_numpy(dtype=np.float64) for table in tables])
    return names, np.asarray(stack.mean(axis=0))


def seconds_per_explanation(frame: pd.DataFrame) -> dict[str, list[float]]:
    """Seconds per explanation of each explainer, one value per cell: its time over its explanations (images x stages).

    Passes that several explainers share are counted for the one that came first.

    Args:
        frame: tidy records.
    """
    there = frame["seconds"].notna() & frame["image"].notna() & frame["measure"].notna()
    timed = there.to_numpy(dtype=bool)
    pairs = frame.loc[timed, ["check", "measure"]].drop_duplicates("check")
    one = timed & is_first(frame, dict(pairs.itertuples(index=False, name=None)))
    rows = frame.loc[one, ["explainer", "cell", "seconds"]]
    cells, keys = pd.factorize(rows["cell"])
    number = np.bincount(cells, minlength=len(keys))
    _, first = np.unique(cells, return_index=True)
    found: dict[str, list[float]] = {}
    owners, seconds = rows["explainer"].iloc[first], rows["seconds"].to_numpy(dtype=np.float64)[first]
    for owner, _, each in sorted(zip(map(str, owners), keys, seconds / number, strict=True)):
        found.setdefault(owner, []).append(float(each))
    return found


def _certified(block: Block, certificate: Block | None) -> stats.Floats:
    """Images x seeds, without those that are not certified; where nothing is said of it all count."""
    if certificate is None:
        return block.values[-1]
    known = {image for image, row in zip(certificate.images, certificate.values[-1], strict=True) if (row == 1).any()}
    keep = np.array([image in known for image in block.images], dtype=bool)
    return np.where(keep[:, None], block.values[-1], np.nan)


def _padded(values: stats.Floats, width: int) -> stats.Floats:
    """Images x seeds, with missing seeds where an explainer has fewer."""
    return np.pad(values, ((0, 0), (0, width - values.shape[1])), constant_values=np.nan)
