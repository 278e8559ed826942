import itertools
import math

import numpy as np
import pytest
import torch
from captum.attr import KernelShap
from torch import nn

import explainers
import models.adapters
from explainers import surrogates
from explainers.superpixels import background, segmented
from explainers.surrogates import coalitions, constrained_least_squares, weighted_ridge
from models.naming import UsageError


@pytest.fixture(scope="module")
def subject():
    return models.load("fmnist-vgg")


def small_net(seed=0, side=8, classes=3):
    net = nn.Sequential(nn.Flatten(), nn.Linear(side * side, 24), nn.ReLU(), nn.Linear(24, 12), nn.ReLU(),
                        nn.Linear(12, classes))  # fmt: skip
    draw = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.normal_(0, parameter.shape[-1] ** -0.5, generator=draw)
    return net


def exact_shapley(net, image, behind, labels, target):
    """Shapley values by enumeration of all coalitions, from the definition."""
    count = int(labels.max()) + 1
    every = list(itertools.product([False, True], repeat=count))
    masks = torch.tensor(every)[:, labels][:, None]
    with torch.no_grad():
        value = dict(zip(every, net(torch.where(masks, image, behind))[:, target].double().tolist(), strict=True))
    found = []
    for player in range(count):
        total = 0.0
        for coalition in every:
            if not coalition[player]:
                size = sum(coalition)
                joined = tuple(p or i == player for i, p in enumerate(coalition))
                weight = math.factorial(size) * math.factorial(count - size - 1) / math.factorial(count)
                total += weight * (value[joined] - value[coalition])
        found.append(total)
    return torch.tensor(found, dtype=torch.float64)


def per_part(attribution, labels):
    """The value on each super-pixel of a map (1, H, W)."""
    return torch.stack([attribution[0][labels == part][0] for part in range(int(labels.max()) + 1)]).double()


@pytest.mark.parametrize("baseline", ["black", "neighbours"])
def test_kernel_shap_is_exact_where_all_coalitions_fit(baseline):
    net, x = small_net(), torch.rand(2, 1, 8, 8, generator=torch.Generator().manual_seed(1))
    text = f"kernel-shap[segments=9,samples=510,segmentation=grid,baseline={baseline}]"
    found = explainers.get(text).explain(net, x, [0, 2])
    labels = segmented(x, "grid", 9)[0]
    for row, target in ((0, 0), (1, 2)):
        behind = background(models.adapters.from_tensor(net, x), x[row], labels, baseline)
        exact = exact_shapley(net, x[row], behind, labels, target)
        assert float((per_part(found.attribution[row], labels) - exact).abs().max()) < 1e-5
    assert float(found.residual.max()) < 1e-9


def test_sampled_kernel_shap_nears_the_exact_values_and_always_sums_to_the_change():
    net, x = small_net(2), torch.rand(1, 1, 8, 8, generator=torch.Generator().manual_seed(2))
    labels = segmented(x, "grid", 12)[0]
    exact = exact_shapley(net, x[0], torch.zeros_like(x[0]), labels, 1)
    error = []
    for samples in (60, 1000):
        text = f"kernel-shap[segments=12,samples={samples},segmentation=grid,baseline=black]"
        runs = [explainers.get(text).explain(net, x, [1], seed=seed) for seed in range(6)]
        values = torch.stack([per_part(run.attribution[0], labels) for run in runs])
        assert float((values.sum(1) - exact.sum()).abs().max()) < 1e-5
        error.append(float((values - exact).square().mean().sqrt() / exact.square().mean().sqrt()))
    assert error[1] < 0.03 and error[1] < 0.6 * error[0] < 0.2
    mean = values.mean(0)
    assert float((mean - exact).abs().max()) < 0.05 * float(exact.abs().max())


def test_kernel_shap_agrees_with_captum():
    net, x = small_net(3), torch.rand(1, 1, 8, 8, generator=torch.Generator().manual_seed(3))
    labels = segmented(x, "grid", 6)[0]
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(0)
        other = KernelShap(net).attribute(
            x, target=0, feature_mask=labels[None, None], n_samples=1500, perturbations_per_eval=64
        )
    text = "kernel-shap[segments=6,samples=62,segmentation=grid,baseline=black]"
    found = explainers.get(text).explain(net, x, [0]).attribution
    assert float((found - other).abs().max()) < 0.05 * float(found.abs().max())


def test_drawn_coalitions_follow_the_kernel_in_complementary_pairs():
    present, weights = coalitions(10, 20000, torch.Generator().manual_seed(0))
    assert len(present) == 2**10 - 2
    present, weights = coalitions(16, 20000, torch.Generator().manual_seed(0))
    assert bool((present[::2] ^ present[1::2]).all()) and bool((weights == 1).all())
    sizes = torch.bincount(present.sum(1), minlength=17)[1:16].double() / len(present)
    kernel = torch.tensor([1 / (k * (16 - k)) for k in range(1, 16)], dtype=torch.float64)
    torch.testing.assert_close(sizes, kernel / kernel.sum(), atol=0.01, rtol=0.1)
    assert float((present.double().mean(0) - 0.5).abs().max()) < 1e-12


