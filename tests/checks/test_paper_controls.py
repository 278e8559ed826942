"""Controls of single claims: moves at equal length, and generators exchanged, on answers that are known."""

import numpy as np
import pytest
import torch

import explainers
import models
from bench.checks.papers import declared, paths, paths_run, swap_run
from bench.protocols import get
from models.seeds import generator

PROTOCOL = get("recommended")


def path(*ends):
    ended = torch.tensor(ends)
    return paths.Path(torch.zeros_like(ended), ended)


def test_points_on_a_path_are_at_the_length_that_was_asked():
    found = path([3.0, 4.0], [0.0, 0.0])
    assert found.length.tolist() == [5.0, 0.0]
    assert found.at(torch.tensor([2.5, 0.0])).tolist() == [[1.5, 2.0], [0.0, 0.0]]


def test_equal_directions_gain_the_same_however_far_a_search_ran():
    """Gain is what is reached along the first axis: a longer move of the same direction gains more only at its own end."""
    short, long = path([1.0, 0.0]), path([6.0, 0.0])
    found = paths.compared(long, short, path([0.0, 6.0]), lambda z: z, lambda z: z[:, 0])
    assert float(found["gain-end"]) == 6 and float(found["gain-random"]) == 0
    assert float(found["gain-equal"]) == pytest.approx(1) == float(found["gain-equal-reference"])
    assert float(found["equal-share"]) == pytest.approx(1 / 6) and float(found["gain-per-distance"]) == pytest.approx(1)


def test_a_move_beside_the_way_gains_less_and_none_gains_nothing():
    beside, straight = path([3.0, 4.0], [0.0, 0.0], [2.0, 0.0]), path([10.0, 0.0], [1.0, 0.0], [0.0, 0.0])
    found = paths.compared(beside, straight, beside, lambda z: z, lambda z: z[:, 0])
    assert found["gain-equal"][0] == pytest.approx(3) and found["gain-equal-reference"][0] == pytest.approx(5)
    assert found["gain-per-distance"][0] == pytest.approx(0.6)
    assert all(bool(values[1:].isnan().all()) for values in found.values())


def test_random_moves_are_as_long_and_lead_anywhere():
    own = paths.Path(torch.ones(400, 8), torch.ones(400, 8) + torch.tensor([3.0, 4.0, *[0.0] * 6]))
    made = paths.astray(own, [generator(0, "a", place) for place in range(400)])
    assert torch.equal(made.begun, own.begun) and made.length.numpy() == pytest.approx(np.full(400, 5.0), rel=1e-5)
    along = ((made.ended - made.begun) * (own.ended - own.begun)).sum(1) / 25
    # Of a random direction in 8 dimensions the mean cosine is 0, its spread 1 / sqrt(8).
    assert abs(float(along.mean())) < 0.06 and float(along.std()) == pytest.approx(8**-0.5, rel=0.12)
    again = paths.astray(own, [generator(0, "a", place) for place in range(400)])
    assert torch.equal(again.ended, made.ended), "a move belongs to its image"


def measured(run, check, subject, names, count):
    asked = [explainers.get(name) for name in names]
    wanted = {(check, each.name) for each in asked}
    results = list(run.run_block(subject, asked, subject.select(count), 0, protocol=PROTOCOL, wanted=wanted, base=0))
    assert not [result.error for result in results if result.error]
    values = {}
    for row in (row for result in results for row in result.rows):
        values.setdefault((row["explainer"], row["measure"]), []).append(
            np.nan if row["value"] is None else row["value"]
        )
    return {key: np.array(found) for key, found in values.items()}


def test_the_best_network_compared_with_itself_moves_alike():
    found = measured(
        paths_run, declared.EQUAL, models.load("models.studies:eight_99"), ["cdeepex[probe=8]", "gradient"], 3
    )
    own = {measure: values for (name, measure), values in found.items() if name != "gradient"}
    assert np.isfinite(own["gain-equal"]).any()
    np.testing.assert_allclose(own["gain-equal"], own["gain-equal-reference"], atol=1e-5)
    np.testing.assert_allclose(own["gain-end"], own["gain-equal"], atol=1e-5)
    assert np.nanmin(own["equal-share"]) == pytest.approx(1)
    assert np.isnan(found["gradient", "gain-equal"]).all()


def test_a_generator_exchanged_for_itself_gives_its_own_maps_and_random_moves_do_not():
    subject = models.load("models.studies:second_half")
    found = measured(swap_run, declared.SWAP, subject, ["cdeepex", "gradient"], 3)
    like = found["cdeepex", "swap-likeness"]
    assert np.isfinite(like).sum() >= 2, "images at which there is nothing to move have no map"
    np.testing.assert_allclose(like[np.isfinite(like)], 1, atol=1e-6)
    assert np.nanmax(found["cdeepex", "swap-floor"]) < 0.9
    assert np.isnan(found["gradient", "swap-likeness"]).all()


def test_images_of_the_second_half_are_of_classes_that_the_generator_of_the_first_never_saw():
    subject = models.load("models.studies:second_half")
    assert set(subject.data.labels) == {5, 6, 7, 8, 9} and len(subject.class_names) == 10
    assert subject.weights_digest == models.load("fmnist-lenet").weights_digest
