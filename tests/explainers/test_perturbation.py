import pytest
import torch
from captum.attr import Occlusion
from torch import nn

import explainers
import models
from explainers.perturbation import _enlarged, mask_mean
from models.naming import UsageError

ALL = ["occlusion", "rise", "pda", "pda[sampling=marginal]", "lime", "kernel-shap", "dasp"]
RANDOM = ["rise", "pda", "pda[sampling=marginal]", "lime", "kernel-shap"]


@pytest.fixture(scope="module")
def subject():
    return models.load("fmnist-vgg")


@pytest.fixture(scope="module")
def images(subject):
    return subject.sample(3, seed=0)[0]


def linear(pixels, classes=3, seed=0):
    net = nn.Sequential(nn.Flatten(), nn.Linear(pixels, classes))
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.normal_(0, 1, generator=torch.Generator().manual_seed(seed))
    return net


@pytest.mark.parametrize("baseline", ["black", "blur", "mean"])
def test_occlusion_agrees_with_captum_on_the_network_as_it_is(subject, images, baseline):
    from explainers.gradients import baseline_images

    targets = subject.predict(images)
    found = explainers.get(f"occlusion[baseline={baseline},window=0.2,stride=0.15]").explain(subject, images, targets)
    with torch.no_grad():
        other = Occlusion(subject.module).attribute(
            images, sliding_window_shapes=(1, 6, 6), strides=(1, 5, 5), target=targets,
            baselines=baseline_images(subject, images, baseline), perturbations_per_eval=8,
        )  # fmt: skip
    assert float((found.attribution - other).abs().max()) < 1e-5 * max(1, float(other.abs().max()))


def test_occlusion_of_a_linear_model_is_the_sum_under_the_window():
    net, x = linear(3 * 8 * 8), torch.rand(2, 3, 8, 8, generator=torch.Generator().manual_seed(1))
    found = explainers.get("occlusion[window=0.25,stride=0.25]").explain(net, x, [0, 2]).attribution
    parts = (net[1].weight[[0, 2]].view(2, 3, 8, 8) * x).sum(1, keepdim=True)
    sums = nn.functional.avg_pool2d(parts, 2) * 4
    torch.testing.assert_close(found, sums.repeat_interleave(2, 2).repeat_interleave(2, 3), atol=1e-5, rtol=1e-5)


def test_windows_that_change_nothing_cost_no_pass_and_give_zero():
    class Counting(nn.Sequential):
        rows = 0

        def forward(self, x):
            type(self).rows += len(x)
            return super().forward(x)

    net = Counting(*linear(64))
    x = torch.zeros(1, 1, 8, 8)
    x[..., :2, :2] = 1
    explainer = explainers.get("occlusion[window=0.25,stride=0.25]")
    explainer.explain(net, x, [0])
    before, Counting.rows = Counting.rows, 0
    full = explainer.explain(net, torch.ones_like(x), [0])
    assert Counting.rows - before == 15
    assert full.status == ("ok",)


def test_a_network_that_ignores_the_image_gets_empty_maps():
    net = linear(64)
    with torch.no_grad():
        net[1].weight.zero_()
    x = torch.rand(2, 1, 8, 8)
    for name in ("occlusion", "lime[segments=4]", "kernel-shap[segments=4]", "dasp[segments=4]"):
        found = explainers.get(name).explain(net, x, [0, 1])
        assert found.attribution.abs().max() < 1e-6, name
    assert explainers.get("rise").explain(net, x, [0, 1]).attribution.flatten(1).std(1).max() < 1e-5


@pytest.mark.parametrize(
    "text", ["occlusion[window=0.1,stride=0.2]", "occlusion[window=1.5]", "occlusion[baseline=blak]", "rise[keep=1.0]"]
)
def test_wrong_parameters_are_refused_with_what_is_allowed(subject, images, text):
    with pytest.raises(UsageError, match=r"allowed|needed|lower"):
        explainers.get(text).explain(subject, images)


def test_masks_are_paired_in_range_and_have_the_mean_that_was_asked_for():
    seen = []

    def score(copies):
        seen.append(copies)
        return torch.ones(len(copies))

    mask_mean(score, torch.ones(1, 32, 32), torch.Generator().manual_seed(0), 2000, 7, 0.3)
    masks = torch.cat(seen)
    assert masks.shape == (2000, 1, 32, 32) and float(masks.min()) >= 0 and float(masks.max()) <= 1
    assert abs(float(masks.mean()) - 0.3) < 0.005
    assert float((masks.mean(0) - 0.3).abs().max()) < 0.04
    seen.clear()
    mask_mean(score, torch.ones(1, 32, 32), torch.Generator().manual_seed(0), 10, 7, 0.5)
    pairs = torch.cat(seen).view(5, 2, 32, 32)
    torch.testing.assert_close(pairs.sum(1), torch.ones(5, 32, 32))


