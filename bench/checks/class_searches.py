"""Searches between two classes in class discrimination: asked about another probe, begun anew, moved at random.

An explainer that stands an image between the explained class and a probe class gives the same answer whichever of the two is
the explained one. Whether it answers for its classes is seen where the explained class stays and the probe changes.

Source: the question is ours; the two probes are those of Feghahati 2020, section 3.4.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

from torch import Tensor

from bench.protocols import Protocol
from models.base import Subject
from models.naming import Spec

from .passes import Maps, reduced

if TYPE_CHECKING:
    from explainers import Explainer
    from explainers.contrastive.anchor import Anchored

PROBES = "class-similarity-probes"
SECOND, RANDOM = "second", "random"


def searching(members: Mapping[str, Explainer], names: Iterable[str], trained: Subject) -> dict[str, Anchored]:
    """Those of the named explainers that search from a point which can be drawn again, tied to the trained model."""
    from explainers.contrastive.anchor import Anchored

    found = {name: members[name] for name in names if getattr(members[name].info, "anchors", False)}
    tied = {name: explainer.anchored(trained) for name, explainer in found.items()}
    return {name: each for name, each in tied.items() if isinstance(each, Anchored) and each.searches}


def towards_another(explainer: Explainer) -> Explainer:
    """The same explainer with another probe class: a random one of the third to the last, or the second where that is its own.

    Example:
        >>> import explainers
        >>> [dict(towards_another(explainers.get(name)).resolved.params)["probe"] for name in ("cdeepex", "xgem[probe=random]")]
        ['random', 'second']
    """
    params = dict(explainer.resolved.params)
    params["probe"] = SECOND if params["probe"] == RANDOM else RANDOM
    return replace(explainer, resolved=Spec(explainer.resolved.name, tuple(sorted(params.items()))))


def other_probes(found: Maps, other: Maps) -> list[int]:
    """Where the two answers are about different probe classes."""
    if found.answer is None or other.answer is None or found.answer.target is None or other.answer.target is None:
        return []
    pairs = zip(found.answer.target.tolist(), other.answer.target.tolist(), strict=True)
    return [place for place, (one, two) in enumerate(pairs) if one != two]


def unrelated(explainer: Anchored, found: Maps, images: Tensor, protocol: Protocol, seed: int) -> Maps:
    """Random latent moves that change each image as much as the search did, see `Anchored.unrelated`.

    Raises:
        ValueError: the search gave no latent points.
    """
    if found.answer is None:
        raise ValueError(f"{explainer.name} gave no answer with latent points")
    return replace(found, maps=reduced(explainer.unrelated(found.answer, images, seed), protocol))
