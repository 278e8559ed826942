"""The plan: the grid of cells of a run, what of it is missing, and how the missing cells are grouped into shards.

A shard holds the cells that share a subject, a block of images and a seed (or draw), so that every randomised model is
built once for all explainers of the shard. A shard is the unit of work, a cell is the unit of resuming. A shard of
randomisation that is a large part of a plan is halved, so that workers have something left to share at the end, and so is
one that is long by itself: what explainers keep for the next stage lives as long as their shard, so that halves need less
memory.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import accumulate
from typing import Any

from models.naming import UsageError

from .cell import Cell, canonical, digest
from .checks.base import BLOCK, MODEL
from .sized import Size, Suite
from .traits import WORDS, CheckFacts, ExplainerFacts, SubjectFacts

DIVISIBLE = ("randomization",)
"""Families in which explainers of a shard have little in common beside the models, which are quickly built again."""
LARGE = 1 / 16
"""A shard with more than this share of a plan's work is halved, whatever the number of workers: whoever computes the same
plan, here or elsewhere, has the same shards."""
SHORT = 8_000
"""A shard of fewer forward-backward passes of one image than this stays whole: its random models cost as much to build."""
LONG = 50_000
"""A shard of more forward-backward passes of one image than this is halved too, whatever else there is in the plan."""

Group = tuple[int, int, int, str, int]
"""What the cells of a shard have in common; see `Task.group`."""


@dataclass(frozen=True)
class Task:
    """A cell and what its shard needs to run it; `text` loads its explainer where its name does not."""

    cell: Cell
    subject: int
    start: int
    stop: int
    family: str
    cost: float
    text: str = ""

    @property
    def group(self) -> Group:
        """Cells with equal groups share a shard."""
        return self.subject, self.start, self.stop, self.family, self.cell.seed


@dataclass(frozen=True)
class Shard:
    """Work for one worker process, made of texts and numbers only.

    Attributes:
        model, data: what to load.
        start, stop: the block, as positions in `indices`.
        indices: image indices of the block.
        family: module of `bench.checks` that computes the cells.
        seed: seed index, repeat or draw.
        cells: per cell key, suite, check, subject, explainer, seed, images (ids), and the text of an explainer whose name
            is another.
        cost: estimated forward-backward passes.
    """

    model: str
    data: str | None
    start: int
    stop: int
    indices: tuple[int, ...]
    family: str
    seed: int
    cells: tuple[dict[str, Any], ...]
    cost: float

    @property
    def id(self) -> str:
        """16 hex digits that name the shard's work, independent of the machine and of the order."""
        return digest(sorted(cell["key"] for cell in self.cells))[:16]

    @property
    def label(self) -> str:
        """What progress shows, for example `fmnist-vgg images 0-15 seed 2`."""
        kind = "" if self.family == "randomization" else f"{self.family.replace('_', ' ')} "
        return f"{self.cells[0]['subject']} · images {self.start}-{self.stop - 1} · {kind}seed {self.seed}"

    def to_json(self) -> str:
        """The shard as text, for the way to another process."""
        return json.dumps(asdict(self))

    @staticmethod
    def from_json(text: str) -> Shard:
        """The inverse of `to_json`."""
        values = json.loads(text)
        return Shard(**{**values, "indices": tuple(values["indices"]), "cells": tuple(values["cells"])})

    def by_explainer(self) -> Iterator[Shard]:
        """The shard in pieces of one explainer each, to find out which one brings a worker down."""
        for name in dict.fromkeys(cell["explainer"] for cell in self.cells):
            yield replace(self, cells=tuple(cell for cell in self.cells if cell["explainer"] == name))


