import numpy as np
import pytest
import torch
from torch import nn

import explainers
import models
from explainers.engine import UnsupportedOperation
from explainers.rules.rectgrad import _passed
from models.naming import UsageError


@pytest.fixture(scope="module")
def subject():
    return models.load("fmnist-vgg")


@pytest.fixture(scope="module")
def images(subject):
    return subject.sample(4, seed=0)[0]


def test_two_layers_against_a_chain_written_by_hand():
    draw = torch.Generator().manual_seed(0)
    net = nn.Sequential(nn.Flatten(), nn.Linear(12, 50), nn.ReLU(), nn.Linear(50, 40), nn.ReLU(), nn.Linear(40, 3))
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.normal_(0, 0.5, generator=draw)
    x = torch.rand(3, 3, 2, 2, generator=draw)
    found = explainers.get("rectgrad[percentile=70.0]").explain(net, x, [0, 1, 2]).attribution
    first, second, last = (net[i].weight.detach().numpy() for i in (1, 3, 5))
    for row in range(3):
        pixels = x[row].flatten().numpy()
        a = first @ pixels + net[1].bias.detach().numpy()
        b = second @ a.clip(0) + net[3].bias.detach().numpy()
        arriving = last[row]
        for pre, weights in ((b, second), (a, first)):
            score = pre.clip(0) * arriving
            threshold = np.percentile(score, 70, method="lower")
            arriving = (arriving * (score > threshold) * (pre > 0)) @ weights
        expected = (pixels * arriving).clip(0)
        np.testing.assert_allclose(found[row].flatten().numpy(), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("percentile", [0.0, 50.0, 98.0])
def test_no_more_than_the_share_of_units_passes(percentile):
    draw = torch.Generator().manual_seed(0)
    x, above = (torch.randn(2, 10, 20, 20, generator=draw) for _ in range(2))
    passed = (_passed(x, above, percentile) != 0).flatten(1).float().mean(1)
    assert float(passed.max()) <= 1 - percentile / 100 + 1e-3
    if percentile == 98.0:
        assert float(passed.min()) > 0.015


def test_neither_the_batch_nor_the_writing_of_the_network_matters(subject, images):
    e, t = explainers.get("rectgrad"), subject.predict(images)
    whole = e.explain(subject, images, t)
    for other in (
        e.explain(subject, images, t, batch_size=1),
        e.explain(models.load("fmnist-vgg-functional"), images, t),
    ):
        assert float((whole.attribution - other.attribution).abs().max() / whole.attribution.max()) < 1e-4
    assert whole.status == ("ok",) * 4 and float(whole.attribution.min()) >= 0
    assert bool((whole.attribution[images == 0] == 0).all())


def test_what_it_has_no_rule_for_is_refused():
    net = nn.Sequential(nn.Flatten(), nn.Linear(12, 5), nn.GELU(), nn.Linear(5, 2))
    with pytest.raises(UnsupportedOperation, match="gelu"):
        explainers.get("rectgrad").explain(net, torch.rand(1, 3, 2, 2))


def test_the_percentile_is_checked(subject, images):
    with pytest.raises(UsageError, match="below 100"):
        explainers.get("rectgrad[percentile=100.0]").explain(subject, images)
