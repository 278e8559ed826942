"""Curves and scores: invariants under every replacement, a linear model by hand, agreement with Quantus."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from bench.checks.perturbation.curves import READOUTS, Scene, clean, curve, ends
from bench.checks.perturbation.orders import permutations, ranks, turns
from bench.checks.perturbation.replacements import NAMES, Replacement, field
from bench.checks.perturbation.scores import abpc, aopc, area, scores

from .perturbed import COUNT, KEYS, QUANTUS, SIDE, STEPS, both, drawn, flipped, made, scene_of, small


@pytest.mark.parametrize("name", NAMES)
def test_invariants(name: str) -> None:
    subject = small()
    scene, chosen = scene_of(subject), made(name, subject)
    maps = drawn().round(decimals=1)
    morf, lerf = both(scene, chosen, maps)
    assert morf.shape == (COUNT, STEPS + 1, len(READOUTS))
    images = scene.images
    plain = subject.module(images).detach().double()
    for curves in (morf, lerf):
        for readout, values in enumerate((plain.softmax(1), plain)):
            assert torch.equal(curves[:, 0, readout], values.gather(1, scene.targets[:, None])[:, 0])
        assert torch.equal(curves[:, -1], morf[:, -1])
    assert (morf[:, 0, 2] == 1).all()
    # Negation swaps the two curves to the last bit, ties included.
    other = both(scene, chosen, -maps)
    assert torch.equal(other[0], lerf) and torch.equal(other[1], morf)
    assert torch.equal(scores(*other)["abpc"], -scores(morf, lerf)["abpc"])
    # Increasing transforms change nothing.
    for transformed in (maps * 4, maps.double().exp(), maps.double() ** 3):
        again = both(scene, chosen, transformed)
        assert torch.equal(again[0], morf) and torch.equal(again[1], lerf)
    # Not vacuous: the middle of the curves depends on the order, and nothing on the number of images at once.
    assert not torch.equal(morf[:, STEPS // 2], lerf[:, STEPS // 2])
    few = both(scene_of(subject, rows=3), chosen, maps)
    torch.testing.assert_close(few[0], morf, atol=1e-6, rtol=1e-6)


@pytest.mark.parametrize("name", NAMES)
def test_curves_are_those_of_a_plain_loop(name: str) -> None:
    subject = small()
    subject.data.images[:, :, :4] = 0.0  # type: ignore[attr-defined]
    scene, chosen = scene_of(subject), made(name, subject)
    maps = drawn(seed=4)
    order = maps.flatten(1).argsort(1, descending=True)
    morf, _ = both(scene, chosen, maps)
    for image in range(COUNT):
        for step in range(STEPS + 1):
            mask = torch.zeros(SIDE * SIDE, dtype=torch.bool)
            mask[order[image, : step * SIDE * SIDE // STEPS]] = True
            found = []
            for draw in range(chosen.draws):
                copy = chosen.copies(torch.tensor([image]), mask.view(1, SIDE, SIDE), draw)
                found.append(subject.module(copy).detach().double().softmax(1)[0, scene.targets[image]])
            assert float(morf[image, step, 0]) == pytest.approx(float(torch.stack(found).mean()), abs=1e-6)


class Sum(nn.Module):
    """Two logits: the sum of the pixels, and 0."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(1))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        total = x.flatten(1).sum(1) * self.scale
        return torch.stack([total, torch.zeros_like(total)], 1)


def test_a_linear_model_by_hand() -> None:
    image = torch.tensor([[[[4.0, 3.0], [2.0, 1.0]]]])
    scene = Scene(Sum(), image, torch.tensor([0]), 4, 64)
    morf, lerf = both(scene, field("black", image, [torch.zeros_like(image)]), image[:, 0])
    assert morf[0, :, 1].tolist() == [10, 6, 3, 1, 0] and lerf[0, :, 1].tolist() == [10, 9, 7, 4, 0]
    found = {name: float(value) for name, value in scores(morf, lerf).items()}
    assert found["aopc-logit"] == pytest.approx(6) and found["abpc-logit"] == pytest.approx(2)
    p = {logit: 1 / (1 + math.exp(-logit)) for logit in range(11)}
    assert found["aopc"] == pytest.approx(sum(p[10] - p[logit] for logit in (10, 6, 3, 1, 0)) / 5)
    assert found["abpc"] == pytest.approx((p[9] + p[7] + p[4] - p[6] - p[3] - p[1]) / 5)
    assert found["deletion"] == pytest.approx((p[10] / 2 + p[6] + p[3] + p[1] + p[0] / 2) / 4)
    assert found["insertion"] == pytest.approx((p[10] / 2 + p[9] + p[7] + p[4] + p[0] / 2) / 4)
    # The class stays the prediction until logits are equal; argmax then takes the first class, which is the target.
    assert found["aopc-accuracy"] == 0


