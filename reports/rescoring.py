"""Similarity of stored maps under other choices, with numpy and scipy alone.

The measures are those of the checks (SSIM after Wang et al. 2004, Spearman's correlation); here they work on stacks of
maps (N, H, W), so that every choice costs a few filters.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product

import numpy as np
import numpy.typing as npt
from scipy import ndimage

Floats = npt.NDArray[np.float64]

NORMALISATIONS = ("affine-p99", "affine-p99.5", "min-max", "max-abs")
WINDOWS = ("gaussian-11", "gaussian-7", "uniform-7")
REDUCTIONS = ("as-declared", "absolute", "positive")
RESOLUTIONS = (1, 2, 4)
ROUNDING = 4 * float(np.finfo(np.float32).eps)

_SIGMA = {"gaussian-11": (1.5, 11), "gaussian-7": (0.85, 7)}
_FINE, _CONSTANT, _ZERO, _NON_FINITE = range(4)


@dataclass(frozen=True)
class Choice:
    """One way to turn two maps into one similarity.

    Attributes:
        measure: `ssim` or `spearman`; the latter needs no normalisation and no window.
        normalisation: as in the protocols.
        window: of SSIM: `gaussian-11` (sigma 1.5), `gaussian-7` (sigma 0.85), `uniform-7`.
        reduction: `as-declared` (signed maps stay signed), `absolute` or `positive` values.
        resolution: maps are averaged over squares of this side, in pixels.
    """

    measure: str = "ssim"
    normalisation: str = "affine-p99"
    window: str = "gaussian-11"
    reduction: str = "as-declared"
    resolution: int = 1


def all_choices() -> list[Choice]:
    """Every combination; the first is that of the recommended protocol.

    >>> len(all_choices()), all_choices()[0] == Choice()
    (117, True)
    """
    ssim = [Choice("ssim", *rest) for rest in product(NORMALISATIONS, WINDOWS, REDUCTIONS, RESOLUTIONS)]
    ranks = [Choice("spearman", "none", "none", *rest) for rest in product(REDUCTIONS, RESOLUTIONS)]
    return ssim + ranks


def similarity(first: Floats, second: Floats, signed: bool, choice: Choice) -> Floats | None:
    """Similarity of each pair of maps.

    Args:
        first, second: (N, H, W).
        signed: what the explainer declares.
        choice: how it is measured.

    Returns:
        (N,), 1 = same map; NaN where both maps are zero or both constant or one is not finite, 0 where only one of them
        is zero or constant; None where the window is larger than the maps.

    Example:
        >>> maps = np.random.default_rng(0).normal(size=(3, 16, 16))
        >>> similarity(maps, maps, True, Choice()).round(6).tolist()
        [1.0, 1.0, 1.0]
    """
    sides = [_prepared(maps, choice) for maps in (first, second)]
    if choice.measure == "ssim" and min(sides[0].shape[1:]) < _size(choice.window):
        return None
    kinds = [_kinds(maps) for maps in sides]
    usable = np.maximum(*kinds) == _FINE
    found = np.zeros(len(first))
    if usable.any():
        one, other = (maps[usable] for maps in sides)
        if choice.measure == "spearman":
            found[usable] = _spearman(one, other)
        else:
            whole = signed and choice.reduction == "as-declared"
            pair = [_normalised(maps, whole, choice.normalisation) for maps in (one, other)]
            span = 2.0 if whole and choice.normalisation == "max-abs" else 1.0
            found[usable] = ssim(pair[0], pair[1], choice.window, span)
    worst, least = np.maximum(*kinds), np.minimum(*kinds)
    same = (worst == _NON_FINITE) | (least == _ZERO) | ((least == _CONSTANT) & (worst == _CONSTANT))
    return np.where(same, np.nan, found)


def ssim(first: Floats, second: Floats, window: str = "gaussian-11", span: float = 1.0) -> Floats:
    """Mean structural similarity of each pair, where the window lies inside the maps.

    Args:
        first, second: (N, H, W).
        window: `gaussian-11`, `gaussian-7` or `uniform-7`.
        span: the dynamic range L.

    Returns:
        (N,), in [-1, 1]; equal to scikit-image's `structural_similarity` with population covariances.

    Source:
        Wang, Bovik, Sheikh, Simoncelli, Image quality assessment, 2004, equation 13.
    """
    low, high = (0.01 * span) ** 2, (0.03 * span) ** 2
    mean_a, mean_b = _filtered(first, window), _filtered(second, window)
    var_a = _filtered(first * first, window) - mean_a * mean_a
    var_b = _filtered(second * second, window) - mean_b * mean_b
    covariance = _filtered(first * second, window) - mean_a * mean_b
    upper = (2 * mean_a * mean_b + low) * (2 * covariance + high)
    lower = (mean_a**2 + mean_b**2 + low) * (var_a + var_b + high)
    edge = _size(window) // 2
    inside = (upper / lower)[:, edge : first.shape[1] - edge, edge : first.shape[2] - edge]
    return np.asarray(inside.mean(axis=(1, 2)), dtype=np.float64)


def _filtered(maps: Floats, window: str) -> Floats:
    """Weighted local means under a window."""
    if window == "uniform-7":
        return np.asarray(ndimage.uniform_filter(maps, size=(0, 7, 7), mode="nearest"))
    sigma, size = _SIGMA[window]
    radius = size // 2
    return np.asarray(ndimage.gaussian_filter(maps, (0, sigma, sigma), mode="nearest", radius=(0, radius, radius)))


def _size(window: str) -> int:
    """Side of a window in pixels."""
    return int(window.rpartition("-")[2])


def _prepared(maps: Floats, choice: Choice) -> Floats:
    """Reduce signs and resolution."""
    values = np.asarray(maps, dtype=np.float64)
    if choice.reduction == "absolute":
        values = np.abs(values)
    elif choice.reduction == "positive":
        values = np.maximum(values, 0.0)
    step = choice.resolution
    if step == 1:
        return values
    height, width = (side // step for side in values.shape[1:])
    cut = values[:, : height * step, : width * step]
    return np.asarray(cut.reshape(len(values), height, step, width, step).mean(axis=(2, 4)))


def _kinds(maps: Floats) -> npt.NDArray[np.int64]:
    """Fine, constant, zero or not finite."""
    flat = maps.reshape(len(maps), -1)
    finite = np.asarray(np.isfinite(flat).all(axis=1))
    safe = np.where(finite[:, None], flat, 0.0)
    low, high = safe.min(axis=1, initial=np.inf), safe.max(axis=1, initial=-np.inf)
    largest = np.maximum(high, -low)
    kind = np.where(high - low <= ROUNDING * largest, _CONSTANT, _FINE)
    kind = np.where(largest == 0, _ZERO, kind)
    return np.where(finite, kind, _NON_FINITE)


def _normalised(maps: Floats, signed: bool, how: str) -> Floats:
    """Bring each map to a common range; maps vary."""
    flat = maps.reshape(len(maps), -1)
    if how == "min-max":
        low = flat.min(axis=1, keepdims=True)
        return ((flat - low) / (flat.max(axis=1, keepdims=True) - low)).reshape(maps.shape)
    size = np.abs(flat)
    scale = size.max(axis=1)
    if how == "max-abs":
        return (flat / scale[:, None]).reshape(maps.shape)
    level = np.percentile(size, float(how.removeprefix("affine-p")), axis=1)
    ratio = np.clip(flat / np.where(level > 0, level, scale)[:, None], -1.0, 1.0)
    return np.asarray(0.5 + 0.5 * ratio if signed else ratio).reshape(maps.shape)


def _spearman(first: Floats, second: Floats) -> Floats:
    """Correlation of average ranks of each pair."""
    from scipy.stats import rankdata

    ranks = [rankdata(maps.reshape(len(maps), -1), axis=1) for maps in (first, second)]
    centred = [side - side.mean(axis=1, keepdims=True) for side in ranks]
    scale = np.sqrt((centred[0] ** 2).sum(axis=1) * (centred[1] ** 2).sum(axis=1))
    return np.asarray((centred[0] * centred[1]).sum(axis=1) / np.where(scale > 0, scale, 1.0))
