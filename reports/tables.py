"""Tables beside the verdicts: the thesis' rule, mean similarities, health of the random models; their
writers."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from reports import files, stats
from reports.frame import GROUP
from reports.grid import Block, blocks
from reports.thesis_said import STAYS_AT_ONE, THESIS_PROTOCOL

_STAGED = ("cascading", "independent", "bottom-up")
_HEALTH = ("health-cascading", "health-independent", "health-bottom-up")


def thesis_rule(frame: pd.DataFrame, *, measure: str = "ssim") -> pd.DataFrame:
    """Apply the rule of the thesis: an explainer fails if its similarity stays at 1 at the first stage.

    The similarity of one seed is its mean over images; `mean` and `sd` are taken over seeds.  The standard
    deviation is a spread and no confidence interval.  As similarities of floating-point maps are seldom
    exactly 1, "at 1" means at least `STAYS_AT_ONE`.

    Args:
        frame: tidy records.
        measure: the similarity that is judged.

    Returns:
        One row per subject, explainer, suite, check and stage: `mean` and `sd` (no unit, 1 = same map; `sd`
        is null for one seed), the number of `seeds` and of values `n`, `stays` (whether the mean is at 1),
        and `verdict`, PASS or FAIL by the first cascading stage, UNDEFINED without values there, null for
        `independent` and `bottom-up`.

    Source:
        Nuzzo, 2020 (thesis), chapter 7: mean SSIM over seeds, shaded by its standard deviation.
    """
    rows = []
    for group, block in blocks(frame, measure).items():
        if group[3] not in _STAGED:
            continue
        first = _seed_means(block.at([1]))
        verdict = None
        if group[3] == "cascading":
            verdict = "UNDEFINED" if not first.size else "FAIL" if first.mean() >= STAYS_AT_ONE else "PASS"
        for stage, layer in zip(block.stages, block.layers, strict=True):
            here = block.at([stage])
            means = _seed_means(here)
            mean = float(means.mean()) if means.size else math.nan
            rows.append(
                {
                    "protocol": THESIS_PROTOCOL,
                    **dict(zip(GROUP, group, strict=True)),
                    "stage": stage,
                    "layer": layer,
                    "mean": mean,
                    "sd": float(means.std(ddof=1)) if means.size > 1 else math.nan,
                    "seeds": means.size,
                    "n": int(np.isfinite(here.values).sum()),
                    "stays": mean >= STAYS_AT_ONE,
                    "verdict": verdict,
                }
            )
    columns = ["protocol", *GROUP, "stage", "layer", "mean", "sd", "seeds", "n", "stays", "verdict"]
    return _table(rows, columns, texts=("protocol", *GROUP, "layer", "verdict"))


def similarity(frame: pd.DataFrame) -> pd.DataFrame:
    """Mean similarity per explainer, check, stage and measure, with a crossed bootstrap interval.

    Args:
        frame: tidy records.

    Returns:
        One row per subject, explainer, suite, check, measure and stage: `mean` with `ci_low` and `ci_high`
        (95%, unit of the measure), and the number `n` of image x seed values.  The checks are `cascading`,
        `independent`, `bottom-up`, `ceiling` and `floor`.
    """
    rows = []
    measured = frame.loc[frame["image"].notna(), "measure"].dropna()
    for measure in sorted(measured.unique()):
        for group, block in blocks(frame, measure).items():
            if group[3] not in (*_STAGED, "ceiling", "floor"):
                continue
            intervals = stats.crossed_mean(block.values, resamples=1000)
            for place, interval in enumerate(intervals):
                rows.append(
                    {
                        **dict(zip(GROUP, group, strict=True)),
                        "measure": measure,
                        "stage": block.stages[place],
                        "layer": block.layers[place],
                        "mean": interval.estimate,
                        "ci_low": interval.low,
                        "ci_high": interval.high,
                        "n": int(np.isfinite(block.values[place]).sum()),
                    }
                )
    columns = [*GROUP, "measure", "stage", "layer", "mean", "ci_low", "ci_high", "n"]
    return _table(rows, columns, texts=(*GROUP, "measure", "layer"))


def health(frame: pd.DataFrame) -> pd.DataFrame:
    """Health of the randomised models, averaged over seeds.

    Args:
        frame: tidy records.

    Returns:
        One row per subject, suite, check, stage and measure: `mean`, `low` and `high` (smallest and largest
        of the seeds, unit of the measure) and the number of `seeds`.
    """
    rows = frame[frame["check"].isin(_HEALTH).to_numpy(dtype=bool) & frame["value"].notna().to_numpy()]
    keys = ["subject", "suite", "check", "measure", "stage"]
    grouped = rows.groupby(keys, sort=True, dropna=False, observed=True)
    table = grouped["value"].agg(["mean", "min", "max"]).rename(columns={"min": "low", "max": "high"})
    table.insert(0, "layer", grouped["layer"].first())
    table["seeds"] = grouped["seed"].nunique()
    texts = dict.fromkeys(("subject", "suite", "check", "measure", "layer"), "str")
    return table.reset_index().astype(texts)


def to_markdown(table: pd.DataFrame, digits: int = 3) -> str:
    """Write a table as a Markdown pipe table.

    Args:
        table: any table; null cells stay empty.
        digits: decimals of fractional numbers.

    Example:
        >>> print(to_markdown(pd.DataFrame({"name": ["a|b"], "value": [0.25]})))
        | name | value |
        | --- | ---: |
        | a\\|b | 0.250 |
        <BLANKLINE>
    """
    numeric = [pd.api.types.is_numeric_dtype(kind) for kind in table.dtypes]
    lines = [
        [escaped(str(name)) for name in table.columns],
        ["---:" if number else "---" for number in numeric],
        *([_cell(value, digits) for value in row] for row in table.itertuples(index=False, name=None)),
    ]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def write_csv(table: pd.DataFrame, path: Path) -> Path:
    """Write a table as CSV, atomically; null cells stay empty, numbers keep all their digits.

    Returns:
        The path.
    """
    files.write(path, table.to_csv(index=False, lineterminator="\n").encode())
    return path


def _seed_means(block: Block) -> stats.Floats:
    """Mean over images of each seed that has a value; (seeds,)."""
    values = block.values.reshape(-1, len(block.seeds)) if block.values.size else np.zeros((0, 0))
    there = np.isfinite(values)
    count = there.sum(axis=0)
    total = np.where(there, values, 0.0).sum(axis=0)
    return np.asarray(total[count > 0] / count[count > 0], dtype=np.float64)


def _table(rows: list[dict[str, Any]], columns: list[str], texts: tuple[str, ...]) -> pd.DataFrame:
    """Make a frame whose text columns are texts even when it has no rows."""
    table = pd.DataFrame(rows, columns=columns)
    return table.astype(dict.fromkeys(texts, "str"))


def _cell(value: object, digits: int) -> str:
    """Show one value in a pipe table."""
    if value is None or value is pd.NA or (isinstance(value, float) and math.isnan(value)):
        return ""
    if isinstance(value, float):
        return f"{value:z.{digits}f}"
    return escaped(str(value))


def escaped(text: str) -> str:
    """Keep a text from ending its cell or its line, or from being read as HTML.

    >>> escaped("a|b <i>")
    'a\\\\|b &lt;i&gt;'
    """
    plain = " ".join(text.split())
    for sign, written in (("\\", "\\\\"), ("|", "\\|"), ("<", "&lt;"), (">", "&gt;")):
        plain = plain.replace(sign, written)
    return plain