def test_the_constrained_solution_is_the_best_of_those_with_that_sum():
    draw = torch.Generator().manual_seed(0)
    z = (torch.rand(30, 5, generator=draw) < 0.5).double()
    y, w = torch.randn(30, generator=draw).double(), torch.rand(30, generator=draw).double()
    best = constrained_least_squares(z, y, w, torch.tensor(1.5, dtype=torch.float64))
    assert float(best.sum()) == pytest.approx(1.5)

    def loss(phi):
        return float((w * (z @ phi - y).square()).sum())

    for _ in range(50):
        move = torch.randn(5, generator=draw).double()
        assert loss(best) <= loss(best + 0.01 * (move - move.mean()))


def test_lime_on_a_linear_model_recovers_the_sums_of_super_pixels(subject, monkeypatch):
    net = nn.Sequential(nn.Flatten(), nn.Linear(1024, 3))
    x = subject.sample(2, seed=3)[0]
    parts = segmented(x, "slic", 20)
    for ridge, tolerance in ((0.0, 1e-4), (surrogates.RIDGE, 0.1)):
        monkeypatch.setattr(surrogates, "RIDGE", ridge)
        found = explainers.get("lime[baseline=black]").explain(net, x, [0, 2]).attribution
        for row, target in ((0, 0), (1, 2)):
            weighted = (net[1].weight[target] * x[row].flatten()).detach()
            sums = torch.zeros(int(parts[row].max()) + 1).index_add(0, parts[row].flatten(), weighted).double()
            error = (per_part(found[row], parts[row]) - sums).abs().max() / sums.abs().max()
            assert float(error) < tolerance, ridge


def test_the_ridge_agrees_with_scikit_learn():
    linear_model = pytest.importorskip("sklearn.linear_model")
    draw = np.random.default_rng(0)
    z, y, w = (draw.random((60, 8)) < 0.5).astype(float), draw.normal(size=60), draw.random(60)
    for penalty in (0.1, 3.0):
        other = linear_model.Ridge(alpha=penalty).fit(z, y, sample_weight=w).coef_
        found = weighted_ridge(torch.tensor(z), torch.tensor(y), torch.tensor(w), penalty)
        np.testing.assert_allclose(found, other, atol=1e-8)


def test_nearer_coalitions_count_more():
    """A logit that is linear near the whole image only: the fit follows the slope there as the kernel narrows."""

    class Kinked(nn.Module):
        def __init__(self):
            super().__init__()
            self.scale = nn.Linear(1, 1)

        def forward(self, x):
            total = x.flatten(1).sum(1, keepdim=True)
            return torch.cat([(total - 48).clamp(min=0), -total], 1) + 0 * self.scale(total)

    x = torch.ones(1, 1, 8, 8)
    slopes = [
        float(explainers.get(f"lime[segments=16,segmentation=grid,baseline=black,samples=2000,width={width}]")
              .explain(Kinked(), x, [0]).attribution.mean())
        for width in (10.0, 0.05)
    ]  # fmt: skip
    assert slopes[1] > 2 * slopes[0]


def test_super_pixels_of_the_shipped_images_and_their_number(subject):
    x = subject.sample(40, seed=0)[0]
    counts = [int(labels.max()) + 1 for labels in segmented(x, "slic", 20)]
    assert min(counts) >= 14 and max(counts) <= 27 and 17 <= sum(counts) / 40 <= 24
    for method in ("slic", "felzenszwalb", "grid"):
        for labels in segmented(torch.rand(2, 3, 40, 24, generator=torch.Generator().manual_seed(0)), method, 12):
            assert labels.shape == (40, 24) and len(labels.unique()) == int(labels.max()) + 1
    assert [int(labels.max()) + 1 for labels in segmented(torch.zeros(1, 1, 32, 32), "slic", 16)] == [16]


def test_absent_super_pixels_take_the_colour_of_those_that_touch_them(subject):
    labels = torch.tensor([[0, 0, 1, 2]])
    image = torch.tensor([[[0.2, 0.4, 0.5, 0.9]]])
    torch.testing.assert_close(
        background(subject, image, labels, "neighbours"), torch.tensor([[[0.5, 0.5, 1.5 / 3, 0.5]]])
    )
    torch.testing.assert_close(background(subject, image, labels, "own-mean"), torch.tensor([[[0.3, 0.3, 0.5, 0.9]]]))
    assert float(background(subject, image, labels, "black").abs().max()) == 0


def test_a_network_that_is_not_finite_is_a_recorded_failure():
    net = nn.Sequential(nn.Flatten(), nn.Linear(64, 3))
    x = torch.rand(1, 1, 8, 8)
    subject = models.adapters.from_tensor(net, x)
    with torch.no_grad():
        subject.model[1].bias.fill_(math.nan)
    assert explainers.get("kernel-shap[segments=4]").explain(subject, x, [0]).status == ("failed",)
    assert explainers.get("lime[segments=4]").explain(subject, x, [0]).status == ("non-finite",)


@pytest.mark.parametrize(
    "text",
    [
        "lime[segmentation=slik]",
        "lime[baseline=blak]",
        "lime[width=0.0]",
        "kernel-shap[samples=30]",
        "lime[segments=1]",
    ],
)
def test_wrong_parameters_are_refused_with_what_is_allowed(subject, text):
    with pytest.raises(UsageError, match=r"allowed|needed"):
        explainers.get(text).explain(subject, subject.sample(1, seed=0)[0])
