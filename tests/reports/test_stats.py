"""The crossed bootstrap: exact cases, coverage, invariances, a negative control."""

from __future__ import annotations

import numpy as np
import pytest

from reports import stats

FLOOR = np.full((8, 5), 0.25)
CEILING = np.ones((8, 3))


def draw(rng, images=32, seeds=10, mean=0.6, image_sd=0.1, seed_sd=0.05, rest=0.05):
    by_image = rng.normal(0, image_sd, (images, 1))
    return by_image, mean + by_image + rng.normal(0, seed_sd, (1, seeds)) + rng.normal(0, rest, (images, seeds))


@pytest.mark.parametrize(("similarity", "expected"), [(1.0, 0.0), (0.25, 1.0), (0.625, 0.5), (0.0, 4 / 3)])
def test_exact_values_have_an_exact_ratio(similarity, expected):
    found = stats.sensitivity(np.full((8, 12), similarity), CEILING, FLOOR)
    assert found.interval == stats.Interval(*[pytest.approx(expected)] * 3)
    assert (found.similarity, found.ceiling, found.floor) == (similarity, 1.0, 0.25)


def test_it_is_a_ratio_of_means_and_not_a_mean_of_ratios():
    rng = np.random.default_rng(0)
    s, c, f = rng.uniform(0, 1, (16, 10)), rng.uniform(0.5, 1, (16, 4)), rng.uniform(0, 0.3, (16, 5))
    found = stats.sensitivity(s, c, f)
    assert found.interval.estimate == pytest.approx((c.mean() - s.mean()) / (c.mean() - f.mean()))
    assert found.interval.low < found.interval.estimate < found.interval.high


def test_stages_are_averaged():
    stages = np.stack([np.full((8, 12), value) for value in (1.0, 0.625)])
    assert stats.sensitivity(stages, CEILING, FLOOR).interval.estimate == pytest.approx(0.25)
    stages[1] = np.nan
    assert stats.sensitivity(stages, CEILING, FLOOR).interval.estimate == pytest.approx(0.0)


def test_missing_values_do_not_count_and_are_not_zero():
    s = np.full((8, 12), 0.625)
    s[0, :6] = np.nan
    s[3] = np.nan
    found = stats.sensitivity(s, CEILING, FLOOR)
    assert found.interval == stats.Interval(*[pytest.approx(0.5)] * 3)


def test_nothing_gives_nothing():
    found = stats.sensitivity(np.full((8, 12), np.nan), CEILING, FLOOR)
    assert np.isnan([found.interval.estimate, found.interval.low, found.interval.high]).all()
    found = stats.sensitivity(np.zeros((0, 0)), np.zeros((0, 2)), np.zeros((0, 5)))
    assert np.isnan(found.interval.estimate)


def test_a_floor_at_the_ceiling_has_no_ratio():
    found = stats.sensitivity(np.ones((8, 12)), CEILING, np.ones((8, 5)))
    assert np.isnan(found.interval.estimate) and np.isnan(found.interval.low)


@pytest.mark.parametrize("shape", [(1, 12), (8, 1)])
def test_one_image_or_one_seed_has_no_interval(shape):
    found = stats.sensitivity(np.full(shape, 0.625), CEILING[: shape[0]], FLOOR[: shape[0]]).interval
    assert found.estimate == pytest.approx(0.5) and np.isnan(found.low) and np.isnan(found.high)


def test_equal_input_gives_equal_output_and_the_global_state_is_not_touched():
    rng = np.random.default_rng(3)
    _, s = draw(rng)
    args = (s, np.ones((32, 3)), rng.normal(0.1, 0.05, (32, 5)))
    before = np.random.get_state()[1].copy()
    first = stats.sensitivity(*args)
    stats._weights.cache_clear()
    assert stats.sensitivity(*args) == first
    assert (np.random.get_state()[1] == before).all()
    other = stats.sensitivity(*args, seed=1).interval
    assert other.estimate == first.interval.estimate and other.low == pytest.approx(first.interval.low, abs=0.02)


def test_linear_maps_of_similarity_leave_d_alone():
    rng = np.random.default_rng(4)
    _, s = draw(rng)
    c, f = rng.normal(0.9, 0.02, (32, 3)), rng.normal(0.1, 0.05, (32, 5))
    first = stats.sensitivity(s, c, f).interval
    second = stats.sensitivity(0.5 * s - 3, 0.5 * c - 3, 0.5 * f - 3).interval
    assert second.low == pytest.approx(first.low) and second.high == pytest.approx(first.high)


def test_different_numbers_of_images_are_refused():
    with pytest.raises(ValueError, match="given are 8, 7 and 8"):
        stats.sensitivity(np.zeros((8, 2)), np.zeros((7, 2)), np.zeros((8, 2)))


@pytest.mark.parametrize(("images", "seeds"), [(32, 10), (16, 5)])
def test_the_interval_covers_the_truth(images, seeds):
    rng = np.random.default_rng(5)
    truth = (1 - 0.6) / (1 - 0.1)
    hits, rounds = 0, 300
    for _ in range(rounds):
        by_image, s = draw(rng, images, seeds)
        f = 0.1 + 0.3 * by_image + rng.normal(0, 0.05, (1, 5)) + rng.normal(0, 0.05, (images, 5))
        found = stats.sensitivity(s, np.ones((images, 3)), f, resamples=600).interval
        hits += found.low <= truth <= found.high
    assert hits / rounds >= 0.90


def test_a_naive_interval_would_not_cover():
    rng = np.random.default_rng(6)
    hits = 0
    for _ in range(300):
        _, s = draw(rng)
        hits += abs(s.mean() - 0.6) <= 1.96 * s.std(ddof=1) / np.sqrt(s.size)
    assert hits / 300 < 0.75


def test_the_mean_has_an_interval_per_stage():
    rng = np.random.default_rng(7)
    values = np.stack([draw(rng)[1], np.full((32, 10), 0.5), np.full((32, 10), np.nan)])
    first, second, third = stats.crossed_mean(values)
    assert first.low < first.estimate < first.high and first.estimate == pytest.approx(values[0].mean())
    assert second == stats.Interval(0.5, 0.5, 0.5)
    assert np.isnan([third.estimate, third.low, third.high]).all()


def test_the_factor_for_few_is_that_of_the_t_law():
    factors = [stats.small_sample_factor(count) for count in range(2, 12)]
    assert factors == sorted(factors, reverse=True) and factors[-2:] == [1.0, 1.0]
    assert stats.small_sample_factor(5) == pytest.approx(np.sqrt(5 / 4) * 2.7764451 / 1.9599640)


def test_the_mean_over_images_covers_as_often_as_it_says():
    rng = np.random.default_rng(0)
    found = stats.mean_over_images(rng.normal(0.3, 1.0, (600, 40)), resamples=500)
    hits = np.mean([interval.low <= 0.3 <= interval.high for interval in found])
    assert 0.90 < hits < 0.98


def test_the_mean_over_images_leaves_out_what_is_missing_and_needs_two():
    rows = np.array([[0.0, 1.0, np.nan], [0.5, np.nan, np.nan], [np.nan, np.nan, np.nan]])
    both, one, none = stats.mean_over_images(rows)
    assert both.estimate == 0.5 and both.low < 0.5 < both.high
    assert one.estimate == 0.5 and np.isnan(one.low) and np.isnan(none.estimate)
