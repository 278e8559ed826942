"""Folding of batch norms: which can be folded, which must stay, and that the function stays the same."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from models.adapters import from_tensor
from models.fold import folded

IMAGES = torch.rand(3, 2, 8, 8, generator=torch.Generator().manual_seed(0))


class NormAndRelu(nn.BatchNorm2d):
    """A batch norm whose class does more than normalise."""

    def forward(self, x):
        return F.relu(super().forward(x))


class Net(nn.Module):
    def __init__(self, body, norm=nn.BatchNorm2d):
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(0)
            self.conv, self.two = nn.Conv2d(2, 4, 3, padding=1, bias=False), nn.Conv2d(4, 4, 3, groups=2)
            self.up, self.upgroup = nn.ConvTranspose2d(4, 4, 2, 2), nn.ConvTranspose2d(4, 4, 2, 2, groups=2)
            self.norm, self.other, self.last = norm(4), norm(4), nn.BatchNorm1d(4)
            self.free = nn.BatchNorm2d(4, affine=False)
            self.fc, self.head = nn.Linear(4, 4), nn.Linear(4, 3)
            for module in (self.norm, self.other, self.last, self.free):
                module.running_mean.normal_()
                module.running_var.uniform_(0.5, 2)
                if module.affine:
                    module.weight.data.uniform_(-2, 2)
                    module.bias.data.normal_()
        self.body = body

    def forward(self, x):
        return self.head(self.body(self, x).mean((2, 3)))


def functional(net, x):
    norm = net.norm
    x = F.conv2d(x, net.conv.weight, net.conv.bias, padding=1)
    return F.batch_norm(x, norm.running_mean, norm.running_var, norm.weight, norm.bias, False, 0.1, norm.eps)


def two_readers(net, x):
    y = net.conv(x)
    return net.other(net.two(net.norm(y) + y))


BODIES = {  # name: (network, batch norms left that do something)
    "plain": (lambda net, x: net.other(net.two(net.norm(net.conv(x)))), 0),
    "transposed": (lambda net, x: net.free(net.up(net.norm(net.conv(x)))), 0),
    "in place": (lambda net, x: net.other(net.two(F.relu(net.norm(net.conv(x)), inplace=True))), 0),
    "functional": (functional, 0),
    "two readers": (two_readers, 1),
    "pre-activation": (
        lambda net, x: net.conv(x) + net.other(F.relu(net.norm(net.two(F.pad(net.conv(x), [1] * 4))))),
        1,
    ),
    "grouped transposed": (lambda net, x: net.other(net.upgroup(net.norm(net.conv(x)))), 1),
    "re-used layer": (lambda net, x: net.other(net.up(net.norm(net.up(net.conv(x))))), 2),
    "re-used norm": (lambda net, x: net.norm(net.two(net.norm(net.conv(x)))), 1),
    "weight read elsewhere": (lambda net, x: net.norm(net.conv(x)) * net.conv.weight.mean(), 1),
    "behind a relu": (lambda net, x: net.other(net.two(net.norm(F.relu(net.conv(x))))), 1),
}


def doing(subject):
    """Batch norms that still change what they read."""
    return [
        name
        for name, module in subject.model.named_modules()
        if isinstance(module, nn.modules.batchnorm._BatchNorm)
        and not (
            torch.all(module.running_mean == 0)
            and torch.allclose(module.running_var + module.eps, torch.ones_like(module.running_var))
            and (module.weight is None or torch.all(module.weight == 1))
        )
    ]


@pytest.mark.parametrize("name", BODIES)
def test_what_can_be_folded_is_and_the_function_stays(name):
    body, left = BODIES[name]
    subject = from_tensor(Net(body), IMAGES)
    before = subject.checksum()
    unused = [n for n in doing(subject) if n not in used(subject)]
    for kind in (torch.float32, torch.float64):
        copy = folded(subject, kind)
        torch.testing.assert_close(
            copy.module.to(kind)(IMAGES.to(kind)).float(), subject.logits(IMAGES), rtol=1e-3, atol=1e-4
        )
        assert len(doing(copy)) - len(unused) == left
    assert subject.checksum() == before


def used(subject):
    seen = []
    private = subject.private_copy()
    for name, module in private.model.named_modules():
        module.register_forward_hook(lambda m, i, o, name=name: seen.append(name))
    private.logits(IMAGES)
    return seen + (["norm"] if subject.model.body is functional else [])


def test_a_norm_that_does_more_keeps_doing_it():
    subject = from_tensor(Net(BODIES["plain"][0], NormAndRelu), IMAGES)
    copy = folded(subject)
    torch.testing.assert_close(copy.logits(IMAGES), subject.logits(IMAGES), rtol=1e-3, atol=1e-4)
    assert not set(doing(copy)) & {"norm", "other"}
    assert isinstance(copy.model.norm, NormAndRelu)


def test_linear_layers_and_computed_weights():
    class Dense(nn.Module):
        def __init__(self):
            super().__init__()
            self.fc, self.norm, self.head = nn.Linear(128, 8), nn.BatchNorm1d(8), nn.Linear(8, 3)
            self.norm.running_mean.fill_(0.3)

        def forward(self, x):
            return self.head(self.norm(self.fc(x.flatten(1))))

    assert doing(folded(from_tensor(Dense(), IMAGES))) == []
    net = Dense()
    torch.nn.utils.parametrizations.weight_norm(net.fc)
    subject = from_tensor(net, IMAGES)
    copy = folded(subject)
    assert doing(copy) == ["norm"]
    torch.testing.assert_close(copy.logits(IMAGES), subject.logits(IMAGES))
