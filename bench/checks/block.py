"""A block of images: what explainers say on it about the trained model, and how other models compare with that."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from bench.protocols import Protocol
from explainers.reuse import Reuse
from models.base import Subject
from models.snapshot import Snapshot
from models.transfer import moved

from .base import ZERO
from .health import Health, examine
from .passes import Guard, Maps, Request, Violation, described, explain, is_signed, reduced
from .records import Film, Scores, head
from .similarity import Reference, Similarities

if TYPE_CHECKING:
    from explainers import Explainer
    from explainers.contrastive.anchor import Anchored

Found = Scores | dict[str, Any]
"""What an explainer gave at a stage: scores, or its error as `passes.described` puts it."""
TRIVIAL = "trivial"


def asking_as_trained(explainer: Explainer, subject: Subject) -> Explainer:
    """The explainer with what it found on the trained model before its search, so that all weights answer one question."""
    return explainer.anchored(subject) if getattr(explainer.info, "anchors", False) else explainer


class Block:
    """The explainers of a shard on one block of images: the trained model's maps, and comparisons with them.

    Args:
        subject: the trained model; it is not handed to any explainer.
        explainers: those that have work in this shard.
        indices: of the block's images.
        protocol: all choices that change a number.
        seed: of the explanations, the same for all models: common random numbers.
        batch_size: images per pass, None for everything at once.
        pictures: for how many images maps are kept.
        walked: whether many models are compared, so that it pays to keep passes over noisy copies of the images.

    Attributes:
        reference: the trained model's maps, one explainer after the other.
        order: explainers in `reference`, by name.
        errors: explainers that failed on the trained model, with the error.
    """

    def __init__(
        self,
        subject: Subject,
        explainers: Sequence[Explainer],
        indices: Sequence[int],
        protocol: Protocol,
        seed: int,
        batch_size: int | None,
        pictures: int = 0,
        walked: bool = True,
    ) -> None:
        chosen = list(indices)
        explainers = [asking_as_trained(explainer, subject) for explainer in explainers]
        self.subject, self.protocol, self.pictures = subject, protocol, pictures
        self.ids = [subject.data.ids[index] for index in chosen]
        self.images = moved(subject.data.load(chosen), subject.device)
        self.labels = torch.as_tensor(subject.data.labels[chosen], dtype=torch.int64).to(subject.device)
        targets = self.labels if protocol.target == "label" else subject.predict(self.images)
        self.request = Request(self.images, targets, seed, protocol, batch_size)
        self.errors: dict[str, dict[str, Any]] = {}
        self.reuse = Reuse(self.images, made=walked)
        self.before = Snapshot(subject.model)
        with self.passes():
            self.health = self.examine(subject)
        self.seconds: dict[str, float] = {}
        self.trained = self._explain_trained(explainers)
        self.order = {name: place for place, name in enumerate(self.trained)}
        self.by_name = {explainer.name: explainer for explainer in explainers}
        self.reference = self._reference()

    def passes(self) -> AbstractContextManager[None]:
        """Within this context, which is one model's, its health and its explanations share their passes."""
        from explainers.passes import shared_passes

        return shared_passes(self.reuse)

    def examine(self, model: Subject) -> Health:
        """Health of a model on the block."""
        known = self.protocol.target != "randomised-prediction"
        return examine(
            model, self.images, self.labels, self.request.batch_size, self.request.targets if known else None
        )

    def _explain_trained(self, explainers: Sequence[Explainer]) -> dict[str, Maps]:
        found: dict[str, Maps] = {}
        if not explainers:
            return found
        guard = Guard(self.subject, self.request)
        with self.passes():
            for explainer in explainers:
                start = time.perf_counter()
                try:
                    found[explainer.name] = guard.explain(explainer)
                except Exception as error:
                    self.errors[explainer.name] = described(error, 0)
                self.seconds[explainer.name] = time.perf_counter() - start
        return found

    def _reference(self) -> Reference | None:
        if not self.trained:
            return None
        signed = [is_signed(self.by_name[name], self.protocol) for name in self.trained]
        flags = torch.tensor(signed, device=self.images.device).repeat_interleave(len(self.ids))
        maps = torch.cat([found.maps for found in self.trained.values()])
        failed = torch.cat([found.failed for found in self.trained.values()])
        return Reference(maps, flags, self.protocol, failed)

    def again(self, names: Sequence[str], seed: int) -> dict[str, Found]:
        """The trained model explained once more with other random numbers; searches begin anew, between the same classes."""
        if not names:
            return {}
        model = self.subject.private_copy()
        anew = {name: explainer.redrawn(seed) for name, explainer in self.searching(names).items()}
        drawn = self.at(model, anew, 0, instead=anew)
        return {**drawn, **self.at(model, [name for name in names if name not in anew], 0, seed=seed)}

    def searching(self, names: Iterable[str]) -> dict[str, Anchored]:
        """The explainers among those named that search from a point which can be drawn again."""
        from explainers.contrastive.anchor import Anchored

        found = {name: self.by_name[name] for name in names if name not in self.errors}
        return {name: each for name, each in found.items() if isinstance(each, Anchored) and each.searches}

    def unrelated(self, names: Iterable[str], seed: int) -> dict[str, Found]:
        """Random latent moves in place of searches, each as long in the image as the search on the trained model."""
        found: dict[str, Maps] = {}
        results: dict[str, Found] = {}
        for name, explainer in self.searching(names).items():
            start, trained = time.perf_counter(), self.trained[name]
            try:
                if trained.answer is None:
                    raise ValueError(f"{name} gave no answer with latent points")
                maps = reduced(explainer.unrelated(trained.answer, self.images, seed), self.protocol)
            except Exception as error:
                results[name] = described(error, None)
                continue
            found[name] = replace(trained, maps=maps, seconds=time.perf_counter() - start)
        return {**results, **self._compare(found, self.request.targets)}

    def changed(self) -> dict[str, Any] | None:
        """The error to record if the trained model is not as it was before, else None."""
        if self.before.holds(self.subject.model):
            return None
        return described(
            Violation(f"the model {self.subject.name!r} is not as it was before the block; an explainer changed it")
        )

    def film(self, name: str, check: str, seed: int) -> Film:
        """An empty film for the maps of one explainer, of as many images as are kept."""
        count, subject = self.pictures, self.subject
        targets = self.request.targets[:count].tolist()
        meta = {
            "subject": subject.name, "explainer": name, "check": check, "seed": seed,
            "signed": is_signed(self.by_name[name], self.protocol), "images": self.ids[:count], "targets": targets,
            "classes": [subject.class_names[target] for target in targets], "layers": [],
        }  # fmt: skip
        return Film(self.images[:count].float().cpu().numpy(), meta)

    def at_trained(self, names: Iterable[str]) -> dict[str, Found]:
        """Stage 0: the trained model against itself, with the same random numbers."""
        found = {name: self.trained[name] for name in names if name in self.trained}
        errors = {name: self.errors[name] for name in names if name in self.errors}
        return {**self._compare(found, self.request.targets), **errors}

    def at(
        self, model: Subject, names: Iterable[str], stage: int, healthy: bool = True, seed: int | None = None,
        instead: Mapping[str, Explainer] | None = None,
    ) -> dict[str, Found]:  # fmt: skip
        """What each explainer gives on another model: scores, or the error that it raised.

        Args:
            model: a private copy, with random layers or not.
            names: explainers with work here; those that failed on the trained model keep that error.
            stage: for the record of an error.
            healthy: a dead model is not explained; its scores are empty. Nor are random ones by explainers that were fitted to
                the trained one.
            seed: of the explanations, None for the common one.
            instead: explainers that stand in for those of the same name.
        """
        wanted = list(names)
        targets = self.request.targets
        if self.protocol.target == "randomised-prediction":
            targets = model.predict(self.images)
        found: dict[str, Maps] = {}
        results: dict[str, Found] = {}
        request = replace(self.request, targets=targets, seed=self.request.seed if seed is None else seed)
        with self.passes():
            for name in wanted:
                if name in self.errors:
                    results[name] = self.errors[name]
                elif not healthy or (stage and self.by_name[name].info.amortised):
                    # Nothing to score: a dead model, or an explainer fitted to the trained one, which shows the same images
                    # whatever becomes of it.
                    none = () if self.trained[name].answer is not None else None
                    results[name] = Scores(targets.tolist(), None, slice(0, 0), None, None, none)
                else:
                    try:
                        found[name] = explain((instead or self.by_name)[name], model, request)
                    except Exception as error:
                        results[name] = described(error, stage)
        return {**results, **self._compare(found, targets)}

    def _compare(self, found: dict[str, Maps], targets: Tensor) -> dict[str, Found]:
        if not found or self.reference is None:
            return {}
        count = len(self.ids)
        reference = self.reference
        if list(found) != list(self.order):
            rows = torch.cat([torch.arange(count) + self.order[name] * count for name in found])
            reference = reference.take(rows)
        maps = torch.cat([given.maps for given in found.values()])
        failed = torch.cat([given.failed for given in found.values()])
        similarities = self._flagged(reference.compare(maps, failed), found)
        classes = targets.tolist()
        return {
            name: Scores(
                classes,
                similarities,
                slice(place * count, (place + 1) * count),
                given.seconds / count,
                head(given.maps, self.pictures),
                given.outcome,
            )
            for place, (name, given) in enumerate(found.items())
        }

    def _flagged(self, similarities: Similarities, found: Mapping[str, Maps]) -> Similarities:
        """The similarities without those of searches that had nothing to do: an empty map says nothing about any model."""
        count = len(self.ids)
        for place, (name, given) in enumerate(found.items()):
            outcomes = [each.outcome or ("",) * count for each in (given, self.trained[name])]
            for image, words in enumerate(zip(*outcomes, strict=True)):
                if TRIVIAL in words:
                    similarities.void(place * count + image, ZERO)
        return similarities
