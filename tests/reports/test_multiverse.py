"""Stored maps scored again: the measures agree with scikit-image, planted maps get their verdicts."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage
from scipy import stats as scipy_stats
from skimage.metrics import structural_similarity

import reports
from reports import maps as kept
from reports.multiverse import rescore
from reports.rescoring import NORMALISATIONS, REDUCTIONS, Choice, all_choices, similarity, ssim

SIDE, IMAGES, SEEDS = 28, 8, 4


@pytest.mark.parametrize("window", ["gaussian-11", "gaussian-7", "uniform-7"])
def test_ssim_agrees_with_scikit_image(window):
    first, second = np.random.default_rng(0).uniform(0, 1, (2, 3, 20, 24))
    options = {
        "gaussian-11": {"gaussian_weights": True, "sigma": 1.5},
        "gaussian-7": {"gaussian_weights": True, "sigma": 0.85},
        "uniform-7": {"win_size": 7},
    }[window]
    known = [
        structural_similarity(a, b, data_range=1, use_sample_covariance=False, **options)
        for a, b in zip(first, second, strict=True)
    ]
    np.testing.assert_allclose(ssim(first, second, window), known, atol=1e-10)


def test_it_agrees_with_the_check():
    """The recommended choice is what `bench run` measures."""
    torch = pytest.importorskip("torch")
    from bench.checks.similarity import Reference

    first, second = np.random.default_rng(1).normal(0, 1, (2, 4, SIDE, SIDE)).astype(np.float32)
    for signed in (True, False):
        pair = (first, second) if signed else (np.abs(first), np.abs(second))
        known = Reference(torch.from_numpy(pair[0]), signed).compare(torch.from_numpy(pair[1])).values
        np.testing.assert_allclose(similarity(*pair, signed, Choice()), known["ssim"], atol=1e-6)
        rank = Choice("spearman", "none", "none")
        np.testing.assert_allclose(similarity(*pair, signed, rank), known["spearman"], atol=1e-6)


@pytest.mark.parametrize("choice", all_choices()[::7] + all_choices()[-9:], ids=str)
def test_invariances(choice):
    first, second = np.random.default_rng(2).normal(0, 1, (2, 3, SIDE, SIDE))
    found = similarity(first, second, True, choice)
    if found is None:
        assert choice.resolution == 4 and choice.window == "gaussian-11"
        return
    np.testing.assert_allclose(similarity(second, first, True, choice), found, atol=1e-12)
    np.testing.assert_allclose(similarity(first * 1e-6, second * 50, True, choice), found, atol=1e-6)
    np.testing.assert_allclose(similarity(first, first, True, choice), 1.0)


def test_degenerate_maps_follow_the_rules():
    fine = np.random.default_rng(3).normal(0, 1, (1, SIDE, SIDE))
    zero, ones, bad = np.zeros_like(fine), np.ones_like(fine), np.full_like(fine, np.nan)
    cases = [(zero, zero, np.nan), (ones, ones, np.nan), (zero, fine, 0.0), (fine, ones, 0.0), (ones, zero, 0.0),
             (fine, bad, np.nan)]  # fmt: skip
    for first, second, wanted in cases:
        np.testing.assert_equal(similarity(first, second, True, Choice()), [wanted])


def test_resolution_averages_and_reductions_drop_signs():
    first, second = np.random.default_rng(4).normal(0, 1, (2, 2, SIDE, SIDE))
    small = [m.reshape(2, 14, 2, 14, 2).mean(axis=(2, 4)) for m in (first, second)]
    np.testing.assert_allclose(
        similarity(first, second, True, Choice(resolution=2)), similarity(*small, True, Choice())
    )
    np.testing.assert_allclose(similarity(first, -first, True, Choice(reduction="absolute")), 1.0)
    assert (similarity(first, -first, True, Choice("spearman", "none", "none")) < -0.99).all()
    rank = scipy_stats.spearmanr(np.maximum(first[0], 0).ravel(), np.maximum(second[0], 0).ravel()).statistic
    assert similarity(first, second, True, Choice("spearman", "none", "none", "positive"))[0] == pytest.approx(rank)


def planted(path, threshold=0.2):
    """`blind` keeps its maps, `alive` loses them, `sign` only flips signs: its verdict depends on the reduction."""
    cards = {name: {"stochastic": False, "group": "gradient"} for name in ("blind", "alive", "sign")}
    protocol = {"name": "recommended", "hash": "ab", "parameters": {"threshold": threshold}}
    store = reports.Store.create(path, {"images": IMAGES}, protocol, {}, cards)
    rng = np.random.default_rng(5)

    def smooth():
        return ndimage.gaussian_filter(rng.normal(0, 1, (IMAGES, SIDE, SIDE)), (0, 1.5, 1.5))

    trained = smooth()
    number = 0
    for name in cards:
        for check, count in (("cascading", SEEDS), ("floor", 5)):
            for seed in range(count):
                other = smooth()
                if check == "cascading":
                    other = {"blind": trained + 0.02 * other, "alive": other, "sign": -trained}[name]
                number += 1
                meta = {"subject": "m", "explainer": name, "check": check, "seed": seed, "signed": True,
                        "images": [f"i{n}" for n in range(IMAGES)]}  # fmt: skip
                kept.write_maps(path, f"{number:08x}", np.stack([trained, other], 1), meta)
    return store


def test_planted_maps_get_their_verdicts_in_every_universe(tmp_path):
    planted(tmp_path / "run")
    found = rescore(tmp_path / "run")
    table = found.summary.set_index("explainer")
    assert table["verdict"].to_dict() == {"alive": "PASS", "blind": "FAIL", "sign": "PASS"}
    assert table.loc["alive", "share"] > 0.9 and table.loc["blind", "share"] > 0.9
    # Without its signs the map is the same, so every universe that drops them turns the verdict.
    flipped = found.universes[(found.universes["explainer"] == "sign") & (found.universes["reduction"] == "absolute")]
    assert set(flipped["verdict"]) == {"FAIL"} and table.loc["sign", "reduction"] < 0.6 < table.loc["sign", "window"]
    assert 0.3 < table.loc["sign", "share"] < 0.8 and "FAIL" in table.loc["sign", "others"]
    # gaussian-11 does not fit into 7 x 7 pixels.
    assert (table["universes"] == len(all_choices()) - len(NORMALISATIONS) * len(REDUCTIONS)).all()
    assert (table["images"] == IMAGES).all() and (table["seeds"] == SEEDS).all()


def test_a_run_without_maps_has_no_multiverse(tmp_path):
    reports.Store.create(tmp_path / "run", {}, {"name": "p", "hash": "h"}, {}, {})
    found = rescore(tmp_path / "run")
    assert not len(found.summary) and not len(found.universes)


def test_maps_are_bounded_whole_and_tiny_ones_survive(tmp_path):
    store = planted(tmp_path / "run")
    maps = np.random.default_rng(6).normal(0, 1e-9, (2, 2, 8, 8))
    kept.write_maps(store.path, "ab" * 8, maps, {"subject": "m"})
    back = next(each for each in kept.read_maps(store.path) if each.key == "ab" * 8)
    np.testing.assert_allclose(back.arrays["maps"] * back.arrays["scales"][..., None, None], maps, atol=2e-12)
    (store.path / "maps" / f"{'cd' * 8}.npz").write_bytes(b"torn")
    assert len(kept.read_maps(store.path)) == 3 * (SEEDS + 5) + 1
    assert kept.images_within(2 * 2 * 10 * 64 * 3, 10, (8, 8), 16) == 3
