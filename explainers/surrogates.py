"""Linear surrogates on super-pixels: LIME and KernelSHAP.

Both look at the network through coalitions of super-pixels: those present show the image, those absent the background.
The regressions are small closed forms, solved in float64.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from models.base import Subject
from models.naming import UsageError
from models.seeds import generator

from .base import Partial
from .controls import image_key
from .passes import network
from .perturbed import logits_of_copies, masked
from .superpixels import background, segmented, spread

TOLERANCE = 1e-3
RIDGE = 1e-3


def lime(
    subject: Subject,
    images: Tensor,
    targets: Tensor,
    *,
    seed: int,
    samples: int = 100,
    segments: int = 20,
    segmentation: str = "slic",
    baseline: str = "neighbours",
    width: float = 0.25,
) -> Tensor:
    """Weight of each super-pixel in a local ridge regression of the target logit, laid on its pixels, (N, 1, H, W), logits.

    Args:
        samples: random coalitions per image, the whole image first.
        segments: super-pixels asked for.
        segmentation: `slic`, `felzenszwalb` or `grid`.
        baseline: what absent super-pixels show, see `superpixels.background`.
        width: of the exponential kernel on the cosine distance to the whole image, > 0.

    The penalty on the squared weights is 0.1 for 100 samples and grows with them, which is the authors' 1 for 1,000; the
    intercept is free.

    Source: Ribeiro et al. 2016, section 3.4 and Algorithm 1; Nuzzo 2020, eq. 4.36.
    """
    if samples < 2 or width <= 0:
        raise UsageError(f"lime: samples is {samples} and width {width:g}; samples >= 2 and width > 0 are needed")
    module = network(subject)
    maps = []
    for image, target, labels in zip(images, targets, segmented(images, segmentation, segments), strict=True):
        draw = generator(seed, "lime", image_key(image))
        present = torch.rand(samples, int(labels.max()) + 1, generator=draw) < 0.5
        present[0] = True
        present = present.to(image.device)
        behind = background(subject, image, labels, baseline)
        values = coalition_logits(module, image, behind, labels, present)[:, target].double()
        share = present.double().mean(1)
        nearness = torch.exp(-0.5 * ((1 - share.sqrt()) / width).square())
        # Measured from the whole image: where hiding changes nothing the coefficients are exactly 0, not rounding.
        change = values - values[0]
        maps.append(spread(weighted_ridge(present.double(), change, nearness, RIDGE * samples), labels))
    return torch.stack(maps)


def kernel_shap(
    subject: Subject,
    images: Tensor,
    targets: Tensor,
    *,
    seed: int,
    samples: int = 100,
    segments: int = 20,
    segmentation: str = "slic",
    baseline: str = "neighbours",
) -> Partial:
    """Shapley value of each super-pixel by weighted regression, laid on its pixels, (N, 1, H, W), logits.

    Args:
        samples: coalitions per image besides the empty and the full one; drawn in complementary pairs from the Shapley
            kernel, or all of them, with exact result, where there are no more than that.
        segments: super-pixels asked for; samples >= 2 segments is needed.
        segmentation: `slic`, `felzenszwalb` or `grid`.
        baseline: what absent super-pixels show, see `superpixels.background`.

    Returns:
        The map with |sum phi - (f(x) - f(background))| relative to that difference; beyond 0.001 it is failed.

    Source: Lundberg and Lee 2017, theorem 2; pairs and constrained solution after Covert and Lee 2021, section 3;
    Nuzzo 2020, eq. 6.20 to 6.23.
    """
    if samples < 2 * segments:
        raise UsageError(
            f"kernel-shap: samples is {samples} for {segments} super-pixels; samples >= {2 * segments} are needed to "
            "determine their values"
        )
    module = network(subject)
    maps, residuals = [], []
    for image, target, labels in zip(images, targets, segmented(images, segmentation, segments), strict=True):
        count = int(labels.max()) + 1
        present, weights = coalitions(count, samples, generator(seed, "kernel-shap", image_key(image)))
        ends = torch.stack([torch.zeros(count), torch.ones(count)]).bool()
        present = torch.cat([ends, present]).to(image.device)
        behind = background(subject, image, labels, baseline)
        values = coalition_logits(module, image, behind, labels, present)[:, target].double()
        empty, full = values[0], values[1]
        found = constrained_least_squares(present[2:].double(), values[2:] - empty, weights.to(values), full - empty)
        maps.append(spread(found, labels))
        residuals.append((found.sum() - (full - empty)).abs() / (full - empty).abs().clamp_min(1e-9))
    residual = torch.stack(residuals)
    return Partial(torch.stack(maps), residual=residual, failed=~(residual <= TOLERANCE))


def coalition_logits(module: nn.Module, image: Tensor, behind: Tensor, labels: Tensor, present: Tensor) -> Tensor:
    """Logits of an image of which only some super-pixels are shown, (S, K).

    Args:
        image, behind: (C, H, W), the latter shown where a super-pixel is absent.
        labels: (H, W) super-pixels 0 .. P-1.
        present: (S, P) bool.
    """

    def copies(first: int, last: int) -> Tensor:
        return masked(image, behind, present[first:last].to(image)[:, labels][:, None])

    return logits_of_copies(module, image, len(present), copies)


def coalitions(count: int, samples: int, draw: torch.Generator) -> tuple[Tensor, Tensor]:
    """Coalitions of `count` players for the Shapley regression, (S, count) bool, and their weights (S,) float64.

    All 2^count - 2 proper ones with the Shapley kernel as weight if they are at most `samples`; else pairs of a random
    coalition, whose size follows the kernel, and its complement, with weight one.

    Example:
        >>> import torch
        >>> present, weights = coalitions(3, 100, torch.Generator())
        >>> len(present), weights.tolist()
        (6, [1.0, 1.0, 1.0, 1.0, 1.0, 1.0])
    """
    if count < 2:
        return torch.zeros(0, count, dtype=torch.bool), torch.zeros(0, dtype=torch.float64)
    sizes = torch.arange(1, count, dtype=torch.float64)
    kernel = (count - 1) / (sizes * (count - sizes))
    if 2**count - 2 <= samples:
        codes = torch.arange(1, 2**count - 1)
        present = (codes[:, None] >> torch.arange(count)) % 2 == 1
        size = present.sum(1)
        ways = torch.tensor([math.comb(count, k) for k in range(1, count)], dtype=torch.float64)
        return present, (kernel / ways)[size - 1] * count
    pairs = (samples + 1) // 2
    size = torch.multinomial(kernel, pairs, replacement=True, generator=draw) + 1
    rank = torch.rand(pairs, count, generator=draw).argsort(1).argsort(1)
    half = rank < size[:, None]
    present = torch.stack([half, ~half], 1).flatten(0, 1)[:samples]
    return present, torch.ones(len(present), dtype=torch.float64)


def weighted_ridge(inputs: Tensor, values: Tensor, weights: Tensor, penalty: float) -> Tensor:
    """Coefficients (P,) of a weighted ridge regression with a free intercept, float64.

    Args:
        inputs: (S, P). values: (S,). weights: (S,) >= 0. penalty: on the squared coefficients.
    """
    total = weights.sum()
    centred = inputs - (weights @ inputs) / total
    left = centred.T @ (weights[:, None] * centred) + penalty * torch.eye(inputs.shape[1]).to(inputs)
    right = centred.T @ (weights * (values - (weights @ values) / total))
    return _solved(left, right)


def constrained_least_squares(inputs: Tensor, values: Tensor, weights: Tensor, total: Tensor) -> Tensor:
    """argmin_phi sum_s w_s (inputs_s phi - values_s)^2 with sum phi = total, (P,) float64; the shortest where many are.

    Args:
        inputs: (S, P). values: (S,). weights: (S,). total: what the coefficients must sum to.
    """
    count = inputs.shape[1]
    system = torch.zeros(count + 1, count + 1, dtype=torch.float64, device=inputs.device)
    system[:count, :count] = inputs.T @ (weights[:, None] * inputs)
    system[count, :count] = system[:count, count] = 1
    right = torch.cat([inputs.T @ (weights * values), total[None]])
    return _solved(system, right)[:count]


def _solved(left: Tensor, right: Tensor) -> Tensor:
    """The solution of least norm of a symmetric system; NaN where the right side is not finite."""
    if not bool(torch.isfinite(right).all()):
        return torch.full_like(right, math.nan)
    return torch.linalg.pinv(left, hermitian=True) @ right
