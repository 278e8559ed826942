"""Localisation measures: counted by hand, scikit-learn, invariances, what has no answer."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score

from bench.checks import localisation
from bench.checks.localisation import leaks, localise


def mask_of(rows: list[str]) -> torch.Tensor:
    return torch.tensor([[[letter == "#" for letter in row] for row in rows]])


CELL = mask_of(["##..", "##..", "....", "...."])


def noise(count: int, side: int = 16, seed: int = 0) -> torch.Tensor:
    return torch.randn(count, side, side, generator=torch.Generator().manual_seed(seed))


def quadrants(count: int, side: int = 16) -> torch.Tensor:
    masks = torch.zeros(count, side, side, dtype=torch.bool)
    half = side // 2
    for number in range(count):
        row, column = divmod(number % 4, 2)
        masks[number, row * half : (row + 1) * half, column * half : (column + 1) * half] = True
    return masks


def test_counted_by_hand():
    maps = torch.tensor([[[4.0, 0, 2, 0], [0, -6, 0, 0], [0, 0, 1, 0], [0, 1, 0, -2]]])
    found = localise(maps, CELL).values
    assert found["mass"][0] == 4 / 8
    assert found["mass-abs"][0] == 10 / 16
    assert found["mass-near"][0] == 1.0, "grown by two pixels the cell is the whole image"
    assert found["hit"][0] == 1.0
    assert found["chance"][0] == 0.25
    assert found["abstains"][0] == 0.0
    # 4 is first (precision 1), three zeros in the cell... two zeros share ranks 5 to 14, the -6 is last.
    assert found["auprc"][0] == pytest.approx((1 + 2 * (3 / 14) + 4 / 16) / 4, abs=1e-9)


def test_the_mask_itself_is_perfect():
    masks = quadrants(8)
    found = localise(masks.float() * torch.rand(8, 1, 1), masks).values
    for name in ("mass", "mass-abs", "mass-near", "hit", "auprc"):
        assert (found[name] == 1.0).all(), name


def test_noise_is_at_chance_and_the_other_cells_are_below_it():
    masks = quadrants(400)
    found = localise(noise(400), masks).values
    assert found["mass"].mean() == pytest.approx(0.25, abs=3 * found["mass"].std() / 20)
    assert found["hit"].mean() == pytest.approx(0.25, abs=0.07)
    assert found["auprc"].mean() == pytest.approx(0.25, abs=0.02)
    away = localise((~masks).float(), masks).values
    assert away["mass"].max() == 0.0 and away["hit"].max() == 0.0 and away["auprc"].max() == 0.25


@pytest.mark.parametrize("ties", [False, True])
def test_area_under_precision_and_recall_is_that_of_scikit_learn(ties: bool):
    maps = noise(12, 9, seed=1)
    maps = (maps * 2).round() if ties else maps
    masks = torch.rand(12, 9, 9, generator=torch.Generator().manual_seed(2)) < 0.2
    expected = [
        average_precision_score(mask.flatten().numpy(), values.flatten().numpy())
        for mask, values in zip(masks, maps, strict=True)
    ]
    np.testing.assert_allclose(localise(maps, masks).values["auprc"], expected, atol=1e-9)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10_000), st.sampled_from([1e-20, 0.3, 7.0, 1e12]))
def test_scale_and_place_in_the_batch_change_nothing(seed: int, scale: float):
    maps, masks = noise(5, 8, seed), quadrants(5, 8)
    plain = localise(maps, masks).values
    scaled = localise(maps.double() * scale, masks).values
    order = [3, 0, 4, 1, 2]
    moved = localise(maps[order], masks[order]).values
    alone = localise(maps[3:4], masks[3:4]).values
    for name in localisation.MEASURES:
        np.testing.assert_allclose(scaled[name], plain[name], atol=2e-9)
        np.testing.assert_array_equal(moved[name], plain[name][order])
        np.testing.assert_array_equal(alone[name], plain[name][3:4])


def test_a_shifted_map_keeps_its_ranks_and_not_its_mass():
    """A negative control: where zero lies matters to the mass."""
    maps, masks = noise(20), quadrants(20)
    plain, moved = localise(maps, masks).values, localise(maps + 3, masks).values
    np.testing.assert_allclose(moved["auprc"], plain["auprc"], atol=1e-6)
    assert np.abs(moved["mass"] - plain["mass"]).max() > 0.01


def test_ties_count_by_the_share_that_lies_inside():
    maps = torch.tensor([[[1.0, 0, 1, 0], [0, 0, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]]])
    assert localise(maps, CELL).values["hit"][0] == 0.25


def test_maps_that_say_nothing():
    zero, constant = torch.zeros(4, 4), torch.ones(4, 4)
    against = torch.tensor([[-1.0, 0, 0, 0]] * 4)
    broken = torch.full((4, 4), math.nan)
    maps = torch.stack([zero, constant, against, broken, constant * 2 + torch.eye(4)])
    found = localise(maps, CELL.expand(5, -1, -1), failed=[False] * 4 + [True])
    assert found.statuses["mass"] == [
        "degenerate-zero", "degenerate-constant", "degenerate-zero", "non-finite", "failed",
    ]  # fmt: skip
    assert found.statuses["auprc"][2] == "ok"
    np.testing.assert_array_equal(found.values["abstains"], [1.0, 0.0, 1.0, math.nan, math.nan])
    assert np.isnan(found.values["mass"]).all()


def test_small_relevance_is_no_abstention_and_a_trace_of_it_is():
    tiny = localise(torch.full((1, 4, 4), -1e-30) + 3e-30 * torch.eye(4), CELL)
    assert tiny.values["abstains"][0] == 0.0 and tiny.statuses["mass"] == ["ok"]
    trace = torch.full((1, 4, 4), -1.0)
    trace[0, 0, 0] = 1e-9
    assert localise(trace, CELL).values["abstains"][0] == 1.0


def test_no_evidence_is_not_applicable():
    found = localise(noise(2, 4), torch.zeros(2, 4, 4, dtype=torch.bool))
    assert {status for statuses in found.statuses.values() for status in statuses} == {"not-applicable"}


def test_the_smallest_leak_is_a_leak():
    inside = noise(1, 4) * CELL
    leaking = inside.clone()
    leaking[0, 3, 3] = 1e-38
    found = leaks(torch.cat([inside, leaking, torch.zeros(1, 4, 4)]), CELL.expand(3, -1, -1))
    assert found.statuses["exact"] == ["ok", "ok", "degenerate-zero"]
    assert found.values["exact"][:2].tolist() == [1.0, 0.0]
    assert found.values["outside"][0] == 0.0 < found.values["outside"][1] < 1e-30


def test_masks_of_another_size_are_refused():
    with pytest.raises(ValueError, match=r"masks \(1, 4, 4\)"):
        localise(noise(2, 4), CELL)
