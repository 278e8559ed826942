"""Paired differences: exact cases, agreement with scipy, false alarms, power."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats as scipy_stats

from reports import paired


def crossed(rng, images=32, seeds=10, mean=0.0, image_sd=0.1, seed_sd=0.05, rest=0.05):
    return (
        mean
        + rng.normal(0, image_sd, (images, 1))
        + rng.normal(0, seed_sd, (1, seeds))
        + rng.normal(0, rest, (images, seeds))
    )


def test_one_seed_is_the_paired_t_test():
    values = np.random.default_rng(0).normal(0.1, 0.3, (20, 1))
    found, known = paired.difference(values), scipy_stats.ttest_1samp(values[:, 0], 0.0)
    assert found.p == pytest.approx(known.pvalue) and found.mean == pytest.approx(values.mean())
    low, high = known.confidence_interval()
    assert (found.low, found.high) == (pytest.approx(low), pytest.approx(high))


def test_swapping_the_two_turns_the_sign_only():
    values = crossed(np.random.default_rng(1), mean=0.1)
    one, other = paired.difference(values), paired.difference(-values)
    assert (other.mean, other.low, other.high) == (-one.mean, -one.high, -one.low) and other.p == one.p


@pytest.mark.parametrize(("value", "p"), [(0.0, 1.0), (0.25, 0.0)])
def test_a_difference_without_spread_is_certain(value, p):
    found = paired.difference(np.full((4, 3), value))
    assert (found.mean, found.low, found.high, found.p) == (value, value, value, p)


def test_nothing_can_be_said_of_one_pair_or_none():
    assert paired.difference(np.array([[0.7]])).p == 1.0 and np.isnan(paired.difference(np.array([[0.7]])).low)
    none = paired.difference(np.full((3, 2), np.nan))
    assert none.pairs == 0 and none.p == 1.0 and np.isnan(none.mean)


def test_missing_pairs_do_not_count():
    values = np.full((5, 4), 0.5)
    values[0] = np.nan
    values[2, 1] = np.nan
    assert paired.difference(values).pairs == 15 and paired.difference(values).mean == 0.5


def test_a_change_of_one_stage_is_found_and_named():
    rng = np.random.default_rng(2)
    values = np.stack([crossed(rng, rest=0.01, image_sd=0.01, seed_sd=0.01) for _ in range(6)])
    values[4] += 0.3
    place, found = paired.largest(values)
    assert place == 4 and found.mean == pytest.approx(0.3, abs=0.02) and found.p < 1e-6
    assert paired.largest(np.full((2, 3, 3), np.nan))[0] == -1


def test_holm_agrees_with_a_loop_over_its_definition():
    p = np.random.default_rng(3).uniform(0, 0.2, 12)
    wanted = np.empty(12)
    for place in range(12):
        lower = sorted(p)[: sorted(p).index(p[place]) + 1]
        wanted[place] = min(1.0, max((12 - rank) * value for rank, value in enumerate(lower)))
    np.testing.assert_allclose(paired.holm(p), wanted)
    assert paired.holm([]).shape == (0,)


def test_pairwise_separates_what_differs_and_nothing_else():
    rng = np.random.default_rng(4)
    shared = crossed(rng)
    values = np.stack([shared + shift + rng.normal(0, 0.02, shared.shape) for shift in (0.0, 0.0, 0.3)])
    table = paired.pairwise(values)
    assert table[0, 2] < 0.001 and table[1, 2] < 0.001 and (table == table.T).all()
    assert table[0, 1] > 0.01 and (np.diag(table) == 1).all()


@pytest.mark.parametrize(("images", "seeds"), [(32, 10), (16, 5), (64, 3)])
def test_false_alarms_stay_below_five_percent_where_a_naive_test_cries_wolf(images, seeds):
    rng = np.random.default_rng(5)
    rounds, alarms, naive, covered, tail = 600, 0, 0, 0, 0
    for _ in range(rounds):
        values = crossed(rng, images, seeds, image_sd=0.05, seed_sd=0.05)
        found = paired.difference(values)
        alarms += found.p < 0.05
        covered += found.low <= 0 <= found.high
        tail += found.p < 0.001
        naive += scipy_stats.ttest_1samp(values.ravel(), 0.0).pvalue < 0.05
    assert alarms / rounds <= 0.06 and covered / rounds >= 0.94 and tail <= 3
    assert naive / rounds > 0.2
