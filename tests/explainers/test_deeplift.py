import copy
import itertools
import math

import captum.attr
import pytest
import torch
import torch.nn.functional as F
import torchvision
from torch import nn

import explainers
import models
from explainers import deeplift as engine
from explainers.engine import UnsupportedOperation, run
from explainers.gradients import blurred
from explainers.rules.deeplift import DeepLiftRules
from models.adapters import from_tensor
from models.naming import UsageError

RULES = ("rescale", "reveal-cancel")


def seeded(module, seed=0, scale=None):
    """Fixed random weights; batch norm statistics perturbed."""
    draw = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for part in module.modules():
            if isinstance(part, nn.modules.batchnorm._BatchNorm):
                part.running_mean.normal_(0, 0.3, generator=draw)
                part.running_var.uniform_(0.5, 2, generator=draw)
                part.weight.uniform_(0.5, 1.5, generator=draw)
                part.bias.normal_(0, 0.3, generator=draw)
            elif isinstance(part, nn.Conv2d | nn.Linear):
                fan = part.weight[0].numel()
                part.weight.normal_(0, (2 / fan) ** 0.5, generator=draw)
                if part.bias is not None:
                    part.bias.normal_(0, 0.1, generator=draw)
    return module.eval()


def pair(count=3, size=12, channels=3):
    draw = torch.Generator().manual_seed(5)
    shape = (count, channels, size, size)
    return torch.rand(shape, generator=draw), torch.rand(shape, generator=draw), torch.arange(count) % 4


def miss(module, x, x0, t, rule):
    _, missed, change = engine.contributions(from_tensor(module, x), x, x0, t, rule, "deeplift")
    return float((missed / change.abs().clamp_min(1e-12)).max())


@pytest.fixture(scope="module")
def subject():
    return models.load("fmnist-vgg")


@pytest.fixture(scope="module")
def images(subject):
    return subject.sample(4, seed=0)[0]


