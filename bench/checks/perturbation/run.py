"""Perturbation of one block of images for all explainers: what does not depend on them is computed once."""

from __future__ import annotations

import time
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from bench.checks.base import FAILED, NOT_APPLICABLE, OK, CellResult
from bench.checks.passes import Guard, Maps, Request, described
from bench.protocols import Protocol
from explainers.base import status_of
from explainers.controls import image_key
from explainers.passes import network, rows_for, shared_passes
from models.base import Subject
from models.naming import UsageError
from models.seeds import derive
from models.transfer import moved

from . import orders
from .curves import Ends, Scene, clean, curve, ends
from .declared import DRAWS, PATCH, STEPS, parse
from .records import Outcome, rows_of
from .replacements import Replacement, replacement
from .replacements import field as replaced_by
from .scores import scores

if TYPE_CHECKING:
    from explainers import Explainer

RANDOM_ORDERS = 2
COUNTERFACTUAL = "counterfactual"


def run_block(
    subject: Subject,
    explainers: Sequence[Explainer],
    indices: Sequence[int],
    seed: int,
    *,
    protocol: Protocol,
    wanted: Collection[tuple[str, str]],
    base: int,
    batch_size: int | None = None,
    pictures: int = 0,
) -> Iterator[CellResult]:
    """Perturbation of one block of images, for all explainers and replacements.

    Only images that the model gets right take part; the target is its prediction on the whole image, all the way.

    Args:
        subject: the model under test; it is not changed.
        explainers: with the names in `wanted`.
        indices: of the block's images in `subject.data`.
        seed: index of the draw; there is one, since the noise fields are drawn inside.
        protocol: decides how channels become one map.
        wanted: pairs (check, explainer), checks as in `declared.CHECKS`.
        base: base seed of the run.
        batch_size: images per pass, None = as many as suit the memory.
        pictures: without effect; these cells bring none.

    Yields:
        One result per wanted pair. An explainer that raises gives results with its error; the others go on.

    Raises:
        UsageError: a model of one class, whose probability is 1 whatever is replaced.
    """
    if subject.num_classes < 2:
        raise UsageError(
            f"{subject.name} has {subject.num_classes} class; perturbation needs at least 2 to see a probability fall"
        )
    names = {name for _, name in wanted}
    members = [explainer for explainer in explainers if explainer.name in names]
    with shared_passes():
        block = _Block(subject, members, indices, protocol, derive(base, "explain", seed), batch_size)
    for check in dict.fromkeys(check for check, _ in sorted(wanted)):
        shared: _Ground | None = None
        own = parse(check)[0] == COUNTERFACTUAL
        for name in [explainer.name for explainer in members if (check, explainer.name) in wanted]:
            start = time.perf_counter()
            result = CellResult(name, check, error=block.errors.get(name), seed=seed)
            if result.error is None:
                try:
                    if shared is None or own:
                        shared = block.ground(check, base, name)
                    result.rows = block.rows(check, name, seed, shared)
                except Exception as error:
                    result.rows, result.error = [], described(error)
            result.seconds = block.seconds.get(name, 0.0) + time.perf_counter() - start
            yield result


@dataclass(frozen=True)
class _Ground:
    """What all explainers share under one replacement: images, ends, curves in random order, ties."""

    chosen: Replacement
    limits: Ends
    patch: int
    ties: Tensor
    random: tuple[Tensor, Tensor]


