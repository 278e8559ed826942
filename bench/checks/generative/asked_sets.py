"""Sets of counterfactuals that were asked for known probabilities: spread over all tenths, or at the far end.

A method that keeps near its images does well where little is asked, and the far end is where all of them do worst. So
explainers are compared on one request per image, drawn evenly from tenths and equal for all of them; the far end stands
beside it, and what the generators make of the unchanged images beside both.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from models.base import Subject

from . import distances, identity, parts
from .extractors import Featured
from .judge import Embedding
from .scores import CLOSE, probabilities_of

if TYPE_CHECKING:
    from explainers import Explanation

SPREAD, EXTREME = "spread", "extreme"


def shown(check: str, found: Explanation, images: Tensor) -> tuple[Tensor, Tensor] | None:
    """The counterfactuals of a set and what was requested of them, (n, C, H, W) and (n,); None where there are none.

    Args:
        check: `spread`, the frame whose request is nearest to the one drawn for the image, for explainers that are asked
            for probabilities; or `extreme`, the counterfactual itself, requested NaN where nothing was.
    """
    from explainers.contrastive.requests import requested

    strip = found.trajectory
    asked = None if strip is None else strip.requested
    if check == EXTREME:
        if found.counterfactual is None:
            return None
        return found.counterfactual, torch.full((len(images),), torch.nan) if asked is None else asked[:, -1]
    if strip is None or asked is None:
        return None
    wanted = requested(images).to(asked)
    place = (asked - wanted[:, None]).abs().argmin(1)
    each = torch.arange(len(images), device=asked.device)
    return strip.images[each, place], asked[each, place]


def values(
    made: Tensor, asked: Tensor, target: Tensor, images: Tensor, real: Tensor, *,
    subject: Subject, reconstruction: Tensor | None, extractor: Featured | None, embedding: Embedding | None,
) -> tuple[dict[str, Tensor], dict[str, float]]:  # fmt: skip
    """What is measured on one set: values per image, (n,) each, and of the whole set.

    Args:
        made, images: (n, C, H, W) counterfactuals and the images they were made from.
        asked: (n,) requested probability of the target class, NaN where there was none.
        target: (n,) target classes.
        real: (2n, C, H, W) real images that are none of these; the second half gives the floor.
        reconstruction: what the generator makes of the unchanged images, None where there is none.
        extractor, embedding: None where there is none; their measures are then left out.
    """
    made = _quantised(made)
    got = probabilities_of(subject)(made).gather(1, target.clamp_min(0)[:, None])[:, 0]
    each: dict[str, Tensor] = {"request-error": (got - asked.to(got)).abs().double()}
    whole: dict[str, float] = {"set-size": float(len(made))}
    if extractor is not None:
        n = len(made)
        features, one, other = (extractor.features(x) for x in (made, real[:n], real[n:]))
        sets = {"": features, "-floor": other}
        if reconstruction is not None:
            sets["-reconstruction"] = extractor.features(_quantised(reconstruction))
        whole["feature-size"] = float(features.shape[1])
        enough = n >= distances.smallest_group(features.shape[1])
        for suffix, those in sets.items():
            if enough:
                whole[f"fid{suffix}"] = distances.frechet(one, those)
            whole[f"kid{suffix}"] = distances.kernel_distance(one, those)
        if enough:
            each["fid-part"] = parts.frechet_parts(one, features)
        if n >= 3:
            each["kid-part"] = parts.kernel_parts(one, features)
    if embedding is not None:
        sources, codes = embedding(images), embedding(made)
        whole["closeness-among"] = float(min(len(made), CLOSE))
        each["closeness"] = _closeness(sources, codes)
        each["verification"] = identity.verified(sources, codes, embedding.threshold).double()
    return each, whole


def _closeness(sources: Tensor, codes: Tensor) -> Tensor:
    """Whether each image finds its own among 200, (n,); NaN for the last images that fill no group of 200."""
    n = len(sources)
    size = min(n, CLOSE)
    found = torch.full((n,), torch.nan, dtype=torch.float64)
    for start in range(0, n - size + 1, size):
        group = slice(start, start + size)
        found[group] = identity.closest_to_itself(sources[group], codes[group]).double().cpu()
    return found


def _quantised(images: Tensor) -> Tensor:
    """As a screen shows them."""
    return (images * 255).round() / 255