def test_rise_of_a_linear_score_has_its_analytic_expectation():
    """E[S(a)] = b + sum_b w_b x_b E[M_a M_b] / p with E[M_a M_b] = p^2 + p (1 - p) sum_cells A_ac A_bc over shifts."""
    side, cells, keep, offset = 8, 4, 0.4, 0.7
    draw = torch.Generator().manual_seed(3)
    weights, image = torch.randn(side * side, generator=draw), torch.rand(1, side, side, generator=draw)
    units = torch.eye(cells * cells).view(-1, 1, cells, cells)
    moment = torch.zeros(side * side, side * side)
    for down in range(2):
        for right in range(2):
            shifts = [torch.full((len(units),), value) for value in (down, right)]
            a = _enlarged(units, *shifts, (side, side), (2, 2)).flatten(1)
            torch.testing.assert_close(a.sum(0), torch.ones(side * side))
            moment += (keep**2 + keep * (1 - keep) * a.T @ a) / 4
    expected = offset + moment @ (weights * image.flatten()) / keep

    def score(copies):
        return copies.flatten(1) @ weights + offset

    runs = torch.stack([
        mask_mean(score, image, torch.Generator().manual_seed(seed), 2000, cells, keep).flatten() for seed in range(12)
    ])  # fmt: skip
    error = (runs.mean(0) - expected) / (runs.std(0) / 12**0.5)
    assert float(error.abs().max()) < 5 and float(error.square().mean()) < 2.5
    wrong = (runs.mean(0) - expected * keep) / (runs.std(0) / 12**0.5)
    assert float(wrong.abs().max()) > 20


def test_rise_repeats_its_own_map_with_other_masks(subject):
    x = subject.sample(4, seed=1)[0]
    t = subject.predict(x)
    a, b = (explainers.get("rise").explain(subject, x, t, seed=seed).attribution for seed in (0, 1))
    centred = [(m - m.mean((1, 2, 3), keepdim=True)).flatten(1) for m in (a, b)]
    assert float(nn.functional.cosine_similarity(*centred).mean()) > 0.4


@pytest.mark.parametrize("name", ALL)
def test_neither_the_batch_nor_the_writing_of_the_network_matters(subject, images, name):
    e, t = explainers.get(name), subject.predict(images)
    whole = e.explain(subject, images, t)
    single = e.explain(subject, images[1:2], t[1:2])
    other = e.explain(models.load("fmnist-vgg-functional"), images[:1], t[:1])
    scale = float(whole.attribution.abs().max())
    assert float((whole.attribution[1:2] - single.attribution).abs().max()) <= 1e-5 * scale
    assert float((whole.attribution[:1] - other.attribution).abs().max()) <= 1e-4 * scale
    assert whole.status == ("ok",) * len(images) and whole.attribution.shape == (3, 1, 32, 32)


@pytest.mark.parametrize("name", ALL)
def test_seeds_classes_and_the_global_random_state(subject, images, name):
    e, x = explainers.get(name), images[:1]
    torch.manual_seed(1)
    state, checksum = torch.get_rng_state(), subject.checksum()
    first = e.explain(subject, x, [1], seed=0).attribution
    assert torch.equal(state, torch.get_rng_state()) and subject.checksum() == checksum
    torch.manual_seed(2)
    assert torch.equal(first, e.explain(subject, x, [1], seed=0).attribution)
    assert torch.equal(first, e.explain(subject, x, [1], seed=1).attribution) is (name not in RANDOM)
    assert e.info.stochastic is (name in RANDOM)
    assert not torch.allclose(first, e.explain(subject, x, [5], seed=0).attribution)


@pytest.mark.parametrize("name", ALL)
def test_no_more_copies_at_once_than_the_bound(name):
    class Widest(nn.Sequential):
        most = 0

        def forward(self, x):
            type(self).most = max(type(self).most, len(x))
            return super().forward(x)

    net = Widest(nn.Conv2d(1, 2, 3), nn.ReLU(), nn.Flatten(), nn.Linear(2 * 14 * 14, 3))
    data = torch.rand(5, 1, 16, 16, generator=torch.Generator().manual_seed(0))
    explainers.get(name).explain(net, data, [0, 1, 2, 0, 1])
    assert 16 <= Widest.most <= 64


def test_large_colour_images_run_at_the_defaults():
    net = nn.Sequential(nn.AvgPool2d(16), nn.Flatten(), nn.Linear(3 * 36, 3))
    x = torch.rand(2, 3, 96, 96, generator=torch.Generator().manual_seed(0))
    for name in ("occlusion", "rise", "pda", "lime", "kernel-shap"):
        found = explainers.get(name).explain(net, x, [0, 1])
        assert found.status == ("ok", "ok") and found.attribution.shape == (2, 1, 96, 96), name
