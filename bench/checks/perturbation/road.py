"""Noisy linear imputation: missing pixels become weighted means of their neighbours, all at once.

Source: Rong et al. 2022, A consistent and efficient evaluation strategy for attribution methods, section 4 (ROAD): a pixel
equals the mean of its eight neighbours, direct ones with weight 1/6 and diagonal ones with 1/12, which is a linear system
in the missing pixels; Gaussian noise of standard deviation 0.01 hides which pixels are missing.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy.linalg import solveh_banded
from scipy.sparse import coo_array
from scipy.sparse.linalg import splu

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]

DIRECT, DIAGONAL = 1 / 6, 1 / 12
NOISE = 0.01
_LATER = ((0, 1, DIRECT), (1, -1, DIAGONAL), (1, 0, DIRECT), (1, 1, DIAGONAL))
"""Offsets (down, right) and weights of the neighbours that come later in raster order; the others mirror them."""
_NARROW = 64
"""Up to this bandwidth a banded solver is faster than a sparse one."""


def imputed(image: Floats, missing: Bools, empty: Floats) -> Floats:
    """An image whose missing pixels are weighted means of their neighbours, (C, H, W), without noise.

    Neighbours outside the image do not count; the weights of the others are scaled up to sum 1.

    Args:
        image: (C, H, W); values at missing pixels are not looked at.
        missing: (H, W).
        empty: (C,), the colour of an image without any known pixel, from which nothing can be interpolated.

    Example:
        >>> row = np.array([[[0.0, 9.0, 1.0]]])
        >>> float(imputed(row, np.array([[False, True, False]]), np.zeros(1))[0, 0, 1])
        0.5
    """
    result = np.array(image, dtype=np.float64)
    if missing.all():
        result[:] = empty[:, None, None]
    elif missing.any():
        result[:, missing] = _solved(*_system(result, missing)).T
    return result


def _system(image: Floats, missing: Bools) -> tuple[Floats, list[tuple[npt.NDArray[np.int64], float]], Floats]:
    """The linear system of the missing pixels in raster order.

    Returns:
        Diagonal (n,); per later neighbour its number (n,), -1 where it is known or outside, and its weight; right-hand
        sides (n, C).
    """
    height, width = missing.shape
    number = np.full((height + 2, width + 2), -1, dtype=np.int64)
    number[1:-1, 1:-1][missing] = np.arange(int(missing.sum()))
    inside = np.pad(np.ones((height, width)), 1)
    known = np.pad(np.where(missing, 0.0, image), ((0, 0), (1, 1), (1, 1)))
    y, x = (place + 1 for place in np.nonzero(missing))
    diagonal, right = np.zeros(len(y)), np.zeros((len(y), len(image)))
    for down, along, weight in _LATER:
        for sign in (1, -1):
            there = y + sign * down, x + sign * along
            diagonal += weight * inside[there]
            right += weight * known[:, there[0], there[1]].T
    links = [(number[y + down, x + along], -weight) for down, along, weight in _LATER]
    return diagonal, links, right


def _solved(diagonal: Floats, links: list[tuple[npt.NDArray[np.int64], float]], right: Floats) -> Floats:
    """The missing values, (n, C); the matrix is symmetric and positive definite, as some pixel is known."""
    own = np.arange(len(diagonal))
    width = max((int((other - own)[other >= 0].max(initial=0)) for other, _ in links), default=0)
    if width <= _NARROW:
        band = np.zeros((width + 1, len(own)))
        band[0] = diagonal
        for other, value in links:
            here = own[other >= 0]
            band[other[here] - here, here] = value
        return np.asarray(solveh_banded(band, right, lower=True, check_finite=False, overwrite_ab=True))
    rows, columns, values = [own], [own], [diagonal]
    for other, value in links:
        here = own[other >= 0]
        rows += [here, other[here]]
        columns += [other[here], here]
        values += [np.full(len(here), value)] * 2
    places = np.concatenate(rows), np.concatenate(columns)
    matrix = coo_array((np.concatenate(values), places), shape=(len(own), len(own))).tocsc()
    factors = splu(matrix, permc_spec="MMD_AT_PLUS_A", diag_pivot_thresh=0.0, options={"SymmetricMode": True})
    return np.asarray(factors.solve(right))
