"""Ranks, groups and agreement: exact cases, agreement with scipy, coverage by simulation, speed."""

from __future__ import annotations

import time

import numpy as np
import pytest
from scipy import stats as scipy_stats

from reports import paired, ranks, stats


def crossed(rng, means, images=32, seeds=10, image_sd=0.1, own_sd=0.05, seed_sd=0.05, rest=0.05):
    """Values of explainers that share their images and their random models."""
    shape = (len(means), images, seeds)
    return (
        np.asarray(means)[:, None, None]
        + rng.normal(0, image_sd, (1, images, 1))
        + rng.normal(0, own_sd, (len(means), images, 1))
        + rng.normal(0, seed_sd, (len(means), 1, seeds))
        + rng.normal(0, rest, shape)
    )


def test_clear_differences_have_sharp_ranks_and_groups_of_their_own():
    values = crossed(np.random.default_rng(0), [0.1, 0.9, 0.5])
    drawn = stats.resampled_means(values)
    found = ranks.rank_intervals(ranks.ranked(drawn))
    assert [(each.estimate, each.low, each.high) for each in found] == [(3, 3, 3), (1, 1, 1), (2, 2, 2)]
    assert ranks.tie_groups(drawn[0], ranks.separable(drawn)) == ["c", "a", "b"]


def test_equals_share_a_group_and_have_wide_ranks():
    values = crossed(np.random.default_rng(1), [0.5, 0.5, 0.5, 0.0])
    drawn = stats.resampled_means(values)
    found = ranks.rank_intervals(ranks.ranked(drawn))
    assert all(each.high - each.low >= 1 for each in found[:3]) and (found[3].low, found[3].high) == (4, 4)
    assert ranks.tie_groups(drawn[0], ranks.separable(drawn)) == ["a", "a", "a", "b"]


def test_letters_of_a_chain():
    apart = np.zeros((4, 4), dtype=bool)
    apart[0, 2] = apart[2, 0] = apart[0, 3] = apart[3, 0] = apart[1, 3] = apart[3, 1] = True
    assert ranks.tie_groups(np.array([4.0, 3.0, 2.0, 1.0]), apart) == ["a", "ab", "bc", "c"]
    apart = np.zeros((3, 3), dtype=bool)
    apart[0, 1] = apart[1, 0] = True
    # The third is unsure of itself: it shares a group with both, although the two are told apart.
    assert ranks.tie_groups(np.array([3.0, 2.0, 1.0]), apart) == ["a", "b", "ab"]
    assert ranks.tie_groups(np.zeros(0), np.zeros((0, 0), dtype=bool)) == []
    assert ranks.tie_groups(np.arange(30.0), ~np.eye(30, dtype=bool))[0] == "(30)"


def test_two_share_a_letter_exactly_when_they_cannot_be_told_apart():
    rng = np.random.default_rng(9)
    for _ in range(50):
        apart = np.triu(rng.random((9, 9)) < 0.4, 1)
        apart |= apart.T
        letters = ranks.tie_groups(rng.random(9), apart)
        for one in range(9):
            for other in range(9):
                assert bool(set(letters[one]) & set(letters[other])) == (one == other or not apart[one, other])


def test_ranks_do_not_depend_on_the_order_or_the_scale():
    values = crossed(np.random.default_rng(2), [0.1, 0.15, 0.5, 0.2])
    drawn = stats.resampled_means(values)
    order = [2, 0, 3, 1]
    one = ranks.rank_intervals(ranks.ranked(drawn))
    other = ranks.rank_intervals(ranks.ranked(stats.resampled_means(3 * values[order] + 1)))
    assert [one[place] for place in order] == other


def test_exact_values_are_told_apart_exactly():
    drawn = stats.resampled_means(np.repeat([[[0.1]], [[0.2]], [[0.2]]], 5, axis=1).repeat(3, axis=2))
    assert ranks.separable(drawn).tolist() == [[False, True, True], [True, False, False], [True, False, False]]
    assert [each.estimate for each in ranks.rank_intervals(ranks.ranked(drawn))] == [3.0, 1.5, 1.5]