@dataclass
class _Block:
    """One block of images, and what every explainer says about those that the model gets right."""

    subject: Subject
    explainers: Sequence[Explainer]
    indices: Sequence[int]
    protocol: Protocol
    seed: int
    batch_size: int | None
    maps: dict[str, Maps] = field(default_factory=dict)
    errors: dict[str, dict[str, Any]] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        subject, chosen = self.subject, list(self.indices)
        self.ids = [subject.data.ids[index] for index in chosen]
        images = moved(subject.data.load(chosen), subject.device)
        self.targets = subject.predict(images)
        labels = torch.as_tensor(subject.data.labels[chosen], dtype=torch.int64).to(subject.device)
        self.right = (self.targets == labels).nonzero()[:, 0]
        images = images[self.right]
        self.keys = [image_key(image) for image in images]
        rows = rows_for(images) if self.batch_size is None else min(self.batch_size, rows_for(images))
        self.scene = Scene(network(subject), images, self.targets[self.right], STEPS, rows)
        if len(images):
            self.start = clean(self.scene)
            self._explain()

    def _explain(self) -> None:
        request = Request(self.scene.images, self.scene.targets, self.seed, self.protocol, self.batch_size)
        guard = Guard(self.subject, request)
        for explainer in self.explainers:
            start = time.perf_counter()
            try:
                self.maps[explainer.name] = guard.explain(explainer)
            except Exception as error:
                self.errors[explainer.name] = described(error)
            self.seconds[explainer.name] = time.perf_counter() - start

    def ground(self, check: str, base: int, name: str) -> _Ground | None:
        """What is shared under a replacement; None where there is nothing to replace or nothing to replace it by."""
        scene = self.scene
        kind, patches = parse(check)
        if not len(scene.images):
            return None
        if kind == COUNTERFACTUAL:
            other = self.maps[name].counterfactual
            if other is None:
                return None
            chosen = replaced_by(kind, scene.images, [other.to(scene.images)])
        else:
            chosen = replacement(kind, self.subject, scene.images, self.keys, base, DRAWS)
        height, width = scene.images.shape[2:]
        patch = max(1, min(height, width) // PATCH) if patches else 1
        units = -(-height // patch) * -(-width // patch)
        limits = ends(scene, chosen, self.start)
        drawn = []
        for number in range(RANDOM_ORDERS):
            order = orders.permutations(self.keys, units, base, f"order-{number}").to(scene.images.device)
            places = order.view(len(self.keys), -(-height // patch), -1)
            drawn.append(self._pair(places, units - 1 - places, chosen, limits, patch, None))
        random = tuple(torch.stack(curves).mean(0) for curves in zip(*drawn, strict=True))
        ties = orders.permutations(self.keys, units, base, "ties")
        return _Ground(chosen, limits, patch, ties, (random[0], random[1]))

    def _pair(
        self, most: Tensor, least: Tensor, chosen: Replacement, limits: Ends, patch: int, members: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        """The curves of two orders, given as places."""
        shape = (self.scene.images.shape[2], self.scene.images.shape[3])
        when = [orders.turns(places, self.scene.steps, patch, shape) for places in (most, least)]
        first, second = (curve(self.scene, chosen, each, limits, members) for each in when)
        return first, second

    def rows(self, check: str, name: str, seed: int, ground: _Ground | None) -> list[dict[str, Any]]:
        """The records of one cell."""
        statuses = [NOT_APPLICABLE] * len(self.ids)
        outcome = Outcome(check, self.subject.name, name, seed, self.ids, self.targets.tolist(), statuses)
        if ground is None:
            return rows_of(outcome)
        found = self.maps[name]
        own = [
            FAILED if gone else status
            for gone, status in zip(found.failed.tolist(), status_of(found.maps), strict=True)
        ]
        for place, status in zip(self.right.tolist(), own, strict=True):
            statuses[place] = status
        members = torch.tensor([place for place, status in enumerate(own) if status == OK], dtype=torch.int64)
        members = members.to(self.scene.images.device)
        if not len(members):
            return rows_of(outcome)
        maps = orders.pooled(_relevance(found)[members], ground.patch)
        ties = ground.ties[members.cpu()]
        most, least = orders.ranks(maps, ties), orders.ranks(-maps, ties)
        curves = self._pair(most, least, ground.chosen, ground.limits, ground.patch, members)
        random = (ground.random[0][members], ground.random[1][members])
        values = {**scores(*curves), **{f"{key}-random": value for key, value in scores(*random).items()}}
        return rows_of(
            replace(outcome, members=self.right[members].tolist()),
            {key: value.tolist() for key, value in values.items()},
            {"morf": curves[0][..., 0], "lerf": curves[1][..., 0], "random": random[0][..., 0]},
        )


def _relevance(found: Maps) -> Tensor:
    """How relevant each pixel is, (N, H, W).

    A map that comes with a counterfactual is the change towards it: what it takes away weighs as much as what it adds, so its
    size counts and not its sign (for Progressive Exaggeration the difference of the two extremes).
    """
    return found.maps if found.counterfactual is None else found.maps.abs()
