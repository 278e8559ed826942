"""The checks on counterfactuals, for one block of images and all explainers that are wanted on it."""

from __future__ import annotations

import time
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from bench.checks.base import FAILED, NOT_APPLICABLE, OK, CellResult
from bench.checks.passes import Guard, Request, described
from bench.features import ORACLE
from bench.protocols import Protocol
from models.base import Subject
from models.naming import UsageError
from models.seeds import derive
from models.transfer import moved

from . import asked_sets, cycles, planted, reals, scores
from .declared import CHECKS, SUITE
from .extractors import Featured, extractor
from .judge import Embedding, Judge, NoJudge, embedding_for, judge_for

if TYPE_CHECKING:
    from explainers import Explainer, Explanation

FRAMES = 10
"""Frames of a series that are kept for a picture."""
_MEASURES = {info.name: info.measures for info in CHECKS}


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
    """Counterfactuals of one block of images and what is measured on them.

    Args:
        subject: the model under test; it is not changed.
        explainers: with the names in `wanted`; those without counterfactuals get rows that are not applicable.
        indices: of the block's images in `subject.data`.
        seed: index of the draw.
        protocol: which class is explained.
        wanted: pairs (check, explainer), checks as in `declared.CHECKS`.
        base: base seed of the run.
        batch_size: images per pass, None for the explainer's own choice.
        pictures: of how many images the cells of `counterfactual` bring pictures along.

    Yields:
        One result per wanted pair; an explainer that raises gives results with its error.
    """
    block = _Block(subject, indices, seed, protocol, base, batch_size)
    for explainer in explainers:
        checks = sorted(check for check, name in set(wanted) if name == explainer.name)
        if not checks:
            continue
        start = time.perf_counter()
        found, error = block.explain(explainer)
        seconds = (time.perf_counter() - start) / len(checks)
        for check in checks:
            began = time.perf_counter()
            result = CellResult(explainer.name, check, error=error, seed=seed)
            if error is None:
                try:
                    result.rows = block.rows(check, explainer.name, found, seconds / len(block.ids))
                    if check == "counterfactual" and pictures and found is not None:
                        result.pictures = block.picture(explainer, found, pictures)
                except Exception as raised:
                    result.error = described(raised)
            result.seconds = seconds + time.perf_counter() - began
            yield result


@dataclass(frozen=True)
class _Found:
    """An explanation and where it stands among the images."""

    explainer: Explainer
    explanation: Explanation
    failed: Tensor


