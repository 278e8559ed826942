import itertools
import math

import pytest
import torch
import torch.nn.functional as F
from scipy import integrate, stats
from torch import nn

import explainers
from explainers import dasp
from explainers.dasp import coalition_moments, shapley_values, size_quadrature
from explainers.engine import UnsupportedOperation
from explainers.rules import moments
from explainers.rules.moments import MomentMode, max_moments, relu_moments
from explainers.superpixels import segmented


def randomised(net, seed):
    draw = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.normal_(0, parameter[0].numel() ** -0.5 if parameter.dim() > 1 else 0.2, generator=draw)
    return net.eval()


def exact_shapley(net, image, behind, labels, target):
    count = int(labels.max()) + 1
    every = list(itertools.product([False, True], repeat=count))
    masks = torch.tensor(every)[:, labels][:, None]
    with torch.no_grad():
        value = dict(zip(every, net(torch.where(masks, image, behind))[:, target].double().tolist(), strict=True))
    found = []
    for player in range(count):
        gains = [0.0] * count
        for coalition in every:
            if not coalition[player]:
                joined = tuple(p or i == player for i, p in enumerate(coalition))
                gains[sum(coalition)] += value[joined] - value[coalition]
        found.append(sum(gain / math.comb(count - 1, size) for size, gain in enumerate(gains)) / count)
    return torch.tensor(found, dtype=torch.float64)


def compared(net, seed, side=6, channels=1, segments=12, sizes=12):
    """Relative error and correlation of DASP with the exact values of one random image."""
    draw = torch.Generator().manual_seed(100 + seed)
    image = torch.rand(channels, side, side, generator=draw)
    labels = segmented(image[None], "grid", segments)[0]
    behind = torch.zeros_like(image)
    exact = exact_shapley(net, image, behind, labels, 1)
    found = shapley_values(net, image, behind, labels, 1, sizes)
    error = float((found - exact).norm() / exact.norm())
    return error, float(torch.corrcoef(torch.stack([found, exact]))[0, 1])


@pytest.mark.parametrize("mean", [-40.0, -3.0, -0.1, 0.0, 0.5, 6.0, 1e3])
@pytest.mark.parametrize("deviation", [1e-3, 1.0, 5.0])
def test_moments_of_a_relu_against_quadrature(mean, deviation):
    """Reference: E and Var of max(z, 0) by truncated-normal formulas of scipy, in float64."""
    low = -mean / deviation
    above = stats.norm.sf(low)
    kept = stats.truncnorm(low, math.inf, loc=mean, scale=deviation) if above > 1e-200 else None
    first = above * kept.mean() if kept else 0.0
    second = above * (kept.var() + kept.mean() ** 2) if kept else 0.0
    for kind, tolerance in ((torch.float64, 1e-6), (torch.float32, 1e-3)):
        m, v = relu_moments(torch.tensor(mean, dtype=kind), torch.tensor(deviation**2, dtype=kind))
        assert float(m) == pytest.approx(first, rel=tolerance, abs=tolerance * deviation)
        expected = deviation**2 if low < -8 else second - first**2
        assert float(v) == pytest.approx(expected, rel=tolerance, abs=tolerance * deviation**2)


@pytest.mark.parametrize("pair", [((0.0, 1.0), (0.0, 1.0)), ((2.0, 0.5), (1.0, 3.0)), ((-5.0, 0.1), (4.0, 2.0))])
def test_moments_of_a_maximum_against_quadrature(pair):
    (a, va), (b, vb) = pair
    one, other = stats.norm(a, va**0.5), stats.norm(b, vb**0.5)

    def density(z):
        return one.pdf(z) * other.cdf(z) + other.pdf(z) * one.cdf(z)

    first = integrate.quad(lambda z: z * density(z), -30, 30, points=[a, b], limit=200)[0]
    second = integrate.quad(lambda z: z * z * density(z), -30, 30, points=[a, b], limit=200)[0]
    tensors = [[torch.tensor(value, dtype=torch.float64) for value in each] for each in pair]
    for order in (tensors, tensors[::-1]):
        mean, variance = max_moments(*map(tuple, order))
        assert float(mean) == pytest.approx(first, abs=1e-6)
        assert float(variance) == pytest.approx(second - first**2, abs=1e-6)


