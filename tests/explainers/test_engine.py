"""Every operation the engine covers, in every way it can be written, and every one it must refuse."""

import sys
import threading

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import explainers
import models
from explainers.engine import RuleMode, UnsupportedOperation, operation, run
from explainers.rules.activations import Deconvnet, GuidedBackprop
from explainers.rules.propagation import AlphaBeta
from explainers.rules.relevance import RelevanceRules
from models.adapters import from_tensor
from models.naming import UsageError
from tests.explainers.engine_bodies import BODIES, Net, gated

HERE = __file__


@pytest.mark.parametrize("name", BODIES)
@pytest.mark.parametrize(
    "explainer", ["lrp-a2b1", "lrp[bias=share]", "lrp-epsilon", "deep-taylor", "excitation-backprop", "rap"]
)
def test_relevance_is_conserved_through(name, explainer):
    images = torch.rand(2, 3, 8, 8, generator=torch.Generator().manual_seed(1))
    found = explainers.get(explainer).explain(Net(BODIES[name]), images)
    assert found.status == ("ok", "ok")
    assert float(found.residual.max()) < 1e-5


SAME = [
    ("relu module", "relu in place"), ("relu module", "relu method"), ("relu module", "clamp"), ("relu module", "threshold"),
]  # fmt: skip


@pytest.mark.parametrize(("one", "other"), SAME)
@pytest.mark.parametrize("explainer", ["lrp-a2b1", "rap", "guided-backprop", "deconvnet"])
def test_the_way_a_relu_is_written_does_not_matter(one, other, explainer):
    images = torch.rand(2, 3, 8, 8, generator=torch.Generator().manual_seed(1))
    maps = [explainers.get(explainer).explain(Net(BODIES[name]), images).attribution for name in (one, other)]
    torch.testing.assert_close(maps[0], maps[1], rtol=1e-5, atol=1e-7)


MASKS = {
    "boolean": lambda z: z * (z > 0),
    "zeros and ones": lambda z: z * (z > 0).float(),
    "in front": lambda z: (z.detach() > 0).to(z.dtype) * z,
    "in place": lambda z: z.clone().mul_((z > 0).type_as(z)),
    "by keyword": lambda z: torch.multiply(z, other=z.detach().sign().clamp(min=0)),
}


@pytest.mark.parametrize("mask", MASKS)
@pytest.mark.parametrize("explainer", ["guided-backprop", "deconvnet", "rectgrad", "guided-gradcam"])
def test_a_relu_written_as_a_mask_is_not_taken_for_something_else(explainer, mask):
    """Left to its derivative it would give the plain gradient, silently."""
    net, images = Net(lambda net, h: MASKS[mask](net.conv(h))), torch.rand(2, 3, 8, 8)
    with pytest.raises(UnsupportedOperation, match=r"has no rule .*'mul'.*test_engine\.py:\d+: a product"):
        explainers.get(explainer).explain(net, images)


@pytest.mark.parametrize("explainer", ["guided-backprop", "deconvnet", "rectgrad"])
def test_other_constant_factors_are_no_masks(explainer):
    """A factor of the data's shape with other values, and one that is the same for all images, keep their derivative."""
    images, plain = torch.rand(2, 3, 8, 8), explainers.get(explainer)
    half = plain.explain(Net(lambda net, h: F.relu(net.conv(h))), images).attribution
    for factor in (lambda z: torch.full_like(z, 2.0), lambda z: torch.full_like(z[:1], 2.0)):
        found = plain.explain(Net(lambda net, h, f=factor: F.relu(net.conv(h) * f(h))), images).attribution
        assert not torch.equal(found, half) and bool(found.isfinite().all())
    ones = plain.explain(Net(lambda net, h: F.relu(net.conv(h) * torch.ones(8, 1, 1))), images).attribution
    torch.testing.assert_close(ones, half)