@pytest.mark.parametrize("rule", RULES)
def test_on_a_linear_model_it_is_input_x_gradient_and_integrated_gradients(rule):
    net = seeded(nn.Sequential(nn.Conv2d(3, 4, 3), nn.AvgPool2d(2), nn.Flatten(), nn.Linear(100, 4)))
    x, _, t = pair()
    found = explainers.get(f"deeplift[rule={rule}]").explain(net, x, t).attribution
    for name in ("input-x-gradient", "integrated-gradients"):
        torch.testing.assert_close(found, explainers.get(name).explain(net, x, t).attribution, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("name", ["vgg11", "resnet18"])
@pytest.mark.parametrize("baseline", ["random", "blur"])
def test_complete_on_torchvision(name, baseline):
    with torch.random.fork_rng(devices=[]):
        net = seeded(torchvision.models.get_model(name, num_classes=10))
    if name == "vgg11":
        net.classifier = seeded(nn.Linear(512 * 49, 10))
    x, x0, t = pair(2, 64)
    assert miss(net, x, x0 if baseline == "random" else blurred(x, 15), t, "rescale") < 1e-4


@pytest.mark.slow
@pytest.mark.parametrize(
    "name", ["vgg11", "densenet121", "squeezenet1_1", "regnet_y_400mf", "mobilenet_v3_small", "convnext_tiny"]
)
@pytest.mark.parametrize("rule", RULES)
def test_complete_on_more_of_torchvision(name, rule):
    net = seeded(torchvision.models.get_model(name, num_classes=10))
    x, x0, t = pair(2, 64)
    assert miss(net, x, x0, t, rule) < 1e-4


def test_reveal_cancel_is_complete_on_a_residual_network():
    with torch.random.fork_rng(devices=[]):
        net = seeded(torchvision.models.resnet18(num_classes=10))
    x, x0, t = pair(2, 64)
    assert miss(net, x, x0, t, "reveal-cancel") < 1e-4


class Tangle(nn.Module):
    """ReLU directly before overlapping pooling, a re-used activation, a residual sum, a gate, every kind of mixing."""

    def __init__(self, activate, norm=False):
        super().__init__()
        self.a, self.b, self.c = nn.Conv2d(3, 8, 3), nn.Conv2d(8, 8, 3, padding=1), nn.Conv2d(8, 8, 1)
        self.up, self.out = nn.Linear(8, 8), nn.Linear(24, 4)
        self.activate, self.norm = activate, norm

    def forward(self, x):
        h = F.max_pool2d(self.activate(self.a(x)), 3, 2, padding=1, ceil_mode=True)
        if self.norm:
            h = F.group_norm(h, 2)
        g = self.activate(self.b(h)) + h
        g = g * torch.sigmoid(self.up(g.mean((2, 3))))[:, :, None, None]
        g = self.activate(self.c(g)) / (1 + g.square())
        parts = [F.adaptive_max_pool2d(g, 1).flatten(1), g.amax((2, 3)), F.avg_pool2d(g, 2).flatten(2).sum(-1)]
        h = torch.cat(parts, 1)
        return self.out(F.layer_norm(h, (24,)) if self.norm else h)


ACTIVATIONS = {
    "relu": torch.relu, "in place": lambda h: F.relu(h, inplace=True), "method": lambda h: h.relu_(), "relu6": F.relu6,
    "leaky, in place": nn.LeakyReLU(0.2, inplace=True), "elu": F.elu, "selu": F.selu, "gelu": F.gelu, "silu": F.silu,
    "mish": F.mish, "hardswish, in place": nn.Hardswish(inplace=True), "sigmoid": torch.sigmoid,
    "hardsigmoid": F.hardsigmoid, "tanh": torch.tanh, "softplus": F.softplus, "clamp": lambda h: h.clamp(-0.5, 0.7),
    "abs": torch.abs, "square": lambda h: h**2, "prelu": nn.PReLU(), "hardtanh": nn.Hardtanh(), "softsign": F.softsign,
}  # fmt: skip


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("activation", list(ACTIVATIONS))
def test_every_activation_is_complete_in_a_tangle(activation, rule):
    x, x0, t = pair()
    assert miss(seeded(Tangle(ACTIVATIONS[activation])), x, x0, t, rule) < 1e-4


@pytest.mark.parametrize("rule", RULES)
def test_normalisations_by_the_image_itself_are_complete(rule):
    x, x0, t = pair()
    assert miss(seeded(Tangle(F.gelu, norm=True)), x, x0, t, rule) < 1e-4


class Captums(nn.Module):
    """A network on which captum is right: modules, each used once, ReLU and pooling apart."""

    def __init__(self, apart):
        super().__init__()
        self.a, self.r, self.p = nn.Conv2d(3, 6, 3), nn.ReLU(), nn.MaxPool2d(2)
        self.b, self.s, self.out = nn.Conv2d(6, 6, 3), nn.Softplus(), nn.Linear(54, 4)
        self.apart = apart

    def forward(self, x):
        h = self.r(self.a(x))
        return self.out(self.s(self.b(self.p(h * 1.0 if self.apart else h))).flatten(1))


def test_agreement_with_captum_where_it_is_right_and_not_where_it_is_wrong():
    x, x0, t = pair()
    for apart in (True, False):
        net = seeded(Captums(apart))
        theirs = captum.attr.DeepLift(net).attribute(x.clone().requires_grad_(), x0, target=t).detach()
        ours, missed, change = engine.contributions(from_tensor(net, x), x, x0, t, "rescale", "deeplift")
        error = float((ours - theirs).abs().max() / ours.abs().max())
        assert error < 1e-5 if apart else error > 0.05
        assert float((missed / change.abs()).max()) < 1e-4


def least_of_two():
    """min(a, b) = a - relu(a - b) as two layers; the other logit is 0."""
    net = nn.Sequential(nn.Flatten(), nn.Linear(2, 2, bias=False), nn.ReLU(), nn.Linear(2, 2, bias=False))
    with torch.no_grad():
        net[1].weight.copy_(torch.tensor([[1.0, 0.0], [1.0, -1.0]]))
        net[3].weight.copy_(torch.tensor([[1.0, -1.0], [0.0, 0.0]]))
    return net


def test_reveal_cancel_halves_the_minimum_of_two_inputs():
    net, x = least_of_two(), torch.tensor([[0.8, 0.2], [0.3, 0.9]]).view(2, 1, 1, 2)
    reveal = explainers.get("deeplift[rule=reveal-cancel]").explain(net, x, [0, 0]).attribution
    torch.testing.assert_close(reveal.flatten(1), torch.tensor([[0.1, 0.1], [0.15, 0.15]]))
    rescale = explainers.get("deeplift").explain(net, x, [0, 0]).attribution
    torch.testing.assert_close(rescale.flatten(1), torch.tensor([[0.0, 0.2], [0.3, 0.0]]))


def test_without_cancellation_the_two_rules_agree():
    net = seeded(Captums(False))
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.abs_()
    x, _, t = pair()
    found = [explainers.get(f"deeplift[rule={rule}]").explain(net, x, t).attribution for rule in RULES]
    torch.testing.assert_close(*found, rtol=1e-3, atol=1e-5)


def multipliers(function, x, x0):
    rules = DeepLiftRules("deeplift", 2)
    both = torch.cat([x, x0]).requires_grad_(True)
    return torch.autograd.grad(run(function, both, rules).sum(), both)[0][:1]


def test_a_product_is_shared_symmetrically():
    class Product(nn.Module):
        def forward(self, x):
            return (x[:, :1] * x[:, 1:]).repeat(1, 2) * torch.tensor([1.0, 0.0])

    x, x0 = torch.tensor([[2.0, 3.0]]), torch.tensor([[0.0, 1.0]])
    found = multipliers(Product(), x, x0) * (x - x0)
    torch.testing.assert_close(found, torch.tensor([[4.0, 2.0]]))


def test_overlapping_pooling_by_hand():
    class Pool(nn.Module):
        def forward(self, x):
            return F.max_pool1d(x[:, None], 2, 1)[:, 0]

    x, x0 = torch.tensor([[1.0, 5.0, 2.0]]), torch.tensor([[4.0, 1.0, 3.0]])
    found = multipliers(Pool(), x, x0) * (x - x0)
    torch.testing.assert_close(found, torch.tensor([[0.0, 3.0, 0.0]]))
    x, x0 = x0, x
    found = multipliers(Pool(), x, x0) * (x - x0)
    torch.testing.assert_close(found, torch.tensor([[0.0, -3.0, 0.0]]))
    x, x0 = torch.tensor([[2.0, 0.0]]), torch.tensor([[0.0, 3.0]])
    found = multipliers(Pool(), x, x0) * (x - x0)
    torch.testing.assert_close(found, torch.tensor([[0.0, -1.0]]))


@pytest.mark.parametrize("name", ["deeplift", "deeplift[rule=reveal-cancel,baseline=blur]", "deepshap"])
def test_neither_the_batch_nor_the_writing_of_the_network_matters(subject, images, name):
    e, functional = explainers.get(name), models.load("fmnist-vgg-functional")
    t = subject.predict(images)
    whole = e.explain(subject, images, t, seed=3)
    scale = whole.attribution.abs().amax((1, 2, 3), keepdim=True)
    for other in (e.explain(subject, images, t, seed=3, batch_size=1), e.explain(functional, images, t, seed=3)):
        assert float(((whole.attribution - other.attribution) / scale).abs().max()) < 1e-4
    assert whole.status == ("ok",) * 4 and float(whole.residual.max()) < 1e-4


def test_double_precision_takes_over_where_single_misses(monkeypatch, subject, images):
    t = subject.predict(images)
    x0 = torch.zeros_like(images)
    single, missed, _ = engine.contributions(subject, images, x0, t, "rescale", "deeplift")
    monkeypatch.setattr(engine, "PRECISE", 0.0)
    double, better, _ = engine.contributions(subject, images, x0, t, "rescale", "deeplift")
    assert single.dtype == torch.float32 and double.dtype == torch.float64
    assert float(better.max()) < 1e-4 * float(missed.max())
    assert float((single - double).abs().max() / double.abs().max()) < 1e-4


def test_a_map_that_is_not_complete_is_a_failure():
    class Leak(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.out = nn.Linear(12, 8), nn.Linear(8, 2)

        def forward(self, x):
            h = torch.relu(self.a(x.flatten(1)))
            return self.out(h + 2 * h.detach())

    found = explainers.get("deeplift").explain(seeded(Leak()), torch.rand(2, 3, 2, 2), [0, 1])
    assert found.status == ("failed", "failed") and float(found.residual.min()) > 0.1


def test_mixing_of_the_image_with_itself_is_refused():
    class Attention(nn.Module):
        def __init__(self):
            super().__init__()
            self.out = nn.Linear(12, 2)

        def forward(self, x):
            h = x.flatten(2)
            return self.out((torch.softmax(h @ h.transpose(1, 2), -1) @ h).flatten(1))

    for rule in RULES:
        with pytest.raises(UnsupportedOperation, match=r"softmax|matmul") as refusal:
            explainers.get(f"deeplift[rule={rule}]").explain(seeded(Attention()), torch.rand(2, 3, 2, 2), [0, 1])
        assert "test_deeplift.py" in refusal.value.site


def test_an_image_equal_to_its_baseline_has_a_zero_map(subject):
    found = explainers.get("deeplift").explain(subject, torch.zeros(1, 1, 32, 32), [0])
    assert found.status == ("degenerate-zero",)


def test_deepshap_is_the_mean_over_its_references(subject, images):
    t = subject.predict(images)
    drawn = [engine._drawn(subject, image, 3, 7) for image in images]
    expected = torch.zeros_like(images)
    for each in range(3):
        x0 = subject.reference.load([row[each] for row in drawn])
        expected += engine.contributions(subject, images, x0, t, "rescale", "deepshap")[0] / 3
    found = explainers.get("deepshap[references=3]").explain(subject, images, t, seed=7).attribution
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)
    other = explainers.get("deepshap[references=3]").explain(subject, images, t, seed=8).attribution
    assert float((found - other).abs().max()) > 0.01
    assert engine._drawn(subject, images[0], 2, 7) == drawn[0][:2]


def shapley(value, players):
    """Shapley values by enumeration of all coalitions; `value` maps a list of booleans to a number."""
    found = torch.zeros(players, dtype=torch.float64)
    for inside in itertools.product((False, True), repeat=players):
        size = sum(inside)
        for player in (p for p in range(players) if not inside[p]):
            weight = math.factorial(size) * math.factorial(players - size - 1) / math.factorial(players)
            joined = [each or place == player for place, each in enumerate(inside)]
            found[player] += weight * (value(joined) - value(list(inside)))
    return found


def test_on_a_linear_model_deepshap_is_the_shapley_value():
    """Of six pixels, where an absent pixel shows that of a reference image, averaged over the references."""
    net = seeded(nn.Sequential(nn.Flatten(), nn.Linear(6, 3), nn.Linear(3, 2)))
    draw = torch.Generator().manual_seed(9)
    pixels = torch.rand(7, 1, 2, 3, generator=draw)
    subject = from_tensor(net, pixels)
    found = explainers.get("deepshap[references=3]").explain(subject, pixels[:2], [0, 1], seed=4).attribution
    for row, target in enumerate((0, 1)):
        others = subject.reference.load(engine._drawn(subject, pixels[row], 3, 4)).double()

        def value(inside, row=row, target=target, others=others):
            shown = torch.where(torch.tensor(inside).view(1, 1, 2, 3), pixels[row].double(), others)
            with torch.no_grad():
                return float(net.double()(shown)[:, target].mean())

        expected = shapley(value, 6)
        net.float()
        torch.testing.assert_close(found[row].flatten().double(), expected, rtol=0, atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["vgg11", "resnet18"])
@pytest.mark.parametrize("baseline", ["random", "blur"])
def test_whole_networks_on_which_captum_raises_or_misses(name, baseline):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        net = seeded(torchvision.models.get_model(name))
    x, x0, t = pair(1, 64)
    x0 = x0 if baseline == "random" else blurred(x, 15)
    assert miss(net, x, x0, t, "rescale") < 1e-4
    plain = copy.deepcopy(net)
    with torch.no_grad():
        change = float((plain(x) - plain(x0)).gather(1, t[:, None]))
    try:
        theirs = captum.attr.DeepLift(plain).attribute(x.clone().requires_grad_(), x0, target=t)
    except (RuntimeError, AssertionError):
        return
    assert abs(float(theirs.sum()) - change) > 1e-2 * abs(change)


def test_wrong_parameters_name_what_is_allowed(subject, images):
    for text in ("deeplift[rule=reveal]", "deeplift[baseline=dark]", "deepshap[references=0]"):
        with pytest.raises(UsageError, match="allowed"):
            explainers.get(text).explain(subject, images)
