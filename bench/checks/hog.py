"""Histograms of oriented gradients of maps, in batches, equal to scikit-image.

Source: Dalal and Triggs (2005), Histograms of oriented gradients for human detection, CVPR.
"""

from __future__ import annotations

import torch
from torch import Tensor

ORIENTATIONS = 9
BLOCK = 2
"""Cells along the side of a block (Dalal and Triggs, section 6.4)."""

CLIP, EPSILON = 0.2, 1e-5
LEVEL = 3e-5
"""Slope below which a gradient counts as horizontal, radians; 0.002 degrees."""


def cell_side(height: int, width: int) -> int:
    """Side of a cell in pixels: 8, or a quarter of the shorter side on maps below 32 pixels; 0 if too small.

    Maps with a shorter side below 8 have cells of fewer than 2 pixels, and no histogram.

    Example:
        >>> cell_side(32, 32), cell_side(28, 28), cell_side(7, 7)
        (8, 7, 0)
    """
    side = min(8, min(height, width) // 4)
    return side if side >= 2 else 0


def hog(maps: Tensor) -> Tensor:
    """HOG features: 9 unsigned orientations, cells of `cell_side`, blocks of 2x2 cells, L2-Hys.

    A border that does not fill a cell is left out. Equal to `skimage.feature.hog` with
    `pixels_per_cell=(cell, cell), cells_per_block=(2, 2)` and the defaults for the rest.

    Args:
        maps: (N, H, W) float64, shorter side >= 8.

    Returns:
        (N, F) float64, F = (R - 1) (C - 1) 36 for R x C cells, in [0, 1].

    Raises:
        ValueError: the maps are too small for cells of 2 pixels.
    """
    count, height, width = maps.shape
    cell = cell_side(height, width)
    if not cell:
        raise ValueError(f"maps of {height}x{width} are too small for HOG; the shorter side must be at least 8")
    down = torch.zeros_like(maps)
    right = torch.zeros_like(maps)
    torch.sub(maps[:, 2:], maps[:, :-2], out=down[:, 1:-1])
    torch.sub(maps[:, :, 2:], maps[:, :, :-2], out=right[:, :, 1:-1])
    rows, columns = height // cell, width // cell
    down, right = down[:, : rows * cell, : columns * cell], right[:, : rows * cell, : columns * cell]
    histogram = _histograms(down, right, cell)
    return _blocks(histogram.view(count, rows, columns, ORIENTATIONS)).flatten(1)


def _histograms(down: Tensor, right: Tensor, cell: int) -> Tensor:
    """Gradient magnitude per cell and orientation, (N, R * C * 9), over the pixels of a cell."""
    count, height, width = down.shape
    columns = width // cell
    # A gradient that is horizontal but for rounding lies on the edge of two bins (enlarged maps are full of them).
    down = down.masked_fill(down.abs() < LEVEL * right.abs(), 0.0)
    bins = torch.atan2(down, right).mul_(ORIENTATIONS / torch.pi).floor_()
    # Opposite gradients share a bin: -9 ... -1 are 0 ... 8 again, and 9 (a gradient straight to the left) is 0.
    bins.add_(bins < 0, alpha=ORIENTATIONS).add_(bins == ORIENTATIONS, alpha=-ORIENTATIONS)
    index = bins.long()
    place = torch.arange(height, device=down.device) // cell * columns
    place = place.unsqueeze(1) + torch.arange(width, device=down.device) // cell
    index += place * ORIENTATIONS
    cells = (height // cell) * columns * ORIENTATIONS
    total = torch.zeros(count, cells, dtype=torch.float64, device=down.device)
    magnitude = (down * down).addcmul_(right, right).sqrt_()
    return total.scatter_add_(1, index.flatten(1), magnitude.flatten(1)).div_(cell * cell)


def _blocks(histogram: Tensor) -> Tensor:
    """Normalised blocks (N, R - 1, C - 1, 4, 9) of cell histograms (N, R, C, 9)."""
    rows, columns = histogram.shape[1] - 1, histogram.shape[2] - 1
    corners = [histogram[:, r : r + rows, c : c + columns] for r in range(BLOCK) for c in range(BLOCK)]
    blocks = torch.stack(corners, 3)
    blocks = (blocks / _length(blocks)).clamp_(max=CLIP)
    return blocks / _length(blocks)


def _length(blocks: Tensor) -> Tensor:
    return (blocks.square().sum((-2, -1), keepdim=True) + EPSILON**2).sqrt()