def test_friedman_agrees_with_scipy_and_with_the_table_of_demsar():
    rng = np.random.default_rng(3)
    values = rng.normal(0, 1, (4, 30)) + np.array([[0.0], [0.5], [1.0], [1.5]])
    found = ranks.friedman(values)
    known = scipy_stats.friedmanchisquare(*values)
    assert (found.statistic, found.p) == (pytest.approx(known.statistic), pytest.approx(known.pvalue))
    assert found.mean_ranks.sum() == pytest.approx(4 * 5 / 2) and found.mean_ranks.argmin() == 3
    # Demsar 2006, table 5: q = 2.569 for 4 classifiers
    assert found.critical_difference == pytest.approx(2.569 * np.sqrt(4 * 5 / (6 * 30)), rel=1e-3)
    values[0, 0] = np.nan
    assert ranks.friedman(values).blocks == 29
    assert np.isnan(ranks.friedman(values[:2]).p) and ranks.friedman(np.ones((3, 5))).p == 1.0


def test_tau_agrees_with_scipy_also_with_ties():
    rng = np.random.default_rng(4)
    first, second = rng.integers(0, 5, (2, 20, 8)).astype(float)
    known = [scipy_stats.kendalltau(a, b).statistic for a, b in zip(first, second, strict=True)]
    np.testing.assert_allclose(ranks.tau_b(first, second), known, atol=1e-12)
    assert np.isnan(ranks.tau_b(np.ones(4), np.arange(4.0)))


def test_agreement_of_a_measure_with_itself_its_opposite_and_noise():
    rng = np.random.default_rng(5)
    means = np.linspace(0, 1, 8)
    one, same = (stats.resampled_means(crossed(rng, means), seed=seed) for seed in (0, 1))
    assert ranks.agreement(one, same).low > 0.8 and ranks.agreement(one, -same).high < -0.8
    noise = stats.resampled_means(crossed(rng, np.zeros(8)), seed=1)
    found = ranks.agreement(one, noise)
    assert found.high - found.low > 0.3
    assert np.isnan(ranks.agreement(one[:, :2], one[:, :2]).estimate)


def test_forty_explainers_and_ten_thousand_resamples_take_seconds():
    values = crossed(np.random.default_rng(6), np.linspace(0, 1, 40), 64, 10)
    values[3, 5] = np.nan
    started = time.process_time()
    drawn = stats.resampled_means(values, resamples=10_000)
    found = ranks.rank_intervals(ranks.ranked(drawn))
    letters = ranks.tie_groups(drawn[0], ranks.separable(drawn))
    took = time.process_time() - started
    assert took < 10 and len(found) == len(letters) == 40 and drawn.shape == (10_001, 40)


@pytest.mark.slow
def test_intervals_cover_at_32_images_and_10_seeds():
    """Nominal 95%: means, differences and ranks of explainers, at least 90%."""
    rng = np.random.default_rng(7)
    means = np.array([0.50, 0.53, 0.56, 0.62])
    truth = np.array([4, 3, 2, 1])
    rounds, hits = 300, {"mean": 0, "difference": 0, "rank": 0, "tau": 0}
    for number in range(rounds):
        values = crossed(rng, means)
        drawn = stats.resampled_means(values, resamples=500, seed=number)
        low, high = np.quantile(drawn[1:, 0], [0.025, 0.975])
        hits["mean"] += low <= means[0] <= high
        gap = paired.difference(values[1] - values[0])
        hits["difference"] += gap.low <= means[1] - means[0] <= gap.high
        found = ranks.rank_intervals(ranks.ranked(drawn))
        hits["rank"] += np.mean([each.low <= rank <= each.high for each, rank in zip(found, truth, strict=True)])
        # Another measure that puts the second and the third the other way round: one of six pairs, tau = 4 / 6.
        other = stats.resampled_means(crossed(rng, means[[0, 2, 1, 3]]), resamples=500, seed=rounds + number)
        tau = ranks.agreement(drawn, other)
        hits["tau"] += tau.low <= 4 / 6 <= tau.high
    assert min(hits.values()) / rounds >= 0.90, hits


@pytest.mark.slow
def test_equals_are_seldom_told_apart():
    rng = np.random.default_rng(8)
    told = sum(
        ranks.separable(stats.resampled_means(crossed(rng, [0.5] * 5, 24, 8), resamples=500, seed=n)).any()
        for n in range(200)
    )
    assert told / 200 <= 0.08
