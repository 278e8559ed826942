"""Which explainers differ: every pair of them, on the same images and seeds."""

from __future__ import annotations

from itertools import combinations
from typing import Any

import pandas as pd

from reports import paired
from reports.grid import Block, blocks

COLUMNS = (
    "subject", "suite", "check", "measure", "stage", "first", "second", "difference", "ci_low", "ci_high", "p", "n",
)  # fmt: skip


def differences(frame: pd.DataFrame, check: str, measure: str, *, stage: int | None = None) -> pd.DataFrame:
    """Paired difference of every two explainers, Holm-adjusted over the pairs of one subject and suite.

    Args:
        frame: tidy records.
        check: name of the check.
        measure: name of the measure.
        stage: the stage that is compared; by default the first one that is not the trained model, or the only one.

    Returns:
        One row per pair: `difference` is second minus first in the unit of the measure with its 95% interval (not
        adjusted), `p` is adjusted, `n` counts the image x seed pairs.

    Example:
        >>> from reports.schema import empty
        >>> len(differences(empty(), "cascading", "ssim"))
        0
    """
    found: dict[tuple[str, str], dict[str, Block]] = {}
    for (subject, explainer, suite, name), block in blocks(frame, measure).items():
        if name == check:
            found.setdefault((subject, suite), {})[explainer] = block
    rows: list[dict[str, Any]] = []
    for (subject, suite), members in sorted(found.items()):
        stages = sorted({number for block in members.values() for number in block.stages})
        chosen = stage if stage is not None else next((number for number in stages if number > 0), stages[0])
        table = {name: _at(block, chosen) for name, block in members.items() if chosen in block.stages}
        own = [
            _row((subject, suite, check, measure, chosen), pair, table[pair[0]], table[pair[1]])
            for pair in combinations(sorted(table), 2)
        ]
        for row, p in zip(own, paired.holm([row["p"] for row in own]), strict=True):
            row["p"] = float(p)
        rows += own
    return pd.DataFrame(rows, columns=list(COLUMNS))


def _at(block: Block, stage: int) -> pd.DataFrame:
    """Images x seeds of one stage."""
    return pd.DataFrame(block.at([stage]).values[0], index=list(block.images), columns=list(block.seeds))


def _row(place: tuple[Any, ...], pair: tuple[str, str], first: pd.DataFrame, second: pd.DataFrame) -> dict[str, Any]:
    """One pair; only images and seeds that both have count."""
    gap = second - first
    found = paired.difference(gap.to_numpy(dtype="float64"))
    numbers = {"difference": found.mean, "ci_low": found.low, "ci_high": found.high, "p": found.p, "n": found.pairs}
    return {**dict(zip(COLUMNS, (*place, *pair), strict=False)), **numbers}
