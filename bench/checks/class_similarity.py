"""Class similarity: how alike the maps of one explainer are for two classes of the same image.

An explainer that answers "why this class?" gives another map where another class is asked about. The similarity is set
against the explainer's own ceiling (repeated runs) and floor (fully re-initialised models), as for randomisation.

Classes are asked about by their logits. With softmax outputs of two classes the gradients would be each other's negative
by algebra, whatever the network has learnt.

Source: Nuzzo 2020, section 7.3; Sixt, Granz, Landgraf 2020, section 5 (random logit).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import fields, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from bench.protocols import Protocol

from .base import ZERO
from .passes import Maps
from .similarity import Reference, Similarities

if TYPE_CHECKING:
    from explainers import Explanation

TRIVIAL = "trivial"
_LEFT = ("trajectory", "extra")
"""What nothing that picks explanations reads."""


def picked(found: Maps, rows: Sequence[int]) -> Maps:
    """Some of the maps of an explainer, in the given order, with the answers of those that search."""
    chosen = torch.as_tensor(list(rows), dtype=torch.int64, device=found.maps.device)
    answer = None if found.answer is None else _picked(found.answer, chosen)
    return Maps(found.maps[chosen], found.failed[chosen], found.seconds, None, answer)


def _picked(answer: Explanation, rows: torch.Tensor) -> Explanation:
    def of(value: Any) -> Any:
        if isinstance(value, torch.Tensor):
            return value[rows.to(value.device)]
        if isinstance(value, tuple):
            parts = isinstance(value[0], torch.Tensor)
            return tuple(of(each) for each in value) if parts else tuple(value[row] for row in rows.tolist())
        return value

    given: dict[str, Any] = {each.name: of(getattr(answer, each.name)) for each in fields(answer)}
    return replace(answer, **{**given, **dict.fromkeys(_LEFT)})


def alike(
    first: Mapping[str, Maps], second: Mapping[str, Maps], signed: Mapping[str, bool], protocol: Protocol
) -> dict[str, Similarities]:
    """Similarity of the maps of each explainer, pair by pair, under all measures.

    Args:
        first: explainer -> n maps.
        second: the maps to compare them with, of the same explainers and images.
        signed: what each explainer declares.
        protocol: decides normalisation and the window of `ssim`.

    Returns:
        Explainer -> values and statuses of its n pairs, 1 for equal maps; a search that had nothing to move gives no value.

    Example:
        >>> import torch
        >>> maps = Maps(torch.randn(2, 16, 16), torch.zeros(2, dtype=torch.bool), 0.0)
        >>> from bench import protocols
        >>> alike({"a": maps}, {"a": maps}, {"a": True}, protocols.get("recommended"))["a"].values["ssim"]
        array([1., 1.])
    """
    names = [name for name in first if name in second]
    if not names:
        return {}
    count = len(first[names[0]].maps)
    flags = torch.tensor([signed[name] for name in names]).repeat_interleave(count)
    reference = Reference(
        _stacked(first, names), flags.to(first[names[0]].maps.device), protocol, _failed(first, names)
    )
    whole = reference.compare(_stacked(second, names), _failed(second, names))
    parts = {name: _part(whole, slice(place * count, (place + 1) * count)) for place, name in enumerate(names)}
    for name, part in parts.items():
        outcomes = [each.outcome or ("",) * count for each in (first[name], second[name])]
        for place, words in enumerate(zip(*outcomes, strict=True)):
            if TRIVIAL in words:
                part.void(place, ZERO)
    return parts


def _stacked(found: Mapping[str, Maps], names: Sequence[str]) -> torch.Tensor:
    return torch.cat([found[name].maps for name in names])


def _failed(found: Mapping[str, Maps], names: Sequence[str]) -> torch.Tensor:
    return torch.cat([found[name].failed for name in names])


def _part(whole: Similarities, rows: slice) -> Similarities:
    return Similarities(
        {measure: np.asarray(values[rows]) for measure, values in whole.values.items()},
        {measure: statuses[rows] for measure, statuses in whole.statuses.items()},
        whole.zero[rows],
    )
