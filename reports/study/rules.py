"""Whom to leave out, declared before anybody has answered."""

from __future__ import annotations

import json
import math
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from statistics import median
from typing import Any

from reports.files import RunFolderError
from reports.study.results import Result


@dataclass(frozen=True)
class Rules:
    """Rules of exclusion; the first one that applies is the reason.

    Attributes:
        answered: least share of the planned trials that must be answered, 0 to 1.
        seconds: least median time of an answer.
        one_sided: largest share of answers that may be the same name, 0 to 1.
    """

    answered: float = 1.0
    seconds: float = 0.5
    one_sided: float = 0.95

    def words(self) -> list[str]:
        """The rules as sentences."""
        return [
            f"fewer than {self.answered:.0%} of the planned trials answered",
            f"a median time per answer below {self.seconds:g} s",
            f"the same name in more than {self.one_sided:.0%} of the answers",
        ]

    def reason(self, result: Result) -> str:
        """Why a participant is left out, or nothing.

        Args:
            result: the participant's answers.
        """
        count = len(result.trials)
        if count < self.answered * result.planned or not count:
            return f"answered {count} of {result.planned} trials"
        taken = median(answer.seconds for answer in result.trials)
        if taken < self.seconds:
            return f"median time of an answer {taken:.2f} s"
        names = [answer.answer for answer in result.trials]
        most = max(names, key=names.count)
        if names.count(most) > self.one_sided * count:
            return f"{names.count(most)} of {count} answers were {most!r}"
        return ""

    def as_dict(self) -> dict[str, float]:
        """The rules as they stand in a file."""
        return asdict(self)


def read_declaration(path: Path) -> tuple[str, Rules]:
    """Read what was declared when the study page was made.

    Args:
        path: `study.json` beside the page.

    Returns:
        Digest of the page, and the rules.

    Raises:
        RunFolderError: the file is no such declaration.
    """
    try:
        content: Any = json.loads(path.read_bytes())
        given, study = content["rules"], content["study"]
        names = {each.name for each in fields(Rules)}
        bad = not isinstance(study, str) or set(given) - names or not all(_fine(value) for value in given.values())
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise RunFolderError(
            f"{path} is no declaration of a study: {error}; give study.json from beside the page."
        ) from error
    if bad:
        raise RunFolderError(f"{path}: the rules must be numbers of {', '.join(sorted(names))}; given is {given!r}.")
    return study, Rules(**{name: float(value) for name, value in given.items()})


def _fine(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value) and value >= 0
