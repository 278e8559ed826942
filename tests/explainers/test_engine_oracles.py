"""The rules at ReLUs and DeepLIFT through every way of writing a network, against hooks on autograd's own graph."""

import pytest
import torch
import torchvision
from torch import nn

import explainers
import models
from explainers import deeplift as completeness
from explainers.engine import UnsupportedOperation
from models.adapters import from_tensor
from tests.explainers.engine_bodies import BODIES, Net

IMAGES = torch.rand(2, 3, 8, 8, generator=torch.Generator().manual_seed(1))
TARGETS = torch.tensor([1, 3])
GATES = ("ReluBackward0", "ClampBackward1", "ClampMinBackward0", "ThresholdBackward0")


def guided(made, above, result):
    return made.clamp(min=0)


def deconvnet(made, above, result):
    return above.clamp(min=0)


def rectified(made, above, result):
    score = (result * above).flatten(1)
    rank = 1 + int(0.98 * (score.shape[1] - 1))
    least = score.sort(1).values[:, rank - 1].view(-1, *[1] * (above.dim() - 1))
    return made * (result * above > least)


def by_hooks(net, images, targets, rule):
    """What arrives at the pixels when the derivative of every ReLU of autograd's graph is replaced by a rule."""
    pixels = images.clone().requires_grad_(True)
    logits = net(pixels)
    waiting, seen = [logits.grad_fn], set()
    while waiting:
        node = waiting.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        waiting += [below for below, _ in node.next_functions]
        if node.name() in GATES:
            kept = node._saved_result if node.name() == "ReluBackward0" else node._saved_self.clamp(min=0)
            kept = kept.detach()
            node.register_hook(lambda made, above, kept=kept: (rule(made[0], above[0], kept), *made[1:]))
    return torch.autograd.grad(logits.gather(1, targets[:, None]).sum(), pixels)[0]


@pytest.mark.parametrize("body", [name for name in BODIES if name != "mask"])
def test_rules_at_relus_agree_with_hooks_on_the_graph(body):
    net = Net(BODIES[body]).eval()
    for name, rule in (("guided-backprop", guided), ("deconvnet", deconvnet), ("rectgrad", rectified)):
        expected = by_hooks(net, IMAGES, TARGETS, rule)
        expected = (IMAGES * expected).clamp(min=0) if name == "rectgrad" else expected
        found = explainers.get(name).explain(net, IMAGES, TARGETS).attribution
        scale = float(expected.abs().max())
        torch.testing.assert_close(found / scale, expected / scale, rtol=0, atol=1e-5, msg=f"{name} through {body}")
        plain = explainers.get("gradient").explain(net, IMAGES, TARGETS).attribution
        assert float((found - plain).abs().max()) > 1e-3 * scale


@pytest.mark.parametrize("body", BODIES)
def test_deeplift_is_complete_through(body):
    """A ReLU written as a mask has a multiplier of its own, which is not complete: a failure on record."""
    found = explainers.get("deeplift").explain(Net(BODIES[body]), IMAGES, TARGETS)
    if body == "mask":
        assert found.status == ("failed", "failed") and float(found.residual.min()) > 0.01
        return
    assert found.status == ("ok", "ok") and float(found.residual.max()) < 1e-4


@pytest.mark.parametrize(
    "name",
    ["guided-backprop", "rectgrad", "deeplift", "lrp-a2b1", "gradcam", "integrated-gradients[steps=4]", "occlusion"],
)
def test_training_mode_changes_no_map_and_is_kept(name):
    images = torch.rand(2, 3, 8, 8, generator=torch.Generator().manual_seed(2))
    net = Net(lambda net, h: net.drop(net.relu(net.norm(net.conv(h)))))
    maps = []
    for mode in (True, False):
        before = [module.train(mode).training for module in net.modules()]
        maps.append(explainers.get(name).explain(net, images, TARGETS).attribution)
        assert [module.training for module in net.modules()] == before == [mode] * len(before)
    assert torch.equal(*maps) and bool(maps[0].any())


class Attention(nn.Module):
    def __init__(self):
        super().__init__()
        self.embed, self.head = nn.Conv2d(3, 8, 8, 8), nn.Linear(8, 5)
        self.attend = nn.MultiheadAttention(8, 2, batch_first=True)

    def forward(self, x):
        h = torch.relu(self.embed(x)).flatten(2).transpose(1, 2)
        return self.head(self.attend(h, h, h)[0].mean(1))


def transformer():
    net = torchvision.models.VisionTransformer(32, 8, 1, 2, 16, 32, num_classes=5)
    nn.init.normal_(net.heads.head.weight)
    return net


@pytest.mark.parametrize("make", [Attention, transformer])
def test_attention_has_perturbations_and_no_rules(make):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        net, images = make().eval(), torch.rand(2, 3, 32, 32)
    for name in ("occlusion", "rise[samples=16]", "lime", "kernel-shap", "pda"):
        found = explainers.get(name).explain(net, images, TARGETS)
        assert found.status == ("ok", "ok"), name
    for name in ("lrp-a2b1", "deconvnet", "rectgrad", "deeplift", "deepshap[references=2]"):
        with pytest.raises(UnsupportedOperation, match=r"called at .*\.py:\d+"):
            explainers.get(name).explain(net, images, TARGETS)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["googlenet", "shufflenet_v2_x1_0", "mnasnet1_0"])
def test_deeplift_is_complete_on_further_families(name):
    options = {"aux_logits": False, "init_weights": False} if name == "googlenet" else {}
    draw = torch.Generator().manual_seed(3)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        net = torchvision.models.get_model(name, num_classes=10, **options).eval()
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.1, generator=draw)
            module.running_var.uniform_(0.5, 1.5, generator=draw)
    x, x0 = (torch.rand(2, 3, 64, 64, generator=draw) for _ in range(2))
    _, missed, change = completeness.contributions(from_tensor(net, x), x, x0, TARGETS, "rescale", "deeplift")
    assert float((missed / change.abs()).max()) < 1e-4


def test_the_shipped_classifier_agrees_with_hooks_too():
    subject = models.load("fmnist-vgg-functional")
    images = subject.sample(2, seed=0)[0]
    expected = by_hooks(subject.module, images, TARGETS, guided)
    found = explainers.get("guided-backprop").explain(subject, images, TARGETS).attribution
    scale = float(expected.abs().max())
    torch.testing.assert_close(found / scale, expected / scale, rtol=0, atol=1e-5)