def test_without_variance_the_moments_are_the_network_itself():
    net = randomised(
        nn.Sequential(
            nn.Conv2d(2, 4, 3, padding=1, stride=1), nn.BatchNorm2d(4), nn.ReLU(), nn.MaxPool2d(3, 2, padding=1),
            nn.Conv2d(4, 4, 3, groups=2), nn.ReLU(), nn.AvgPool2d(2), nn.AdaptiveAvgPool2d(1), nn.Flatten(),
            nn.Dropout(0.5), nn.Linear(4, 3),
        ), 0,
    )  # fmt: skip
    net[1].running_mean.uniform_(-1, 1, generator=torch.Generator().manual_seed(1))
    net[1].running_var.uniform_(0.5, 2, generator=torch.Generator().manual_seed(2))
    x = torch.rand(5, 2, 12, 12, generator=torch.Generator().manual_seed(3))
    out = MomentMode(lambda outputs: torch.cat([outputs, torch.zeros_like(outputs)])).run(net, x)
    torch.testing.assert_close(out[:5], net(x), atol=1e-5, rtol=1e-5)
    assert float(out[5:].abs().max()) < 1e-8


def test_every_rule_against_simulation():
    """One layer at a time, on independent Gaussians, where the rules are exact (maxima of four up to Clark's step)."""
    draw = torch.Generator().manual_seed(0)
    mean, variance = torch.randn(1, 4, 6, 6, generator=draw), torch.rand(1, 4, 6, 6, generator=draw) * 2
    layers = [nn.Conv2d(4, 3, 3, padding=1, stride=2), nn.BatchNorm2d(4), nn.ReLU(), nn.AvgPool2d(2),
              nn.AdaptiveAvgPool2d(3), nn.MaxPool2d(2), nn.MaxPool2d(3, 2, padding=1)]  # fmt: skip
    draws = mean + variance.sqrt() * torch.randn(20000, 4, 6, 6, generator=draw)
    for layer in layers:
        randomised(layer, 5)
        if isinstance(layer, nn.BatchNorm2d):
            layer.running_var.fill_(2.0)
        net = nn.Sequential(nn.Conv2d(4, 4, 1), layer).eval()
        out = MomentMode(lambda outputs: torch.cat([mean, variance])).run(net, mean)
        with torch.no_grad():
            made = layer(draws)
        tolerance = 0.12 if isinstance(layer, nn.MaxPool2d) else 0.04
        assert float((out[0] - made.mean(0)).abs().max()) < tolerance, layer
        assert float((out[1] - made.var(0)).abs().max() / made.var(0).max()) < 1.5 * tolerance, layer


def test_coalition_moments_are_those_of_all_coalitions():
    outputs = torch.randn(6, 2, 3, generator=torch.Generator().manual_seed(0)).double()
    base, alone = outputs[0], outputs[1:] - outputs[0]
    for player, size in itertools.product(range(5), range(5)):
        others = [i for i in range(5) if i != player]
        sums = torch.stack([base + sum((alone[i] for i in chosen), torch.zeros(2, 3)) for chosen in
                            itertools.combinations(others, size)])  # fmt: skip
        with_mine, without, variance, same = coalition_moments(outputs, [(player, float(size))])
        torch.testing.assert_close(without, sums.mean(0))
        torch.testing.assert_close(with_mine, sums.mean(0) + alone[player])
        torch.testing.assert_close(variance, sums.var(0, correction=0))
        assert torch.equal(variance, same)


@pytest.mark.parametrize(("count", "nodes"), [(2, 1), (5, 3), (16, 2), (16, 5), (30, 4)])
def test_the_quadrature_over_sizes_is_exact_for_polynomials(count, nodes):
    places, weights = size_quadrature(count, nodes)
    sizes = torch.arange(count, dtype=torch.float64) / count
    assert float(places.min()) >= 0 and float(places.max()) <= count - 1
    for degree in range(2 * nodes):
        expected = float((sizes**degree).mean())
        assert float(weights @ (places / count) ** degree) == pytest.approx(expected, abs=1e-10)