@dataclass(frozen=True)
class Plan:
    """All tasks of a run and the subjects they refer to."""

    tasks: tuple[Task, ...]
    subjects: tuple[SubjectFacts, ...]

    @property
    def keys(self) -> list[str]:
        """Keys of all cells, in the order of the plan."""
        return [task.cell.key for task in self.tasks]

    def entries(self) -> list[dict[str, Any]]:
        """The cells as they stand in `plan.json`."""
        # Cells of one block share one list of its images: at a million cells that is most of the memory.
        images: dict[tuple[str, ...], list[str]] = {}
        return [
            task.cell.entry() | {"images": images.setdefault(task.cell.images, list(task.cell.images))}
            for task in self.tasks
        ]

    def missing(self, done: Collection[str]) -> list[Task]:
        """The tasks whose cell is not done."""
        return [task for task in self.tasks if task.cell.key not in done]

    def part(self, index: int, count: int) -> Plan:
        """One of `count` parts with every cell in exactly one; cells of a shard stay together."""
        if count == 1:
            return self

        def place(task: Task) -> int:
            subject = self.subjects[task.subject]
            return int(digest([subject.identity, *task.group[1:]])[:8], 16) % count

        return replace(self, tasks=tuple(task for task in self.tasks if place(task) == index))

    def shards(self, tasks: Iterable[Task]) -> list[Shard]:
        """Tasks grouped into shards, the longest first so that the workers finish together."""
        groups: dict[tuple[Any, ...], list[Task]] = {}
        second = self._second_half()
        for task in tasks:
            groups.setdefault((task.group, (task.group, task.cell.explainer) in second), []).append(task)
        shards = [self._shard(group) for group in groups.values()]
        return sorted(shards, key=lambda shard: (-shard.cost, shard.id))

    def _second_half(self) -> set[tuple[Group, str]]:
        """Group and explainer of what is cut off from large groups, by what the whole plan holds, done or not."""
        costs: dict[Group, dict[str, float]] = {}
        for task in self.tasks:
            if task.family in DIVISIBLE:
                of = costs.setdefault(task.group, {})
                of[task.cell.explainer] = of.get(task.cell.explainer, 0.0) + task.cost
        enough = max(SHORT, min(LONG, LARGE * sum(task.cost for task in self.tasks)))
        found: set[tuple[Group, str]] = set()
        for group, of in costs.items():
            total = sum(of.values())
            before = list(accumulate(of.values(), initial=0.0))
            cut = min(range(len(before)), key=lambda place: abs(before[place] - total / 2))
            if total > enough and total / 5 < before[cut] < total * 4 / 5:
                found.update((group, name) for name in list(of)[cut:])
        return found

    def _shard(self, tasks: Sequence[Task]) -> Shard:
        first = tasks[0]
        subject = self.subjects[first.subject]
        indices = subject.indices[first.start : first.stop]
        images = list(first.cell.images)
        cells = tuple(
            {"key": task.cell.key, "suite": task.cell.suite, "check": task.cell.check, "subject": task.cell.subject,
             "explainer": task.cell.explainer, "seed": task.cell.seed, "images": images}
            | ({"text": task.text} if task.text else {})
            for task in tasks
        )  # fmt: skip
        cost = sum(task.cost for task in tasks)
        return Shard(
            subject.text, subject.data, first.start, first.stop, indices, first.family, first.cell.seed, cells, cost,
        )  # fmt: skip


def text_of(cell: Mapping[str, Any]) -> str:
    """What the explainer of a shard's cell is loaded by; the process that computes it knows it by this."""
    return str(cell.get("text") or cell["explainer"])


def blocks(images: int, size: int = BLOCK) -> list[tuple[int, int]]:
    """Start and stop of each block of at most `size` images.

    Example:
        >>> blocks(20)
        [(0, 16), (16, 20)]
    """
    return [(start, min(start + size, images)) for start in range(0, images, size)]


def build(
    sizes: Mapping[Suite, Size],
    subjects: Sequence[SubjectFacts],
    explainers: Mapping[str, Sequence[ExplainerFacts]],
    checks: Mapping[str, CheckFacts],
    *,
    draws: Mapping[str, int],
    base: int,
    dtype: str,
    models: Mapping[str, Collection[str]] | None = None,
) -> Plan:
    """The grid of cells of a run; a cell that two suites ask for stands in it once.

    Args:
        sizes: size of each suite to run.
        subjects: the models under test.
        explainers: per suite name, the explainers, references included.
        checks: per check name, what its result depends on.
        draws: number of seed indices of the checks that do not take those of the run, by `CheckInfo.draws`.
        base: base seed.
        dtype: numerics.
        models: per suite name, the texts of the subjects it runs on; None means all.

    Raises:
        UsageError: a suite has no check for any of its subjects.
    """
    tasks: dict[str, Task] = {}
    for suite, size in sizes.items():
        found = 0
        for number, subject in enumerate(subjects):
            if models is not None and subject.text not in models[suite.name]:
                continue
            for check in suite.checks:
                facts = checks[check]
                if not facts.applies(subject):
                    continue
                common: dict[str, Any] = {"suite": suite.filed, "check": check, "base": base, "dtype": dtype}
                for own, group in _by_size(size, facts, explainers[suite.name]).items():
                    seeds = draws.get(facts.draws, own.seeds)
                    for task in _check_tasks(common, facts, own.images, seeds, number, subject, group):
                        tasks.setdefault(task.cell.key, task)
                        found += 1
        if not found and all(subject.truth == WORDS for subject in subjects):
            raise UsageError(
                f"suite {suite.name!r} has no check for sentences, which have no pixels, no places and no generator of "
                "images; suite randomization has"
            )
        if not found:
            needed = sorted({kind for check in suite.checks for kind in checks[check].truth} - {""})
            raise UsageError(
                f"suite {suite.name!r} has no check for these models and images; it needs images with known evidence "
                f"({', '.join(needed)}): leave --model and --data out to run it on its own"
            )
    return Plan(tuple(tasks.values()), tuple(subjects))


