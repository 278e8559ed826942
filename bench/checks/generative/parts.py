"""What each made image has to do with a distance of sets: jackknife pseudo-values, whose mean is the distance.

A distance of sets is one number without an interval. Its pseudo-values are one number per image, so that two explainers
that were asked about the same images can be compared image by image, with an interval from resampled images.

Source: Efron and Tibshirani 1993, chapter 11: pseudo-value i = n T - (n - 1) T without image i.
"""

from __future__ import annotations

import torch
from torch import Tensor

from models.naming import UsageError

from .distances import frechet, kernel_distance

SLICE = 256
"""Images left out at once; decides about memory only."""


def frechet_parts(real: Tensor, made: Tensor) -> Tensor:
    """Pseudo-values of the Frechet distance, (m,) float64; their mean is the distance less its bias from few made images.

    Args:
        real, made: (n, d) and (m, d) features; m >= 3.

    Raises:
        UsageError: as `distances.frechet`, or fewer than three made images.

    Example:
        >>> draw = torch.Generator().manual_seed(0)
        >>> real, made = torch.randn(400, 2, generator=draw), torch.randn(400, 2, generator=draw) + 1
        >>> abs(float(frechet_parts(real, made).mean()) - frechet(real, made)) < 0.02
        True
    """
    whole = frechet(real, made)
    a, b = real.double(), _enough(made).double()
    m = len(b)
    mean, centre = a.mean(0), b.mean(0)
    one, other = torch.cov(a.T).reshape(a.shape[1], -1), torch.cov(b.T).reshape(b.shape[1], -1)
    values, vectors = torch.linalg.eigh(one)
    root = (vectors * values.clamp_min(0).sqrt()) @ vectors.T
    without = []
    for part in b.split(SLICE):
        away = part - centre
        # covariance without one row, by the formula for taking it out again
        rest = ((m - 1) * other - m / (m - 1) * away[:, :, None] * away[:, None, :]) / (m - 2)
        gap = mean - (centre - away / (m - 1))
        cross = torch.linalg.eigvalsh(root @ rest @ root).clamp_min(0).sqrt().sum(1)
        traces = one.trace() + rest.diagonal(dim1=1, dim2=2).sum(1)
        without.append(gap.square().sum(1) + traces - 2 * cross)
    return m * whole - (m - 1) * torch.cat(without)


def kernel_parts(real: Tensor, made: Tensor) -> Tensor:
    """Pseudo-values of the unbiased kernel distance, (m,) float64; their mean is the distance itself.

    Args:
        real, made: (n, d) and (m, d) features; m >= 3.

    Example:
        >>> draw = torch.Generator().manual_seed(0)
        >>> real, made = torch.randn(50, 2, generator=draw), torch.randn(50, 2, generator=draw)
        >>> abs(float(kernel_parts(real, made).mean()) - kernel_distance(real, made)) < 1e-9
        True
    """
    whole = kernel_distance(real, made)
    a, b = real.double(), _enough(made).double()
    n, m = len(a), len(b)

    def kernel(x: Tensor, y: Tensor) -> Tensor:
        return (x @ y.T / x.shape[1] + 1) ** 3

    among, between, reals = kernel(b, b), kernel(a, b), kernel(a, a)
    fixed = (reals.sum() - reals.trace()) / (n * (n - 1))
    pairs, own = among.sum() - among.trace(), among.sum(1) - among.diagonal()
    within = (pairs - 2 * own) / ((m - 1) * (m - 2))
    across = (between.sum() - between.sum(0)) / (n * (m - 1))
    return m * whole - (m - 1) * (fixed + within - 2 * across)


def _enough(made: Tensor) -> Tensor:
    if len(made) < 3:
        raise UsageError(f"{len(made)} made images; at least three are needed to leave one out")
    return made
