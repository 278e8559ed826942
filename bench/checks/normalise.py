"""Maps before they are compared: sign type, kind of degeneracy, normalisation to a common range."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from bench.protocols import percentile

FINE, IS_CONSTANT, IS_ZERO, IS_NON_FINITE, HAS_FAILED = range(5)
"""Kinds of a map, in rising order of precedence; integers, so that a batch of kinds is a tensor."""

ROUNDING = 4 * torch.finfo(torch.float32).eps
"""A map whose values differ by less than this share of its largest value is constant: the rest is float32 rounding."""


def check_sign(maps: Tensor, signed: bool, name: str) -> None:
    """Refuse negative values from an explainer that declares none.

    Args:
        maps: (N, H, W).
        signed: what the explainer declares.
        name: the explainer, for the message.

    Raises:
        ValueError: declared non-negative, but a map has a negative value.
    """
    if signed or not maps.numel():
        return
    low = float(torch.nan_to_num(maps, nan=0.0).amin())
    if low < 0:
        raise ValueError(
            f"explainer {name!r} declares non-negative maps (signed=False) but gave a value of {low:.3g}; "
            "declare signed=True, or return absolute or positive values"
        )


def kinds(maps: Tensor) -> Tensor:
    """The kind of each map: FINE, IS_CONSTANT, IS_ZERO or IS_NON_FINITE, (N,) int64, of maps (N, H, W)."""
    flat = maps.flatten(1)
    low, high = flat.amin(1), flat.amax(1)
    # Extremes propagate NaN, so they are finite exactly where every value is.
    finite = torch.isfinite(low) & torch.isfinite(high)
    largest = torch.maximum(high, -low)
    kind = torch.full_like(low, FINE, dtype=torch.int64)
    kind[high - low <= ROUNDING * largest] = IS_CONSTANT
    kind[largest == 0] = IS_ZERO
    kind[~finite] = IS_NON_FINITE
    return kind


def quantile(values: Tensor, percent: float) -> Tensor:
    """The percentile of each row with linear interpolation, as `numpy.percentile` defines it by default.

    Args:
        values: (N, P), P >= 1, finite.
        percent: in [0, 100].

    Returns:
        (N,) float64: with p = percent / 100 * (P - 1) and sorted values s, s[floor p] + (p - floor p) (s[ceil p] - s[floor p]).

    Example:
        >>> quantile(torch.tensor([[0.0, 1.0, 2.0, 10.0]]), 50)
        tensor([1.5000], dtype=torch.float64)
    """
    count = values.shape[1]
    position = percent / 100 * (count - 1)
    below = min(math.floor(position), count - 1)
    top = values.topk(count - below, dim=1, sorted=True).values.double()
    lower = top[:, -1]
    return lower if below == position else torch.lerp(lower, top[:, -2], position - below)


def normalise(maps: Tensor, signed: bool | Tensor, how: str = "affine-p99") -> Tensor:
    """Bring maps to a common range.

    Args:
        maps: (N, H, W), finite.
        signed: whether maps can have both signs, for all or (N,) bool; declared by the explainer, never inferred.
        how: `affine-pQ`: divided by the Q-th percentile of |a| of the map and clipped to [-1, 1], then 0.5 + 0.5 a for
            signed maps (zero becomes 0.5) and a for non-negative ones (zero stays 0). Where more than Q percent of a
            map is zero the percentile is 0, and the largest |a| takes its place.
            `min-max`: (a - min) / (max - min), constant maps become 0. `max-abs`: a / max |a|, in [-1, 1] if signed.

    Returns:
        (N, H, W) float64, in [0, 1], or [-1, 1] for `max-abs` of signed maps.

    Raises:
        UsageError: unknown `how`.

    Example:
        >>> normalise(torch.tensor([[[-2.0, 0.0], [1.0, 2.0]]]), signed=True, how="affine-p100")
        tensor([[[0.0000, 0.5000],
                 [0.7500, 1.0000]]], dtype=torch.float64)
    """
    percent = percentile(how)
    given = maps.flatten(1)
    flat = given.double()
    if how == "min-max":
        low = flat.amin(1, keepdim=True)
        result = (flat - low) / _divisor(flat.amax(1, keepdim=True) - low)
        return result.view(maps.shape)
    size = given.abs()
    scale = size.amax(1).double()
    if percent is not None and percent < 100:
        level = quantile(size, percent)
        scale = torch.where(level > 0, level, scale)
    result = flat / _divisor(scale).unsqueeze(1)
    if percent is None:
        return result.view(maps.shape)
    flags = torch.as_tensor(signed, device=maps.device).expand(len(maps)).unsqueeze(1)
    gain = torch.where(flags, 0.5, 1.0).double()
    return result.clamp_(-1.0, 1.0).mul_(gain).add_(1.0 - gain).view(maps.shape)


def _divisor(scale: Tensor) -> Tensor:
    return torch.where(scale > 0, scale, torch.ones_like(scale))
