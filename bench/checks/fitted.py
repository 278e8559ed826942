"""Two checks in place of the cascade, for explainers that are fitted to a classifier beforehand.

Such an explainer shows the same images whatever becomes of the classifier afterwards, so randomising it says nothing. Asked
instead: does the agreement of requested and achieved probability break down when random classifiers look at the same
series; and are the maps of a fit to a random classifier others than those of a fit to the trained one.

Source: the questions are ours; what they are about: Singla et al. 2020, section 4.1; Adebayo et al. 2018, section 3.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from bench.protocols import Protocol
from models.base import Subject
from models.randomize import randomized
from models.seeds import derive

from .base import CONSTANT, NOT_APPLICABLE, OK, CellResult
from .generative import series
from .passes import Guard, Request, described
from .records import TRAINED, Common

if TYPE_CHECKING:
    from explainers import Explainer, Explanation

DRAWS = 16
"""Random classifiers per seed: one may follow a series up or down by chance, and alike for all images."""

Values = dict[str, Tensor | None]


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
    """Both checks on one block of images.

    Args:
        subject: the classifier that the explainers were fitted to; it is not changed.
        explainers: with the names in `wanted`.
        indices: of the block's images in `subject.data`.
        seed: index of the random classifiers of `collapse`; `refit` has one random classifier, that it was fitted to.
        protocol: how classifiers are re-initialised, which class is explained.
        wanted: pairs (check, explainer); checks `collapse` and `refit`.
        base: base seed of the run.
        batch_size: images per pass, None for everything at once.
        pictures: not used; these checks bring none along.

    Yields:
        One result per wanted pair. `collapse`: rows of explainers without a series are not applicable. `refit`: an
        explainer that was not fitted again gives a result with an error that says how to.
    """
    chosen = list(indices)
    images = subject.data.load(chosen).to(subject.device)
    labels = torch.as_tensor(subject.data.labels[chosen], dtype=torch.int64).to(subject.device)
    targets = labels if protocol.target == "label" else subject.predict(images)
    request = Request(images, targets, derive(base, "explain", 0), protocol, batch_size)
    block = _Block(subject, [subject.data.ids[index] for index in chosen], request, base, seed)
    for explainer in explainers:
        for check, measure in (("collapse", block.collapse), ("refit", block.refit)):
            if (check, explainer.name) not in set(wanted):
                continue
            start = time.perf_counter()
            result = CellResult(explainer.name, check, seed=seed)
            try:
                result.rows = block.rows(check, explainer.name, measure(explainer))
            except Exception as error:
                result.error = described(error)
            result.seconds = time.perf_counter() - start
            yield result


@dataclass(frozen=True)
class _Block:
    """The images of a block and what is measured on them."""

    subject: Subject
    ids: list[str]
    request: Request
    base: int
    seed: int

    def collapse(self, explainer: Explainer) -> Values:
        """Agreement and error of a series, with the trained classifier and on average over random ones."""
        found: Explanation = Guard(self.subject, self.request).call(
            explainer.name,
            lambda subject, asked: explainer.explain(
                subject, asked.images, asked.targets, seed=asked.seed, batch_size=asked.batch_size
            ),
        )
        strip = found.trajectory
        if strip is None or strip.requested is None or found.target is None:
            return dict.fromkeys(("agreement-trained", "agreement-random", "error-trained", "error-random"))
        place = found.target[:, None, None].expand(-1, strip.images.shape[1], 1)
        frames, count = strip.images.flatten(0, 1), len(self.ids)
        agreements, errors = [], []
        for number in range(DRAWS):
            model = randomized(
                self.subject, self.subject.stages, base=derive(self.base, "collapse", self.seed), seed=number,
                init=self.request.protocol.init, batchnorm=self.request.protocol.batchnorm,
            )  # fmt: skip
            shares = model.predict_logits(frames).softmax(1).view(count, strip.images.shape[1], -1)
            achieved = shares.gather(2, place)[..., 0]
            # A classifier that answers every frame alike agrees with no request.
            agreements.append(series.agreement(strip.requested, achieved).nan_to_num(0.0))
            errors.append(series.error(strip.requested, achieved))
        own = strip.probabilities.gather(2, place)[..., 0]
        return {
            "agreement-trained": series.agreement(strip.requested, own),
            "agreement-random": torch.stack(agreements).mean(0),
            "error-trained": series.error(strip.requested, own), "error-random": torch.stack(errors).mean(0),
        }  # fmt: skip

    def refit(self, explainer: Explainer) -> Values:
        """Pearson's correlation of maps of a fit with those of other fits, and with the next image's map of the same fit."""
        from explainers.contrastive.amortised import refit
        from explainers.contrastive.refits import refit_maps_of

        asked = self.request
        maps = Guard(self.subject, asked).call(
            explainer.name,
            lambda subject, same: refit_maps_of(explainer, subject, same.images, same.targets, seed=same.seed),
        )
        found = refit(*maps)
        return {"refit-random": found.randomised, "refit-same": found.ceiling, "refit-other": found.floor}

    def rows(self, check: str, name: str, values: Values) -> list[dict[str, Any]]:
        """One row per measure and image; NaN is a map or a series without variation."""
        common, rows = Common(check, self.subject.name, name, self.seed), []
        for measure, found in values.items():
            for place, image in enumerate(self.ids):
                value = None if found is None else float(found[place])
                status = NOT_APPLICABLE if value is None else OK if value == value else CONSTANT
                row = common.row(TRAINED, measure, value if status == OK else None, status)
                row["image"], row["target"] = image, int(self.request.targets[place])
                rows.append(row)
        return rows
