"""Running checks from outside: their functions are asked about every explainer, and what they answer becomes rows."""

from __future__ import annotations

import math
import time
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from bench.protocols import Protocol
from models.base import Subject
from models.seeds import derive

from .base import CONSTANT, FAILED, NON_FINITE, OK, ZERO, CellResult
from .own import Own, own
from .passes import Guard, Request, described, explain

if TYPE_CHECKING:
    from explainers import Explainer

ROUNDING = 1e-5
"""How far beyond its range a value may be: a cosine of 1.0000001 is one."""


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
    """Ask checks from outside about explainers on one block of images.

    Args:
        subject: the model; the functions get private copies.
        explainers: with the names in `wanted`.
        indices: of the block's images in `subject.data`.
        seed: index of the seed.
        protocol: says how channels become one map, and which class is explained.
        wanted: pairs (check, explainer).
        base: base seed of the run.
        batch_size: images per pass, None for the explainer's own choice.
        pictures: not used.

    Yields:
        One result per wanted pair.
    """
    from explainers.passes import shared_passes

    chosen = list(indices)
    images = subject.data.load(chosen).to(subject.device)
    labels = torch.as_tensor(subject.data.labels[chosen], dtype=torch.int64).to(subject.device)
    targets = labels if protocol.target == "label" else subject.predict(images)
    ids = [subject.data.ids[index] for index in chosen]
    for check in sorted({name for name, _ in wanted}):
        plugged = own(check)
        request = Request(images, targets, derive(base, "own check", check, seed), protocol, batch_size)
        guard = Guard(subject, request)
        for explainer in (each for each in explainers if (check, each.name) in wanted):
            result = CellResult(explainer.name, check, seed=seed)
            start = time.perf_counter()
            try:
                if plugged is None:
                    raise LookupError(f"no check {check!r} is loaded in this process; give its file with --plugin")
                with shared_passes():
                    found = guard.call(explainer.name, partial(_answers, plugged, explainer))
                result.seconds = time.perf_counter() - start
                result.rows = list(_rows(result, subject.name, ids, targets, found))
            except Exception as error:
                result.error, result.seconds = described(error), time.perf_counter() - start
            yield result


@dataclass
class _Asked:
    """An explainer as a check sees it: a function that gives maps, and notes what was wrong with them.

    Attributes:
        wrong: per image a status that its maps had, or an empty text.
    """

    explainer: Explainer
    subject: Subject
    request: Request
    wrong: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.wrong = [""] * len(self.request.images)

    def __call__(self, images: Tensor, targets: Tensor | None = None, *, model: Subject | None = None) -> Tensor:
        """Maps (n, H, W); images beyond the block's number are taken for further versions of the same ones, in order."""
        chosen = self.request.targets if targets is None else targets
        asked = replace(self.request, images=images, targets=chosen)
        found = explain(self.explainer, model or self.subject, asked)
        flat = found.maps.flatten(1)
        constant = (flat.amax(1) == flat.amin(1)).tolist()
        for place, (failed, same, first) in enumerate(
            zip(found.failed.tolist(), constant, flat[:, 0].tolist(), strict=True)
        ):
            status = FAILED if failed else (ZERO if first == 0 else CONSTANT) if same else ""
            image = place % len(self.wrong)
            self.wrong[image] = FAILED if FAILED in (status, self.wrong[image]) else status or self.wrong[image]
        return found.maps


def _answers(plugged: Own, explainer: Explainer, subject: Subject, request: Request) -> list[tuple[float | None, str]]:
    """Value and status per image."""
    asked = _Asked(explainer, subject, request)
    made = plugged.function(subject, asked, request.images, request.targets, seed=request.seed)
    values = torch.as_tensor(made, dtype=torch.float64).detach().cpu()
    if tuple(values.shape) != (len(request.images),):
        raise ValueError(
            f"check {plugged.info.name!r} gave values of shape {tuple(values.shape)}; one number per image is expected: "
            f"({len(request.images)},)"
        )
    measure = plugged.info.measures[0]
    low = -math.inf if measure.low is None else measure.low - ROUNDING * max(1.0, abs(measure.low))
    high = math.inf if measure.high is None else measure.high + ROUNDING * max(1.0, abs(measure.high))
    beyond = [value for value in values.tolist() if value < low or value > high]
    if beyond:
        raise ValueError(f"check {plugged.info.name!r} gave {beyond[0]:g}, outside of its declared range")
    return [_answer(value, wrong) for value, wrong in zip(values.tolist(), asked.wrong, strict=True)]


def _answer(value: float, wrong: str) -> tuple[float | None, str]:
    """A map that was given up counts for nothing; without a number, what the maps were says why."""
    if wrong == FAILED:
        return None, FAILED
    return (value, OK) if math.isfinite(value) else (None, wrong or NON_FINITE)


def _rows(
    result: CellResult, subject: str, ids: Sequence[str], targets: Tensor, found: Sequence[tuple[float | None, str]]
) -> Iterator[dict[str, Any]]:
    for image, target, (value, status) in zip(ids, targets.tolist(), found, strict=True):
        yield {
            "suite": result.check, "check": result.check, "subject": subject, "explainer": result.explainer,
            "seed": result.seed, "stage": None, "layer": None, "image": image, "target": target, "measure": result.check,
            "value": value, "status": status, "seconds": result.seconds / len(ids),
        }  # fmt: skip
