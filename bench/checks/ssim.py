"""Structural similarity of maps, in batches, equal to scikit-image.

Source: Wang, Bovik, Sheikh, Simoncelli (2004), Image quality assessment, IEEE TIP 13; equation 13.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor

K1, K2 = 0.01, 0.03


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


def local_means(maps: Tensor, window: Window) -> Tensor:
    """Weighted means of every window that lies inside the map.

    Args:
        maps: (N, H, W) float64.

    Returns:
        (N, W - size + 1, H - size + 1): transposed, which saves a copy and changes no mean over positions.
    """
    count, height, width = maps.shape
    rows = maps.reshape(count * height, width) @ _band(window, width, maps.device)
    rows = rows.view(count, height, -1).transpose(1, 2).reshape(-1, height)
    return (rows @ _band(window, height, maps.device)).view(count, -1, height - window.size + 1)


@dataclass
class Moments:
    """Local mean and variance of maps under one window, (N, w, h) each."""

    mean: Tensor
    variance: Tensor

    def take(self, rows: Tensor) -> Moments:
        """The moments of some of the maps."""
        return Moments(self.mean[rows], self.variance[rows])


def _factor(window: Window) -> float:
    count = window.size**2
    return count / (count - 1) if window.sample else 1.0


def moments(maps: Tensor, window: Window) -> Moments:
    """Local means and variances of maps (N, H, W) float64 that the window fits into."""
    both = local_means(torch.cat([maps, maps * maps]), window)
    mean, square = both.chunk(2)
    return Moments(mean, (square - mean * mean) * _factor(window))


def ssim(maps: Tensor, others: Tensor, window: Window = Window(), known: Moments | None = None) -> Tensor:
    """Mean structural similarity over the windows that lie inside the map.

    Args:
        maps: (N, H, W) float64, normalised.
        others: (N, H, W) float64, the maps to compare with.
        window: what is averaged over.
        known: moments of `others` where they are at hand; they cost half of the work.

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
    known = known or moments(others, window)
    mean, square, product = local_means(torch.cat([maps, maps * maps, maps * others]), window).chunk(3)
    factor = _factor(window)
    c1, c2 = (K1 * window.data_range) ** 2, (K2 * window.data_range) ** 2
    means = mean * known.mean
    squares = mean * mean
    variances = (square - squares).mul_(factor).add_(known.variance).add_(c2)
    covariance = (product - means).mul_(factor).mul_(2).add_(c2)
    luminance = means.mul_(2).add_(c1).div_(squares.addcmul_(known.mean, known.mean).add_(c1))
    return luminance.mul_(covariance).div_(variances).flatten(1).mean(1)
