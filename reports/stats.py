"""Bootstrap crossed over images and seeds: means, ratios of means, and their intervals.

Every seed's random model explains every image, so the values of one image hang together and so do the values
of one seed.  A standard error over all images x seeds values is then far too small; here images and seeds are
drawn again independently, and whole rows and columns come with them (Owen 2007, "The pigeonhole bootstrap").

Drawing n out of n with replacement is the same as giving each a whole-number weight (multinomial), so a
bootstrap of a mean is two matrix products and no loop.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt
from scipy import special

Floats = npt.NDArray[np.float64]

RESAMPLES = 2000
FEW = 10
"""Below this number of images or of seeds the interval is widened; see `small_sample_factor`."""

_IMAGES, _SEEDS, _REPEATS, _DRAWS = range(4)
_TINY = 1e-12


@dataclass(frozen=True)
class Interval:
    """An estimate with its interval, in the unit of the values.

    Attributes:
        estimate: NaN where there is no value.
        low: lower bound, NaN where there is no interval.
        high: upper bound, NaN where there is no interval.
    """

    estimate: float
    low: float
    high: float


@dataclass(frozen=True)
class Sensitivity:
    """How much of the way from its ceiling to its floor an explainer's similarity falls.

    Attributes:
        interval: D = (C - S) / (C - F), no unit: 0 = blind to what was randomised, 1 = as different as maps
            of a fully re-drawn model.
        similarity: mean S.
        ceiling: mean C.
        floor: mean F.
    """

    interval: Interval
    similarity: float
    ceiling: float
    floor: float


def sensitivity(
    similarity: Floats,
    ceiling: Floats,
    floor: Floats,
    *,
    level: float = 0.95,
    resamples: int = RESAMPLES,
    seed: int = 0,
    seeded: bool = True,
) -> Sensitivity:
    """Calibrated sensitivity D = (mean C - mean S) / (mean C - mean F) with a crossed bootstrap interval.

    It is a ratio of means, never a mean of ratios, and is resampled whole: the same images are drawn for C, S
    and F; seeds of S, repeats of C and draws of F are drawn independently of each other.  With several stages
    S is the mean of the stages' means, so D is the mean of the stages' D.

    Args:
        similarity: S, (images, seeds) or (stages, images, seeds); NaN where not available.
        ceiling: C, (images, repeats).
        floor: F, (images, draws).
        level: coverage of the interval, between 0 and 1.
        resamples: number of bootstrap samples.
        seed: the random numbers; equal input gives equal output.
        seeded: whether S was measured with several seeds; False where it depends on none, so that one column is
            all there is.

    Returns:
        D (0 = blind, 1 = as different as a full re-draw) and the three means; NaN where there is no value,
        and no interval with fewer than two images or, if seeded, two seeds.

    Raises:
        ValueError: the three arrays are not about the same number of images.

    Source:
        Crossed resampling: Owen, The pigeonhole bootstrap, 2007.

    Example:
        >>> import numpy as np
        >>> D = sensitivity(np.full((8, 12), 0.75), np.ones((8, 2)), np.full((8, 5), 0.5))
        >>> D.interval
        Interval(estimate=0.5, low=0.5, high=0.5)
    """
    stages = similarity[None] if similarity.ndim == 2 else similarity
    count = stages.shape[1]
    if not (ceiling.shape[0] == floor.shape[0] == count):
        raise ValueError(
            f"similarity, ceiling and floor must be about the same images; given are {count}, "
            f"{ceiling.shape[0]} and {floor.shape[0]} of them."
        )
    images = _weights(count, resamples, seed, _IMAGES)
    means = [
        _stage_mean(stages, *_with_ones(images, _weights(stages.shape[2], resamples, seed, _SEEDS))),
        _stage_mean(ceiling[None], *_with_ones(images, _weights(ceiling.shape[1], resamples, seed, _REPEATS))),
        _stage_mean(floor[None], *_with_ones(images, _weights(floor.shape[1], resamples, seed, _DRAWS))),
    ]
    s, c, f = means
    gap = c - f
    # A resample whose floor reaches the ceiling has no scale: its ratio is as large as can be, with its sign.
    ratio = (c - s) / np.where(gap > _TINY, gap, _TINY)
    estimate = float((c[0] - s[0]) / gap[0]) if abs(gap[0]) > _TINY else float("nan")
    present = np.asarray(np.isfinite(stages).any(axis=0))
    few = _fewer(present) if seeded else int(present.any(axis=1).sum())
    interval = _interval(estimate, ratio[1:], few, level)
    return Sensitivity(interval, float(s[0]), float(c[0]), float(f[0]))


def crossed_mean(values: Floats, *, level: float = 0.95, resamples: int = RESAMPLES, seed: int = 0) -> list[Interval]:
    """Mean over images and seeds with a crossed bootstrap interval, one per stage.

    Args:
        values: (stages, images, seeds); NaN where not available.
        level: coverage of the interval, between 0 and 1.
        resamples: number of bootstrap samples.
        seed: the random numbers; equal input gives equal output.

    Returns:
        One interval per stage in the unit of the values.

    Example:
        >>> import numpy as np
        >>> crossed_mean(np.full((1, 4, 12), 0.5))
        [Interval(estimate=0.5, low=0.5, high=0.5)]
    """
    images = _weights(values.shape[1], resamples, seed, _IMAGES)
    seeds = _weights(values.shape[2], resamples, seed, _SEEDS)
    means = _means(values, *_with_ones(images, seeds))
    present = np.isfinite(values)
    return [
        _interval(float(column[0]), column[1:], _fewer(here), level)
        for column, here in zip(means.T, present, strict=True)
    ]


def mean_over_images(
    values: Floats, *, level: float = 0.95, resamples: int = RESAMPLES, seed: int = 0
) -> list[Interval]:
    """Mean over images with a bootstrap interval, for values that no seed of a model stands behind.

    Args:
        values: (rows, images); NaN where not available.
        level: coverage of the interval, between 0 and 1.
        resamples: number of bootstrap samples; the same images are drawn for every row.
        seed: the random numbers; equal input gives equal output.

    Returns:
        One interval per row in the unit of the values; none with fewer than two images.

    Example:
        >>> import numpy as np
        >>> mean_over_images(np.full((1, 12), 0.5))
        [Interval(estimate=0.5, low=0.5, high=0.5)]
    """
    images = _weights(values.shape[1], resamples, seed, _IMAGES)
    means = _means(values[..., None], *_with_ones(images, np.ones((resamples, 1))))
    counts = np.isfinite(values).sum(axis=1)
    return [
        _interval(float(column[0]), column[1:], int(count), level)
        for column, count in zip(means.T, counts, strict=True)
    ]


def resampled_means(values: Floats, *, resamples: int = RESAMPLES, seed: int = 0) -> Floats:
    """Crossed bootstrap of a mean per explainer (or stage), all drawn together, so that differences stay paired.

    Args:
        values: (explainers, images, seeds), NaN where not available.
        resamples: number of bootstrap samples.
        seed: the random numbers; equal input gives equal output.

    Returns:
        (1 + resamples, explainers) in the unit of the values, the sample itself in the first row.  For few images or
        seeds the resampled means are spread about the estimate by `small_sample_factor`.

    Example:
        >>> import numpy as np
        >>> resampled_means(np.full((2, 4, 3), 0.5), resamples=3).tolist()
        [[0.5, 0.5], [0.5, 0.5], [0.5, 0.5], [0.5, 0.5]]
    """
    images = _weights(values.shape[1], resamples, seed, _IMAGES)
    seeds = _weights(values.shape[2], resamples, seed, _SEEDS)
    means = _means(values, *_with_ones(images, seeds))
    counts = [count for count in values.shape[1:] if count > 1]
    factor = small_sample_factor(min(counts)) if counts else 1.0
    return np.asarray(means[:1] + factor * (means - means[:1]), dtype=np.float64)


def small_sample_factor(count: int, level: float = 0.95) -> float:
    """Factor by which a bootstrap interval is widened about its estimate for few images or seeds.

    The bootstrap treats n values as the whole population: its variance is (n - 1) / n of the unbiased one,
    and its bounds are those of a normal law where a t law with n - 1 degrees of freedom holds.  Both are put
    right by sqrt(n / (n - 1)) * t / z for n < 10; from 10 on the factor is 1.

    Args:
        count: the smaller one of the numbers of images and of seeds, >= 2.
        level: coverage of the interval, between 0 and 1.

    Returns:
        A factor, at least 1.

    Example:
        >>> round(small_sample_factor(5), 2), small_sample_factor(10)
        (1.58, 1.0)
    """
    if count >= FEW:
        return 1.0
    upper = 0.5 + level / 2
    student = float(special.stdtrit(count - 1, upper)) / float(special.ndtri(upper))
    return float(student * np.sqrt(count / (count - 1)))


def _fewer(present: npt.NDArray[np.bool_]) -> int:
    """The smaller one of the numbers of images and of seeds that have a value; present is (images, seeds)."""
    return min(int(present.any(axis=1).sum()), int(present.any(axis=0).sum()))


def _interval(estimate: float, resampled: Floats, few: int, level: float) -> Interval:
    """Percentile interval, widened for few images or seeds.

    Args:
        estimate: value of the sample itself.
        resampled: values of the bootstrap samples, NaN where one had nothing.
        few: number of independent values: of images or of seeds, whichever is smaller.
        level: coverage, between 0 and 1.
    """
    usable = resampled[np.isfinite(resampled)]
    if few < 2 or not usable.size or not np.isfinite(estimate):
        return Interval(estimate, float("nan"), float("nan"))
    tail = (1 - level) / 2
    low, high = np.quantile(usable, [tail, 1 - tail])
    factor = small_sample_factor(few, level)
    # With heavy tails the estimate may lie outside its own percentiles; the interval then reaches to it.
    low, high = min(float(low), estimate), max(float(high), estimate)
    return Interval(estimate, estimate - factor * (estimate - low), estimate + factor * (high - estimate))


def _stage_mean(values: Floats, images: Floats, seeds: Floats) -> Floats:
    """Mean of the stages' weighted means, one per row of weights; a stage without a value does not count."""
    means = _means(values, images, seeds)
    there = np.isfinite(means)
    total = np.where(there, means, 0.0).sum(axis=1)
    number = there.sum(axis=1)
    return np.asarray(np.where(number > 0, total / np.maximum(number, 1), np.nan), dtype=np.float64)


