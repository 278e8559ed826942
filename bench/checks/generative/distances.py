"""Distances between two sets of images through the features of an independent network: Frechet and kernel.

Both say how far the made images are from real ones as a set, never whether one of them is right. They are biased at
small numbers (the Frechet distance by about 2d/n + d(d+1)/(2n) for equal Gaussians), so they are compared at equal n
only, beside the distance of two disjoint sets of real images of that size.
"""

from __future__ import annotations

import torch
from torch import Tensor

from models.naming import UsageError
from models.seeds import generator

FEW, PROJECTIONS = 20, 10
"""Dimensions in which small sets are compared, and over how many projections to so many the distance is averaged."""


def frechet(real: Tensor, made: Tensor) -> float:
    """|m1 - m2|^2 + tr(S1 + S2 - 2 (S1 S2)^(1/2)) of two sets of features; in their squared units, >= 0, lower is closer.

    Args:
        real, made: (n, d) and (m, d) features, n and m >= 2.

    Raises:
        UsageError: other shapes, fewer than two rows, or features that are not finite.

    Source: Heusel et al. 2017, section 2; the root is taken of the symmetric S1^(1/2) S2 S1^(1/2), in float64.

    Example:
        >>> x = torch.tensor([[-1.0], [1.0]])
        >>> round(frechet(x, 2 * x + 3), 6)
        11.0
    """
    a, b = _checked(real, made)
    mean = a.mean(0) - b.mean(0)
    one, other = torch.cov(a.T).reshape(a.shape[1], -1), torch.cov(b.T).reshape(a.shape[1], -1)
    values, vectors = torch.linalg.eigh(one)
    root = (vectors * values.clamp_min(0).sqrt()) @ vectors.T
    cross = torch.linalg.eigvalsh(root @ other @ root).clamp_min(0).sqrt().sum()
    return float((mean @ mean + one.trace() + other.trace() - 2 * cross).clamp_min(0))


def kernel_distance(real: Tensor, made: Tensor) -> float:
    """The unbiased squared maximum mean discrepancy under k(x, y) = (x.y / d + 1)^3; may be below 0, lower is closer.

    Args:
        real, made: (n, d) and (m, d) features, n and m >= 2; all of them are used, so there is no subset to draw.

    Raises:
        UsageError: as for `frechet`.

    Source: Binkowski et al. 2018, section 4 and eq. 4.

    Example:
        >>> x = torch.arange(12.0).reshape(6, 2) / 12
        >>> kernel_distance(x, x) < kernel_distance(x, x + 1)
        True
    """
    a, b = _checked(real, made)

    def kernel(x: Tensor, y: Tensor) -> Tensor:
        return (x @ y.T / x.shape[1] + 1) ** 3

    within = [(k.sum() - k.trace()) / (len(k) * (len(k) - 1)) for k in (kernel(a, a), kernel(b, b))]
    return float(within[0] + within[1] - 2 * kernel(a, b).mean())


def frechet_of_few(real: Tensor, made: Tensor) -> float:
    """The Frechet distance of small sets: the mean over 10 projections of the features to 20 dimensions.

    With few images a covariance of many features is hardly known. The projections are orthonormal, drawn from a seed
    that depends on nothing but the number of features, and not those in which real images differ most: made images may
    be wrong in a direction in which real ones do not vary at all. Features of 20 dimensions or fewer are taken as they are.

    Args:
        real, made: (n, d) and (m, d) features.

    Example:
        >>> draw = torch.Generator().manual_seed(0)
        >>> x = torch.randn(200, 64, generator=draw)
        >>> round(frechet_of_few(x, x + 1.0) / 20, 1)
        1.1
    """
    a, b = _checked(real, made)
    if a.shape[1] <= FEW:
        return frechet(a, b)
    drawn = [_projection(a.shape[1], number).to(a.device) for number in range(PROJECTIONS)]
    return sum(frechet(a @ each, b @ each) for each in drawn) / PROJECTIONS


def _projection(features: int, number: int) -> Tensor:
    """An orthonormal projection (features, FEW), float64."""
    noise = torch.randn(features, FEW, dtype=torch.float64, generator=generator(0, "projection", features, number))
    return torch.linalg.qr(noise)[0]


def smallest_group(features: int) -> int:
    """How many images a group needs at least: ten per feature, and 200.

    Example:
        >>> smallest_group(64)
        640
    """
    return max(10 * features, 200)


def _checked(real: Tensor, made: Tensor) -> tuple[Tensor, Tensor]:
    for name, values in (("real", real), ("made", made)):
        if values.dim() != 2 or len(values) < 2:
            raise UsageError(
                f"features of the {name} images have shape {tuple(values.shape)}; (n, d) with n >= 2 is needed"
            )
        if not bool(torch.isfinite(values).all()):
            raise UsageError(
                f"features of the {name} images hold values that are not finite; use another feature network, or look at "
                "the images it was given"
            )
    if real.shape[1] != made.shape[1]:
        raise UsageError(
            f"real images have {real.shape[1]} features and made ones {made.shape[1]}; take both through one network"
        )
    return real.double(), made.double()
