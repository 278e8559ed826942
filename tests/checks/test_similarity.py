"""Similarity measures: agreement with scikit-image and scipy, hand-computed cases, invariances, negative controls."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.stats import pearsonr, spearmanr
from skimage.feature import hog as skimage_hog
from skimage.metrics import structural_similarity

from bench.checks.hog import cell_side, hog
from bench.checks.normalise import FINE, IS_CONSTANT, IS_NON_FINITE, IS_ZERO, check_sign, kinds, normalise, quantile
from bench.checks.ranks import centred_ranks
from bench.checks.similarity import MEASURES, Reference, outcomes
from bench.checks.ssim import SEVEN, Window, moments, ssim, ssims
from bench.protocols import get
from models.naming import UsageError

NAN = float("nan")
SHAPES = [(32, 32), (28, 28), (24, 37)]


def draw(kind: str, count: int, shape: tuple[int, int], seed: int) -> torch.Tensor:
    """Maps of one kind, float32."""
    rng = np.random.default_rng(seed)
    size = (count, *shape)
    if kind == "heavy":
        values = rng.standard_t(2, size) * 1e-5
    elif kind == "tied":
        values = np.round(rng.normal(size=size)) * (rng.random(size) < 0.4)
    elif kind == "blob":
        rows, columns = np.mgrid[: shape[0], : shape[1]]
        centre = rng.uniform(5, 20, (count, 2, 1, 1))
        values = np.exp(-((rows - centre[:, 0]) ** 2 + (columns - centre[:, 1]) ** 2) / 40)
    elif kind == "sparse":
        values = np.where(rng.random(size) < 0.004, rng.normal(size=size), 0.0)
        values[:, 0, 0] = 1.0
    else:
        values = rng.normal(size=size)
    return torch.from_numpy(values.astype(np.float32))


def unpacked(maps: torch.Tensor) -> list[np.ndarray]:
    return [row.double().numpy() for row in maps]


def by_hand(values: np.ndarray, signed: bool) -> np.ndarray:
    """affine-p99 with numpy alone."""
    size = np.abs(values)
    scale = np.percentile(size, 99) or size.max() or 1.0
    clipped = np.clip(values / scale, -1, 1)
    return 0.5 + 0.5 * clipped if signed else clipped


KINDS = ["normal", "heavy", "tied", "blob", "sparse"]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("signed", [True, False])
def test_all_measures_agree_with_independent_implementations(kind: str, shape: tuple[int, int], signed: bool) -> None:
    first, second = draw(kind, 3, shape, 1), draw(kind, 3, shape, 2)
    second = 0.6 * first + 0.4 * second
    if not signed:
        first, second = first.abs(), second.abs()
    found = Reference(first, signed).compare(second)
    cell = cell_side(*shape)
    for i, (x, y) in enumerate(zip(unpacked(first), unpacked(second), strict=True)):
        u, v = by_hand(x, signed), by_hand(y, signed)
        features = [
            skimage_hog(m, orientations=9, pixels_per_cell=(cell, cell), cells_per_block=(2, 2)) for m in (u, v)
        ]
        expected = {
            "ssim": structural_similarity(
                u, v, gaussian_weights=True, sigma=1.5, use_sample_covariance=False, data_range=1.0
            ),
            "ssim-7": structural_similarity(u, v, win_size=7, use_sample_covariance=True, data_range=1.0),
            "spearman": spearmanr(x.ravel(), y.ravel()).statistic,
            "spearman-abs": spearmanr(np.abs(x).ravel(), np.abs(y).ravel()).statistic,
            "hog": pearsonr(*features).statistic,
            "cosine": float((x * y).sum() / np.linalg.norm(x) / np.linalg.norm(y)),
        }
        for name in MEASURES:
            assert found.statuses[name][i] == "ok"
            if name == "hog" and kind == "tied":  # ties but for the last bit: scikit-image's bins hang on that bit
                continue
            assert found.values[name][i] == pytest.approx(expected[name], abs=1e-5), name


def test_ssim_7_takes_the_sample_covariance() -> None:
    x, y = (normalise(draw("normal", 1, (32, 32), seed), True) for seed in (1, 2))
    u, v = x[0].numpy(), y[0].numpy()
    sample = structural_similarity(u, v, win_size=7, data_range=1.0)
    population = structural_similarity(u, v, win_size=7, data_range=1.0, use_sample_covariance=False)
    assert abs(sample - population) > 1e-5
    assert float(ssim(x, y, SEVEN)[0]) == pytest.approx(sample, abs=1e-9)
    assert float(ssim(x, y, Window("uniform", 7))[0]) == pytest.approx(population, abs=1e-9)


@pytest.mark.parametrize("shape", [(64, 65), (74, 75), (107, 130)])
def test_large_maps_are_filtered_in_tiles_to_the_same_result(shape: tuple[int, int]) -> None:
    x, y = (normalise(draw("heavy", 2, shape, seed), True) for seed in (1, 2))
    y = (x + y) / 2
    for i in range(2):
        u, v = x[i].numpy(), y[i].numpy()
        gauss = structural_similarity(
            u, v, gaussian_weights=True, sigma=1.5, use_sample_covariance=False, data_range=1.0
        )
        assert float(ssim(x, y)[i]) == pytest.approx(gauss, abs=1e-9)
        seven = structural_similarity(u, v, win_size=7, data_range=1.0)
        assert float(ssim(x, y, SEVEN)[i]) == pytest.approx(seven, abs=1e-9)


@pytest.mark.parametrize("constants", [(0.2, 0.7), (0.5, 0.5)])
def test_ssim_of_two_constants_is_the_luminance_term(constants: tuple[float, float]) -> None:
    a, b = constants
    x, y = (torch.full((1, 16, 16), value, dtype=torch.float64) for value in constants)
    expected = (2 * a * b + 1e-4) / (a * a + b * b + 1e-4)
    assert float(ssim(x, y)[0]) == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("shape", [(32, 32), (64, 64), (8, 9), (31, 50)])
def test_hog_features_equal_those_of_scikit_image(kind: str, shape: tuple[int, int]) -> None:
    maps = normalise(draw(kind, 2, shape, 3), True)
    cell = cell_side(*shape)
    for ours, values in zip(hog(maps), maps.numpy(), strict=True):
        theirs = skimage_hog(values, orientations=9, pixels_per_cell=(cell, cell), cells_per_block=(2, 2))
        np.testing.assert_allclose(ours.numpy(), theirs, atol=1e-5)


def test_ranks_are_those_of_scipy_with_ties() -> None:
    values = draw("tied", 4, (6, 7), 5).flatten(1)
    from scipy.stats import rankdata

    expected = rankdata(values.numpy(), axis=1) - (values.shape[1] + 1) / 2
    np.testing.assert_allclose(centred_ranks(values).numpy(), expected)


def test_minus_zero_ties_with_zero() -> None:
    ranks = centred_ranks(torch.tensor([[0.0, -0.0, 1.0, -1.0]]))
    assert ranks.tolist() == [[0.0, 0.0, 1.5, -1.5]]


@pytest.mark.parametrize("percent", [0, 1, 50, 99, 99.5, 100])
def test_quantile_is_numpys_linear_one(percent: float) -> None:
    values = draw("heavy", 3, (9, 9), 1).flatten(1).double()
    np.testing.assert_allclose(quantile(values, percent), np.percentile(values.numpy(), percent, axis=1), rtol=1e-12)


def test_a_map_that_is_nearly_all_zero_is_scaled_by_its_maximum() -> None:
    maps = torch.zeros(1, 32, 32)
    maps[0, 3, 3], maps[0, 9, 9] = 4.0, -2.0
    signed = normalise(maps, True)
    assert (signed[0, 3, 3], signed[0, 9, 9], signed[0, 0, 0]) == (1.0, 0.25, 0.5)
    assert normalise(maps.clamp_min(0), False).amax() == 1.0


def test_other_normalisations() -> None:
    maps = torch.tensor([[[-2.0, 0.0], [1.0, 4.0]]])
    np.testing.assert_allclose(normalise(maps, True, "min-max")[0], [[0, 1 / 3], [0.5, 1]])
    np.testing.assert_allclose(normalise(maps, True, "max-abs")[0], [[-0.5, 0], [0.25, 1]])
    assert normalise(torch.zeros(1, 2, 2), True, "min-max").eq(0).all()
    with pytest.raises(UsageError, match="did you mean 'min-max'"):
        normalise(maps, True, "minmax")


def test_mixed_signs_in_one_stack() -> None:
    maps = draw("normal", 4, (16, 16), 7).abs()
    flags = torch.tensor([True, False, True, False])
    stacked = normalise(maps, flags)
    for i, flag in enumerate(flags.tolist()):
        assert torch.equal(stacked[i : i + 1], normalise(maps[i : i + 1], flag))


def test_equal_maps_are_exactly_one_and_negated_maps_far_below_zero() -> None:
    maps = draw("heavy", 3, (32, 32), 1)
    same = Reference(maps, True).compare(maps.clone())
    for name in MEASURES:
        assert (same.values[name] == 1.0).all(), name
    negated = Reference(maps, True).compare(-maps)
    for name in ("spearman", "cosine"):
        assert (negated.values[name] == -1.0).all()
    assert (negated.values["ssim"] < -0.6).all()
    assert (negated.values["spearman-abs"] == 1.0).all()


def test_positive_scale_changes_nothing_and_an_offset_does() -> None:
    first, second = draw("normal", 3, (32, 32), 1), draw("normal", 3, (32, 32), 2)
    second = first + second
    plain = Reference(first, True).compare(second)
    scaled = Reference(first, True).compare(second * 64)
    shifted = Reference(first, True).compare(second + 1)
    for name in MEASURES:
        np.testing.assert_allclose(plain.values[name], scaled.values[name], atol=1e-8)
    assert abs(plain.values["ssim"] - shifted.values["ssim"]).max() > 0.01
    min_max = Reference(first, True, get("nuzzo2020"))
    np.testing.assert_allclose(
        min_max.compare(second).values["ssim"], min_max.compare(second + 1).values["ssim"], atol=1e-5
    )


def test_one_outlier_does_not_decide() -> None:
    first, second = draw("normal", 8, (28, 28), 1), draw("normal", 8, (28, 28), 2)
    outlier = first.clone()
    outlier[:, 14, 14] = 1000.0
    assert (Reference(first, True).compare(outlier).values["ssim"] > 0.9).all()
    second[:, 3, 3] = 1000.0
    assert abs(Reference(outlier, True).compare(second).values["ssim"].mean()) < 0.15
    old = Reference(first, True, get("nuzzo2020")).compare(outlier).values["ssim"]
    assert (old < 0.3).all(), "the min-max protocol does fall for it"


@pytest.mark.parametrize("kind", ["normal", "heavy"])
def test_unrelated_maps_are_near_zero(kind: str) -> None:
    found = Reference(draw(kind, 40, (32, 32), 1), True).compare(draw(kind, 40, (32, 32), 2))
    for name in MEASURES:
        # Single bright pixels make every HOG lean to the axes, so its floor is not zero: hence the calibration.
        assert abs(found.values[name].mean()) < (0.5 if name == "hog" else 0.08), name


def test_order_and_stacking_of_maps_do_not_matter() -> None:
    first, second = draw("heavy", 150, (32, 32), 1), draw("heavy", 150, (32, 32), 2)
    second = first + second
    whole = Reference(first, True)
    found = whole.compare(second)
    order = torch.randperm(150, generator=torch.Generator().manual_seed(0))
    mixed = Reference(first[order], True).compare(second[order])
    taken = whole.take(order).compare(second[order])
    one = Reference(first[7:8], True).compare(second[7:8])
    for name in MEASURES:
        assert (found.values[name][order.numpy()] == mixed.values[name]).all()
        assert (mixed.values[name] == taken.values[name]).all()
        assert found.values[name][7] == one.values[name][0]


def test_statuses_of_degenerate_maps() -> None:
    fine, other = draw("normal", 2, (16, 16), 1)
    zero, flat, broken = torch.zeros(16, 16), torch.full((16, 16), 0.3), fine.clone()
    broken[2, 2] = NAN
    infinite = fine.clone()
    infinite[0, 0] = -float("inf")
    pairs = {
        "both zero": (zero, zero, "degenerate-zero", NAN),
        "trained zero": (zero, fine, "ok", 0.0),
        "randomised zero": (fine, zero, "ok", 0.0),
        "both constant": (flat, flat * 2, "degenerate-constant", NAN),
        "trained constant": (flat, fine, "ok", 0.0),
        "randomised constant": (fine, flat, "ok", 0.0),
        "zero and constant": (zero, flat, "ok", 0.0),
        "nan": (fine, broken, "non-finite", NAN),
        "nan and zero": (broken, zero, "non-finite", NAN),
        "infinite": (infinite, fine, "non-finite", NAN),
    }
    first = torch.stack([pair[0] for pair in pairs.values()] + [fine])
    second = torch.stack([pair[1] for pair in pairs.values()] + [other])
    found = Reference(first, True).compare(second)
    for measure in MEASURES:
        for i, (name, (_, _, status, value)) in enumerate(pairs.items()):
            assert found.statuses[measure][i] == status, (measure, name)
            assert found.values[measure][i] == pytest.approx(value, nan_ok=True), (measure, name)
    alone = Reference(fine[None], True).compare(other[None])
    for measure in MEASURES:
        assert found.values[measure][-1] == alone.values[measure][0], "neighbours do not matter"
    assert found.zero.tolist() == [n in ("both zero", "randomised zero", "nan and zero") for n in pairs] + [False]


def test_maps_that_the_explainer_gave_up_are_failed() -> None:
    maps = draw("normal", 2, (16, 16), 1)
    trained = Reference(maps, True, failed=[True, False]).compare(maps)
    later = Reference(maps, True).compare(maps, failed=[False, True])
    assert trained.statuses["ssim"] == ["failed", "ok"]
    assert later.statuses["hog"] == ["ok", "failed"]


def test_a_map_of_two_opposite_values_has_no_absolute_ranks() -> None:
    maps = draw("normal", 2, (16, 16), 1).sign()
    found = Reference(maps, True).compare(maps)
    assert found.statuses["spearman-abs"] == ["degenerate-constant"] * 2
    assert found.values["spearman"].tolist() == [1.0, 1.0]


def test_maps_smaller_than_the_window_are_not_applicable() -> None:
    def statuses(side: int) -> dict[str, str]:
        maps = draw("normal", 1, (side, 40), 1)
        return {name: status[0] for name, status in Reference(maps, True).compare(maps).statuses.items()}

    assert statuses(11)["ssim"] == "ok"
    assert statuses(10)["ssim"] == "not-applicable"
    assert statuses(10)["ssim-7"] == "ok"
    assert statuses(7)["hog"] == "not-applicable"
    assert statuses(6)["ssim-7"] == "not-applicable"
    assert statuses(6)["spearman"] == "ok"
    with pytest.raises(ValueError, match="smaller than the 11x11 window"):
        ssim(torch.zeros(1, 10, 10), torch.zeros(1, 10, 10))
    with pytest.raises(ValueError, match="at least 8"):
        hog(torch.zeros(1, 7, 7))


def test_kinds_and_rounding() -> None:
    maps = torch.stack(
        [
            torch.zeros(4, 4),
            torch.full((4, 4), -2.0),
            torch.full((4, 4), NAN),
            torch.randn(4, 4),
            torch.full((4, 4), 0.1),
        ]
    )
    maps[4, 0, 0] = float(np.nextafter(np.float32(0.1), np.float32(1)))
    assert kinds(maps).tolist() == [IS_ZERO, IS_CONSTANT, IS_NON_FINITE, FINE, IS_CONSTANT]


def test_undeclared_negative_values_are_refused() -> None:
    maps = torch.tensor([[[0.0, -1e-6]]])
    check_sign(maps, True, "gradient")
    check_sign(maps.abs(), False, "saliency")
    with pytest.raises(ValueError, match="'saliency' declares non-negative maps"):
        check_sign(maps, False, "saliency")


def test_protocols_decide_the_window_and_the_sign() -> None:
    first, second = draw("normal", 3, (32, 32), 1), draw("normal", 3, (32, 32), 2)
    mixed = first + second
    sixt = Reference(first, True, get("sixt2020"))
    values = sixt.compare(mixed).values["ssim"]
    u, v = (normalise(m, True, "affine-p99.5") for m in (first, mixed))
    for i in range(3):
        options = {"win_size": 5, "data_range": 2.0}
        both = [structural_similarity(u[i].numpy(), w, **options) for w in (v[i].numpy(), 1 - v[i].numpy())]
        assert values[i] == pytest.approx(max(both), abs=1e-5)
    assert (sixt.compare(-first).values["ssim"] == 1.0).all(), "a flipped sign is forgiven"
    adebayo = Reference(first.abs(), False, get("adebayo2018")).compare(mixed.abs()).values["ssim"]
    u, v = (normalise(m.abs(), False, "min-max") for m in (first, mixed))
    expected = structural_similarity(u[0].numpy(), v[0].numpy(), gaussian_weights=True, sigma=1.5, data_range=2.0)
    assert adebayo[0] == pytest.approx(expected, abs=1e-5)


def test_several_windows_at_once_equal_each_alone_in_either_order() -> None:
    x, y = (normalise(draw("normal", 2, (16, 20), seed).double(), True) for seed in (1, 2))
    windows = (Window(), SEVEN)
    for found, window in zip(ssims(x, y, windows, moments(y, windows)), windows, strict=True):
        np.testing.assert_allclose(found, ssim(x, y, window), atol=1e-12)
        np.testing.assert_allclose(found, ssim(y, x, window), atol=1e-12)


def test_comparing_other_maps_than_those_of_the_reference_is_refused() -> None:
    reference = Reference(draw("normal", 2, (16, 16), 1), True)
    with pytest.raises(ValueError, match="reference maps"):
        reference.compare(draw("normal", 3, (16, 16), 1))
    with pytest.raises(ValueError, match="reference maps"):
        reference.compare(draw("normal", 2, (16, 17), 1))


def test_outcomes_where_a_measure_does_not_apply() -> None:
    values, statuses = outcomes(torch.tensor([0, 2]), torch.tensor([0, 2]), torch.ones(2), applicable=False)
    assert np.isnan(values).all()
    assert statuses == ["not-applicable"] * 2


def test_maps_are_left_as_they_were() -> None:
    first, second = draw("heavy", 3, (32, 32), 1), draw("heavy", 3, (32, 32), 2)
    kept = first.clone(), second.clone()
    Reference(first, True).compare(second)
    assert torch.equal(first, kept[0])
    assert torch.equal(second, kept[1])


def test_hog_does_not_hang_on_the_rounding_of_enlarged_maps() -> None:
    coarse = torch.rand(8, 1, 4, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    maps = torch.nn.functional.interpolate(coarse, size=(32, 32), mode="bilinear")[:, 0]
    noise = 1e-7 * torch.rand(maps.shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    assert float((hog(maps) - hog(maps + noise)).abs().max()) < 1e-3


def test_hog_of_exact_ties_is_that_of_scikit_image() -> None:
    maps = torch.from_numpy(np.random.default_rng(0).integers(-4, 5, (6, 32, 32)) / 8.0)
    for features, image in zip(hog(maps), maps.numpy(), strict=True):
        expected = skimage_hog(image, orientations=9, pixels_per_cell=(8, 8), cells_per_block=(2, 2))
        np.testing.assert_allclose(features.numpy(), expected, atol=1e-5)
