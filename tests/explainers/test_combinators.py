from dataclasses import replace

import captum.attr
import pytest
import torch
from torch import nn

import explainers
import models
from explainers.base import Partial
from explainers.combinators import noisy
from explainers.passes import shared_passes
from models.naming import UsageError


@pytest.fixture(scope="module")
def subject():
    return models.load("fmnist-vgg")


@pytest.fixture(scope="module")
def images(subject):
    return subject.sample(3, seed=0)[0]


def test_the_moments_are_those_of_the_inner_maps(subject, images):
    t = subject.predict(images)
    inner = explainers.get("gradient")
    maps = torch.stack([inner.explain(subject, noisy(images, 5, s, 0.15), t).attribution for s in range(6)])
    scale = float(maps.abs().max())
    for name, expected in (
        ("smoothgrad", maps.mean(0)), ("smoothgrad-squared", maps.square().mean(0)), ("vargrad", maps.var(0, unbiased=False)),
    ):  # fmt: skip
        found = explainers.get(f"{name}[samples=6]").explain(subject, images, t, seed=5).attribution
        assert float((found - expected).abs().max()) < 1e-4 * max(scale, scale**2), name


KINDS = {"smoothgrad": "smoothgrad", "smoothgrad-squared": "smoothgrad_sq", "vargrad": "vargrad"}


@pytest.mark.parametrize("name", KINDS)
def test_agreement_with_captum_when_it_draws_our_noise(subject, images, name, monkeypatch):
    """Its rows are image by image, and its variance is divided by the number of samples."""
    t, count = subject.predict(images), 6
    noise = torch.stack([noisy(images, 5, s, 0.15) - images for s in range(count)], 1).flatten(0, 1)
    monkeypatch.setattr(torch, "normal", lambda mean, deviation: noise)
    tunnel = captum.attr.NoiseTunnel(captum.attr.Saliency(subject.module))
    theirs = tunnel.attribute(images, KINDS[name], count, stdevs=0.15, target=t, abs=False).detach()
    ours = explainers.get(f"{name}[samples={count}](gradient)").explain(subject, images, t, seed=5).attribution
    scale = theirs.abs().amax((1, 2, 3), keepdim=True)
    assert float(((ours - theirs) / scale).abs().max()) < 1e-4
    swapped = images.flip(0), t.flip(0)
    other = tunnel.attribute(swapped[0], KINDS[name], count, stdevs=0.15, target=swapped[1], abs=False).detach().flip(0)
    assert float(((ours - other) / scale).abs().max()) > 1e-2, "control: the noise of another image is not the same"


def test_noise_is_keyed_by_image_and_sample_not_by_place(images):
    whole = noisy(images, 0, 2, 0.15)
    torch.testing.assert_close(whole[1:2], noisy(images[1:2], 0, 2, 0.15))
    torch.testing.assert_close(whole.flip(0), noisy(images.flip(0), 0, 2, 0.15))
    assert not torch.equal(noisy(images, 0, 3, 0.15), whole) and not torch.equal(noisy(images, 1, 2, 0.15), whole)
    assert float((whole - images).std()) == pytest.approx(0.15, rel=0.05)


def test_sharing_changes_nothing(subject, images):
    e = [explainers.get(f"{name}[samples=4]") for name in ("smoothgrad", "vargrad")]
    alone = [each.explain(subject, images, seed=1).attribution for each in e]
    with shared_passes():
        together = [each.explain(subject, images, seed=1).attribution for each in e]
    assert all(torch.equal(a, b) for a, b in zip(alone, together, strict=True))


def test_more_samples_agree_more_between_seeds(subject, images):
    def spread(samples):
        e = explainers.get(f"smoothgrad[samples={samples}]")
        maps = [e.explain(subject, images, seed=s).map().flatten(1) for s in (0, 1)]
        return float(torch.cosine_similarity(*maps).mean())

    assert spread(32) > spread(2)


@pytest.mark.parametrize("text", ["smoothgrad[samples=1]", "vargrad[sigma=0.0]"])
def test_bad_parameters(subject, images, text):
    with pytest.raises(UsageError, match="at least 2 samples"):
        explainers.get(text).explain(subject, images)


def test_it_combines_with_any_explainer(subject, images):
    assert explainers.get("smoothgrad[samples=2](lrp-a2b1)").explain(subject, images).status == ("ok",) * 3


@pytest.mark.parametrize("name", ["smoothgrad", "smoothgrad-squared", "vargrad"])
def test_a_failure_of_the_inner_explainer_stays_one(subject, images, name):
    """One failed inner map of any sample fails the image, and the largest residual is kept, in parts of any size."""
    marked = noisy(images, 0, 3, 0.15)[1]

    def gated(subject, batch, targets, *, seed):
        hit = torch.tensor([torch.equal(each, marked) for each in batch])
        return Partial(batch, residual=torch.where(hit, 0.5, 1e-6), failed=hit)

    explainers.register("test-gated", signed=True)(gated)
    e = explainers.get(f"{name}[samples=5](test-gated)")
    for found in (e.explain(subject, images), e.explain(subject, images, batch_size=1)):
        assert found.status == ("ok", "failed", "ok")
        torch.testing.assert_close(found.residual, torch.tensor([1e-6, 0.5, 1e-6]))
    assert e.explain(subject, images, seed=1).status == ("ok",) * 3
    assert explainers.get(f"{name}[samples=2](gradient)").explain(subject, images).residual is None


@pytest.mark.parametrize("name", ["smoothgrad", "smoothgrad-squared", "vargrad"])
def test_relevance_that_a_network_is_too_deep_for_is_not_made_fine_by_averaging(name):
    torch.manual_seed(0)
    layers = [layer for _ in range(24) for layer in (nn.Linear(16, 16), nn.ReLU())]
    net = nn.Sequential(nn.Flatten(), nn.Linear(64, 16), nn.ReLU(), *layers, nn.Linear(16, 3)).eval()
    found = explainers.get(f"{name}[samples=3](lrp[alpha=60,beta=59])").explain(net, torch.rand(2, 1, 8, 8))
    assert found.status == ("failed",) * 2 and float(found.residual.min()) > 0.01


def test_a_plug_in_that_returns_an_explanation_keeps_its_failures(subject, images):
    @explainers.register("test-explanation", signed=True)
    def whole(subject, images, targets, *, seed):
        made = explainers.get("gradient").explain(subject, images, targets, seed)
        return replace(made, status=("failed", "ok", "ok"))

    assert explainers.get("test-explanation").explain(subject, images).status == ("failed", "ok", "ok")
