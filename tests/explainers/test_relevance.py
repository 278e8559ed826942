"""Relevance rules against hand-computed cases, a plain-loop implementation, zennit, and their own balance."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

import explainers
import models
from explainers.passes import shared_passes
from explainers.relevance import Way, propagated
from explainers.rules.books import Ledger, divisor, least, silent
from explainers.rules.linear import Convolution, Dense
from explainers.rules.propagation import AlphaBeta, Epsilon, Excitation, RelativeAttributing, SplitAlphaBeta, ZBox
from models.adapters import from_module, from_tensor
from models.data import ImageSet
from models.naming import UsageError

RULES = ["lrp-a1b0", "lrp-a2b1", "lrp-a5b4", "lrp-epsilon", "deep-taylor", "excitation-backprop", "rap"]


def two_layers(first, second, bias=None):
    net = nn.Sequential(
        nn.Flatten(), nn.Linear(2, 2, bias=bias is not None), nn.ReLU(), nn.Linear(2, 2, bias=False)
    ).eval()
    with torch.no_grad():
        net[1].weight.copy_(torch.tensor(first))
        net[3].weight.copy_(torch.tensor(second))
        if bias is not None:
            net[1].bias.copy_(torch.tensor(bias))
    return net


def relevance(net, name, pixels, target):
    images = torch.tensor(pixels).view(1, 1, 1, -1)
    return explainers.get(name).explain(net, images, [target]).attribution.flatten().tolist()


NET = two_layers([[2.0, -0.5], [1.0, 1.0]], [[2.0, -0.5], [-1.0, -1.0]])
BY_HAND = [
    # x = (1, 2): h = (1, 3), logits (0.5, -4). Contributions to h1: (2, -1), to h2: (1, 2), to class 0: (2, -1.5).
    ("lrp-a1b0", (1.0, 2.0), 0, (0.5, 0.0)),
    # class 0 with alpha 2, beta 1: R_h = (1, -0.5); h1: (2, -1); h2 has positive contributions only: -0.5 (1/3, 2/3).
    ("lrp-a2b1", (1.0, 2.0), 0, (2 - 1 / 6, -1 - 1 / 3)),
    # class 1 has negative contributions only and hands on |-4| through them: R_h = (1, 3).
    ("lrp-a2b1", (1.0, 2.0), 1, (2 + 1, -1 + 2)),
    ("lrp-a1b0", (1.0, 2.0), 1, (1 + 1, 2)),
    # epsilon 0: R_h = (2, -1.5); h1: 2 (2, -1) / 1, h2: -1.5 (1, 2) / 3.
    ("lrp[rule=epsilon,epsilon=0]", (1.0, 2.0), 0, (3.5, -3.0)),
    # x = (0.5, 0.8): h = (0.6, 1.3), logit 0.55, all of it to h1; z-box terms (0.5 2, -0.2 -0.5) = (1, 0.1).
    ("deep-taylor", (0.5, 0.8), 0, (0.5, 0.05)),
    ("lrp[alpha=1,beta=0,first=z-box]", (0.5, 0.8), 0, (0.5, 0.05)),
    # excitation: all of the class' probability to h1, all of h1's to x1; class 1 excites nothing.
    ("excitation-backprop", (1.0, 2.0), 0, (1.0, 0.0)),
    ("excitation-backprop", (1.0, 2.0), 1, (0.0, 0.0)),
    # the dual unit of class 0 goes to h2, whose contributions are (1, 2).
    ("excitation-backprop[contrastive=true]", (1.0, 2.0), 0, (1 - 1 / 3, -2 / 3)),
    # RAP: contributions to the class (1.2, -0.65), |.| / sum times 0.55 = R_h; then the z-box, terms (1, 0.1) and (0.5, 0.8).
    ("rap", (0.5, 0.8), 0, (0.55 * (1.2 / 1.1 + 0.65 * 0.5 / 1.3) / 1.85, 0.55 * (0.12 / 1.1 + 0.65 * 0.8 / 1.3) / 1.85)),
]  # fmt: skip


@pytest.mark.parametrize(("name", "pixels", "target", "expected"), BY_HAND)
def test_two_layers_by_hand(name, pixels, target, expected):
    assert relevance(NET, name, pixels, target) == pytest.approx(expected, abs=1e-6)


BIASED = two_layers([[2.0, -0.5], [1.0, 1.0]], [[2.0, -0.5], [-1.0, -1.0]], bias=[0.5, -1.0])
SHARED = [
    # h = (1.5, 2), logit of class 0 is 2 = 3 - 1. R_h = (4, -2); h1: P = 2 + 0.5, N = -1; h2: P = 3, N = -1 (the bias).
    ("lrp[alpha=2,beta=1,bias=share]", (4 * 2 * 2 / 2.5 - 2 * 2 / 3, -4 - 2 * 2 * 2 / 3)),
    ("lrp[alpha=2,beta=1,bias=ignore]", (4 * 2 - 2 / 3, -4 - 2 * 2 / 3)),
    # R_h = (2, 0), of which the bias of h1 takes a fifth.
    ("lrp[alpha=1,beta=0,bias=share]", (2 * 2 / 2.5, 0.0)),
    ("lrp[alpha=1,beta=0,bias=ignore]", (2.0, 0.0)),
]


@pytest.mark.parametrize(("name", "expected"), SHARED)
def test_a_share_for_biases_by_hand(name, expected):
    assert relevance(BIASED, name, (1.0, 2.0), 0) == pytest.approx(expected, abs=1e-6)
    found = explainers.get(name).explain(BIASED, torch.tensor([1.0, 2.0]).view(1, 1, 1, 2), [0])
    assert found.status == ("ok",) and float(found.residual) < 1e-6


def test_a_share_for_biases_is_nothing_without_biases_and_is_not_mixed_up_when_passes_are_shared():
    share, ignore = (explainers.get(f"lrp[alpha=3,beta=2,bias={kind}]") for kind in ("share", "ignore"))
    free, net = shallow(bias=False), shallow()
    assert torch.equal(share.explain(free, IMAGES).attribution, ignore.explain(free, IMAGES).attribution)
    subject = from_tensor(net, IMAGES)
    alone = [each.explain(subject, IMAGES).attribution for each in (share, ignore)]
    assert float((alone[0] - alone[1]).abs().max()) > 1e-3
    with shared_passes():
        for each, expected in zip((share, ignore, share), (*alone, alone[0]), strict=True):
            torch.testing.assert_close(each.explain(subject, IMAGES).attribution, expected)


def test_keys_of_stored_results_do_not_know_of_options_that_came_later():
    assert "bias" not in explainers.get("lrp-a2b1").spec["params"]
    assert explainers.get("lrp[bias=share]").spec["params"]["bias"] == "share"


def handed_on(rule, weight, x, above, spatial=False):
    if spatial:
        op = Convolution(weight[:, :, None, None], None, [1, 1], [0, 0], [1, 1], False, [0, 0], 1)
        x, above = x[:, :, None, None], above[:, :, None, None]
    else:
        op = Dense(weight, None)
    ledger = Ledger(len(x))
    (found,) = rule.backward(op, (x,), rule.forward(op, (x,))[1], above, ledger)
    return found.flatten().tolist(), ledger.absorbed.tolist()


def test_books_are_kept_per_image():
    ledger = Ledger(2)
    assert ledger.absorbed.tolist() == [0, 0] and ledger.absorbed.dtype == torch.float64
    ledger.book(lambda: torch.arange(16.0).view(4, 2, 2))  # two rows an image
    ledger.book(lambda: None)
    ledger.book(lambda: torch.tensor([2.0**60, 1.0], dtype=torch.float64))
    assert ledger.absorbed.tolist() == [28 + 2.0**60, 93]
    ledger.clear()
    ledger.book(lambda: torch.full((2, 3, 50, 50), 1.0, dtype=torch.bfloat16))
    assert ledger.absorbed.tolist() == [7500, 7500]


def test_amounts_too_small_to_divide_by():
    for kind in (torch.float32, torch.float64):
        tiny = least(torch.zeros(1, dtype=kind))
        amount = torch.tensor([[0.0, tiny, 2 * tiny, 1.0, -1.0, float("nan")]], dtype=kind)
        above = torch.tensor([[1.0, 2.0, 3.0, 4.0, 5.0, 6.0]], dtype=kind)
        assert silent(above, amount)[0, :5].tolist() == [1, 2, 0, 0, 5]
        assert silent(above[:, 2:4], amount[:, 2:4]) is None
        shares = (above / divisor(amount))[0]
        assert shares[[0, 1, 4]].tolist() == [0, 0, 0] and shares[3] == 4 and shares[2] > 0
        assert bool(shares[5].isnan())  # what is no number stays none, and fails the balance


@pytest.mark.parametrize(("alpha", "beta"), [(1.0, 0.0), (2.0, 1.0), (2.3, 1.3)])
def test_neurons_with_contributions_of_one_sign_or_none(alpha, beta):
    """Three inputs of which neurons read some; one neuron has both signs, one each sign only, one nothing."""
    weight = torch.tensor([[1.0, -2.0, 0.0], [0.5, 1.0, 0.0], [-1.0, -1.0, 0.0], [0.0, 0.0, 3.0]])
    x, above = torch.tensor([[2.0, 3.0, 0.0]]), torch.tensor([[0.5, 0.25, 2.0, 7.0]])
    found, lost = handed_on(AlphaBeta(alpha, beta), weight, x, above)
    first = 0.5 * alpha + 0.25 * 0.25 + 2 * 0.4
    second = -0.5 * beta + 0.25 * 0.75 + 2 * 0.6
    assert found == pytest.approx([first, second, 0.0]) and lost == [7.0]
    found, lost = handed_on(AlphaBeta(alpha, beta), weight, x, above * torch.tensor([1.0, 1.0, 0.0, 0.0]))
    assert found == pytest.approx([first - 0.8, second - 1.2, 0.0], abs=1e-6) and lost == [0.0]


def test_relative_attributing_shifts_the_weak_units():
    # A = 2, B = 1.5: C = R (1, 1.5 / 3.5), and (sum C - R) / 2 is taken from both.
    weight, x = torch.tensor([[2.0, -0.5]]), torch.tensor([[1.0, 3.0]])
    shift = 0.5 * 1.5 / 3.5 / 2
    for rule in ("A", "B"):
        found, lost = handed_on(RelativeAttributing(rule), weight, x, torch.tensor([[0.5]]), spatial=True)
        assert found == pytest.approx([0.5 - shift, shift])
        assert lost == [0.0]
    below = torch.tensor([[-0.5]])
    assert handed_on(RelativeAttributing("A"), weight, x, below, spatial=True)[0] == pytest.approx(
        [-0.5 + shift, -shift]
    )
    assert handed_on(RelativeAttributing("B"), weight, x, below)[0] == pytest.approx([-0.5 + shift, -shift])
    # rule B of a convolution: C = (0, R (1 + 1.5 / 3.5)), shifted over the one entry that is not 0.
    assert handed_on(RelativeAttributing("B"), weight, x, below, spatial=True)[0] == pytest.approx([0.0, -0.5])
    # three inputs, one silent: it is left out of the shift.
    found, _ = handed_on(
        RelativeAttributing("A"), torch.tensor([[2.0, -0.5, 1.0]]), torch.tensor([[1.0, 3.0, 0.0]]), -below
    )
    assert found == pytest.approx([0.5 - shift, shift, 0.0])


def test_the_top_of_relative_attributing_is_the_published_normalisation():
    draw = torch.Generator().manual_seed(0)
    x = torch.rand(9, generator=draw, dtype=torch.float64)
    w, b = torch.randn(9, generator=draw, dtype=torch.float64), 0.3
    p, n = (x * w).clamp(min=0).sum(), (x * w).clamp(max=0).sum()
    bias_p, bias_n = b * p / (p + n), b * n / (p + n)
    r = x * w + x * w.clamp(min=0) * bias_p / p + x * w.clamp(max=0) * bias_n / n
    logit = p + n + b
    assert float(r.sum()) == pytest.approx(float(logit))
    expected = r.abs() * r.sum() / r.abs().sum()
    rule, op, ledger = RelativeAttributing("B"), Dense(w[None], torch.tensor([b], dtype=torch.float64)), Ledger(1)
    (found,) = rule.top(op, (x[None],), rule.forward(op, (x[None],))[1], logit.view(1, 1), ledger)
    torch.testing.assert_close(found[0], expected)


def test_split_denominators_double_signed_inputs():
    weight, x, above = torch.tensor([[2.0, -1.0, 1.0, -3.0]]), torch.tensor([[1.0, 2.0, -3.0, -4.0]]), torch.ones(1, 1)
    # products (2, -2, -3, 12): Z1 = 2, Z2 = 12, Z3 = -2, Z4 = -3, each half carries everything.
    assert handed_on(SplitAlphaBeta(2.0, 1.0), weight, x, above)[0] == pytest.approx([2, -1, -1, 2])
    assert handed_on(AlphaBeta(2.0, 1.0), weight, x, above)[0] == pytest.approx([4 / 14, -0.4, -0.6, 24 / 14])
    for pair in ((1.0, 0.0), (3.0, 2.0)):
        same = [handed_on(kind(*pair), weight, x.abs(), above)[0] for kind in (SplitAlphaBeta, AlphaBeta)]
        assert same[0] == pytest.approx(same[1])


def test_what_nobody_contributed_to_is_booked():
    silent, above = torch.zeros(1, 2), torch.tensor([[3.0]])
    for rule in (
        AlphaBeta(2.0, 1.0),
        SplitAlphaBeta(2.0, 1.0),
        Epsilon(0.0),
        Excitation(False),
        RelativeAttributing("A"),
    ):
        assert handed_on(rule, torch.tensor([[1.0, -1.0]]), silent, above) == ([0.0, 0.0], [3.0])
    low = torch.zeros(1, 2)
    box = ZBox((low,), (low + 1,))
    assert handed_on(box, torch.tensor([[1.0, 1.0]]), silent, above) == ([0.0, 0.0], [3.0])
    # an excited and an inhibited neuron: excitation loses the second, alpha-beta does not.
    weight, x, above = torch.tensor([[1.0, 1.0], [-1.0, -1.0]]), torch.tensor([[1.0, 1.0]]), torch.tensor([[1.0, 1.0]])
    assert handed_on(Excitation(False), weight, x, above) == ([0.5, 0.5], [1.0])
    assert handed_on(AlphaBeta(1.0, 0.0), weight, x, above) == ([1.0, 1.0], [0.0])


def loops(layers, x, target, rule, low=0.0, high=1.0):
    """The same rules for a chain of dense layers with ReLUs between, one connection at a time."""
    acts = [x]
    for index, (w, b) in enumerate(layers):
        z = w @ acts[-1] + b
        acts.append(np.maximum(z, 0) if index < len(layers) - 1 else z)
    above = np.zeros(len(acts[-1]))
    above[target] = abs(acts[-1][target])
    for index in range(len(layers) - 1, -1, -1):
        (w, _), a = layers[index], acts[index]
        below = np.zeros(len(a))
        for k in range(len(w)):
            c = a * w[k]
            if rule == "deep-taylor" and index == 0:
                c = (a - low) * np.maximum(w[k], 0) + (a - high) * np.minimum(w[k], 0)
            p, n = c[c > 0].sum(), c[c < 0].sum()
            alpha, beta = rule if isinstance(rule, tuple) else (1.0, 0.0)
            if n == 0 or p == 0:
                alpha, beta = (1.0, 0.0) if n == 0 else (0.0, -1.0)
            for j in range(len(a)):
                below[j] += above[k] * (alpha * c[j] / p if c[j] > 0 else -beta * c[j] / n if c[j] < 0 else 0.0)
        above = below
    return above


@pytest.mark.parametrize(("name", "rule"), [
    ("lrp-a1b0", (1.0, 0.0)), ("lrp-a2b1", (2.0, 1.0)), ("lrp-a9b8", (9.0, 8.0)), ("deep-taylor", "deep-taylor"),
])  # fmt: skip
def test_against_loops(name, rule):
    draw = np.random.default_rng(3)
    shapes = [(12, 9), (10, 12), (8, 10), (4, 8)]
    layers = [(draw.normal(size=s) / 3, draw.normal(size=s[0]) / 10) for s in shapes]
    net = nn.Sequential(nn.Flatten())
    for index, (w, b) in enumerate(layers):
        linear = nn.Linear(w.shape[1], w.shape[0])
        linear.weight.data, linear.bias.data = torch.tensor(w).float(), torch.tensor(b).float()
        net.append(linear)
        if index < 3:
            net.append(nn.ReLU())
    images = torch.rand(5, 1, 3, 3, generator=torch.Generator().manual_seed(0))
    for target in range(4):
        found = explainers.get(name).explain(net, images, [target] * 5).attribution
        for image, one in zip(images, found, strict=True):
            expected = loops(layers, image.flatten().double().numpy(), target, rule)
            scale = np.abs(expected).max()
            np.testing.assert_allclose(one.flatten().numpy() / scale, expected / scale, atol=2e-4)


def shallow(seed=0, bias=True):
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return nn.Sequential(
            nn.Conv2d(3, 8, 3, padding=1, bias=bias), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(8, 8, 3, bias=bias), nn.ReLU(),
            nn.Flatten(), nn.Linear(8 * 4 * 4, 5, bias=bias),
        ).eval()  # fmt: skip


IMAGES = torch.rand(4, 3, 12, 12, generator=torch.Generator().manual_seed(7))


def test_lrp_0_is_input_times_gradient():
    """On linear models always, on networks of ReLU and max-pooling by the chain rule."""
    for net in (nn.Sequential(nn.Flatten(), nn.Linear(432, 3)), shallow().double().float()):
        logit = net(IMAGES).gather(1, net(IMAGES).argmax(1, keepdim=True))
        sign = logit.sign().view(-1, 1, 1, 1).detach()
        a = explainers.get("lrp[rule=epsilon,epsilon=0]").explain(net, IMAGES).attribution
        b = explainers.get("input-x-gradient").explain(net, IMAGES).attribution
        torch.testing.assert_close(a, b * sign, rtol=2e-3, atol=2e-4 * float(b.abs().max()))


@pytest.mark.parametrize("name", RULES)
def test_sums_without_biases(name):
    net = shallow(bias=False)
    logit = net(IMAGES).amax(1).abs()
    found = explainers.get(name).explain(net, IMAGES)
    goal = torch.ones(4) if name == "excitation-backprop" else logit
    tolerance = 0.05 if name in ("lrp-epsilon", "excitation-backprop") else 1e-5
    torch.testing.assert_close(found.attribution.sum((1, 2, 3)), goal, rtol=tolerance, atol=0)
    assert float(found.residual.max()) < 1e-5


def test_the_seed_of_relevance_only_flips_signs():
    net = shallow()
    targets = net(IMAGES).argmin(1)
    sign = net(IMAGES).gather(1, targets[:, None]).sign().view(-1, 1, 1, 1)
    assert (sign < 0).any()
    for name in ("lrp[alpha=2,beta=1,seed={}]", "lrp[rule=epsilon,seed={}]", "rap[neg_rule=A,seed={}]"):
        a, b = (
            explainers.get(name.format(seed)).explain(net, IMAGES, targets).attribution for seed in ("abs", "logit")
        )
        torch.testing.assert_close(a * sign, b)


@pytest.mark.parametrize("name", ["lrp-a1b0", "lrp-a2b1", "lrp-epsilon", "rap", "deep-taylor", "excitation-backprop"])
def test_module_functional_batch_and_single_agree(name):
    one, other = models.load("fmnist-vgg"), models.load("fmnist-vgg-functional")
    images, targets = one.sample(3, seed=1)
    explainer = explainers.get(name)
    together = explainer.explain(one, images, targets)
    scale = float(together.attribution.abs().max())
    assert set(together.status) == {"ok"}
    assert float(together.residual.max()) < 1e-5
    functional = explainer.explain(other, images, targets).attribution
    single = explainer.explain(one, images, targets, batch_size=1).attribution
    permuted = explainer.explain(one, images.flip(0), targets.flip(0)).attribution.flip(0)
    for maps in (functional, single, permuted):
        torch.testing.assert_close(maps, together.attribution, rtol=1e-3, atol=1e-5 * scale)
    with shared_passes():
        for _ in range(2):
            torch.testing.assert_close(explainer.explain(one, images, targets).attribution, together.attribution)


@pytest.mark.parametrize("name", ["lrp[alpha=1,beta=0,first=z-box]", "deep-taylor", "rap"])
@pytest.mark.parametrize("colours", [1, 3])
def test_the_box_follows_the_image_through_its_preparation(name, colours):
    """Normalising outside the model, inside it, in place, after a re-arrangement or by scaled weights is the same."""
    mean, std = torch.tensor([0.4, 0.5, 0.6]).view(1, 3, 1, 1), torch.tensor([0.2, 0.3, 0.25]).view(1, 3, 1, 1)

    class Prepared(nn.Module):
        def __init__(self, prepare, channels_first=True):
            super().__init__()
            self.net, self.prepare = shallow(), prepare

        def forward(self, x):
            return self.net(self.prepare(x))

    def in_place(x):
        return x.clone().sub_(mean).div_(std)

    def arranged(x):
        x = (x.permute(0, 2, 3, 1) - mean.view(1, 1, 1, 3)) / std.view(1, 1, 1, 3)
        return torch.cat([channel.unsqueeze(1) for channel in x.permute(0, 3, 1, 2).unbind(1)], 1)

    def normed(x):
        return F.batch_norm(x, mean.flatten(), std.flatten() ** 2, eps=0.0)

    pixels = IMAGES[:, :colours]
    prepared = [Prepared(p) for p in (lambda x: (x - mean) / std, in_place, arranged, normed)]
    if colours == 1:
        prepared = [prepared[0], Prepared(lambda x: in_place(x.repeat(1, 3, 1, 1)))]
    maps = [explainers.get(name).explain(net, pixels).attribution for net in prepared]
    if colours == 3:
        data = ImageSet(
            "x", np.zeros(4, np.int64), list("abcd"), ("0",), (3, 12, 12), lambda i: pixels.numpy()[list(i)]
        )
        outside = from_module(shallow(), data, name="x", mean=(0.4, 0.5, 0.6), std=(0.2, 0.3, 0.25))
        maps.append(explainers.get(name).explain(outside, pixels).attribution)
    for other in maps[1:]:
        torch.testing.assert_close(other, maps[0], rtol=1e-3, atol=1e-6)
    plain = explainers.get("lrp-a1b0").explain(prepared[0], pixels).attribution
    assert not torch.allclose(plain, maps[0], rtol=0.05, atol=1e-4)


def test_a_box_needs_a_layer_that_reads_the_image():
    net = nn.Sequential(nn.ReLU(), nn.Flatten(), nn.Linear(432, 3))
    for name in ("deep-taylor", "rap", "lrp[first=z-box]"):
        with pytest.raises(explainers.ExplainerError, match="reads the image"):
            explainers.get(name).explain(net, IMAGES)
    assert explainers.get("lrp-a1b0").explain(net, IMAGES).status == ("ok",) * 4


def test_split_is_recorded_as_failure_where_it_doubles():
    net = shallow(bias=False)
    data = from_tensor(net, IMAGES).data
    subject = from_module(net, data, name="x", mean=(0.5,) * 3, std=(0.25,) * 3)
    assert set(explainers.get("lrp[denominator=split]").explain(subject, IMAGES).status) == {"failed"}
    boxed = explainers.get("lrp[denominator=split,first=z-box]").explain(subject, IMAGES)
    assert set(boxed.status) == {"ok"}
    common = explainers.get("lrp[first=z-box]").explain(subject, IMAGES)
    torch.testing.assert_close(boxed.attribution, common.attribution, rtol=1e-4, atol=1e-5)


def test_deep_taylor_and_excitation_are_relatives_of_lrp():
    net = shallow()
    boxed = explainers.get("lrp[alpha=1,beta=0,first=z-box]").explain(net, IMAGES).attribution
    torch.testing.assert_close(explainers.get("deep-taylor").explain(net, IMAGES).attribution, boxed)
    logit = net(IMAGES).amax(1).abs().view(-1, 1, 1, 1)
    excited = explainers.get("excitation-backprop").explain(net, IMAGES).attribution
    plain = explainers.get("lrp-a1b0").explain(net, IMAGES).attribution / logit
    assert float((excited - plain).abs().sum() / plain.abs().sum()) < 0.05
    contrast = explainers.get("excitation-backprop[contrastive=true]").explain(net, IMAGES)
    assert float(contrast.attribution.min()) < 0
    assert float(contrast.residual.max()) < 1e-5


def test_excitation_separates_classes_only_when_contrastive():
    """What the method's paper found: without contrast the map hardly depends on the class."""
    subject = models.load("fmnist-vgg")
    images, _ = subject.sample(4, seed=0)
    order = subject.predict_logits(images).argsort(1, descending=True)

    def similarity(name):
        pair = [explainers.get(name).explain(subject, images, order[:, k]).attribution.flatten(1) for k in (0, 1)]
        return float(F.cosine_similarity(*pair).mean())

    assert similarity("excitation-backprop") > 0.9
    assert similarity("excitation-backprop[contrastive=true]") < 0.5


