"""Similarity of maps with reference maps: all six measures of the randomisation suite, for many maps at once.

Everything about the reference maps (normalised maps, local moments, ranks, HOG features) is computed once; each
comparison then costs only the other side. Maps of many explainers are stacked into one batch. All arithmetic is in
float64: float32 loses the variance of flat regions against the SSIM constants.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import torch
from torch import Tensor

from bench.protocols import Protocol
from bench.protocols import get as get_protocol

from .base import CONSTANT, FAILED, NON_FINITE, NOT_APPLICABLE, OK, ZERO
from .hog import cell_side, hog
from .normalise import FINE, HAS_FAILED, IS_CONSTANT, IS_NON_FINITE, IS_ZERO, kinds, normalise
from .ranks import centred_ranks, unit
from .ssim import SEVEN, Moments, Window, moments, ssims

MEASURES = ("ssim", "ssim-7", "spearman", "spearman-abs", "hog", "cosine")

DECIMALS = 9
"""Values are rounded here: equal maps give exactly 1, and a value does not depend on what it was stacked with."""

CHUNK_PIXELS = 1 << 16
"""Maps are compared in chunks of about this many pixels, which keeps the intermediate results in the cache."""


def window_of(protocol: Protocol) -> Window:
    """The window of the measure `ssim` under a protocol."""
    return Window(
        protocol.ssim_window,
        protocol.ssim_size,
        protocol.ssim_sigma,
        protocol.ssim_range,
        protocol.ssim_covariance == "sample",
    )


@dataclass(frozen=True)
class Similarities:
    """Values and statuses of N pairs of maps.

    Attributes:
        values: measure -> (N,) float64, NaN unless the status is `ok`; higher is more alike.
        statuses: measure -> N statuses.
        zero: (N,) whether the compared map (not the reference) is zero everywhere.
    """

    values: dict[str, np.ndarray]
    statuses: dict[str, list[str]]
    zero: np.ndarray

    def void(self, row: int, status: str) -> None:
        """Take the values of one pair away and say why."""
        for name in self.values:
            if self.statuses[name][row] == OK:
                self.values[name][row], self.statuses[name][row] = np.nan, status


def outcomes(reference: Tensor, other: Tensor, values: Tensor, applicable: bool = True) -> tuple[np.ndarray, list[str]]:
    """The value and the status of each pair, from the kinds of its two maps.

    In this order: a failed map gives `failed`; a non-finite one `non-finite`; two zero maps `degenerate-zero`; a zero
    map against any other the similarity 0; two constant maps `degenerate-constant`; a constant map against a varying
    one the similarity 0; all else the measured value.

    Args:
        reference: (N,) kinds of the reference maps, see `bench.checks.normalise`.
        other: (N,) kinds of the compared maps.
        values: (N,) float64, read only where both maps are fine.
        applicable: False where the maps are too small for the measure; every status is then `not-applicable`.

    Returns:
        (N,) float64 values, NaN unless the status is `ok`, rounded to 9 decimals; N statuses.

    Example:
        >>> outcomes(torch.tensor([0, 2, 2]), torch.tensor([0, 2, 0]), torch.tensor([0.5, 0.0, 0.0]))[1]
        ['ok', 'degenerate-zero', 'ok']
    """
    if not applicable:
        return np.full(len(values), np.nan), [NOT_APPLICABLE] * len(values)
    first, second = reference.cpu().numpy(), other.cpu().numpy()
    result = np.round(values.detach().cpu().double().numpy(), DECIMALS) + 0.0
    worst, least = np.maximum(first, second), np.minimum(first, second)
    result[worst > FINE] = 0.0
    status = np.full(len(result), OK, dtype=object)
    status[least == IS_CONSTANT] = CONSTANT
    status[(least == IS_CONSTANT) & (worst == IS_ZERO)] = OK
    status[least == IS_ZERO] = ZERO
    status[worst == IS_NON_FINITE] = NON_FINITE
    status[worst == HAS_FAILED] = FAILED
    result[status != OK] = np.nan
    return result, [str(name) for name in status]


@dataclass
class _Side:
    """What the measures need of one batch of maps; `abs_kind` and `hog_kind` mark maps without variation in them."""

    kind: Tensor
    maps: Tensor
    direction: Tensor
    ranks: Tensor
    abs_ranks: Tensor
    abs_kind: Tensor
    hog: Tensor | None
    hog_kind: Tensor
    moments: list[Moments]

    def take(self, rows: Tensor) -> _Side:
        parts: dict[str, Any] = {}
        for field in fields(self):
            value = getattr(self, field.name)
            if isinstance(value, Tensor):
                value = value[rows]
            elif isinstance(value, list):
                value = [part.take(rows) for part in value]
            parts[field.name] = value
        return _Side(**parts)


class Reference:
    """Maps to compare with, and everything about them that each comparison needs.

    Args:
        maps: (N, H, W), float; may be stacked from several explainers.
        signed: what the explainer of each map declares, for all or (N,) bool.
        protocol: decides normalisation and the window of `ssim`.
        failed: (N,) bool, maps that the explainer itself marked as failed.

    Example:
        >>> maps = torch.randn(3, 16, 16)
        >>> Reference(maps, signed=True).compare(maps).values["ssim"]
        array([1., 1., 1.])
    """

    def __init__(
        self,
        maps: Tensor,
        signed: bool | Tensor,
        protocol: Protocol | None = None,
        failed: Sequence[bool] | Tensor | None = None,
    ) -> None:
        self.protocol = protocol or get_protocol("recommended")
        self.window = window_of(self.protocol)
        self.signed = torch.as_tensor(signed, device=maps.device).expand(len(maps))
        height, width = maps.shape[1:]
        self.applicable = {
            "ssim": self.window.fits(height, width),
            "ssim-7": SEVEN.fits(height, width),
            "hog": cell_side(height, width) > 0,
        }
        windows = {"ssim": self.window, "ssim-7": SEVEN}
        self._windows = {name: window for name, window in windows.items() if self.applicable[name]}
        self._chunk = max(1, CHUNK_PIXELS // max(1, height * width))
        self._sides = [
            self._side(maps[part], self.signed[part], _marked(failed, len(maps), maps.device)[part], known=True)
            for part in self._parts(len(maps))
        ]

    def __len__(self) -> int:
        return len(self.signed)

    def _parts(self, count: int) -> list[slice]:
        return [slice(start, start + self._chunk) for start in range(0, count, self._chunk)]

    def _side(self, maps: Tensor, signed: Tensor, failed: Tensor, known: bool) -> _Side:
        kind = kinds(maps)
        kind = torch.where(failed, torch.full_like(kind, HAS_FAILED), kind)
        if bool((kind >= IS_NON_FINITE).any()):
            maps = torch.where((kind >= IS_NON_FINITE).view(-1, 1, 1), torch.zeros_like(maps), maps)
        flat = maps.flatten(1)
        normal = normalise(maps, signed, self.protocol.normalisation)
        ranks, varies = unit(centred_ranks(flat))
        abs_ranks, abs_varies = ranks, varies
        signs = (flat < 0).any(1)
        if bool(signs.any()):
            abs_ranks, abs_varies = ranks.clone(), varies.clone()
            abs_ranks[signs], abs_varies[signs] = unit(centred_ranks(flat[signs].abs()))
        features, hog_varies = None, kind == FINE
        if self.applicable["hog"]:
            raw = hog(normal)
            features, hog_varies = unit(raw - raw.mean(1, keepdim=True))
        return _Side(
            kind=kind,
            maps=normal,
            direction=unit(flat.double())[0],
            ranks=ranks,
            abs_ranks=abs_ranks,
            abs_kind=_lowered(kind, abs_varies),
            hog=features,
            hog_kind=_lowered(kind, hog_varies),
            moments=moments(normal, list(self._windows.values())) if known and self._windows else [],
        )

    def take(self, rows: Sequence[int] | Tensor) -> Reference:
        """The reference of some of the maps, in the given order, without computing anything again."""
        chosen = torch.as_tensor(rows, dtype=torch.int64)
        copy = object.__new__(Reference)
        copy.__dict__.update(self.__dict__)
        copy.signed = self.signed[chosen.to(self.signed.device)]
        whole = _joined(self._sides)
        copy._sides = [whole.take(chosen[part].to(whole.kind.device)) for part in self._parts(len(chosen))]
        return copy

    def compare(self, maps: Tensor, failed: Sequence[bool] | Tensor | None = None) -> Similarities:
        """All six measures of each map with the reference map of the same row.

        Args:
            maps: (N, H, W), of the same explainers and images as the reference maps.
            failed: (N,) bool, maps that the explainer itself marked as failed.

        Returns:
            Values and statuses; a measure whose window is larger than the maps is `not-applicable`.

        Raises:
            ValueError: another number or size of maps.
        """
        size = tuple(self._sides[0].maps.shape[1:]) if self._sides else tuple(maps.shape[1:])
        if len(maps) != len(self) or tuple(maps.shape[1:]) != size:
            raise ValueError(f"{tuple(maps.shape)} maps to compare with {(len(self), *size)} reference maps")
        marked = _marked(failed, len(maps), maps.device)
        parts, zero = [], []
        for part, reference in zip(self._parts(len(maps)), self._sides, strict=True):
            other = self._side(maps[part], self.signed[part], marked[part], known=False)
            parts.append(self._measure(reference, other))
            zero.append((other.kind == IS_ZERO).cpu().numpy())
        return Similarities(
            {name: np.concatenate([part[name][0] for part in parts] or [np.empty(0)]) for name in MEASURES},
            {name: [status for part in parts for status in part[name][1]] for name in MEASURES},
            np.concatenate(zero or [np.empty(0, dtype=bool)]),
        )

    def _measure(self, reference: _Side, other: _Side) -> dict[str, tuple[np.ndarray, list[str]]]:
        none = torch.zeros(len(other.kind), dtype=torch.float64)
        plain = (reference.kind, other.kind)
        alike = self._ssim(other, reference)
        textures = none if other.hog is None or reference.hog is None else _dot(other.hog, reference.hog)
        return {
            "ssim": outcomes(*plain, alike.get("ssim", none), "ssim" in alike),
            "ssim-7": outcomes(*plain, alike.get("ssim-7", none), "ssim-7" in alike),
            "spearman": outcomes(*plain, _dot(other.ranks, reference.ranks)),
            "spearman-abs": outcomes(reference.abs_kind, other.abs_kind, _dot(other.abs_ranks, reference.abs_ranks)),
            "hog": outcomes(reference.hog_kind, other.hog_kind, textures, other.hog is not None),
            "cosine": outcomes(*plain, _dot(other.direction, reference.direction)),
        }

    def _ssim(self, other: _Side, reference: _Side) -> dict[str, Tensor]:
        """Structural similarity under each window that fits."""
        names, windows = list(self._windows), list(self._windows.values())
        if not names:
            return {}
        found = dict(zip(names, ssims(other.maps, reference.maps, windows, reference.moments), strict=True))
        if self.protocol.ssim_flip and "ssim" in found:
            flipped = -other.maps if self.protocol.normalisation == "max-abs" else 1.0 - other.maps
            again = ssims(flipped, reference.maps, windows[:1], reference.moments[:1])[0]
            found["ssim"] = torch.maximum(found["ssim"], again)
        return found


def _dot(first: Tensor, second: Tensor) -> Tensor:
    return (first * second).sum(1)


def _lowered(kind: Tensor, varies: Tensor) -> Tensor:
    """The kind of a map as one measure sees it: constant where nothing varies in what the measure reads."""
    return torch.where((kind == FINE) & ~varies, torch.full_like(kind, IS_CONSTANT), kind)


def _marked(failed: Sequence[bool] | Tensor | None, count: int, device: torch.device) -> Tensor:
    if failed is None:
        return torch.zeros(count, dtype=torch.bool, device=device)
    return torch.as_tensor(failed, dtype=torch.bool, device=device)


def _joined(sides: list[_Side]) -> _Side:
    parts: dict[str, Any] = {}
    for field in fields(_Side):
        values = [getattr(side, field.name) for side in sides]
        if isinstance(values[0], Tensor):
            parts[field.name] = torch.cat(values)
        elif isinstance(values[0], list):
            parts[field.name] = [Moments.joined(same) for same in zip(*values, strict=True)]
        else:
            parts[field.name] = values[0]
    return _Side(**parts)