@pytest.mark.parametrize("explainer", ["lrp-a1b0", "lrp-a3b2", "lrp-epsilon", "rap", "excitation-backprop"])
def test_a_gate_gets_exactly_nothing(explainer):
    def constant(net, h):
        gate = torch.sigmoid(net.one(F.relu(net.one(F.adaptive_avg_pool2d(h, 1)))))
        return net.conv(h) * gate.detach()

    def exotic(net, h):
        gate = torch.sigmoid(net.one(F.relu(net.one(F.adaptive_avg_pool2d(h, 1)))) + 0 * F.gelu(h).exp().amax())
        return net.conv(h) * gate

    images = torch.rand(2, 3, 8, 8, generator=torch.Generator().manual_seed(1))
    maps = [explainers.get(explainer).explain(Net(body), images).attribution for body in (gated, constant, exotic)]
    assert torch.equal(maps[0], maps[1])
    assert torch.equal(maps[0], maps[2])


REFUSED = {
    "gelu": lambda net, h: F.gelu(net.conv(h)),
    "silu": lambda net, h: F.silu(net.conv(h)),
    "leaky_relu": lambda net, h: F.leaky_relu(net.conv(h), inplace=True),
    "hardswish": lambda net, h: F.hardswish(net.conv(h)),
    "hardtanh": lambda net, h: nn.ReLU6()(net.conv(h)),
    "elu": lambda net, h: F.elu_(net.conv(h)),
}
ODD = {
    "sigmoid": lambda net, h: torch.sigmoid(net.conv(h)),
    "mul": lambda net, h: net.conv(h) * net.one(h),
    "pow": lambda net, h: net.conv(h) ** 2,
    "exp": lambda net, h: net.conv(h).exp_(),
    "where": lambda net, h: torch.where(h > 0.2, net.conv(h), h),
    "matmul": lambda net, h: h @ h.transpose(2, 3),
    "layer_norm": lambda net, h: F.layer_norm(h, h.shape[1:]),
    "interpolate": lambda net, h: F.interpolate(h, scale_factor=2, mode="bicubic"),
    "div": lambda net, h: torch.div(torch.ones(1), 1 + net.conv(h).relu()),
    "conv2d": lambda net, h: F.conv2d(h, net.conv.weight * h.mean()),
}


@pytest.mark.parametrize("name", REFUSED | ODD)
def test_relevance_methods_name_what_they_cannot_do(name):
    body = (REFUSED | ODD)[name]
    line = body.__code__.co_firstlineno
    with pytest.raises(UnsupportedOperation) as caught:
        explainers.get("lrp-a2b1").explain(Net(body), torch.rand(1, 3, 8, 8))
    assert caught.value.operation == name
    assert caught.value.site == f"{HERE}:{line}"
    assert caught.value.explainer == "lrp"
    assert str(caught.value).startswith(f"lrp has no rule for the operation {name!r} called at {HERE}:{line}")


@pytest.mark.parametrize("name", REFUSED)
@pytest.mark.parametrize("explainer", ["guided-backprop", "deconvnet"])
def test_other_activations_need_a_word(name, explainer):
    net, images = Net(REFUSED[name]), torch.rand(2, 3, 8, 8)
    with pytest.raises(UnsupportedOperation, match=name):
        explainers.get(explainer).explain(net, images)
    found = explainers.get(f"{explainer}[extend=monotone]").explain(net, images)
    assert set(found.status) == {"ok"}


def test_an_extended_activation_passes_the_positive_part_of_its_product():
    z = torch.linspace(-3, 3, 31).requires_grad_(True)
    above = torch.linspace(1, -1, 31).roll(7)
    for function in (F.gelu, F.silu, F.leaky_relu, F.hardswish, F.relu6):
        (plain,) = torch.autograd.grad(function(z), z, above)
        for rules in (GuidedBackprop("monotone"), Deconvnet("monotone")):
            with RuleMode(rules):
                y = function(z)
            (found,) = torch.autograd.grad(y, z, above)
            torch.testing.assert_close(found, plain.clamp(min=0))
    with pytest.raises(UsageError, match="extend"):
        explainers.get("deconvnet[extend=yes]").explain(models.load("fmnist-vgg"), torch.rand(1, 1, 32, 32))