def _by_size(size: Size, facts: CheckFacts, explainers: Sequence[ExplainerFacts]) -> dict[Size, list[ExplainerFacts]]:
    """The explainers of a check by the size that they are run at; a check of the model alone has one size."""
    groups: dict[Size, list[ExplainerFacts]] = {size: []}
    for each in explainers:
        groups.setdefault(size if facts.about_model else size.of(each.cost), []).append(each)
    return groups


def _check_tasks(
    common: Mapping[str, Any],
    facts: CheckFacts,
    images: int,
    seeds: int,
    number: int,
    subject: SubjectFacts,
    explainers: Sequence[ExplainerFacts],
) -> Iterator[Task]:
    layers = len(subject.stages) + 1 if facts.staged else 1
    # What many cells share is made once, and held once.
    common = {
        **common, "check_identity": facts.identity,
        "subject": subject.name, "subject_identity": canonical(subject.identity),
    }  # fmt: skip
    chosen = (
        [(MODEL, "null", 1.0, "", 0)]
        if facts.about_model
        else [
            (each.name, each.identity, each.cost, each.text, facts.per_search * bool(each.info.get("anchors")))
            for each in explainers
            if (each.info.get("amortised") or not facts.fitted) and (each.info.get("anchors") or not facts.searching)
        ]
    )
    for start, stop in blocks(images, facts.block)[: 1 if facts.about_model else None]:
        count = stop - start
        # Without the stages of the model, rows about no image belong to steps that only the check knows of.
        known = facts.staged or not facts.per_stage
        rows = count * facts.per_image + facts.per_stage
        digest_of = subject.digests[f"{start}:{stop}"]
        shown: dict[str, Any] = {"images": subject.ids[start:stop], "images_digest": digest_of}
        for seed in range(seeds):
            for name, identity, cost, text, more in chosen:
                shown["rows"] = layers * (rows + more) if known else None
                cell = Cell(**common, **shown, explainer=name, explainer_identity=identity, seed=seed)
                yield Task(cell, number, start, stop, facts.family, layers * count * cost, text)


def join(old: Sequence[Mapping[str, Any]], new: Sequence[Mapping[str, Any]], folder: str) -> list[dict[str, Any]]:
    """The cells of a folder after a run that widens it.

    More images, seeds, explainers or suites widen a folder. A run that would measure the same thing a second time in
    another way (other weights, protocol, numerics, base seed, parameters) is refused, since the two would be mixed.

    Raises:
        UsageError: a new cell measures what an old one measures, under another identity.
    """
    again = {cell["key"] for cell in new}
    kept = [dict(entry) for entry in old if entry["key"] not in again]
    taken: dict[tuple[str, str, str, int], set[str]] = {}
    for cell in kept:
        taken.setdefault(_place(cell), set()).update(cell["images"])
    for entry in new if taken else ():
        if not taken.get(_place(entry), set()).isdisjoint(entry["images"]):
            raise UsageError(
                f"the run folder {folder} belongs to another configuration: it holds {entry['check']} of "
                f"{entry['explainer']} on {entry['subject']} (seed {entry['seed']}) under other weights, data, protocol, "
                "numerics, base seed, version or block of images; choose another --out, or repeat the command that made it"
            )
    return kept + [dict(entry) for entry in new]


def _place(entry: Mapping[str, Any]) -> tuple[str, str, str, int]:
    return entry["check"], entry["subject"], entry["explainer"], entry["seed"]