def test_too_much_depth_is_a_recorded_failure():
    """Relevance grows like (alpha + beta) ** depth; where the arithmetic ends, the map is failed, not shown."""
    torch.manual_seed(0)
    layers = [layer for _ in range(24) for layer in (nn.Linear(16, 16), nn.ReLU())]
    net = nn.Sequential(nn.Flatten(), nn.Linear(432, 16), nn.ReLU(), *layers, nn.Linear(16, 3)).eval()
    assert set(explainers.get("lrp-a1b0").explain(net, IMAGES).status) == {"ok"}
    found = explainers.get("lrp[alpha=60,beta=59]").explain(net, IMAGES)
    assert set(found.status) == {"failed"}
    assert float(found.residual.min()) > 0.01


@pytest.mark.parametrize("text", [
    "lrp[rule=gamma]", "lrp[alpha=3,beta=1]", "lrp[alpha=0.5,beta=-0.5]", "lrp[rule=epsilon,epsilon=-1]", "lrp[seed=one]",
    "lrp[denominator=none]", "lrp[first=w2]", "lrp[bias=none]", "lrp[bias=share,denominator=split]",
    "lrp[bias=share,rule=epsilon]", "rap[neg_rule=C]", "rap[seed=1.0]",
])  # fmt: skip
def test_wrong_parameters(text):
    with pytest.raises(UsageError):
        explainers.get(text).explain(shallow(), IMAGES)


