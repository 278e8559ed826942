"""Structural similarity of maps, in batches, equal to scikit-image.

Source: Wang, Bovik, Sheikh, Simoncelli (2004), Image quality assessment, IEEE TIP 13; equation 13.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor

K1, K2 = 0.01, 0.03

WHOLE, TILE = 64, 32
"""Sides up to WHOLE pixels are filtered by one matrix, larger ones in tiles of TILE outputs: what is faster."""


@dataclass(frozen=True)
class Window:
    """A window and the constants that go with it.

    Attributes:
        shape: `gaussian` or `uniform`.
        size: side in pixels, odd.
        sigma: of the Gaussian, in pixels.
        data_range: the dynamic range L.
        sample: covariances with n / (n - 1), n = size^2, instead of 1.
    """

    shape: str = "gaussian"
    size: int = 11
    sigma: float = 1.5
    data_range: float = 1.0
    sample: bool = False

    def fits(self, height: int, width: int) -> bool:
        """Whether the window lies inside a map of this size; a smaller window is never taken instead."""
        return min(height, width) >= self.size


SEVEN = Window("uniform", 7, sample=True)
"""Window of `ssim-7`: what scikit-image's `structural_similarity(x, y, data_range=1)` takes by default."""


@lru_cache(maxsize=64)
def _band(window: Window, side: int, device: torch.device) -> Tensor:
    """(side, side - size + 1) float64: column k holds the window's weights at rows k ... k + size - 1."""
    if window.shape == "uniform":
        weights = torch.full((window.size,), 1.0 / window.size, dtype=torch.float64)
    else:
        offsets = torch.arange(window.size, dtype=torch.float64) - window.size // 2
        weights = torch.exp(-0.5 * (offsets / window.sigma) ** 2)
        weights /= weights.sum()
    columns = side - window.size + 1
    band = torch.zeros(side, columns, dtype=torch.float64)
    for column in range(columns):
        band[column : column + window.size, column] = weights
    return band.to(device)


def _rows_first(maps: Tensor) -> Tensor:
    """(N, H, W) as (H, N, W): both passes of a separable filter are then plain matrix products without a copy."""
    return maps.transpose(0, 1).contiguous()


def _tiles(side: int, window: Window) -> list[tuple[slice, slice]]:
    """Which inputs and which outputs of the band belong together; on large maps most of the band is zero."""
    outputs = side - window.size + 1
    step = outputs if side <= WHOLE else TILE
    starts = range(0, outputs, step)
    return [(slice(k, min(k + step, outputs) + window.size - 1), slice(k, min(k + step, outputs))) for k in starts]


def _local_means(values: Tensor, window: Window) -> Tensor:
    """Weighted means under the window where it lies inside; (H, M, W) float64 -> (h, M, w)."""
    height, count, width = values.shape
    flat = values.view(height, count * width)
    down, across = _band(window, height, values.device), _band(window, width, values.device)
    rows = [down[reach, out].T @ flat[reach] for reach, out in _tiles(height, window)]
    columns = (rows[0] if len(rows) == 1 else torch.cat(rows)).view(-1, width)
    parts = [columns[:, reach] @ across[reach, out] for reach, out in _tiles(width, window)]
    return (parts[0] if len(parts) == 1 else torch.cat(parts, 1)).view(height - window.size + 1, count, -1)


@dataclass
class Moments:
    """Local mean and variance of maps under one window, (h, N, w) each."""

    mean: Tensor
    variance: Tensor

    def take(self, rows: Tensor) -> Moments:
        """The moments of some of the maps."""
        return Moments(self.mean[:, rows], self.variance[:, rows])

    @staticmethod
    def joined(parts: Sequence[Moments]) -> Moments:
        """The moments of several batches as of one."""
        return Moments(torch.cat([p.mean for p in parts], 1), torch.cat([p.variance for p in parts], 1))


def _factor(window: Window) -> float:
    count = window.size**2
    return count / (count - 1) if window.sample else 1.0


def moments(maps: Tensor, windows: Sequence[Window]) -> list[Moments]:
    """Local means and variances of maps (N, H, W) float64 under windows that fit into them."""
    values = _rows_first(maps)
    values = torch.cat([values, values * values], 1)
    found = []
    for window in windows:
        mean, square = _local_means(values, window).chunk(2, 1)
        found.append(Moments(mean, (square - mean * mean) * _factor(window)))
    return found


def ssims(maps: Tensor, others: Tensor, windows: Sequence[Window], known: Sequence[Moments]) -> list[Tensor]:
    """`ssim` under several windows at once, which share the products.

    Args:
        maps, others: (N, H, W) float64, normalised.
        windows: all of them fit into the maps.
        known: moments of `others` under each window.

    Returns:
        (N,) float64 per window.
    """
    x, y = _rows_first(maps), _rows_first(others)
    values = torch.cat([x, x * x, x * y], 1)
    return [_score(_local_means(values, w), other, w) for other, w in zip(known, windows, strict=True)]


def _score(means: Tensor, other: Moments, window: Window) -> Tensor:
    """Equation 13 from the local means of x, x^2 and x y, averaged over positions."""
    mean, square, product = means.chunk(3, 1)
    factor = _factor(window)
    c1, c2 = (K1 * window.data_range) ** 2, (K2 * window.data_range) ** 2
    both = mean * other.mean
    squares = mean * mean
    variances = (square - squares).mul_(factor).add_(other.variance).add_(c2)
    covariance = (product - both).mul_(2 * factor).add_(c2)
    luminance = both.mul_(2).add_(c1).div_(squares.addcmul_(other.mean, other.mean).add_(c1))
    return luminance.mul_(covariance).div_(variances).mean((0, 2))


def ssim(maps: Tensor, others: Tensor, window: Window = Window()) -> Tensor:
    """Mean structural similarity over the windows that lie inside the map.

    Args:
        maps: (N, H, W) float64, normalised.
        others: (N, H, W) float64, the maps to compare with.
        window: what is averaged over.

    Returns:
        (N,) float64 in [-1, 1], higher is more alike; 1 for equal maps.

    Raises:
        ValueError: the maps are smaller than the window.

    Source: Wang et al. 2004, equation 13; K1 = 0.01, K2 = 0.03.

    Example:
        >>> maps = torch.rand(2, 16, 16, dtype=torch.float64)
        >>> ssim(maps, maps).round(decimals=6)
        tensor([1., 1.], dtype=torch.float64)
    """
    height, width = maps.shape[1:]
    if not window.fits(height, width):
        raise ValueError(f"maps of {height}x{width} are smaller than the {window.size}x{window.size} window")
    return ssims(maps, others, (window,), moments(others, (window,)))[0]
