import captum.attr
import numpy as np
import pytest
import torch
from torch import nn

import explainers
import models
from explainers.expected import draws, noise_of
from models.adapters import from_tensor
from models.naming import UsageError

NAMES = ("expected-gradients", "gradient-shap")


@pytest.fixture(scope="module")
def subject():
    return models.load("fmnist-vgg")


@pytest.fixture(scope="module")
def images(subject):
    return subject.sample(3, seed=0)[0]


@pytest.mark.parametrize("name", NAMES)
def test_agreement_with_captum_given_the_same_random_numbers(subject, images, name, monkeypatch):
    samples, sigma, seed = 6, 0.1 if name == "gradient-shap" else 0.0, 4
    drawn = [draws(subject, image, seed, samples) for image in images]
    noise = torch.stack([noise_of(key, images.shape[1:]) for each in drawn for key in each.keys])
    references = subject.reference.load([int(i) for each in drawn for i in each.references])
    monkeypatch.setattr(np.random, "uniform", lambda *a: torch.cat([each.points for each in drawn]).numpy())
    monkeypatch.setattr(np.random, "choice", lambda *a, **k: np.arange(len(references)))
    monkeypatch.setattr(torch, "normal", lambda mean, spread: noise * spread)
    t = subject.predict(images)
    method = captum.attr.GradientShap(subject.module)
    expected = method.attribute(images, references, n_samples=samples, stdevs=sigma, target=t).detach()
    found = explainers.get(f"{name}[samples={samples}]").explain(subject, images, t, seed=seed).attribution
    assert float((found - expected).abs().max() / expected.abs().max()) < 1e-4


def test_a_linear_model_by_hand():
    net = nn.Sequential(nn.Flatten(), nn.Linear(12, 3))
    x = torch.rand(4, 3, 2, 2, generator=torch.Generator().manual_seed(0))
    subject = from_tensor(net, x)
    found = explainers.get("expected-gradients[samples=7]").explain(subject, x, [0, 1, 2, 0], seed=1)
    for row, target in enumerate((0, 1, 2, 0)):
        mean = x[draws(subject, x[row], 1, 7).references].mean(0)
        expected = (x[row] - mean) * net[1].weight[target].detach().view(3, 2, 2)
        torch.testing.assert_close(found.attribution[row], expected, rtol=1e-4, atol=1e-6)
    assert float(found.residual.max()) < 1e-3


@pytest.mark.parametrize("name", NAMES)
def test_neither_the_batch_nor_the_writing_of_the_network_matters(subject, images, name):
    e, t = explainers.get(f"{name}[samples=5]"), subject.predict(images)
    whole = e.explain(subject, images, t, seed=3).attribution
    functional = models.load("fmnist-vgg-functional")
    for other in (e.explain(subject, images, t, seed=3, batch_size=1), e.explain(functional, images, t, seed=3)):
        assert float((whole - other.attribution).abs().max() / whole.abs().max()) < 1e-4
    assert float((whole - e.explain(subject, images, t, seed=4).attribution).abs().max() / whole.abs().max()) > 0.01


def test_more_samples_come_closer_to_completeness(subject, images):
    few, many = (explainers.get(f"expected-gradients[samples={n}]").explain(subject, images) for n in (2, 60))
    assert float(many.residual.mean()) < float(few.residual.mean())
    assert few.status == ("ok",) * 3


def test_without_noise_they_are_the_same_and_fewer_draws_are_a_prefix(subject, images):
    plain = explainers.get("expected-gradients[samples=4]").explain(subject, images).attribution
    quiet = explainers.get("gradient-shap[samples=4,sigma=0.0]").explain(subject, images).attribution
    assert torch.equal(plain, quiet)
    few, many = draws(subject, images[0], 0, 3), draws(subject, images[0], 0, 9)
    assert torch.equal(few.references, many.references[:3]) and torch.equal(few.points, many.points[:3])


def test_wrong_parameters(subject, images):
    for text in ("expected-gradients[samples=0]", "gradient-shap[sigma=-0.1]"):
        with pytest.raises(UsageError, match="needed"):
            explainers.get(text).explain(subject, images)
