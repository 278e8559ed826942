"""Result files of made-up participants."""

from __future__ import annotations

import json

GROUPS = ["control", "gradcam", "cdeepex"]
NAMES = ("Ternal", "Peat")


def content(participant, group="control", right=(True,) * 20, **changed):
    """A result file as the page writes it; `right` says trial by trial whether the answer is right."""
    trials = []
    for place, good in enumerate(right):
        truth = NAMES[place % 2]
        answer = truth if good else NAMES[1 - place % 2]
        trials.append({"image": f"digits/{place:02d}", "truth": truth, "answer": answer, "seconds": 2.5})
    base = {
        "schema": "sanity-bench/study-result", "version": 1, "study": "a" * 64, "participant": participant,
        "groups": GROUPS, "group": group, "classes": list(NAMES), "planned": 20, "trials": trials, "rating": 4,
    }  # fmt: skip
    return {**base, **changed}


def write(folder, name, what):
    """Write a result file, or any text, and return its path."""
    path = folder / f"{name}.json"
    path.write_text(what if isinstance(what, str) else json.dumps(what))
    return path