def _means(values: Floats, images: Floats, seeds: Floats) -> Floats:
    """Weighted mean of every stage under every row of weights.

    Args:
        values: (stages, images, seeds); NaN where not available.
        images: (resamples, images), weights.
        seeds: (resamples, seeds), weights.

    Returns:
        (resamples, stages); NaN where all weights fall on missing values.
    """
    stages, count, width = values.shape
    there = np.isfinite(values)
    sums = []
    for table in (np.where(there, values, 0.0), there.astype(np.float64)):
        flat = table.transpose(1, 0, 2).reshape(count, stages * width)
        drawn = (images @ flat).reshape(len(images), stages, width)
        sums.append(np.einsum("bsj,bj->bs", drawn, seeds))
    total, weight = sums
    return np.asarray(np.where(weight > 0, total / np.maximum(weight, 1), np.nan), dtype=np.float64)


def _with_ones(images: Floats, seeds: Floats) -> tuple[Floats, Floats]:
    """Put the sample itself (every weight 1) in front of its resamples."""
    return np.vstack([np.ones((1, images.shape[1])), images]), np.vstack([np.ones((1, seeds.shape[1])), seeds])


@lru_cache(maxsize=64)
def _weights(count: int, resamples: int, seed: int, role: int) -> Floats:
    """Multinomial weights, (resamples, count); the same images are drawn for every explainer."""
    if count == 0:
        return np.zeros((resamples, 0))
    generator = np.random.default_rng([seed, role, count])
    drawn = generator.multinomial(count, np.full(count, 1 / count), size=resamples)
    return drawn.astype(np.float64)