def test_agreement_with_zennit():
    """Its AlphaBeta and Epsilon rules without bias, on a network in which no neuron has contributions of one sign only."""
    pytest.importorskip("zennit")
    from zennit.attribution import Gradient
    from zennit.composites import LayerMapComposite
    from zennit.rules import AlphaBeta as Theirs
    from zennit.rules import Epsilon as TheirEpsilon
    from zennit.rules import Pass
    from zennit.types import Activation, Linear
    from zennit.types import Convolution as Convolutions

    net = shallow(bias=False)
    images = IMAGES * 2 - 1
    top = net(images).argmax(1)
    pairs = [
        (Theirs(2.0, 1.0, stabilizer=1e-12), "lrp-a2b1"),
        (Theirs(1.0, 0.0, stabilizer=1e-12), "lrp-a1b0"),
        (TheirEpsilon(1e-9), "lrp[rule=epsilon,epsilon=0]"),
    ]
    for rule, name in pairs:
        composite = LayerMapComposite([(Activation, Pass()), (Convolutions, rule), (Linear, rule)])
        with Gradient(net, composite) as attributor:
            _, theirs = attributor(images.clone().requires_grad_(True), lambda y: y.abs() * F.one_hot(top, 5))
        ours = explainers.get(name).explain(net, images).attribution
        scale = float(theirs.abs().max())
        torch.testing.assert_close(ours / scale, theirs / scale, rtol=0, atol=1e-4)


