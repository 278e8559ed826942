import captum.attr
import pytest
import torch
import torch.nn.functional as F
from torch import nn

import explainers
import models
from explainers.engine import UnsupportedOperation

RULED = {"guided-backprop": captum.attr.GuidedBackprop, "deconvnet": captum.attr.Deconvolution}


@pytest.fixture(scope="module")
def subject():
    return models.load("fmnist-vgg")


@pytest.fixture(scope="module")
def images(subject):
    return subject.sample(4, seed=0)[0]


@pytest.mark.parametrize("name", list(RULED))
def test_agreement_with_captum_on_module_relus(subject, images, name):
    t = subject.predict(images)
    expected = RULED[name](subject.module).attribute(images.clone().requires_grad_(), target=t)
    found = explainers.get(name).explain(subject, images, t).attribution
    assert float((found - expected).abs().max() / expected.abs().max()) < 1e-5


@pytest.mark.parametrize("name", list(RULED))
def test_the_functional_writing_gives_the_same_map_where_captum_gives_the_gradient(subject, images, name):
    functional = models.load("fmnist-vgg-functional")
    t = subject.predict(images)
    right = explainers.get(name).explain(subject, images, t).attribution
    found = explainers.get(name).explain(functional, images, t).attribution
    assert float((found - right).abs().max() / right.abs().max()) < 1e-5
    hooked = RULED[name](functional.module).attribute(images.clone().requires_grad_(), target=t)
    gradient = explainers.get("gradient").explain(functional, images, t).attribution
    torch.testing.assert_close(hooked, gradient, rtol=1e-3, atol=1e-4 * float(gradient.abs().max()))


class Net(nn.Module):
    def __init__(self, activate, residual=False):
        super().__init__()
        draw = torch.Generator().manual_seed(0)
        self.a, self.b, self.c = nn.Linear(6, 8), nn.Linear(8, 8), nn.Linear(8, 3)
        self.activate, self.residual, self.shared = activate, residual, nn.ReLU()
        with torch.no_grad():
            for parameter in self.parameters():
                parameter.copy_(torch.empty(parameter.shape).normal_(generator=draw))

    def forward(self, x):
        h = self.a(x.flatten(1))
        g = self.b(self.activate(self, h))
        return self.c(self.activate(self, g + h if self.residual else g))


def in_place(self, h):
    F.relu(h, inplace=True)
    return h


WRITINGS = {
    "module": lambda self, h: self.shared(h), "functional": lambda self, h: F.relu(h), "torch": lambda self, h: torch.relu(h),
    "method": lambda self, h: h.relu(), "clamp": lambda self, h: h.clamp(min=0), "clamp_min": lambda self, h: h.clamp_min(0),
    "in-place method": lambda self, h: h.relu_() if h.grad_fn else h.relu(), "in-place, result discarded": in_place,
}  # fmt: skip


def by_hand(net, x, target, rule):
    """The rule written out for the two-layer network, by plain matrix products."""
    h = net.a(x.flatten(1))
    g = net.b(h.relu())
    z = g + h if net.residual else g
    r = rule(z, net.c.weight[target].expand(len(x), -1))
    down = rule(h, r @ net.b.weight)
    return ((down + r if net.residual else down) @ net.a.weight).view_as(x)


HANDS = {"guided-backprop": lambda z, r: r.clamp(min=0) * (z > 0), "deconvnet": lambda z, r: r.clamp(min=0)}


@pytest.mark.parametrize("name", list(HANDS))
@pytest.mark.parametrize("writing", list(WRITINGS))
@pytest.mark.parametrize("residual", [False, True])
def test_every_writing_of_a_relu_and_a_tensor_with_two_readers(name, writing, residual):
    if residual and writing.startswith("in-place"):
        writing = "functional"
    net, x = Net(WRITINGS[writing], residual), torch.rand(5, 1, 2, 3, generator=torch.Generator().manual_seed(1))
    found = explainers.get(name).explain(net, x, [1] * 5).attribution
    torch.testing.assert_close(found, by_hand(net, x, 1, HANDS[name]).detach())


@pytest.mark.parametrize(
    "activation", [F.gelu, F.silu, F.leaky_relu, F.relu6, F.hardswish, F.elu, lambda h: h.clamp(0, 6)]
)
def test_activations_without_a_rule_are_refused_with_their_place(activation):
    net = Net(lambda self, h: activation(h))
    with pytest.raises(UnsupportedOperation, match=r"guided-backprop has no rule .*test_backprop\.py:\d+"):
        explainers.get("guided-backprop").explain(net, torch.rand(1, 1, 2, 3), [0])


def test_negative_control_the_maps_are_not_the_gradient(subject, images):
    gradient = explainers.get("gradient").explain(subject, images).attribution
    for name in RULED:
        assert not torch.allclose(explainers.get(name).explain(subject, images).attribution, gradient, rtol=0.1)