def test_a_linear_network_is_exact_at_one_size():
    net = randomised(nn.Sequential(nn.Conv2d(3, 4, 3), nn.AvgPool2d(2), nn.Flatten(), nn.Linear(36, 3)), 0)
    x = torch.rand(2, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    found = explainers.get("dasp[sizes=1]").explain(net, x, [0, 1])
    other = explainers.get("kernel-shap[segments=16,segmentation=grid,baseline=black]").explain(net, x, [0, 1])
    torch.testing.assert_close(found.attribution, other.attribution, atol=1e-5, rtol=1e-5)
    assert float(found.residual.max()) < 1e-4


def joint(scale):
    """scale relu(2 x1 + x2 - 1) on two pixels: 2 scale with both shown, scale with the first, 0 with the second."""
    net = nn.Sequential(nn.Flatten(), nn.Linear(2, 1), nn.ReLU(), nn.Linear(1, 2, bias=False)).eval()
    with torch.no_grad():
        (
            net[1].weight.copy_(torch.tensor([[2.0, 1.0]])),
            net[1].bias.fill_(-1.0),
            net[3].weight.copy_(torch.tensor([[scale], [0.0]])),
        )
    return net


def test_the_balance_of_two_players_by_hand():
    """Two players: the coalition of the other has one member or none, so nothing varies and the values are exact."""
    image = torch.ones(1, 1, 1, 2)
    found = explainers.get("dasp[segments=2]").explain(joint(3.0), image, [0])
    assert found.attribution.flatten().tolist() == pytest.approx([4.5, 1.5], abs=1e-4)
    assert found.status == ("ok",) and float(found.residual) < 1e-4
    silent = explainers.get("dasp[segments=2]").explain(joint(3.0), image, [1])
    assert silent.status == ("degenerate-zero",) and float(silent.residual) == 0


def test_values_that_miss_by_more_than_they_say_are_failures(monkeypatch):
    net = randomised(nn.Sequential(nn.Flatten(), nn.Linear(36, 40), nn.ReLU(), nn.Linear(40, 3)), 0)
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.abs_()  # nothing cancels: what the values say is their sum
    images = torch.rand(3, 1, 6, 6, generator=torch.Generator().manual_seed(0))
    explainer, true = explainers.get("dasp"), dasp.shapley_values
    kept = explainer.explain(net, images, [0, 1, 2])
    assert set(kept.status) == {"ok"} and float(kept.residual.max()) < 0.3
    monkeypatch.setattr(dasp, "shapley_values", lambda *given: -true(*given))
    turned = explainer.explain(net, images, [0, 1, 2])
    assert set(turned.status) == {"failed"} and float(turned.residual.min()) > 1


def test_moments_that_are_not_the_network_are_failures(monkeypatch):
    net = randomised(nn.Sequential(nn.Flatten(), nn.Linear(36, 40), nn.ReLU(), nn.Linear(40, 3)), 0)
    images = torch.rand(1, 1, 6, 6, generator=torch.Generator().manual_seed(0))
    monkeypatch.setattr(
        moments, "relu_moments", lambda mean, variance: (relu_moments(mean, variance)[0] * 1.01, variance)
    )
    assert explainers.get("dasp").explain(net, images, [0]).status == ("failed",)


def test_near_exact_shapley_values_on_fully_connected_networks():
    results = []
    for seed in range(6):
        net = nn.Sequential(nn.Flatten(), nn.Linear(36, 40), nn.ReLU(), nn.Linear(40, 20), nn.ReLU(), nn.Linear(20, 3))
        results.append(compared(randomised(net, seed), seed))
    errors, correlations = zip(*results, strict=True)
    assert sum(errors) / 6 < 0.1 and min(correlations) > 0.97, results


def test_near_exact_shapley_values_on_a_convolutional_network():
    results = []
    for seed in range(6):
        net = nn.Sequential(nn.Conv2d(1, 8, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(8, 12, 3, padding=1),
                            nn.ReLU(), nn.Flatten(), nn.Linear(12 * 9, 3))  # fmt: skip
        results.append(compared(randomised(net, seed), seed, segments=9, sizes=9))
    errors, correlations = zip(*results, strict=True)
    assert sum(errors) / 6 < 0.3 and sum(correlations) / 6 > 0.95, results


def test_more_sizes_come_nearer_to_all_of_them():
    net = randomised(nn.Sequential(nn.Flatten(), nn.Linear(36, 40), nn.ReLU(), nn.Linear(40, 3)), 0)
    image = torch.rand(1, 6, 6, generator=torch.Generator().manual_seed(0))
    labels = segmented(image[None], "grid", 12)[0]
    full = shapley_values(net, image, torch.zeros_like(image), labels, 0, 12)
    gaps = [
        float((shapley_values(net, image, torch.zeros_like(image), labels, 0, sizes) - full).norm() / full.norm())
        for sizes in (1, 2, 4, 8)
    ]
    assert gaps == sorted(gaps, reverse=True) and gaps[1] < 0.06 and gaps[3] < 0.01, gaps


def test_without_the_variances_the_values_are_worse(monkeypatch):
    def blind(outputs, cases):
        means, variances = coalition_moments(outputs, cases).chunk(2)
        return torch.cat([means, 0 * variances])

    net = randomised(nn.Sequential(nn.Flatten(), nn.Linear(36, 40), nn.ReLU(), nn.Linear(40, 3)), 1)
    right = compared(net, 1)[0]
    monkeypatch.setattr(dasp, "coalition_moments", blind)
    assert compared(net, 1)[0] > 1.5 * right


class Residual(nn.Sequential):
    def forward(self, x):
        y = self[0](x)
        return self[1]((y + F.relu(y)).flatten(1))


class Joined(nn.Sequential):
    def forward(self, x):
        y = self[0](x)
        return self[1](torch.cat([y, y], 1).flatten(1)[:, :72])


class InPlaceBelow(nn.Sequential):
    def forward(self, x):
        y = self[0](x)
        torch.ops.aten.sigmoid_(y)
        return self[1](y.flatten(1))


@pytest.mark.parametrize(
    ("net", "operation"),
    [
        (Residual(nn.Conv2d(1, 2, 1), nn.Linear(72, 3)), "add"),
        (Joined(nn.Conv2d(1, 2, 1), nn.Linear(72, 3)), "cat"),
        (nn.Sequential(nn.Conv2d(1, 2, 1), nn.GELU(), nn.Flatten(), nn.Linear(72, 3)), "gelu"),
        (nn.Sequential(nn.ReLU(), nn.Conv2d(1, 2, 1), nn.Flatten(), nn.Linear(72, 3)), "relu"),
        (
            nn.Sequential(nn.Conv2d(1, 2, 1), nn.MaxPool2d(2, ceil_mode=True), nn.Flatten(), nn.Linear(18, 3)),
            "max_pool2d",
        ),
        (InPlaceBelow(nn.Conv2d(1, 2, 1), nn.Linear(72, 3)), ""),
    ],
)
def test_what_is_no_chain_of_known_layers_is_refused(net, operation):
    with pytest.raises(UnsupportedOperation) as caught:
        explainers.get("dasp").explain(net, torch.rand(1, 1, 6, 6), [0])
    assert operation in caught.value.operation and caught.value.explainer == "dasp"


@pytest.mark.filterwarnings("ignore:.*torch.jit.script.*:FutureWarning")
def test_an_operation_that_cannot_be_seen_is_refused():
    @torch.jit.script
    def squared(x: torch.Tensor) -> torch.Tensor:
        return x * x

    class Hidden(nn.Sequential):
        def forward(self, x):
            return self[1](squared(self[0](x)).flatten(1))

    mode = MomentMode(lambda outputs: torch.cat([outputs, torch.zeros_like(outputs)]))
    with pytest.raises(UnsupportedOperation, match="below Python"):
        mode.run(Hidden(nn.Conv2d(1, 2, 1), nn.Linear(72, 3)), torch.rand(3, 1, 6, 6))