def test_scores_of_plain_curves() -> None:
    morf, lerf = torch.tensor([[1.0, 0.2, 0.0]]), torch.tensor([[1.0, 0.8, 0.0]])
    assert float(aopc(morf)) == pytest.approx(0.6) and float(abpc(morf, lerf)) == pytest.approx(0.2)
    assert float(area(morf)) == pytest.approx(0.35) and float(area(lerf)) == pytest.approx(0.65)


@pytest.mark.parametrize("name", ["black", "mean", "blur"])
def test_steps_that_change_nothing_cost_nothing(name: str) -> None:
    subject = small()
    scene, chosen = scene_of(subject), made(name, subject)
    scene.images[:, :, : SIDE // 2] = chosen.copies(
        torch.arange(COUNT), torch.ones(COUNT, SIDE, SIDE, dtype=torch.bool), 0
    )[:, :, : SIDE // 2]
    chosen = field(name, scene.images, [chosen.copies(torch.arange(COUNT), torch.ones(COUNT, SIDE, SIDE) > 0, 0)])
    first = -torch.arange(float(SIDE * SIDE)).view(1, SIDE, SIDE).expand(COUNT, -1, -1)
    passes = []
    handle = scene.module.register_forward_hook(lambda *given: passes.append(len(given[1][0])))
    limits = ends(scene, chosen, clean(scene))
    passes.clear()
    when = turns(ranks(first, permutations(KEYS, SIDE * SIDE, 0, "ties")), STEPS, 1, (SIDE, SIDE))
    found = curve(scene, chosen, when, limits)
    handle.remove()
    assert sum(passes) == COUNT * (STEPS // 2 - 1)
    assert torch.equal(found[:, STEPS // 2], found[:, 0])


@pytest.mark.parametrize("name", ["uniform", "black", "road"])
def test_a_random_map_is_a_random_order(name: str) -> None:
    subject = small(count=200)
    scene, chosen = scene_of(subject), made(name, subject, draws=2)
    limits = ends(scene, chosen, clean(scene))
    differences = [abpc(*both(scene, chosen, drawn(200, seed=seed), limits))[:, 0] for seed in (1, 2)]
    mean = differences[0] - differences[1]
    assert float(mean.mean().abs()) < 3 * float(mean.std()) / math.sqrt(200)
    assert float(differences[0].mean().abs()) < 3 * float(differences[0].std()) / math.sqrt(200)


def test_the_gradient_times_input_beats_its_negation_on_a_linear_model() -> None:
    images = torch.rand(20, 1, 6, 6, generator=torch.Generator().manual_seed(0)) - 0.5
    scene = Scene(Sum(), images, torch.zeros(20, dtype=torch.int64), 6, 64)
    chosen = field("black", images, [torch.zeros_like(images)])
    good = scores(*both(scene, chosen, images[:, 0]))
    bad = scores(*both(scene, chosen, -images[:, 0]))
    for readout in ("abpc", "abpc-logit"):
        assert (good[readout] > 0).all() and (bad[readout] < 0).all()


def black(scene: Scene) -> Replacement:
    return field("black", scene.images, [torch.zeros_like(scene.images)])


@pytest.mark.parametrize("name", QUANTUS)
def test_agreement_with_stored_values_of_quantus(name: str) -> None:
    stored = json.loads((Path(__file__).parent / "data" / "quantus-pixel-flipping.json").read_text())
    scene, maps = flipped(name)
    assert scene.targets.tolist() == stored[name]["targets"] and scene.steps == stored[name]["steps"]
    expected = np.array(stored[name]["curves"])
    assert expected.shape == (len(maps), scene.steps)
    morf, lerf = both(scene, black(scene), maps)
    np.testing.assert_allclose(morf[:, 1:, 0].numpy(), expected, atol=1e-5)
    # Another order is another curve, so the agreement says something.
    assert np.abs(lerf[:, 1:, 0].numpy() - expected).max() > 0.1


@pytest.mark.parametrize("name", QUANTUS)
def test_agreement_with_quantus(name: str) -> None:
    metrics = pytest.importorskip("quantus.metrics.faithfulness.pixel_flipping")
    scene, maps = flipped(name)
    morf, _ = both(scene, black(scene), maps)
    flip = metrics.PixelFlipping(
        features_in_step=scene.images[0, 0].numel() // scene.steps, perturb_baseline="black", normalise=False,
        disable_warnings=True,
    )  # fmt: skip
    expected = flip(
        model=scene.module.eval(), x_batch=scene.images.numpy().copy(), y_batch=scene.targets.numpy(),
        a_batch=maps[:, None].numpy(), device="cpu", softmax=True, channel_first=True,
    )  # fmt: skip
    np.testing.assert_allclose(morf[:, 1:, 0].numpy(), np.array(expected), atol=1e-5)
