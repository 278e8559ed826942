import pytest
import torch
import torch.nn.functional as F
from torch import nn

import models
from models.adapters import from_tensor
from models.naming import UsageError

THESIS = ["fc3", "fc2", "fc1", *(f"conv{index}" for index in range(10, 0, -1))]


@pytest.mark.parametrize("name", ["fmnist-vgg", "fmnist-vgg-functional"])
def test_the_thesis_network_has_thirteen_stages_output_first(name):
    stages = models.load(name).stages
    assert [stage.name for stage in stages] == THESIS and [stage.index for stage in stages] == list(range(1, 14))


class Tangled(nn.Module):
    """Registered in another order than executed; a shared layer, a functional layer, a batch norm with its own place."""

    def __init__(self):
        super().__init__()
        self.last = nn.Linear(4, 3)
        self.unused = nn.Linear(9, 9)
        self.bn = nn.BatchNorm2d(4)
        self.shared = nn.Conv2d(4, 4, 3, padding=1)
        self.first = nn.Conv2d(1, 4, 3)

    def forward(self, x):
        x = F.relu(self.bn(self.first(x)))
        x = self.shared(torch.relu(self.shared(x)))
        return F.linear(x.mean((2, 3)), self.last.weight, self.last.bias)


def test_execution_order_shared_layers_and_functional_calls():
    stages = from_tensor(Tangled(), torch.rand(2, 1, 8, 8)).stages
    assert [(stage.name, stage.norm) for stage in stages] == [("last", None), ("shared", None), ("first", "bn")]


def test_no_hook_is_left_behind():
    net = Tangled()
    _ = from_tensor(net, torch.rand(2, 1, 8, 8)).stages
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in net.modules())


def test_a_model_without_layers_is_refused():
    class Plain(nn.Module):
        def __init__(self):
            super().__init__()
            self.scale = nn.Parameter(torch.rand(16, 3))

        def forward(self, x):
            return x.flatten(1) @ self.scale

    with pytest.raises(UsageError, match="no convolution or linear layer"):
        from_tensor(Plain(), torch.rand(2, 1, 4, 4))
