"""Similarity of the maps for two classes: scikit-image and scipy, invariances, controls; which classes are asked about."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.stats import spearmanr
from skimage.metrics import structural_similarity
from torch import Tensor

from bench import protocols
from bench.checks.asked import ask, recognised
from bench.checks.class_similarity import alike, picked
from bench.checks.normalise import normalise
from bench.checks.passes import Maps
from explainers.controls import edge_detector

RECOMMENDED = protocols.get("recommended")


def maps_of(values: Tensor, failed: tuple[int, ...] = ()) -> Maps:
    return Maps(values, torch.tensor([place in failed for place in range(len(values))]), 0.0)


def noise(count: int = 4, seed: int = 0) -> Tensor:
    return torch.randn(count, 24, 24, generator=torch.Generator().manual_seed(seed))


def test_each_pair_is_that_of_scikit_image_and_scipy_whatever_it_is_stacked_with() -> None:
    first, second = noise(seed=1), noise(seed=1) + 0.5 * noise(seed=2)
    both = {"a": maps_of(first), "b": maps_of(second)}, {"a": maps_of(second), "b": maps_of(first.flip(0))}
    found = alike(*both, {"a": True, "b": True}, RECOMMENDED)
    one, two = (normalise(values, True).numpy() for values in (first, second))
    for place in range(len(first)):
        expected = structural_similarity(
            one[place], two[place], gaussian_weights=True, sigma=1.5, use_sample_covariance=False, data_range=1.0
        )
        assert found["a"].values["ssim"][place] == pytest.approx(expected, abs=1e-6)
        ranks = spearmanr(first[place].flatten(), second[place].flatten()).statistic
        assert found["a"].values["spearman"][place] == pytest.approx(ranks, abs=1e-6)
    alone = alike({"b": both[0]["b"]}, {"b": both[1]["b"]}, {"b": True}, RECOMMENDED)["b"]
    for measure, values in alone.values.items():
        np.testing.assert_array_equal(values, found["b"].values[measure])


def test_an_edge_detector_gives_one_map_for_all_classes() -> None:
    images = torch.rand(3, 1, 24, 24, generator=torch.Generator().manual_seed(5))
    answers = [
        maps_of(edge_detector(None, images, torch.full((3,), label), seed=0).abs().amax(1))  # type: ignore[arg-type]
        for label in (2, 7)
    ]
    found = alike({"e": answers[0]}, {"e": answers[1]}, {"e": False}, RECOMMENDED)["e"]
    assert all((values == 1.0).all() for values in found.values.values())


def test_scale_changes_nothing_and_sign_does() -> None:
    first, second = noise(seed=1), noise(seed=2)
    plain = alike({"a": maps_of(first)}, {"a": maps_of(second)}, {"a": True}, RECOMMENDED)["a"]
    scaled = alike({"a": maps_of(first * 1e-12)}, {"a": maps_of(second * 7)}, {"a": True}, RECOMMENDED)["a"]
    turned = alike({"a": maps_of(first)}, {"a": maps_of(-first)}, {"a": True}, RECOMMENDED)["a"]
    for measure in ("ssim", "spearman", "cosine"):
        np.testing.assert_allclose(scaled.values[measure], plain.values[measure], atol=1e-5)
        assert (turned.values[measure] < -0.9).all()
    assert (turned.values["spearman-abs"] == 1.0).all(), "what is left when signs are ignored"


def test_maps_without_an_answer_keep_their_status() -> None:
    first = torch.stack([torch.zeros(24, 24), torch.zeros(24, 24), noise(1)[0], noise(1)[0]])
    second = torch.stack([torch.zeros(24, 24), noise(1)[0], torch.full((24, 24), float("nan")), noise(1)[0]])
    found = alike({"a": maps_of(first)}, {"a": maps_of(second, failed=(3,))}, {"a": True}, RECOMMENDED)["a"]
    assert found.statuses["ssim"] == ["degenerate-zero", "ok", "non-finite", "failed"]
    assert found.values["ssim"][1] == 0.0


def test_picking_keeps_maps_and_failures_together() -> None:
    chosen = picked(maps_of(noise(), failed=(2,)), [2, 0, 2])
    assert chosen.failed.tolist() == [True, False, True] and torch.equal(chosen.maps[0], noise()[2])


def test_a_class_is_found_where_nothing_that_is_absent_ranks_above_it() -> None:
    scores = torch.tensor([5.0, 1.0, 3.0, 2.0])
    assert recognised(scores, (0, 2)) == (0, 2)
    assert recognised(scores, (0, 3)) == (0,)
    assert recognised(scores, (1,)) == ()
    assert recognised(scores, (0, 1, 2, 3)) == (0, 1, 2, 3)
    assert recognised(torch.tensor([1.0, 1.0]), (0,)) == (), "a tie is not found"


def test_an_image_that_shows_one_class_has_no_other() -> None:
    scores = torch.tensor([[5.0, 1.0, 3.0], [5.0, 1.0, 3.0]])
    found = ask(scores, [0, 0], ["a", "b"], [(0,), (0, 2)], ["shown", "other"])
    assert found.of("shown") == [0, 0] and found.of("other") == [None, 2]
    # The second class is shown, but the model ranks an absent one above it.
    missed = ask(scores[:1], [0], ["a"], [(0, 1)], ["shown", "other"])
    assert missed.of("shown") == [0] and missed.of("other") == [None]


def test_one_class_and_scores_that_are_not_finite_have_no_pairs() -> None:
    alone = ask(torch.ones(2, 1), [0, 0], ["a", "b"], None, ["first", "second", "least"])
    assert alone.of("first") == [0, 0] and alone.of("second") == [None, None] == alone.of("least")
    broken = torch.tensor([[1.0, float("nan")], [1.0, 2.0]])
    assert ask(broken, [0, 0], ["a", "b"], None, ["first"]).of("first") == [None, 1]
    assert ask(torch.ones(0, 3), [], [], [], ["shown"]).places == ()
