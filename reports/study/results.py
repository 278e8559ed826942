"""Result files of the study page: one JSON object per participant, read one by one.

Layout, version 1: `schema` ("sanity-bench/study-result"), `version`, `study` (digest of the page), `participant` (random
text), `groups` (all groups, the one that should learn least first), `group` (the participant's), `classes` (two names),
`planned` (number of trials), `trials` (list of `image`, `truth`, `answer`, `seconds`), `rating` (1 to 5, or null).  Trials of a
study of tasks have `task`, `category` and `options` (number of possible answers) too.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeGuard

SCHEMA = "sanity-bench/study-result"
VERSION = 1
MAX_BYTES = 1 << 20
"""A result file has a few thousand bytes; anything larger is something else."""

MOST = 20
"""Groups or classes of a study."""

RATINGS = (
    "mostly misleading",
    "sometimes misleading",
    "neither misleading nor helpful",
    "sometimes helpful",
    "mostly helpful",
)
"""The five steps of the rating, worth 1 to 5."""


class Refused(ValueError):
    """A file that is not a result file of this version."""


@dataclass(frozen=True)
class Answer:
    """One trial.

    Attributes:
        image: id of the picture.
        truth: name of its class.
        answer: name that the participant chose.
        seconds: time until the choice.
        task: in a study of tasks which one it is, else nothing.
        category: the part of the task.
        options: number of possible answers.
    """

    image: str
    truth: str
    answer: str
    seconds: float
    task: str = ""
    category: str = ""
    options: int = 2

    @property
    def right(self) -> bool:
        """Whether the choice was right."""
        return self.truth == self.answer


@dataclass(frozen=True)
class Result:
    """All answers of one participant.

    Attributes:
        participant: random text that tells participants apart.
        study: digest of the page.
        groups: all groups of the study, the one that should learn least first.
        group: the participant's group.
        planned: number of trials of the study.
        trials: the answers in their order.
        rating: 1 (mostly misleading) to 5 (mostly helpful), or None.
        path: where it was read from.
    """

    participant: str
    study: str
    groups: tuple[str, ...]
    group: str
    planned: int
    trials: tuple[Answer, ...]
    rating: int | None
    path: Path

    @property
    def correct(self) -> int:
        """Number of right answers."""
        return sum(answer.right for answer in self.trials)


@dataclass(frozen=True)
class Refusal:
    """A file that was not used.

    Attributes:
        path: the file.
        reason: why, in one sentence.
    """

    path: Path
    reason: str


def read_results(paths: Iterable[Path], study: str | None = None) -> tuple[list[Result], list[Refusal]]:
    """Read result files; what is malformed, truncated or there twice is refused one by one, and the rest is kept.

    Args:
        paths: files, or folders of `.json` files.
        study: digest of the page that all must come from; None takes the page that most files come from.

    Returns:
        The results in the order of their files, and the refusals.
    """
    results: list[Result] = []
    refused: list[Refusal] = []
    for path in _files(paths):
        try:
            results.append(read_result(path))
        except Refused as error:
            refused.append(Refusal(path, str(error)))
    # Of pages that are equally frequent the first one counts: Counter keeps the order of arrival.
    common = study or next((name for name, _ in Counter(each.study for each in results).most_common(1)), "")
    groups = next((each.groups for each in results if each.study == common), ())
    kept: dict[str, Result] = {}
    for result in results:
        reason = _unfit(result, common, groups, kept)
        if reason:
            refused.append(Refusal(result.path, reason))
        else:
            kept[result.participant] = result
    return list(kept.values()), refused


def read_result(path: Path) -> Result:
    """Read one result file.

    Raises:
        Refused: the file cannot be read, is not whole, or does not have the layout of this version.
    """
    try:
        with path.open("rb") as file:
            data = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise Refused(f"cannot be read ({error.strerror or error})") from error
    if len(data) > MAX_BYTES:
        raise Refused(f"has more than {MAX_BYTES:,} bytes, a result file has a few thousand")
    try:
        content = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise Refused(f"is not whole JSON: truncated or altered ({error})") from error
    if not isinstance(content, dict) or content.get("schema") != SCHEMA:
        raise Refused(f"is no result file: its schema is not {SCHEMA!r}")
    if content.get("version") != VERSION or isinstance(content.get("version"), bool):
        raise Refused(f"has version {ascii(content.get('version'))[:80]}; version {VERSION} is read here")
    return _parsed(content, path)


def _parsed(content: dict[str, Any], path: Path) -> Result:
    groups = _texts(content, "groups", least=1)
    classes = _texts(content, "classes", least=2)
    planned, trials, rating = (content.get(name) for name in ("planned", "trials", "rating"))
    if not _whole(planned, 1, 10_000):
        raise Refused(f"`planned` is {ascii(planned)[:80]}, not a number of trials")
    if not isinstance(trials, list) or len(trials) > planned:
        raise Refused(f"`trials` is not a list of at most {planned} answers")
    if rating is not None and not _whole(rating, 1, len(RATINGS)):
        raise Refused(f"`rating` is {ascii(rating)[:80]}, not 1 to {len(RATINGS)}")
    group = _text(content, "group")
    if group not in groups:
        raise Refused(f"`group` is {group!r}, not one of {', '.join(groups)}")
    answers = tuple(_answer(each, place + 1, classes) for place, each in enumerate(trials))
    return Result(_text(content, "participant"), _text(content, "study"), groups, group, planned, answers, rating, path)


def _answer(given: Any, place: int, classes: tuple[str, ...]) -> Answer:
    """One answer, or a refusal that names the trial."""
    if not isinstance(given, dict):
        raise Refused(f"trial {place} is not an object")
    for name in ("truth", "answer"):
        if given.get(name) not in classes:
            raise Refused(f"trial {place}: `{name}` is {ascii(given.get(name))[:80]}, not one of {', '.join(classes)}")
    seconds = given.get("seconds")
    if isinstance(seconds, bool) or not isinstance(seconds, int | float) or not 0 <= seconds < 1e9:
        raise Refused(f"trial {place}: `seconds` is {ascii(seconds)[:80]}, not a time")
    image = given.get("image")
    if not _is_text(image):
        raise Refused(f"trial {place}: `image` is {ascii(image)[:80]}, not the id of a picture")
    answer = Answer(image, given["truth"], given["answer"], float(seconds))
    if "task" not in given:
        return answer
    task, category, options = (given.get(name) for name in ("task", "category", "options"))
    if not _is_text(task) or not _is_text(category) or not _whole(options, 2, MOST):
        raise Refused(
            f"trial {place}: `task`, `category` and `options` are not two texts and a number from 2 to {MOST}"
        )
    return replace(answer, task=task, category=category, options=options)


def _unfit(result: Result, study: str, groups: tuple[str, ...], kept: dict[str, Result]) -> str:
    """Why a whole result cannot stand beside the others, or nothing."""
    if result.study != study:
        return f"comes from another study page ({result.study[:12]}, not {study[:12]})"
    if result.groups != groups:
        return f"names other groups ({', '.join(result.groups)}) than the other files of its page"
    if result.participant in kept:
        return f"is of the same participant as {kept[result.participant].path}"
    return ""


def _files(paths: Iterable[Path]) -> list[Path]:
    """The files that are meant, each once."""
    found = [file for path in paths for file in (sorted(path.glob("*.json")) if path.is_dir() else [path])]
    return list(dict.fromkeys(found))


def _text(content: dict[str, Any], name: str) -> str:
    value = content.get(name)
    if not _is_text(value):
        raise Refused(f"`{name}` is {ascii(value)[:80]}, not a text")
    return str(value)


def _texts(content: dict[str, Any], name: str, least: int) -> tuple[str, ...]:
    value = content.get(name)
    if not isinstance(value, list) or not least <= len(value) <= MOST or not all(_is_text(each) for each in value):
        raise Refused(f"`{name}` is not a list of {least} to {MOST} names")
    if len(set(value)) < len(value):
        raise Refused(f"`{name}` holds a name twice")
    return tuple(value)


def _is_text(value: Any) -> TypeGuard[str]:
    """Whether a value is a text of a sensible length that can be printed."""
    if not isinstance(value, str) or not value.strip() or len(value) > 500:
        return False
    # JSON can hold half a character, which no output can.
    return value.encode("utf-8", "replace").decode() == value


def _whole(value: Any, low: int, high: int) -> TypeGuard[int]:
    return isinstance(value, int) and not isinstance(value, bool) and low <= value <= high
