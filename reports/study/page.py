"""The study as one file that needs no server and no network, and the declaration that lies beside it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from reports import files, html
from reports.files import RunFolderError
from reports.study.results import RATINGS, SCHEMA, VERSION
from reports.study.rules import Rules
from reports.study.trials import CONTROL, Trial, address, encoded

NAMES = ("Ternal", "Peat")
"""Made-up names, so that nobody can look the classes up."""


@dataclass(frozen=True)
class Design:
    """A study before anybody took part.

    Attributes:
        groups: `control` and explainers, the one that should teach least first.
        classes: the two classes by the network's names.
        names: what participants call them.
        trials: the pictures.
        origin: where the pictures come from, JSON-able.
        rules: rules of exclusion, declared here.
    """

    groups: tuple[str, ...]
    classes: tuple[str, str]
    names: tuple[str, str]
    trials: tuple[Trial, ...]
    origin: dict[str, Any]
    rules: Rules = field(default_factory=Rules)


def write_study(design: Design, folder: Path) -> tuple[Path, Path]:
    """Write the page and its declaration.

    Args:
        design: the study.
        folder: where they go.

    Returns:
        `index.html` for the participants, and `study.json`, which `bench study analyse --study` takes and nobody else needs.

    Raises:
        RunFolderError: two groups or names are the same, or a group has nothing to show.
    """
    if (
        len(set(design.groups)) < len(design.groups)
        or len(set(design.names)) < 2
        or not all(map(str.strip, design.names))
    ):
        raise RunFolderError(
            f"groups and names must differ from each other; given are {design.groups} and {design.names}."
        )
    trials = [encoded(trial) for trial in design.trials]
    told = dict(zip(design.classes, design.names, strict=True))
    for trial in trials:
        trial["truth"] = told[trial["truth"]]
    kinds = {name: _kind(name, design.trials) for name in design.groups}
    content = {"groups": design.groups, "kinds": kinds, "names": design.names, "trials": trials}
    digest = files.sha256(json.dumps([content, design.rules.as_dict()], sort_keys=True).encode())
    shared = {"study": digest, "schema": SCHEMA, "version": VERSION, "ratings": RATINGS}
    page, declaration = folder / "index.html", folder / "study.json"
    files.write(
        page,
        html.fill(
            "study.html", data={**content, **shared}, names=design.names, count=len(trials), tasks=False
        ).encode(),
    )
    files.write_json(
        declaration,
        {
            "schema": "sanity-bench/study", "version": VERSION, "study": digest, "groups": list(design.groups), "kinds": kinds,
            "names": told, "rules": design.rules.as_dict(), "chance": len(trials) / 2, "origin": design.origin,
            "empty": empty(design),
            "hypotheses": "one-sided: each group learns more than those before it; Welch, 0.05, also with Holm's correction",
            "trials": [{"image": trial["image"], "truth": trial["truth"]} for trial in trials],
        },
    )  # fmt: skip
    return page, declaration


def empty(design: Design) -> dict[str, int]:
    """In how many pictures the feedback of a group shows nothing: no positive evidence, or a morph that stays as it is.

    Args:
        design: the study.

    Returns:
        Group to number of pictures, for groups with a heat map or a morph.
    """
    return {
        name: sum(_nothing(name, trial) for trial in design.trials)
        for name in design.groups
        if _kind(name, design.trials) != "verdict"
    }


def _nothing(name: str, trial: Trial) -> bool:
    """Whether one picture's feedback shows nothing."""
    if name in trial.morphs:
        return len({address(frame) for frame in trial.morphs[name]}) == 1
    return not bool((np.nan_to_num(trial.heat[name], nan=0.0, posinf=0.0, neginf=0.0) > 0).any())


def _kind(name: str, trials: Sequence[Trial]) -> str:
    """What a group is shown: `verdict`, `heat` or `morph`."""
    if name == CONTROL:
        return "verdict"
    for kind, shown in (("morph", [trial.morphs for trial in trials]), ("heat", [trial.heat for trial in trials])):
        if all(name in each for each in shown):
            return kind
    raise RunFolderError(f"{name} has neither a heat map nor a morph of every picture of the study.")
