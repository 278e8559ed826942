"""Orders of perturbation: ranks, ties, patches, steps."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.checks.perturbation.orders import permutations, pooled, ranks, turns
from models.naming import UsageError

TIES = torch.stack([torch.randperm(24, generator=torch.Generator().manual_seed(7))])


@given(st.lists(st.integers(-3, 3), min_size=24, max_size=24))
@settings(max_examples=50, deadline=None)
def test_ranks_are_a_permutation_sorted_by_relevance_then_by_the_permutation(values: list[int]) -> None:
    found = ranks(torch.tensor(values, dtype=torch.float32).view(1, 4, 6), TIES)[0].flatten().tolist()
    place_of = {int(unit): place for place, unit in enumerate(TIES[0])}
    expected = sorted(range(24), key=lambda unit: (-values[unit], place_of[unit]))
    assert [found[unit] for unit in expected] == list(range(24))


def test_a_map_that_says_nothing_is_a_random_order_and_not_the_raster() -> None:
    zero = ranks(torch.zeros(1, 4, 6), TIES)[0].flatten()
    assert torch.equal(zero[TIES[0]], torch.arange(24)) and not torch.equal(zero, torch.arange(24))
    assert torch.equal(zero, ranks(-torch.zeros(1, 4, 6), TIES)[0].flatten())


def test_increasing_transforms_keep_the_order() -> None:
    maps = torch.randn(1, 4, 6, generator=torch.Generator().manual_seed(0)).double().round(decimals=1)
    for transformed in (maps * 8, maps.exp(), maps**3, maps + 5):
        assert torch.equal(ranks(maps, TIES), ranks(transformed, TIES))


def test_permutations_depend_on_the_image_the_base_and_the_purpose_alone() -> None:
    one = permutations(["a", "b"], 50, 0, "ties")
    assert torch.equal(permutations(["b", "c"], 50, 0, "ties")[0], one[1])
    assert not torch.equal(one[0], one[1])
    assert not torch.equal(permutations(["a"], 50, 1, "ties")[0], one[0])
    assert not torch.equal(permutations(["a"], 50, 0, "order")[0], one[0])
    assert torch.equal(one.sort(1).values, torch.arange(50).expand(2, 50))


def test_patches_sum_their_pixels_and_are_smaller_at_the_border() -> None:
    maps = torch.arange(15.0).view(1, 3, 5)
    found = pooled(maps, 2)[0].tolist()
    assert found == [[0 + 1 + 5 + 6, 2 + 3 + 7 + 8, 4 + 9], [10 + 11, 12 + 13, 14]]
    assert torch.equal(pooled(maps, 1), maps.double())


@pytest.mark.parametrize(("units", "steps"), [((8, 8), 16), ((5, 7), 6), ((1, 3), 3)])
def test_every_step_takes_its_share_and_the_last_one_the_rest(units: tuple[int, int], steps: int) -> None:
    total = units[0] * units[1]
    places = torch.randperm(total, generator=torch.Generator().manual_seed(1)).view(1, *units)
    when = turns(places, steps, 1, units)
    gone = [int((when <= step).sum()) for step in range(steps + 1)]
    assert gone[0] == 0 and gone[-1] == total
    assert all(abs(count - step * total / steps) <= 0.5 for step, count in enumerate(gone))
    assert all(places[when <= step].max() < places[when > step].min() for step in range(1, steps))


def test_a_patch_goes_as_a_whole() -> None:
    when = turns(torch.tensor([[[2, 0, 1], [3, 5, 4]]]), 6, 2, (3, 5))[0].tolist()
    assert when == [[3, 3, 1, 1, 2], [3, 3, 1, 1, 2], [4, 4, 6, 6, 5]]


def test_more_steps_than_patches_are_refused() -> None:
    with pytest.raises(UsageError, match="10 steps over 9 patches of 4x4; allowed are 1 to 9"):
        turns(torch.arange(9).view(1, 3, 3), 10, 4, (12, 12))