class Shift(nn.Module):
    def forward(self, x):
        return x + 0.5


class TwoReaders(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.second, self.head = nn.Conv2d(1, 6, 3), nn.Conv2d(6, 6, 1), nn.Linear(864, 4)

    def forward(self, x):
        z = self.first(x)
        return self.head((self.second(z) + torch.relu(z)).flatten(1))


def chain(*middle, features):
    return nn.Sequential(nn.Conv2d(1, 6, 3), nn.ReLU(), *middle, nn.Flatten(), nn.Linear(features, 4))


RECTIFIED = {
    "relu": lambda: chain(nn.Conv2d(6, 8, 3), nn.ReLU(), nn.MaxPool2d(2), features=200),
    "linear": lambda: nn.Sequential(nn.Flatten(), nn.Linear(196, 9), nn.ReLU(), nn.Linear(9, 4)),
    "in place": lambda: chain(nn.Conv2d(6, 8, 3), nn.ReLU(inplace=True), features=800),
    "shifted zeros": lambda: chain(Shift(), nn.Conv2d(6, 8, 3), nn.ReLU(), features=800),
    "also read without the ReLU": TwoReaders,
}


@pytest.mark.parametrize("kind", RECTIFIED)
def test_what_bias_and_epsilon_take_at_a_relu_is_the_difference_of_products(kind, monkeypatch):
    torch.manual_seed(0)
    net = RECTIFIED[kind]().eval()
    images, targets = torch.rand(3, 1, 14, 14), torch.zeros(3, dtype=torch.int64)
    subject, way = from_tensor(net, images), Way("lrp", Epsilon(0.1), "abs")
    found = propagated(subject, images, targets, way)
    assert float(found.residual.max()) < 1e-5
    taken = []
    whole = Epsilon._absorbed
    monkeypatch.setattr(
        Epsilon, "_absorbed", lambda *given: taken.append(len(given[4].shape)) or whole(*given[:-1], True)
    )
    exact = propagated(subject, images, targets, way)
    torch.testing.assert_close(found.attribution, exact.attribution, rtol=1e-5, atol=1e-6)
    assert taken and float((found.residual - exact.residual).abs().max()) < 3e-6
    monkeypatch.setattr(Epsilon, "_absorbed", lambda *given: whole(*given) * 0.9)
    assert float(propagated(subject, images, targets, way).residual.max()) > 1e-4