class Attention(nn.Module):
    def __init__(self):
        super().__init__()
        self.attend, self.embed, self.head = (
            nn.MultiheadAttention(8, 2, batch_first=True),
            nn.Conv2d(3, 8, 8, 8),
            nn.Linear(8, 5),
        )

    def forward(self, x):
        h = self.embed(x).flatten(2).transpose(1, 2)
        return self.head(self.attend(h, h, h)[0].mean(1))


def transformer():
    from torchvision.models import VisionTransformer

    net = VisionTransformer(32, 8, 1, 2, 16, 32, num_classes=5)
    nn.init.normal_(net.heads.head.weight)
    return net


@pytest.mark.parametrize("make", [Attention, transformer])
def test_attention_has_gradients_and_no_relevance(make):
    net, images = make(), torch.rand(2, 3, 32, 32)
    for name in ("gradient", "input-x-gradient"):
        assert set(explainers.get(name).explain(net, images).status) == {"ok"}
    for name in ("lrp-a1b0", "lrp-epsilon", "deep-taylor", "excitation-backprop", "rap", "guided-backprop"):
        with pytest.raises(UnsupportedOperation, match=r"'multi_head_attention_forward' called at .*\.py:\d+"):
            explainers.get(name).explain(net, images)
    with pytest.raises(UnsupportedOperation, match="pattern-attribution"):
        explainers.get("pattern-attribution").explain(net, images)


def wrapped(net, how):
    return (
        torch.compile(net, backend="eager") if how == "compiled" else nn.DataParallel(net) if how == "parallel" else net
    )


@pytest.mark.parametrize("how", ["compiled", "parallel"])
@pytest.mark.parametrize("explainer", ["lrp-a2b1", "guided-backprop", "deeplift", "gradcam"])
def test_wrappers_are_taken_off(how, explainer):
    net, images = Net(BODIES["relu module"]).eval(), torch.rand(2, 3, 8, 8)
    plain = explainers.get(explainer).explain(net, images).attribution
    torch.testing.assert_close(explainers.get(explainer).explain(wrapped(net, how), images).attribution, plain)


