import copy

import torch
from torch import nn

import models
from models.copying import private


class Own(nn.Module):
    def __init__(self):
        super().__init__()
        self.a = nn.Linear(3, 3)
        self.listed = [self.a]

    def forward(self, x):
        return self.listed[0](x)


def test_copies_equal_deep_copies_and_share_nothing():
    shared = nn.Linear(3, 3)
    net = nn.Sequential(shared, nn.BatchNorm1d(3), nn.ReLU(), Own(), shared, nn.Dropout()).eval()
    net[1].running_mean.fill_(0.5)
    net[0].weight.requires_grad_(False)
    made, deep = private(net), copy.deepcopy(net)
    assert made[0] is made[4] and made[3].listed[0] is made[3].a and not made.training
    assert made.state_dict().keys() == deep.state_dict().keys()
    assert all(torch.equal(value, deep.state_dict()[key]) for key, value in made.state_dict().items())
    assert not made[0].weight.requires_grad and made[1].weight.requires_grad
    x = torch.rand(4, 3)
    torch.testing.assert_close(made(x), net(x))
    before = {key: value.clone() for key, value in net.state_dict().items()}
    with torch.no_grad():
        for tensor in (*made.parameters(), *made.buffers()):
            tensor.add_(1)
    made.train()
    assert all(torch.equal(value, net.state_dict()[key]) for key, value in before.items()) and not net.training
    held = {id(v) for m in net.modules() for v in vars(m).values() if isinstance(v, dict | set | list)}
    assert not held & {id(v) for m in made.modules() for v in vars(m).values() if isinstance(v, dict | set | list)}


def test_hooks_are_copied_and_not_shared():
    net = nn.Sequential(nn.Linear(2, 2))
    net[0].register_forward_hook(lambda m, i, o: o + 1)
    made = private(net)
    x = torch.rand(1, 2)
    torch.testing.assert_close(made(x), net(x))
    made[0]._forward_hooks.clear()
    assert net[0]._forward_hooks


def test_the_thesis_network():
    subject = models.load("fmnist-vgg")
    images, _ = subject.sample(2, seed=0)
    assert subject.private_copy().checksum() == subject.checksum()
    torch.testing.assert_close(subject.private_copy().logits(images), subject.logits(images))
