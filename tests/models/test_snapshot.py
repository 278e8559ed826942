"""A snapshot notices every change of a network, and nothing else."""

import copy

import pytest
import torch
from torch import nn

import models
from models.snapshot import Snapshot, same_bits


def net():
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.ReLU(), nn.Flatten(), nn.Linear(8, 3)).eval()


def lowest_bit(model):
    weight = model[4].weight.data.view(torch.int32)
    weight[0, 0] ^= 1


CHANGES = {
    "a weight": lambda model: model[0].weight.data.mul_(2),
    "the lowest bit of a weight": lowest_bit,
    "a sign of zero": lambda model: model[1].bias.data.neg_(),
    "a buffer": lambda model: model[1].running_mean.add_(1),
    "a count": lambda model: model[1].num_batches_tracked.add_(1),
    "training": lambda model: model[1].train(),
    "requires_grad": lambda model: model[4].weight.requires_grad_(False),
    "a gradient": lambda model: setattr(model[4].weight, "grad", torch.zeros(3, 8)),
    "a hook": lambda model: model[2].register_forward_hook(lambda *given: None),
    "a backward hook": lambda model: model[2].register_full_backward_hook(lambda *given: None),
    "a type": lambda model: model[4].double(),
    "a part": lambda model: model.__setitem__(2, nn.ELU()),
    "another part": lambda model: model.append(nn.Identity()),
    "a bias that is gone": lambda model: setattr(model[4], "bias", None),
    "another shape": lambda model: setattr(model[1], "running_mean", torch.zeros(1)),
}


@pytest.mark.parametrize("change", CHANGES, ids=str)
def test_a_change_is_noticed(change):
    model = net()
    before = Snapshot(model)
    assert before.holds(model)
    CHANGES[change](model)
    assert not before.holds(model)


def test_passes_and_copies_are_no_change():
    model = net()
    before = Snapshot(model)
    model(torch.rand(2, 1, 4, 4)).sum()
    assert before.holds(model) and before.holds(copy.deepcopy(model))


def test_the_snapshot_does_not_change_with_the_network():
    model = net()
    before = Snapshot(model)
    with torch.no_grad():
        kept = model[0].weight.clone()
        model[0].weight.zero_()
        assert not before.holds(model)
        model[0].weight.copy_(kept)
    assert before.holds(model)


def test_it_agrees_with_the_digest_on_a_real_network():
    subject = models.load("fmnist-vgg").private_copy()
    before, digest = Snapshot(subject.model), subject.checksum()
    assert before.holds(subject.model)
    subject.model.fc3.weight.data[0, 0] = float("nan")
    assert not before.holds(subject.model) and subject.checksum() != digest
    again = Snapshot(subject.model)
    assert again.holds(subject.model)


@pytest.mark.parametrize(
    "dtype", [torch.float16, torch.bfloat16, torch.float64, torch.complex64, torch.int64, torch.bool]
)
def test_bits_of_every_type(dtype):
    one = torch.tensor([0, 1, 1]).to(dtype)
    assert same_bits(one, one.clone())
    assert not same_bits(one, torch.tensor([0, 1, 0]).to(dtype))
    assert not same_bits(one, one[:2]) and not same_bits(one, one.to(torch.float32))
