import captum.attr
import pytest
import torch
from torch import nn

import explainers
import models
from explainers.base import ExplainerError
from explainers.cams import coarse_gradcam, features_and_gradients
from explainers.cams_plus import coarse_cam, coarse_gradcam_plus, plus_weights
from models.adapters import from_tensor


@pytest.fixture(scope="module")
def subject():
    return models.load("fmnist-vgg[norm=none]")


@pytest.fixture(scope="module")
def images(subject):
    return subject.sample(4, seed=0)[0]


class Pooled(nn.Module):
    """Convolutions, global average pooling, one linear layer."""

    def __init__(self, pool=None):
        super().__init__()
        draw = torch.Generator().manual_seed(1)
        self.a, self.r, self.b, self.s = nn.Conv2d(3, 6, 3), nn.ReLU(), nn.Conv2d(6, 5, 3), nn.ReLU(inplace=True)
        self.pool, self.out = pool or nn.AdaptiveAvgPool2d(1), nn.Linear(5, 4)
        with torch.no_grad():
            for parameter in self.parameters():
                parameter.normal_(0, 0.3, generator=draw)

    def forward(self, x):
        return self.out(torch.flatten(self.pool(self.s(self.b(self.r(self.a(x))))), 1))


def pooled(**options):
    x = torch.rand(3, 3, 12, 12, generator=torch.Generator().manual_seed(2))
    return from_tensor(Pooled(**options), x), x, torch.tensor([0, 1, 3])


@pytest.mark.parametrize("layer", ["last", "conv7", "relu10"])
def test_gradcam_before_enlarging_equals_captum(subject, images, layer):
    t = subject.predict(images)
    tapped = subject.model.get_submodule("conv10" if layer == "last" else layer)
    expected = captum.attr.LayerGradCam(subject.module, tapped).attribute(images, t).detach()
    found = coarse_gradcam(subject, images, t, layer)
    assert float((found - expected).abs().max() / expected.abs().max()) < 1e-5


def test_plus_weights_by_hand():
    """One map of two units: A = (1, 3), g = (0.5, -2): a = 1 / (2 + 0.5 * 4) = 1/4, w = 1/4 * 0.5 = 1/8."""
    features, grads = torch.tensor([1.0, 3.0]).view(1, 1, 1, 2), torch.tensor([0.5, -2.0]).view(1, 1, 1, 2)
    torch.testing.assert_close(plus_weights(features, grads), torch.tensor([[0.125]]))


def test_plus_weights_equal_the_paper_by_repeated_differentiation():
    """Eq. 10 of the paper with true second and third derivatives of Y = exp(S), S linear; exp(S) is the factor left out."""
    draw = torch.Generator().manual_seed(0)
    head = torch.empty(3, 2, 2, dtype=torch.float64).normal_(generator=draw)
    a = torch.rand(3, 2, 2, generator=draw, dtype=torch.float64, requires_grad=True)
    y = torch.exp((head * a).sum())
    (first,) = torch.autograd.grad(y, a, create_graph=True)
    expected = torch.zeros(3, dtype=torch.float64)
    for k, i, j in torch.cartesian_prod(torch.arange(3), torch.arange(2), torch.arange(2)).tolist():
        second = torch.autograd.grad(first[k, i, j], a, create_graph=True)[0][k, i, j]
        third = torch.autograd.grad(second, a, retain_graph=True)[0][k, i, j]
        share = second / (2 * second + a[k].sum() * third)
        expected[k] += float((share * first[k, i, j].clamp_min(0)).detach())
    found = plus_weights(a.detach()[None], head[None])[0]
    torch.testing.assert_close(found * float(y.detach()), expected)


def test_plus_is_taken_behind_the_relu_and_is_never_negative(subject, images):
    t = subject.predict(images)
    behind = features_and_gradients(subject, images, t, "last", rectified=True)[0]
    named = features_and_gradients(subject, images, t, "relu10")[0]
    torch.testing.assert_close(behind, named)
    assert float(coarse_gradcam_plus(subject, images, t).min()) >= 0
    assert explainers.get("gradcam++").explain(subject, images, t).status == ("ok",) * 4


def test_guided_is_the_product(subject, images):
    names = ("guided-gradcam++", "guided-backprop", "gradcam++")
    product, guided, cam = (explainers.get(name).explain(subject, images).attribution for name in names)
    torch.testing.assert_close(product, guided * cam)


@pytest.mark.parametrize("name", ["gradcam++", "guided-gradcam++"])
def test_neither_the_batch_nor_the_writing_of_the_network_matters(name):
    subject, functional = models.load("fmnist-vgg"), models.load("fmnist-vgg-functional")
    images = subject.sample(3, seed=1)[0]
    e, t = explainers.get(name), subject.predict(images)
    whole = e.explain(subject, images, t).attribution
    for other in (e.explain(subject, images, t, batch_size=1), e.explain(functional, images, t)):
        assert float((whole - other.attribution).abs().max() / whole.abs().max()) < 1e-4


class Mean(nn.Module):
    def forward(self, x):
        return x.mean(dim=(2, 3))


@pytest.mark.parametrize("pool", [nn.AdaptiveAvgPool2d(1), nn.AvgPool2d(8), Mean()])
def test_cam_is_gradcam_up_to_the_number_of_positions_and_averages_to_the_logit(pool):
    subject, x, t = pooled(pool=pool)
    found = coarse_cam(subject, x, t)
    torch.testing.assert_close(found, 64 * coarse_gradcam(subject, x, t, "s"), rtol=1e-4, atol=1e-5)
    logits = subject.predict_logits(x).gather(1, t[:, None])[:, 0] - subject.model.out.bias[t]
    torch.testing.assert_close(found.mean((1, 2, 3)), logits.detach(), rtol=1e-4, atol=1e-5)
    assert explainers.get("cam").explain(subject, x, t).attribution.shape == (3, 1, 12, 12)


def test_cam_refuses_other_heads(subject, images):
    deep = Pooled()
    deep.out = nn.Sequential(nn.Linear(5, 5), nn.ReLU(), nn.Linear(5, 4))
    for model in (subject, from_tensor(deep, torch.rand(2, 3, 12, 12))):
        x = model.data.load([0, 1])
        with pytest.raises(ExplainerError, match="global average pooling"):
            explainers.get("cam").explain(model, x)


class Twice(nn.Module):
    """One convolution that sees the image and its mirror image, and one behind it."""

    def __init__(self):
        super().__init__()
        self.shared, self.behind = nn.Conv2d(1, 3, 3, padding=1), nn.Conv2d(3, 4, 3, padding=1)
        with torch.no_grad():
            for parameter in self.parameters():
                parameter.copy_(torch.linspace(0.1, 1, parameter.numel()).view_as(parameter))

    def forward(self, x):
        return self.behind(torch.relu(self.shared(x)) + torch.relu(self.shared(x.flip(-1)))).mean((2, 3))


@pytest.mark.parametrize("name", ["gradcam", "gradcam++", "guided-gradcam"])
def test_a_layer_that_is_called_twice_is_refused_and_the_one_behind_is_not(name, images):
    model = Twice().eval()
    with pytest.raises(explainers.ExplainerError, match="'shared' is called 2 times .* called once"):
        explainers.get(f"{name}[layer=shared]").explain(model, images)
    found = explainers.get(f"{name}[layer=behind]").explain(model, images)
    assert set(found.status) == {"ok"}
    explainers.get(name).explain(model, images)


def test_a_layer_that_does_not_exist_is_named(subject, images):
    with pytest.raises(models.UsageError, match="conv10"):
        explainers.get("gradcam++[layer=conv01]").explain(subject, images)
