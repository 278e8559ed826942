"""What each check of the suite measures on one explainer's counterfactuals: values by measure, from an explanation."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from models.base import Subject

from . import change, distances, groups, identity, outcomes, series
from .extractors import Featured
from .judge import Embedding, Judge

if TYPE_CHECKING:
    from explainers import Explanation

Values = dict[str, Tensor]
CLOSE = 200
"""Images among which a counterfactual must be closest to its own; the chance level is one in so many."""


def probabilities_of(subject: Subject) -> Callable[[Tensor], Tensor]:
    """Images (n, C, H, W) -> probabilities (n, K) of a model, in batches."""
    return lambda images: subject.predict_logits(images).softmax(1)


def counterfactual(found: Explanation, subject: Subject, images: Tensor, judge: Judge | None) -> Values:
    """Per image, (n,) each; NaN where a measure has no value for an image.

    Args:
        found: with a counterfactual.
        subject: the model under test.
        images: (n, C, H, W) the explained images.
        judge: an independent network, None where there is none; its measures are then left out.
    """
    if found.counterfactual is None or found.source is None or found.target is None:
        raise ValueError("the explanation has no counterfactual, source or target")
    made = _shown(found.counterfactual)
    source, target = found.source, found.target
    asked = target >= 0
    safe = torch.where(asked, target, source)
    ask = probabilities_of(subject)
    after = ask(made)
    values: Values = {
        "reached": outcomes.reached(after, source, safe),
        "validity": outcomes.validity(after, safe),
        "boundary-gap": outcomes.boundary_gap(after, source, safe),
        "pair-mass": outcomes.pair_mass(after, source, safe),
        "intrusion": outcomes.intrusion(after, source, safe),
        "intrusion-loose": outcomes.intrusion(after, source, safe, strict=False),
        "proximity-l1": change.proximity(images, made),
        "proximity-l2": change.proximity(images, made, 2),
        "changed-share": change.changed_share(images, made),
        "concentration": change.concentration(images, made),
        "exchange": change.exchange(images, made, source, safe, ask),
    }
    if judge is not None:
        seen = judge.probabilities(made)
        values["transfer-validity"] = outcomes.validity(seen, safe)
        values["transfer-gain"] = outcomes.transfer_gain(judge.probabilities(images), seen, safe)
    values = {name: _where(asked, value) for name, value in values.items()}
    if found.latents is not None:
        values["latent-distance"] = (found.latents[1] - found.latents[0]).flatten(1).norm(dim=1)
    if found.reconstruction is not None:
        values["reconstruction-error"] = change.proximity(images, found.reconstruction)
    if found.outcome is not None:
        values["converged"] = torch.tensor([outcome == "converged" for outcome in found.outcome])
    return values


def requests(found: Explanation, subject: Subject, images: Tensor, judge: Judge | None) -> Values | None:
    """Per image, (n,) each, of a series with requested probabilities; None for an explainer that has none."""
    strip = found.trajectory
    if strip is None or strip.requested is None or found.target is None:
        return None
    n, count = strip.images.shape[:2]
    frames = _shown(strip.images).flatten(0, 1)
    place = found.target.clamp_min(0)[:, None, None].expand(-1, count, 1)
    achieved = probabilities_of(subject)(frames).view(n, count, -1).gather(2, place)[..., 0]
    requested = strip.requested.to(achieved)
    clean = probabilities_of(subject)(images).gather(1, found.target.clamp_min(0)[:, None])
    values: Values = {
        "agreement": series.agreement(requested, achieved),
        "error": series.error(requested, achieved),
        # An explainer that changes nothing answers every request with the probability of the image itself.
        "error-unchanged": series.error(requested, clean.expand_as(requested)),
        "achieved-unchanged": clean[:, 0].double(),
        "span": series.span(achieved),
        **series.by_tenth(requested, achieved),
    }
    if judge is not None:
        seen = judge.probabilities(frames).view(n, count, -1)
        own = seen.gather(2, place)[..., 0] / seen.sum(2).clamp_min(1e-12)
        values["agreement-independent"] = series.agreement(requested, own)
    return values


def distribution(
    made: Tensor, images: Tensor, real: Tensor, extractor: Featured | None, embedding: Embedding | None
) -> tuple[dict[str, float], dict[str, str]]:  # fmt: skip
    """Numbers about a whole set of counterfactuals, and why others are not there.

    Args:
        made, images: (n, C, H, W) counterfactuals and the images they were made from.
        real: (2n, C, H, W) real images that are none of these; the second half gives the floor.
        extractor, embedding: None where there is none.
    """
    values: dict[str, float] = {"set-size": float(len(made))}
    reasons: dict[str, str] = {}
    made = _shown(made)
    if extractor is None:
        reasons |= dict.fromkeys(("fid", "fid-floor", "kid", "kid-floor"), "no independent network")
    else:
        features, reals = extractor.features(made), extractor.features(real)
        one, other = reals[: len(made)], reals[len(made) :]
        values["feature-size"] = float(features.shape[1])
        need = distances.smallest_group(features.shape[1])
        if len(made) < need:
            reasons |= dict.fromkeys(("fid", "fid-floor"), f"{len(made)} images of at least {need}")
        else:
            values["fid"] = distances.frechet(one, features)
            values["fid-floor"] = distances.frechet(one, other)
        values["kid"] = distances.kernel_distance(one, features)
        values["kid-floor"] = distances.kernel_distance(one, other)
    if embedding is None:
        reasons |= dict.fromkeys(("closeness", "closeness-equation", "verification"), "no common embedding")
        return values, reasons
    count = min(len(made), CLOSE)
    sources, codes = embedding(images), embedding(made)
    values["closeness-among"] = float(count)
    values["closeness"] = float(identity.closest_to_itself(sources[:count], codes[:count]).double().mean())
    values["closeness-equation"] = float(
        identity.closest_to_itself(sources[:count], codes[:count], "equation").double().mean()
    )
    values["verification"] = float(identity.verified(sources, codes, embedding.threshold).double().mean())
    return values, reasons


def in_groups(
    made: Tensor, ids: Sequence[str], real: Tensor, extractor: Featured, probabilities: Callable[[Tensor], Tensor]
) -> tuple[dict[str, float], dict[str, str]]:
    """Numbers about the counterfactuals with and without the second of two classes, and why others are not there.

    Args:
        made: (n, C, H, W) counterfactuals.
        ids: of the images they were made from, whose order decides which of a large group are taken.
        real: (m, C, H, W) all real images that are none of these.
        extractor: gives the features.
        probabilities: of the model under test, images (k, C, H, W) -> (k, 2).
    """
    made = _shown(made)[sorted(range(len(ids)), key=lambda place: ids[place])]
    return groups.grouped(probabilities(made), probabilities(real), extractor.features(made), extractor.features(real))


def _shown(images: Tensor) -> Tensor:
    """What a screen shows: the measures are those of the picture and not of the numbers behind it."""
    return (images * 255).round() / 255


def _where(asked: Tensor, values: Tensor) -> Tensor:
    """The values, NaN for images that were asked about no target."""
    numbers = values.double()
    return torch.where(asked, numbers, torch.full_like(numbers, float("nan")))
