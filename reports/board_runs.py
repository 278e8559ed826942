"""The runs that a leaderboard is made of: what each holds, under which name of the subject, and what explainers lack."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase
from pathlib import Path

import pandas as pd

from reports.files import RunFolderError
from reports.frame import GROUP, Group, SharedList, expectations, load
from reports.grid import with_targets
from reports.scores import CERTIFIED, RANKED, Score, scores_of, seconds_per_explanation
from reports.store import Store
from reports.verdict import verdicts

GATES = {
    "randomisation": ("randomization", ("cascading",)),
    "class discrimination": ("class-discrimination", ("class-similarity", "class-similarity-top2")),
}
"""Gate to the suite and the checks whose verdict it is: the first of them that a model has.  Two classes that an image is
known to show are only known on made images; elsewhere the two most likely ones take their place, and for searches between two
classes, see `INSTEAD`, one class towards two probes."""

INSTEAD = {"class-similarity-top2": "class-similarity-probes"}
"""Check to the one that takes its place for the explainers that have it."""

OWN_DATA = "its own images"


class BoardRun:
    """What a leaderboard needs of one run.

    Attributes:
        path: the folder.
        cards: facts about its explainers.
        verdicts: `reports.verdicts`.
        cells: number of cells planned per subject, explainer, suite and check.
        done: number of cells measured, the same way.
    """

    def __init__(self, store: Store, called: Mapping[str, str]) -> None:
        """Read a run folder.

        Args:
            store: the folder.
            called: names of subjects that are called otherwise than in the folder.
        """
        frame = _renamed(load(store, coded=True), called)
        self.path = str(store.path)
        self.cards = store.explainers
        self.verdicts = verdicts(frame)
        self.cells = {group: numbers["cells"] for group, numbers in expectations(frame).items()}
        measured = frame.loc[(frame["status"] != "failed").to_numpy(dtype=bool), [*GROUP, "cell"]].drop_duplicates()
        self.done: dict[Group, int] = {}
        for subject, explainer, suite, check, _ in measured.itertuples(index=False, name=None):
            group = (str(subject), str(explainer), str(suite), str(check))
            self.done[group] = self.done.get(group, 0) + 1
        for group, count in self.done.items():
            self.cells.setdefault(group, count)
        wanted = {CERTIFIED, *(measure for pairs in RANKED.values() for _, measure in pairs)}
        self._frame = with_targets(frame[frame["measure"].isin(wanted).to_numpy(dtype=bool)])
        self._seconds = seconds_per_explanation(frame)

    def count(self, explainer: str) -> tuple[int, int]:
        """Cells done and planned of an explainer."""
        own = [group for group in self.cells if group[1] == explainer]
        return sum(self.done.get(group, 0) for group in own), sum(self.cells[group] for group in own)

    def seconds(self, explainer: str) -> list[float]:
        """Seconds per explanation, one value per cell."""
        return self._seconds.get(explainer, [])

    def scores(self, resamples: int) -> list[Score]:
        """Scores of all explainers, resampled together."""
        return scores_of(self._frame, resamples=resamples)


def read(runs: Sequence[str | Path]) -> list[BoardRun]:
    """Read the runs of a leaderboard; a model that was tested on several data sets is several subjects.

    Args:
        runs: run folders.

    Returns:
        One per folder.  Where runs hold a subject of the same name on other data, it is called `NAME on DATA`.

    Raises:
        RunFolderError: a folder cannot be read, or two of them hold the same measurement.
        SchemaError: a newer release wrote one of them.
    """
    stores = [Store.open(path) for path in runs]
    data = [_data_of(store) for store in stores]
    seen: dict[str, set[str]] = {}
    for each in data:
        for subject, name in each.items():
            seen.setdefault(subject, set()).add(name)
    loaded = []
    for store, each in zip(stores, data, strict=True):
        called = {subject: f"{subject} on {name}" for subject, name in each.items() if len(seen[subject]) > 1}
        loaded.append(BoardRun(store, called))
    _refuse_twice(loaded)
    return loaded


def lacking(loaded: Sequence[BoardRun], names: Sequence[str]) -> dict[str, dict[Group, int]]:
    """What each explainer lacks that most of them were measured on, in the suites that gates and ranks are made from.

    Args:
        loaded: the runs.
        names: explainers that are no references.

    Returns:
        Per explainer that lacks something, the number of cells of each subject, explainer, suite and check: as many as
        most of those have that were measured there.
    """
    counts: dict[tuple[str, str, str], dict[str, int]] = {}
    suites = {suite for suite, _ in GATES.values()}
    for run in loaded:
        for (subject, explainer, suite, check), count in run.cells.items():
            if explainer in names:
                counts.setdefault((subject, suite, check), {})[explainer] = count
            if any(fnmatchcase(check, pattern) for pairs in RANKED.values() for pattern, _ in pairs):
                suites.add(suite)
    found: dict[str, dict[Group, int]] = {}
    for (subject, suite, check), members in counts.items():
        if suite in suites and 2 * len(members) > len(names):
            ((usual, _),) = Counter(members.values()).most_common(1)
            for name in set(names) - set(members):
                found.setdefault(name, {})[subject, name, suite, check] = usual
    return found


def in_words(lacks: Mapping[Group, int], loaded: Sequence[BoardRun]) -> str:
    """Say what an explainer lacks: a suite where it lacks all of it that others have, else its checks.

    Args:
        lacks: as `lacking` gives it for one explainer.
        loaded: the runs.
    """
    gates = {suite: gate for gate, (suite, _) in GATES.items()}
    (name,) = {group[1] for group in lacks}
    has = {(group[0], group[2]) for run in loaded for group in run.cells if group[1] == name}
    subjects = {group[0] for run in loaded for group in run.cells}
    parts = []
    suites = {group[2] for group in lacks}
    for suite in [*(gate for gate in gates if gate in suites), *sorted(suites - set(gates))]:
        word = gates.get(suite, suite.replace("-", " "))
        if suite not in {there for _, there in has}:
            parts.append(word)
            continue
        for subject in sorted({group[0] for group in lacks if group[2] == suite}):
            checks = sorted(group[3] for group in lacks if (group[0], group[2]) == (subject, suite))
            what = ", ".join(checks) if (subject, suite) in has else word
            parts.append(what + (f" on {subject}" if len(subjects) > 1 else ""))
    return "; ".join(parts)


def _data_of(store: Store) -> dict[str, str]:
    """What the images of each subject of a run are called."""
    known: dict[str, str] = {}
    for info in store.provenance().values():
        subjects = info.get("subjects")
        for name, identity in subjects.items() if isinstance(subjects, dict) else ():
            if isinstance(identity, dict) and identity.get("data"):
                known[str(name)] = str(identity["data"])
    given = str(store.config.get("data") or OWN_DATA)
    return {subject: known.get(subject, given) for subject in {str(cell["subject"]) for cell in store.plan()}}


def _renamed(frame: pd.DataFrame, called: Mapping[str, str]) -> pd.DataFrame:
    """Call subjects otherwise, in the records and in what was expected of them."""
    if not called:
        return frame
    attrs = dict(frame.attrs)
    for part in ("expected", "failures"):
        named = ({**entry, "subject": called.get(entry["subject"], entry["subject"])} for entry in attrs[part])
        attrs[part] = SharedList(named)
    frame = frame.assign(subject=frame["subject"].cat.rename_categories(lambda name: called.get(name, name)))
    frame.attrs = attrs
    return frame


def _refuse_twice(runs: Sequence[BoardRun]) -> None:
    """Refuse two runs that hold the same measurement: it would count twice, or under two protocols."""
    owner: dict[Group, str] = {}
    for run in runs:
        for group in run.done:
            if group[1].startswith("("):
                continue
            if group in owner:
                subject, explainer, suite, check = group
                raise RunFolderError(
                    f"{owner[group]} and {run.path} both hold {check} ({suite}) of {explainer} on {subject}. Give only one "
                    "of them; if they are parts of one run, join them first: "
                    f"bench merge {owner[group]} {run.path} --out RUN."
                )
            owner[group] = run.path