class _Block:
    """One block of images with what judges them."""

    def __init__(
        self, subject: Subject, indices: Sequence[int], seed: int, protocol: Protocol, base: int, batch_size: int | None
    ) -> None:
        chosen = list(indices)
        self.subject, self.seed = subject, seed
        self.ids = [subject.data.ids[index] for index in chosen]
        self.images = moved(subject.data.load(chosen), subject.device)
        labels = torch.as_tensor(subject.data.labels[chosen], dtype=torch.int64).to(subject.device)
        targets = labels if protocol.target == "label" else subject.predict(self.images)
        self.request = Request(self.images, targets, derive(base, "explain", seed), protocol, batch_size)
        self.guard = Guard(subject, self.request)
        self.judge, self.embedding = _or_none(judge_for, subject), _or_none(embedding_for, subject)

    def explain(self, explainer: Explainer) -> tuple[_Found | None, dict[str, Any] | None]:
        """The explanation, or the error to record."""
        try:
            explanation = self.guard.call(explainer.name, partial(_explained, explainer))
        except UsageError:
            return None, None  # it does not take such a model: there is nothing to measure, and nothing failed
        except Exception as error:
            return None, described(error, 0)
        return _Found(explainer, explanation, torch.tensor([status == FAILED for status in explanation.status])), None

    def rows(self, check: str, name: str, found: _Found | None, seconds: float) -> list[dict[str, Any]]:
        """The rows of one cell; what an explainer or an image has no value for is not applicable."""
        per_image, whole = ({}, {}) if found is None else self._measured(check, found)
        targets = self.request.targets if found is None else found.explanation.targets
        rows = []
        for measure in _MEASURES[check]:
            if measure.per == "stage":
                rows.append(self._row(check, name, measure.name, None, None, whole.get(measure.name), None))
                continue
            given = per_image.get(measure.name)
            for place, image in enumerate(self.ids):
                value = None if given is None else float(given[place])
                row = self._row(check, name, measure.name, image, int(targets[place]), value, seconds)
                if found is not None and bool(found.failed[place]):
                    row["value"], row["status"] = None, FAILED
                rows.append(row)
        return rows

    def _measured(self, check: str, found: _Found) -> tuple[scores.Values, dict[str, float]]:
        """What is measured per image, and about all of them together."""
        if check == "distribution":
            return {}, self._distribution(found)
        if check in (asked_sets.SPREAD, asked_sets.EXTREME):
            return self._asked(check, found)
        if check == "cycles":
            return self._cycles(found) or {}, {}
        if check == "attributes":
            return planted.values(found.explanation, self.subject.data, self.images) or {}, {}
        return self._values(check, found), {}

    def _values(self, check: str, found: _Found) -> scores.Values:
        explanation = found.explanation
        if check == "requests":
            return scores.requests(explanation, self.subject, self.images, self.judge) or {}
        if explanation.counterfactual is None or explanation.target is None:
            return {}
        return scores.counterfactual(explanation, self.subject, self.images, self.judge)

    def _cycles(self, found: _Found) -> scores.Values | None:
        explanation = found.explanation
        if explanation.target is None or bool(found.failed.any()) or not cycles.has_series(explanation):
            return None
        places = explanation.target.clamp_min(0)[:, None]
        own = scores.probabilities_of(self.subject)(self.images).gather(1, places)[:, 0]

        def ask(images: Tensor) -> Explanation:
            def about(subject: Subject, request: Request) -> Explanation:
                return _explained(found.explainer, subject, replace(request, images=images))

            return self.guard.call(found.explainer.name, about)

        return cycles.values(explanation, self.images, own, ask)

    def _distribution(self, found: _Found) -> dict[str, float]:
        made = found.explanation.counterfactual
        if made is None or bool(found.failed.any()) or len(made) < 2:
            return {}
        extractor = self._features()
        values = scores.distribution(made, self.images, self._real(made), extractor, self.embedding)[0]
        if extractor is not None and self.subject.num_classes == 2:
            real = moved(reals.apart(self.subject.reference, self.ids, made), self.subject.device)
            ask = scores.probabilities_of(self.subject)
            values |= scores.in_groups(made, self.ids, real, extractor, ask)[0]
        return values

    def _features(self) -> Featured | None:
        """Where the features of this run come from, None where the oracle is not made for these images."""
        chosen = self.request.protocol.features
        return self.judge if chosen == ORACLE else extractor(chosen, str(self.subject.device))

    def _asked(self, check: str, found: _Found) -> tuple[scores.Values, dict[str, float]]:
        explanation = found.explanation
        set_of = asked_sets.shown(check, explanation, self.images)
        if set_of is None or explanation.target is None or bool(found.failed.any()) or len(self.ids) < 2:
            return {}, {}
        return asked_sets.values(
            *set_of, explanation.target, self.images, self._real(set_of[0]), subject=self.subject,
            reconstruction=explanation.reconstruction, extractor=self._features(), embedding=self.embedding,
        )  # fmt: skip

    def _real(self, made: Tensor) -> Tensor:
        """Twice as many real images as are explained, none of which is among them or among those made."""
        real = reals.beside(self.subject.reference, self.ids, made, 2 * len(self.ids))
        return moved(real, self.subject.device)

    def _row(
        self, check: str, name: str, measure: str, image: str | None, target: int | None, value: float | None,
        seconds: float | None,
    ) -> dict[str, Any]:  # fmt: skip
        there = value is not None and value == value  # NaN stands for "has none"
        return {
            "suite": SUITE, "check": check, "subject": self.subject.name, "explainer": name, "seed": self.seed,
            "stage": None, "layer": None, "image": image, "target": target, "measure": measure,
            "value": value if there else None, "status": OK if there else NOT_APPLICABLE, "seconds": seconds,
        }  # fmt: skip

    def picture(self, explainer: Explainer, found: _Found, count: int) -> dict[str, Any] | None:
        """Input, reconstruction, counterfactual, map and frames of the first images; None for an explainer without them."""
        explanation = found.explanation
        if explanation.counterfactual is None or explanation.source is None or explanation.target is None:
            return None
        made = explanation.counterfactual[:count].float().cpu()
        again = explanation.reconstruction
        maps = explanation.map("signed")[:count, None].float().cpu()
        classes = [self.subject.class_names[int(c)] for c in explanation.source[:count]]
        toward = [self.subject.class_names[int(c)] if c >= 0 else "none" for c in explanation.target[:count]]
        arrays = {
            "maps": maps.numpy(),
            "images": self.images[:count].float().cpu().numpy(),
            "counterfactuals": made.numpy(),
        }
        if again is not None:
            arrays["reconstructions"] = again[:count].float().cpu().numpy()
        arrays |= _series(explanation, count)
        meta = {
            "subject": self.subject.name, "explainer": explainer.name, "check": "counterfactual", "seed": self.seed,
            "signed": True, "images": self.ids[:count], "layers": [], "classes": classes, "toward": toward,
            "outcomes": list(explanation.outcome or ())[:count],
        }  # fmt: skip
        return {"arrays": arrays, "meta": meta}


def _series(explanation: Explanation, count: int) -> dict[str, Any]:
    """At most FRAMES frames of the first images, from the first to the last, and what the model says of them."""
    strip, target = explanation.trajectory, explanation.target
    if strip is None or target is None:
        return {}
    frames = strip.images.shape[1]
    chosen = torch.linspace(0, frames - 1, min(frames, FRAMES)).round().long().tolist()
    place = target[:count].clamp_min(0)[:, None, None].expand(-1, len(chosen), 1)
    found = {
        "frames": strip.images[:count, chosen].float().cpu().numpy(),
        "frame-probabilities": strip.probabilities[:count, chosen].gather(2, place)[..., 0].float().cpu().numpy(),
    }
    if strip.requested is not None:
        found["frame-requests"] = strip.requested[:count, chosen].float().cpu().numpy()
    return found


def _explained(explainer: Explainer, subject: Subject, request: Request) -> Explanation:
    return explainer.explain(
        subject, request.images, targets=request.targets, seed=request.seed, batch_size=request.batch_size
    )


def _or_none(find: Any, subject: Subject) -> Any:
    """The judge or embedding, None where there is none for these images: its measures are then not applicable."""
    try:
        found: Judge | Embedding = find(subject)
    except NoJudge:
        return None
    return found
