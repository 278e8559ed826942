"""How large a difference must be before a comparison of two runs minds it."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from reports.files import RunFolderError

DEFAULT = 0.05
"""Smallest difference that counts, in the unit of a bounded measure."""

_KEYS = ("alpha", "lost", "thresholds")


@dataclass(frozen=True)
class Thresholds:
    """Limits of a comparison.

    Attributes:
        alpha: largest Holm-adjusted p of a difference that counts, between 0 and 1.
        lost: largest share of values that may be lost before a row counts as failing, between 0 and 1.
        rules: pattern to the smallest difference that counts.  A pattern is `CHECK`, `CHECK/MEASURE` or
            `CHECK/MEASURE/EXPLAINER`, each part a name or a glob; the last rule that matches holds.
    """

    alpha: float = 0.05
    lost: float = 0.05
    rules: Mapping[str, float] = field(default_factory=dict)

    def smallest(self, check: str, measure: str, explainer: str, facts: Mapping[str, Any], usual: float) -> float:
        """The smallest difference that counts.

        Args:
            check, measure, explainer: what was measured.
            facts: what `measures.json` says of the measure; its `range` decides where no rule matches.
            usual: magnitude of the baseline; of an unbounded measure `DEFAULT` is a share of it.

        Returns:
            A difference in the unit of the measure, >= 0.

        Example:
            >>> Thresholds(rules={"cascading": 0.1, "*/ssim/lrp-*": 0.2}).smallest("cascading", "ssim", "lrp-a1b0", {}, 1)
            0.2
            >>> Thresholds().smallest("cascading", "ssim", "saliency", {"range": [-1, 1]}, 0.4)
            0.05
        """
        given = None
        for pattern, value in self.rules.items():
            parts = [*pattern.split("/"), "*", "*"][:3]
            if all(fnmatchcase(name, part) for name, part in zip((check, measure, explainer), parts, strict=True)):
                given = value
        if given is not None:
            return given
        low, high = facts.get("range") or (None, None)
        return DEFAULT if low is not None and high is not None else DEFAULT * abs(usual)


def read_thresholds(file: str | Path) -> Thresholds:
    """Read the limits from a TOML file.

    The keys are `alpha`, `lost` and the table `thresholds` with one line `"CHECK/MEASURE/EXPLAINER" = NUMBER` per
    rule; all may be left out.

    Raises:
        RunFolderError: the file cannot be read, is not TOML, or says something that has no meaning here.
    """
    try:
        content = tomllib.loads(Path(file).read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise RunFolderError(f"--thresholds {file}: cannot be read ({error}); give an existing TOML file.") from error
    except tomllib.TOMLDecodeError as error:
        raise RunFolderError(
            f'--thresholds {file}: is not TOML ({error}); write lines such as "cascading/ssim" = 0.1 below [thresholds].'
        ) from error
    unknown = sorted(content.keys() - set(_KEYS))
    if unknown:
        raise RunFolderError(f"--thresholds {file}: unknown key {unknown[0]!r}; allowed are {', '.join(_KEYS)}.")
    rules = content.get("thresholds", {})
    if not isinstance(rules, dict):
        raise RunFolderError(f"--thresholds {file}: `thresholds` is a table of patterns and numbers.")
    for pattern in rules:
        if pattern.count("/") > 2:
            raise RunFolderError(f"--thresholds {file}: {pattern!r} has more than CHECK/MEASURE/EXPLAINER.")
    numbers = {name: content[name] for name in ("alpha", "lost") if name in content}
    for name, value in {**numbers, **rules}.items():
        top = 1.0 if name in numbers else float("inf")
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= top:
            said = "between 0 and 1" if name in numbers else "at least 0"
            raise RunFolderError(f"--thresholds {file}: {name!r} is {value!r}; give a number {said}.")
    return Thresholds(**{name: float(value) for name, value in numbers.items()},
                      rules={name: float(value) for name, value in rules.items()})  # fmt: skip