@pytest.mark.filterwarnings("ignore")
def test_what_runs_below_python_is_refused():
    class Square(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            ctx.save_for_backward(x)
            return x**2

        @staticmethod
        def backward(ctx, grad):
            return 2 * ctx.saved_tensors[0] * grad

    images = torch.rand(1, 3, 8, 8)
    with pytest.raises(UsageError, match="TorchScript"):
        explainers.get("lrp-a1b0").explain(torch.jit.script(nn.Sequential(nn.Flatten(), nn.Linear(192, 3))), images)
    scripted = torch.jit.script(nn.Sequential(nn.Conv2d(8, 8, 3), nn.ReLU()))
    for name in ("lrp-a1b0", "guided-backprop"):
        net = Net(lambda net, h: net.part(h))
        net.part = scripted
        with pytest.raises(UnsupportedOperation, match="below Python"):
            explainers.get(name).explain(net, images)
        with pytest.raises(UnsupportedOperation, match="'Square'.*below Python"):
            explainers.get(name).explain(Net(lambda net, h: Square.apply(net.conv(h))), images)
        with pytest.raises(UnsupportedOperation, match=rf"'checkpoint' called at {HERE}:\d+"):
            explainers.get(name).explain(Net(recomputed), images)
    assert explainers.get("gradient").explain(net, images).status == ("ok",)


def recomputed(net, h):
    from torch.utils.checkpoint import checkpoint

    return checkpoint(lambda t: F.relu(net.conv(t)), h, use_reentrant=False)


@pytest.mark.parametrize("explainer", ["lrp-a2b1", "guided-backprop", "deeplift"])
@pytest.mark.parametrize("kind", [torch.float16, torch.bfloat16, torch.float64])
def test_other_precisions_run_in_float32(kind, explainer):
    net, images = Net(BODIES["folded norm"]).eval().to(kind), torch.rand(2, 3, 8, 8)
    found = explainers.get(explainer).explain(net, images, [0, 1])
    assert found.status == ("ok", "ok")
    assert found.residual is None or float(found.residual.max()) < (1e-4 if explainer == "deeplift" else 1e-5)
    assert next(net.parameters()).dtype == kind
    same = explainers.get(explainer).explain(Net(BODIES["folded norm"]).eval().to(kind).float(), images, [0, 1])
    torch.testing.assert_close(found.attribution, same.attribution)


def test_an_operation_left_to_its_derivative_fails_the_balance():
    """Negative control: were a product left to its derivative and not refused, the balance would show it."""
    images = torch.rand(2, 3, 8, 8)
    net = Net(gated).eval().requires_grad_(False)
    pixels = images.requires_grad_(True)
    rules = RelevanceRules("control", AlphaBeta(1.0, 0.0), pixels)
    del rules.handlers["mul"]
    rules.ordinary, rules.replaced = rules.ordinary | {"mul", "sigmoid"}, frozenset()
    (found,) = torch.autograd.grad(run(net, pixels, rules)[:, 0].sum(), pixels)
    assert bool(((found.flatten(1).sum(1) + rules.ledger.absorbed - 1).abs() > 0.01).all())


@pytest.mark.parametrize("explainer", ["lrp-a2b1", "lrp-epsilon", "deep-taylor", "excitation-backprop", "rap"])
def test_a_border_of_a_constant_takes_its_share_like_a_bias(explainer):
    images = torch.rand(2, 3, 8, 8, generator=torch.Generator().manual_seed(1))
    found = explainers.get(explainer).explain(Net(lambda net, h: net.conv(F.pad(h, (1, 0, 2, 1), value=0.5))), images)
    assert found.status == ("ok", "ok") and float(found.residual.max()) < 1e-5


def test_images_on_another_axis_are_refused():
    images = torch.rand(3, 3, 4, 4)
    subject = from_tensor(Net(BODIES["relu module"]), images)
    for body in (lambda net, h: net.conv(h).flatten(2).permute(1, 0, 2).mean(2).T, lambda net, h: h - h.mean()):
        with pytest.raises(UnsupportedOperation, match="axis|mixes"):
            explainers.get("lrp-epsilon").explain(subject.with_model(Net(body).eval()), images)


def test_nested_modes_and_what_is_left_outside():
    x = torch.tensor([[2.0, -1.0]], requires_grad=True)
    with RuleMode(Deconvnet()), RuleMode(GuidedBackprop()):
        y = torch.relu(x)
    assert torch.autograd.grad(y, x, torch.tensor([[-1.0, 1.0]]))[0].tolist() == [[0.0, 0.0]]
    y = torch.relu(x)
    assert torch.autograd.grad(y, x, torch.tensor([[-1.0, 1.0]]))[0].tolist() == [[-1.0, 0.0]]
    assert operation(torch.Tensor.__iadd__) == ("add", True)
    assert operation(F.relu_) == ("relu", True)


def test_four_threads_with_different_methods_on_one_model():
    subject = models.load("fmnist-vgg")
    images, targets = subject.sample(2, seed=0)
    names = ["lrp-a2b1", "guided-backprop", "rap", "deconvnet"]
    alone = {name: explainers.get(name).explain(subject, images, targets).attribution for name in names}
    found, errors = {name: [] for name in names}, []

    def work(name):
        try:
            for _ in range(3):
                found[name].append(explainers.get(name).explain(subject, images, targets).attribution)
        except Exception as error:
            errors.append(error)

    switch = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    try:
        threads = [threading.Thread(target=work, args=(name,)) for name in names]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        sys.setswitchinterval(switch)
    assert not errors
    for name in names:
        assert len(found[name]) == 3
        assert all(torch.equal(each, alone[name]) for each in found[name])
