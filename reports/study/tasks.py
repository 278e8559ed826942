"""The three tasks of Progressive Exaggeration's study: which is more, what changes, is the classifier biased.

Nobody is told whether an answer is right.  Several people answer the same tasks; agreement and majority votes are what counts.

Source: Singla et al. 2020, section 4.6, figure 8, table 4.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from reports import files, html
from reports.files import RunFolderError
from reports.study.results import RATINGS, SCHEMA, VERSION
from reports.study.rules import Rules
from reports.study.trials import FRAMES, Array, address

TASKS = ("order", "change", "bias")
SIDES = ("left", "right")
EVERYONE = "everyone"


@dataclass(frozen=True)
class Series:
    """Pictures made for one image, with less and more of what a classifier looks for.

    Attributes:
        image: id of the image.
        name: what the classifier looks for, in words.
        also: what a biased classifier looks for besides, or nothing.
        frames: (T, C, H, W) in [0, 1], T >= 2.
        amounts: (T,) probability that was asked for or reached, 0 to 1.
    """

    image: str
    name: str
    also: str
    frames: Array
    amounts: npt.NDArray[np.float64]


@dataclass(frozen=True)
class Question:
    """One thing that is asked.

    Attributes:
        image: id of this question.
        task: one of TASKS.
        category: `easy` or `hard`; what changes; `biased` or `unbiased`.
        text: what is asked.
        options: what can be answered.
        truth: the right one.
        frames: two pictures beside each other, or the pictures of an animation.
    """

    image: str
    task: str
    category: str
    text: str
    options: tuple[str, ...]
    truth: str
    frames: tuple[Array, ...]


@dataclass(frozen=True)
class TaskDesign:
    """A study of tasks before anybody took part.

    Attributes:
        questions: in any order; each participant gets an order of their own.
        origin: where the pictures come from, JSON-able.
        rules: rules of exclusion, declared here.
    """

    questions: tuple[Question, ...]
    origin: dict[str, Any]
    rules: Rules = field(default_factory=Rules)


def questions_of(tasks: Sequence[str], series: Sequence[Series], seed: int = 0) -> list[Question]:
    """The questions about some series.

    Args:
        tasks: of TASKS. `order` asks about the two ends of each series (easy) and about two frames drawn from it (hard);
            `change` about each series; `bias` about those whose classifier, or another of the same name, looks for more.
        series: of one or more classifiers.
        seed: of the frames and of the sides.

    Raises:
        RunFolderError: an unknown task, or a task that these series cannot answer.
    """
    wrong = [task for task in tasks if task not in TASKS]
    if wrong or not tasks:
        raise RunFolderError(f"tasks are {', '.join(TASKS)}; given is {', '.join(wrong) or 'nothing'}.")
    short = [each.image for each in series if len(each.frames) < 2 or len(each.frames) != len(each.amounts)]
    if short or not series:
        raise RunFolderError(
            f"a series has at least two pictures and an amount for each; not so: {short or 'none given'}."
        )
    made: list[Question] = []
    if "order" in tasks:
        made += [question for each in series for question in _orders(each, seed)]
    plain = [each for each in series if not each.also]
    names = tuple(dict.fromkeys(each.name for each in plain))
    if "change" in tasks:
        if len(names) < 2:
            raise RunFolderError(
                f"task change needs series of two or more names; there is {', '.join(names) or 'none'}."
            )
        made += [
            _animated(each, "change", each.name, "What changes in the picture?", names, each.name) for each in plain
        ]
    if "bias" in tasks:
        more = {each.name: f"{each.name} and {each.also}" for each in series if each.also}
        if not more:
            raise RunFolderError("task bias needs series of a biased classifier: NAME+OTHER=MODEL.")
        for each in (each for each in series if each.name in more):
            options = (each.name, more[each.name])
            category, truth = ("biased", options[1]) if each.also else ("unbiased", options[0])
            made.append(_animated(each, "bias", category, "What changes in the picture?", options, truth))
    return made


def _orders(each: Series, seed: int) -> list[Question]:
    """The easy and the hard pair of a series; none where two frames ask for the same."""
    draw = np.random.default_rng(int(hashlib.sha256(f"{seed} {each.name} {each.image}".encode()).hexdigest()[:15], 16))
    ranks = np.argsort(each.amounts, kind="stable")
    inner = sorted(draw.choice(len(ranks), 2, replace=False).tolist())
    found = []
    for category, places in (("easy", (0, len(ranks) - 1)), ("hard", inner)):
        less, more = (int(ranks[place]) for place in places)
        swapped = bool(draw.integers(2))
        if each.amounts[less] == each.amounts[more]:
            continue
        shown = (more, less) if swapped else (less, more)
        found.append(
            Question(
                f"{each.image} {each.name} {category}", "order", category, f"In which picture is there more of: {each.name}?",
                SIDES, SIDES[0] if swapped else SIDES[1], tuple(each.frames[place] for place in shown),
            )
        )  # fmt: skip
    return found


def _animated(each: Series, task: str, category: str, text: str, options: tuple[str, ...], truth: str) -> Question:
    order = np.argsort(each.amounts, kind="stable")
    keep = order[np.linspace(0, len(order) - 1, min(FRAMES, len(order))).round().astype(int)]
    image = f"{each.image} {task} {category}"
    return Question(image, task, category, text, options, truth, tuple(each.frames[place] for place in keep))


def write_tasks(design: TaskDesign, folder: Path) -> tuple[Path, Path]:
    """Write the page and its declaration.

    Args:
        design: the study.
        folder: where they go.

    Returns:
        `index.html` for the participants, and `study.json`, which `bench study analyse --study` takes and nobody else needs.
    """
    trials = [_encoded(each) for each in design.questions]
    names = list(dict.fromkeys(option for each in design.questions for option in each.options))
    content = {"groups": [EVERYONE], "kinds": {EVERYONE: "task"}, "names": names, "trials": trials, "tasks": True}
    digest = files.sha256(json.dumps([content, design.rules.as_dict()], sort_keys=True).encode())
    shared = {"study": digest, "schema": SCHEMA, "version": VERSION, "ratings": RATINGS}
    page, declaration = folder / "index.html", folder / "study.json"
    text = html.fill("study.html", data={**content, **shared}, names=names, count=len(trials), tasks=True)
    files.write(page, text.encode())
    told = [{name: each[name] for name in ("image", "task", "category", "options", "truth")} for each in trials]
    files.write_json(
        declaration,
        {
            "schema": "sanity-bench/study", "version": VERSION, "study": digest, "groups": [EVERYONE],
            "kinds": {EVERYONE: "task"},
            "names": names, "rules": design.rules.as_dict(), "origin": design.origin, "trials": told,
            "chance": sum(1 / len(each["options"]) for each in trials),
            "hypotheses": "the majority of the votes is right more often than guessing, per task and category",
        },
    )  # fmt: skip
    return page, declaration


def _encoded(each: Question) -> dict[str, Any]:
    """A question as the page needs it."""
    shown = "pair" if each.task == "order" else "series"
    return {
        "image": each.image, "truth": each.truth, "task": each.task, "category": each.category, "question": each.text,
        "options": list(each.options), shown: [address(frame) for frame in each.frames],
    }  # fmt: skip
