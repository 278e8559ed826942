import copy
from dataclasses import replace

import captum.attr
import pytest
import torch
from torch import nn

import explainers
import models
from explainers.gradients import BASELINES, baseline_images, blurred
from models.naming import UsageError


@pytest.fixture(scope="module")
def subject():
    return models.load("fmnist-vgg")


@pytest.fixture(scope="module")
def images(subject):
    return subject.sample(4, seed=0)[0]


def close(found, expected, tolerance=1e-5):
    assert float((found - expected).abs().max() / expected.abs().max()) < tolerance


def test_agreement_with_captum(subject, images):
    t = subject.predict(images)
    saliency = captum.attr.Saliency(subject.module).attribute(images.clone().requires_grad_(), target=t, abs=False)
    close(explainers.get("gradient").explain(subject, images, t).attribution, saliency)
    close(explainers.get("saliency").explain(subject, images, t).attribution, saliency.abs())
    product = captum.attr.InputXGradient(subject.module).attribute(images.clone().requires_grad_(), target=t)
    close(explainers.get("input-x-gradient").explain(subject, images, t).attribution, product)


def test_integrated_gradients_agree_with_captum_on_the_unfolded_network(subject, images):
    # In float64: in float32 the folded and the unfolded network cross a ReLU's kink at different nodes of the path.
    t, double = subject.predict(images), subject.with_model(copy.deepcopy(subject.model).double()).module.double()
    expected = captum.attr.IntegratedGradients(double).attribute(images.double(), target=t, n_steps=20)
    found = explainers.get("integrated-gradients[steps=20]").explain(replace(subject, dtype=torch.float64), images, t)
    close(found.attribution, expected.float(), 1e-5)


def test_on_a_linear_model_all_agree():
    net = nn.Sequential(nn.Flatten(), nn.Linear(16, 3, bias=False))
    images = torch.rand(3, 1, 4, 4)
    weight = net[1].weight.detach()[torch.tensor([0, 2, 1])].view(3, 1, 4, 4)
    for name in ("input-x-gradient", "integrated-gradients[steps=4]", "lrp[rule=epsilon,epsilon=0.0,seed=logit]"):
        torch.testing.assert_close(explainers.get(name).explain(net, images, [0, 2, 1]).attribution, weight * images)


def test_input_x_gradient_is_exactly_zero_on_black(subject, images):
    found = explainers.get("input-x-gradient").explain(subject, images).attribution
    assert float(found[images == 0].abs().max()) == 0 < float(found.abs().max())


def test_integrated_gradients_are_complete_with_enough_steps(subject, images):
    few = explainers.get("integrated-gradients[steps=5]").explain(subject, images).residual
    many = explainers.get("integrated-gradients[steps=300]").explain(subject, images).residual
    assert float(many.max()) < 0.01 and float(many.mean()) < float(few.mean())


class Saturated(nn.Module):
    """min(10 x, 1) per class with a weight: the derivative is 0 on nine tenths of the way from black to white."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Linear(4, 2, bias=False)
        self.weight.weight.data = torch.tensor([[0.5, 1, 1.5, 2], [2, 1, 2, 0]])

    def forward(self, x):
        return self.weight(1 - torch.relu(1 - 10 * x.flatten(1)))


def test_integrated_gradients_that_miss_the_change_of_the_logit_are_failures(subject, images):
    white = torch.ones(2, 1, 2, 2)
    few = explainers.get("integrated-gradients[steps=2]").explain(Saturated(), white, [0, 1])
    assert few.status == ("failed", "failed") and few.residual.tolist() == [1, 1]
    many = explainers.get("integrated-gradients").explain(Saturated(), white, [0, 1])
    assert many.status == ("ok", "ok") and float(many.residual.max()) < 0.05
    assert (
        explainers.get("integrated-gradients").explain(Saturated(), 0 * white, [0, 1]).status
        == ("degenerate-zero",) * 2
    )
    kept = explainers.get("integrated-gradients").explain(subject, images)
    change = subject.predict_logits(images) - subject.predict_logits(torch.zeros_like(images))
    change = change.gather(1, kept.targets[:, None])[:, 0]
    flat = kept.attribution.flatten(1)
    assert set(kept.status) == {"ok"}
    expected = (flat.sum(1) - change).abs() / flat.abs().sum(1).maximum(change.abs())
    torch.testing.assert_close(kept.residual, expected, rtol=1e-3, atol=1e-5)


def test_baselines(subject, images):
    assert {kind: baseline_images(subject, images, kind).shape for kind in BASELINES} == dict.fromkeys(
        BASELINES, images.shape
    )
    maps = [
        explainers.get(f"integrated-gradients[steps=8,baseline={k}]").explain(subject, images).map() for k in BASELINES
    ]
    assert all(not torch.allclose(maps[0], other) for other in maps[1:])
    with pytest.raises(UsageError, match="did you mean 'black'"):
        explainers.get("integrated-gradients[baseline=blac]").explain(subject, images)
    with pytest.raises(UsageError, match="at least 2"):
        explainers.get("integrated-gradients[steps=1]").explain(subject, images)


def test_a_blur_keeps_a_constant_image_and_the_range(images):
    torch.testing.assert_close(blurred(torch.full((1, 2, 9, 9), 0.3), 15), torch.full((1, 2, 9, 9), 0.3))
    assert float(blurred(images, 15).max()) < float(images.max())
