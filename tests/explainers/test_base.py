import contextlib

import pytest
import torch
from torch import nn

import explainers
import models
from explainers.base import ExplainerError, status_of
from models.naming import UsageError


@pytest.fixture(scope="module")
def subject():
    return models.load("fmnist-vgg")


@pytest.fixture(scope="module")
def images(subject):
    return subject.sample(4, seed=0)[0]


def plugin(name, function, **options):
    explainers.register(f"test-{name}", **{"signed": True, **options})(function)
    return explainers.get(f"test-{name}")


def test_none_explains_the_prediction(subject, images):
    e = explainers.get("gradient")
    assert torch.equal(
        e.explain(subject, images).attribution, e.explain(subject, images, subject.predict(images)).attribution
    )


def test_a_bare_module_takes_images_as_they_are():
    net = nn.Sequential(nn.Flatten(), nn.Linear(12, 3))
    images = torch.rand(2, 3, 2, 2)
    found = explainers.get("gradient").explain(net, images, [0, 2])
    torch.testing.assert_close(found.attribution.flatten(1), net[1].weight[[0, 2]].detach())
    assert found.map().shape == (2, 2, 2)


def test_channels_are_summed_or_reduced_by_the_maximum(subject):
    net = nn.Sequential(nn.Flatten(), nn.Linear(12, 3))
    images = torch.rand(2, 3, 2, 2)
    signed = explainers.get("gradient").explain(net, images, [0, 1])
    unsigned = explainers.get("saliency").explain(net, images, [0, 1])
    torch.testing.assert_close(signed.map(), signed.attribution.sum(1))
    torch.testing.assert_close(unsigned.map(), unsigned.attribution.abs().amax(1))
    assert float(signed.map("positive").min()) >= 0 and torch.equal(signed.map("abs"), signed.map().abs())
    with pytest.raises(ValueError, match="mode is 'both'"):
        signed.map("both")


@pytest.mark.parametrize(
    "name", ["gradient", "guided-backprop", "gradcam", "lrp-a2b1", "lrp-a9b8", "integrated-gradients", "smoothgrad"]
)
def test_the_batch_does_not_matter(subject, images, name):
    e = explainers.get(name)
    whole = e.explain(subject, images, seed=3).attribution
    parts = e.explain(subject, images, seed=3, batch_size=1).attribution
    scale = whole.abs().amax((1, 2, 3), keepdim=True)
    assert float(((whole - parts) / scale).abs().max()) < 1e-4


def searches(name):
    """Whether an explainer goes through the network hundreds of times one after the other."""
    return "generator" in explainers.card(name).params


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=pytest.mark.slow) if searches(name) else name
        for name in explainers.names()
        if explainers.card(name).requires != "evidence"
    ],
)
def test_model_input_and_global_randomness_are_left_alone(subject, images, name):
    before, pixels, state = subject.checksum(), images.clone(), torch.random.get_rng_state()
    # The network has no global pooling for CAM, and nothing was fitted to it.
    refused = ExplainerError if name == "cam" else UsageError if explainers.card(name).amortised else None
    with pytest.raises(refused) if refused else contextlib.nullcontext():
        explainers.get(name).explain(subject, images[:2], seed=0)
    assert subject.checksum() == before and torch.equal(images, pixels) and not images.requires_grad
    assert torch.equal(state, torch.random.get_rng_state())


def test_statuses():
    maps = torch.rand(4, 1, 3, 3)
    maps[0], maps[1], maps[2, 0, 0, 0] = 0, 2, float("nan")
    assert status_of(maps) == ("degenerate-zero", "degenerate-constant", "non-finite", "ok")


def test_images_that_are_no_numbers_are_refused_and_not_laid_to_the_explainer(subject, images):
    broken = images.clone()
    broken[0, 0, 3, 3] = float("nan")
    with pytest.raises(ExplainerError, match="images hold NaN"):
        explainers.get("saliency").explain(subject, broken)


def test_images_in_double_precision_get_the_same_map(subject, images):
    ordinary, other = (explainers.get("gradient").explain(subject, each).map() for each in (images, images.double()))
    assert torch.equal(other, ordinary)


def test_a_function_is_no_model(images):
    with pytest.raises(UsageError, match="is a function; give an nn.Module"):
        explainers.get("gradient").explain(lambda x: x.flatten(1), images)


def test_broken_explainers_are_named(subject, images):
    cases = {
        "shape": (lambda s, x, t, *, seed: x[:, :, 1:], "returned"),
        "type": (lambda s, x, t, *, seed: "map", "returned str"),
        "input": (lambda s, x, t, *, seed: x.mul_(2), "changed the images"),
        "complex": (lambda s, x, t, *, seed: x.to(torch.complex64), "complex64"),
    }
    for name, (function, message) in cases.items():
        with pytest.raises(ExplainerError, match=message):
            plugin(name, function).explain(subject, images.clone())
    with pytest.raises(ExplainerError, match="declared unsigned"):
        plugin("sign", lambda s, x, t, *, seed: x - 1, signed=False).explain(subject, images)


@pytest.mark.parametrize(
    ("images", "targets", "message"),
    [
        (torch.zeros(2, 32, 32), None, "N, C, H, W"), (torch.zeros(2, 1, 32, 32, dtype=torch.uint8), None, "float tensor"),
        (torch.zeros(2, 1, 32, 32), [0], "one class per image"), (torch.zeros(1, 1, 32, 32), [10], "classes are 0..9"),
    ],
)  # fmt: skip
def test_ill_formed_calls(subject, images, targets, message):
    with pytest.raises(ExplainerError, match=message):
        explainers.get("gradient").explain(subject, images, targets)


@pytest.mark.parametrize("size", [0, -1])
def test_a_batch_of_no_images_is_refused(subject, images, size):
    with pytest.raises(ExplainerError, match=f"batch_size is {size}; at least 1"):
        explainers.get("gradient").explain(subject, images, batch_size=size)
