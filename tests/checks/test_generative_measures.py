"""Measures of counterfactuals against hand-computed cases, independent implementations and invariances."""

import importlib.util

import numpy as np
import pytest
import scipy.linalg
import scipy.stats
import torch

from bench.checks.generative import attributes, change, distances, identity, outcomes, series
from models.naming import UsageError


def normal(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def by_definition(a: torch.Tensor, b: torch.Tensor) -> float:
    """The Frechet distance with scipy's root of the product that is not symmetric."""
    one, other = np.cov(a.double().numpy().T), np.cov(b.double().numpy().T)
    root = scipy.linalg.sqrtm(one @ other)
    mean = a.double().numpy().mean(0) - b.double().numpy().mean(0)
    return float(mean @ mean + np.trace(one + other - 2 * np.real(root)))


@pytest.mark.parametrize("d", [1, 5, 64])
def test_frechet_agrees_with_the_definition(d):
    a = normal(400, d) @ normal(d, d, seed=1)
    b = normal(300, d, seed=2) * 1.5 + 0.3
    if d == 1:
        expected = float((a.mean() - b.mean()).double() ** 2 + (a.double().std() - b.double().std()) ** 2)
    else:
        expected = by_definition(a, b)
    assert distances.frechet(a, b) == pytest.approx(expected, rel=1e-4)


def counted(a: np.ndarray, b: np.ndarray) -> float:
    """The unbiased squared discrepancy under (x.y / d + 1)^3, pair by pair."""

    def kernel(x: np.ndarray, y: np.ndarray) -> float:
        return (sum(float(u) * float(v) for u, v in zip(x, y, strict=True)) / len(x) + 1) ** 3

    def within(rows: np.ndarray) -> float:
        pairs = [kernel(rows[i], rows[j]) for i in range(len(rows)) for j in range(len(rows)) if i != j]
        return sum(pairs) / len(pairs)

    across = [kernel(x, y) for x in a for y in b]
    return within(a) + within(b) - 2 * sum(across) / len(across)


@pytest.mark.parametrize(("n", "m"), [(20, 20), (9, 14)])
def test_kernel_distance_is_that_of_all_pairs_counted(n, m):
    a, b = normal(n, 5).double(), normal(m, 5, seed=1).double() * 1.4 + 0.3
    assert distances.kernel_distance(a, b) == pytest.approx(counted(a.numpy(), b.numpy()), rel=1e-10)
    assert distances.kernel_distance(a, b) != pytest.approx(float(counted(a.numpy(), b.numpy() + 0.05)), rel=1e-3)


@pytest.mark.skipif(importlib.util.find_spec("torchmetrics") is None, reason="torchmetrics is not installed")
def test_frechet_and_kernel_distance_agree_with_torchmetrics():
    from torchmetrics.image.fid import FrechetInceptionDistance
    from torchmetrics.image.kid import KernelInceptionDistance

    class Flat(torch.nn.Module):
        num_features = 12

        def forward(self, x):
            return x.flatten(1).float()

    a, b = normal(200, 3, 2, 2), normal(200, 3, 2, 2, seed=1) * 1.3 + 0.2
    fid = FrechetInceptionDistance(feature=Flat(), normalize=True)
    kid = KernelInceptionDistance(feature=Flat(), normalize=True, subsets=1, subset_size=200)
    for metric in (fid, kid):
        metric.update(a, real=True)
        metric.update(b, real=False)
    assert distances.frechet(a.flatten(1), b.flatten(1)) == pytest.approx(float(fid.compute()), rel=1e-4)
    assert distances.kernel_distance(a.flatten(1), b.flatten(1)) == pytest.approx(float(kid.compute()[0]), rel=1e-4)


def test_gaussians_by_hand_and_invariances():
    a, b = normal(2000, 3), normal(2000, 3, seed=1)
    order = torch.randperm(2000, generator=torch.Generator().manual_seed(2))
    rotation = torch.linalg.qr(normal(3, 3, seed=3))[0]
    assert distances.frechet(a, a) == pytest.approx(0, abs=1e-9)
    assert distances.frechet(a, a + torch.tensor([1.0, 2.0, 2.0])) == pytest.approx(9, rel=1e-5)
    assert distances.frechet(a, b[order]) == pytest.approx(distances.frechet(b, a), rel=1e-9)
    assert distances.frechet(a @ rotation, b @ rotation) == pytest.approx(distances.frechet(a, b), rel=1e-4)
    doubled = distances.frechet(torch.cat([a, a]), torch.cat([b, b]))
    assert doubled == pytest.approx(distances.frechet(a, b), rel=1e-2)
    assert distances.kernel_distance(a[order], b) == pytest.approx(distances.kernel_distance(a, b), rel=1e-9)


def test_the_bias_at_few_images_is_the_known_one_for_frechet_and_none_for_the_kernel():
    d, n = 16, 200
    pairs = [(normal(n, d, seed=2 * k), normal(n, d, seed=2 * k + 1)) for k in range(30)]
    mean = float(np.mean([distances.frechet(a, b) for a, b in pairs]))
    assert mean == pytest.approx(2 * d / n + d * (d + 1) / (2 * n), rel=0.1)
    kernel = np.array([distances.kernel_distance(a, b) for a, b in pairs])
    assert abs(kernel.mean()) < 3 * kernel.std() / len(kernel) ** 0.5


@pytest.mark.parametrize(
    ("a", "b", "said"),
    [
        (torch.zeros(1, 3), torch.zeros(4, 3), "n >= 2"),
        (torch.zeros(4, 3), torch.zeros(4, 2), "one network"),
        (torch.full((4, 3), float("nan")), torch.zeros(4, 3), "not finite"),
    ],
)
def test_what_has_no_distance_is_refused(a, b, said):
    for function in (distances.frechet, distances.kernel_distance):
        with pytest.raises(UsageError, match=said):
            function(a, b)


def test_closeness_is_retrieval_in_both_readings():
    x = normal(50, 8)
    assert identity.closest_to_itself(x, x + 1e-3).all() and not identity.closest_to_itself(x, x.roll(1, 0)).any()
    unrelated = [float(identity.closest_to_itself(x, normal(50, 8, seed=k)).double().mean()) for k in range(1, 40)]
    assert np.mean(unrelated) == pytest.approx(1 / 50, abs=0.012)
    collapsed = x.clone()
    collapsed[1:] = x[:1]  # all counterfactuals are the first image
    assert identity.closest_to_itself(x, collapsed, "equation").tolist() == [True] + [False] * 49
    assert not identity.closest_to_itself(x, collapsed, "text").any()
    with pytest.raises(UsageError, match="allowed are"):
        identity.closest_to_itself(x, x, "both")


def test_the_equal_error_threshold():
    draws = torch.Generator().manual_seed(0)
    same, different = torch.randn(20000, generator=draws) + 1, torch.randn(20000, generator=draws) - 1
    threshold, error = identity.equal_error(same, different)
    assert threshold == pytest.approx(0, abs=0.03) and error == pytest.approx(scipy.stats.norm.cdf(-1), abs=0.01)
    assert identity.equal_error(different, same)[1] > 0.5
    x = normal(6, 4)
    assert identity.verified(x, 3 * x, 0.99).all() and not identity.verified(x, -x, 0.0).any()


def test_outcomes_by_hand():
    p = torch.tensor([[0.5, 0.5, 0.0], [0.1, 0.2, 0.7], [0.3, 0.4, 0.3], [0.9, 0.1, 0.0], [0.0, 0.0, 1.0]])
    source, target = torch.zeros(5, dtype=torch.long), torch.ones(5, dtype=torch.long)
    assert outcomes.validity(p, target).tolist() == [False, False, True, False, False]
    assert outcomes.boundary_gap(p, source, target).tolist() == pytest.approx([0, 0.1, 0.1, 0.8, 0])
    assert outcomes.pair_mass(p, source, target).tolist() == pytest.approx([1, 0.3, 0.7, 1, 0])
    assert outcomes.intrusion(p, source, target).tolist() == [False, True, False, False, True]
    assert outcomes.intrusion(p, source, target, strict=False).tolist() == [False, True, False, False, True]
    assert outcomes.reached(p, source, target).tolist() == [True, False, True, False, False]
    assert not outcomes.intrusion(p[:, :2], source, target).any()
    assert outcomes.transfer_gain(p, p.flip(1), target).tolist() == pytest.approx([0, 0, 0, 0, 0])


def test_changes_by_hand():
    x = torch.zeros(2, 1, 10, 10)
    y = x.clone()
    y[0, 0, 0, 0] = 1.0
    assert change.proximity(x, y).tolist() == pytest.approx([0.01, 0]) and change.proximity(x, y, 2)[
        0
    ] == pytest.approx(0.1)
    assert change.changed_share(x, y).tolist() == pytest.approx([0.01, 0])
    found = change.concentration(x, y)
    assert float(found[0]) == pytest.approx(0.99) and torch.isnan(found[1])
    assert float(change.concentration(x, x + 0.3)[0]) == pytest.approx(0, abs=1e-9)


def test_exchange_knows_what_counts():
    """A model that reads one pixel: exchanged first it gives nearly 1, exchanged last nearly -1, a straight line gives 0."""
    x = torch.zeros(3, 1, 10, 10)
    first, last = x + 0.2, x + 0.2
    first[:, :, 5, 5], last[:, :, 5, 5] = 1.0, 0.1

    def reads_one(images):
        p = (images[:, 0, 5, 5] > 0.05).double()
        return torch.stack([1 - p, p], 1)

    def reads_all(images):
        p = images.mean((1, 2, 3)).double() / 0.2
        return torch.stack([1 - p, p], 1)

    source, target = torch.zeros(3, dtype=torch.long), torch.ones(3, dtype=torch.long)
    assert change.exchange(x, first, source, target, reads_one)[0] == pytest.approx(0.98, abs=0.011)
    assert change.exchange(x, last, source, target, reads_one)[0] == pytest.approx(-0.98, abs=0.011)
    assert change.exchange(x, x + 0.2, source, target, reads_all)[0] == pytest.approx(0, abs=1e-6)
    assert torch.isnan(change.exchange(x, x, source, target, reads_one)).all()


def test_series():
    asked = torch.linspace(0.05, 0.95, 10).expand(3, -1)
    got = torch.stack([asked[0] * 0.1 + 0.45, 1 - asked[0], torch.full((10,), 0.5)])
    agreement = series.agreement(asked, got)
    assert agreement[:2].tolist() == pytest.approx([1, -1]) and torch.isnan(agreement[2])
    assert series.error(asked, got)[2] == pytest.approx(0.25) and series.error(asked, asked)[0] == 0
    assert series.span(got).tolist() == pytest.approx([0.09, 0.9, 0], abs=1e-6)
    noisy = asked + 0.3 * normal(3, 10)
    expected = [scipy.stats.spearmanr(a, b).statistic for a, b in zip(asked.numpy(), noisy.numpy(), strict=True)]
    assert series.agreement(asked, noisy).tolist() == pytest.approx(expected, abs=1e-9)


def test_series_are_pooled_by_the_tenth_that_was_requested():
    asked = torch.tensor([[0.05, 0.3, 0.95], [0.52, 0.58, 1.0]])
    found = series.by_tenth(asked, torch.tensor([[0.1, 0.2, 0.9], [0.4, 0.6, 1.0]]))
    assert list(found) == [f"achieved-{name}" for name in series.TENTHS] and series.TENTHS[5] == "55"
    assert torch.stack([found[f"achieved-{name}"] for name in ("05", "35", "55", "95")], 1).nan_to_num(
        -1
    ).flatten().tolist() == pytest.approx([0.1, 0.2, -1, 0.9, -1, -1, 0.5, 1.0])


def test_attributes():
    draw = torch.Generator().manual_seed(0)
    before = torch.randint(0, 2, (400, 4), generator=draw)
    asked = torch.randint(0, 4, (400,), generator=draw)
    clean = before.clone()
    clean[torch.arange(400), asked] = 1 - clean[torch.arange(400), asked]
    assert attributes.flips(before, clean).nonzero()[:, 1].tolist() == asked.tolist()
    assert torch.equal(attributes.moves(before, clean), (clean - before).double())
    assert attributes.moves(before.bool(), (1 - before).bool()).abs().min() == 1
    assert attributes.changed_attributes(before, clean).tolist() == [1.0] * 400
    assert not attributes.confounding(before[:, 0], before[:, 0]).any()
    with pytest.raises(UsageError, match="twice"):
        attributes.flips(before, before[:, :1])
