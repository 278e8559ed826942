"""PatternAttribution: the patterns against covariances over unfolded patches, what they mean, where they are refused."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import explainers
import models
from explainers.engine import UnsupportedOperation
from explainers.passes import shared_passes
from explainers.patterns import fitted
from explainers.rules.linear import Dense
from explainers.rules.patterns import Moments
from models.adapters import from_tensor
from models.naming import UsageError

IMAGES = torch.rand(40, 2, 7, 7, generator=torch.Generator().manual_seed(0))


def net(seed=0):
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return nn.Sequential(
            nn.Conv2d(2, 4, 3, stride=2, padding=1), nn.ReLU(inplace=True), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(16, 6),
            nn.ReLU(), nn.Linear(6, 3),
        ).eval()  # fmt: skip


def slopes(x, y, active):
    """cov(x, y_k) / var(y_k) over the rows where `active`, one neuron at a time; x (M, D), y (M, K)."""
    rows = []
    for k in range(y.shape[1]):
        a, b = x[active[:, k]], y[active[:, k], k]
        if len(b) < 2:
            rows.append(torch.zeros_like(x[0]))
            continue
        a, b = a - a.mean(0), b - b.mean()
        rows.append((a * b[:, None]).sum(0) / (b**2).sum())
    return torch.stack(rows)


def test_patterns_are_regressions_on_active_patches():
    model = net().double()
    subject = from_tensor(model, IMAGES)
    x = IMAGES.double()
    with torch.no_grad():
        patches = F.unfold(x, 3, padding=1, stride=2).transpose(1, 2).reshape(-1, 18)
        conv = model[0](x).permute(0, 2, 3, 1).reshape(-1, 4)
        flat = model[:4](x)
        hidden = model[:5](x)
        expected = [
            (model[0].weight.flatten(1) * slopes(patches, conv, conv > 0)).view(4, 2, 3, 3),
            model[4].weight * slopes(flat, hidden, hidden > 0),
            model[6].weight * slopes(model[:6](x), model(x), torch.ones(40, 3, dtype=torch.bool)),
        ]
    for found, kernel in zip(fitted(subject, 40), expected, strict=True):
        torch.testing.assert_close(found, kernel.float(), rtol=1e-3, atol=1e-4)
        alive = kernel.flatten(1).abs().sum(1) > 0
        torch.testing.assert_close(found.flatten(1).sum(1), alive.float(), rtol=1e-4, atol=1e-4)


def test_moments_do_not_depend_on_chunks():
    draw = torch.Generator().manual_seed(0)
    x = torch.rand(30, 5, generator=draw) + 100
    op = Dense(torch.randn(3, 5, generator=draw), None)
    y = op.apply((x,), "all")
    y = y - y.mean(0)
    whole = Moments.of(op.weight).add(op, x, y, y > 0)
    parts = Moments.of(op.weight)
    for part, out in zip(x.split(7), y.split(7), strict=True):
        parts = parts.add(op, part, out, out > 0)
    torch.testing.assert_close(parts.product, whole.product, rtol=1e-3, atol=1e-3)
    assert torch.equal(parts.count, whole.count)
    assert float(Moments.of(op.weight).kernel(op.weight).abs().sum()) == 0


def test_a_signal_is_found_under_a_distractor():
    """The example of the method's paper: x = signal (1, 0) + distractor (1, 1), w = (1, -1); the pattern is (1, 0)."""
    draw = torch.Generator().manual_seed(0)
    signal, distractor = torch.randn(2, 4000, 1, generator=draw)
    pixels = (signal * torch.tensor([1.0, 0.0]) + distractor * torch.tensor([1.0, 1.0])).view(-1, 1, 1, 2)
    linear = nn.Linear(2, 2, bias=False)
    linear.weight.data = torch.tensor([[1.0, -1.0], [-1.0, 1.0]])
    subject = from_tensor(nn.Sequential(nn.Flatten(), linear), pixels)
    found = explainers.get("pattern-attribution[samples=4000]").explain(subject, pixels[:5], [0] * 5)
    logit = signal[:5, 0].abs()
    torch.testing.assert_close(found.attribution[:, 0, 0, 0], logit, rtol=0.1, atol=0.02)
    assert float((found.attribution[:, 0, 0, 1].abs() / logit).max()) < 0.1
    gradient = explainers.get("gradient").explain(subject, pixels[:5], [0] * 5).attribution
    assert torch.equal(gradient.flatten(1), torch.tensor([[1.0, -1.0]] * 5))


def test_by_hand_on_the_way_back():
    subject = from_tensor(net(), IMAGES)
    kernels = fitted(subject, 40)
    image = IMAGES[:3]
    found = explainers.get("pattern-attribution[samples=40]").explain(subject, image)
    model = net()
    with torch.no_grad():
        z0, pooled = model[0](image), model[:3](image)
        z1, logits = model[:5](image), model(image)
    target = logits.argmax(1)
    above = F.one_hot(target, 3) * logits.abs()
    down = (above @ kernels[2]) * (z1 > 0)
    down = (down @ kernels[1]).view_as(pooled)
    places = F.max_pool2d(z0.relu(), 2, return_indices=True)[1]
    down = F.max_unpool2d(down, places, 2, output_size=z0.shape) * (z0 > 0)
    expected = F.conv_transpose2d(down, kernels[0], stride=2, padding=1)
    torch.testing.assert_close(found.attribution, expected, rtol=1e-4, atol=1e-6)


def test_on_the_shipped_classifier():
    one, other = models.load("fmnist-vgg"), models.load("fmnist-vgg-functional")
    images, targets = one.sample(3, seed=0)
    explainer = explainers.get("pattern-attribution[samples=48]")
    maps = explainer.explain(one, images, targets)
    assert set(maps.status) == {"ok"}
    scale = float(maps.attribution.abs().max())
    for again in (
        explainer.explain(other, images, targets).attribution,
        explainer.explain(one, images, targets, batch_size=1).attribution,
    ):
        torch.testing.assert_close(again, maps.attribution, rtol=1e-2, atol=1e-3 * scale)


def test_fitted_once_for_all_explanations_of_a_subject(monkeypatch):
    calls = []
    monkeypatch.setattr("explainers.patterns.fitted", lambda *a: calls.append(a) or fitted(*a))
    subject, explainer = from_tensor(net(), IMAGES), explainers.get("pattern-attribution[samples=16]")
    with shared_passes():
        first = explainer.explain(subject, IMAGES[:2])
        explainer.explain(subject, IMAGES[2:5])
        explainers.get("pattern-attribution[samples=16,seed=logit]").explain(subject, IMAGES[:2])
    assert len(calls) == 1
    torch.testing.assert_close(explainer.explain(subject, IMAGES[:2]).attribution, first.attribution)
    assert len(calls) == 2


class Residual(nn.Module):
    def __init__(self, kind):
        super().__init__()
        self.kind, self.conv, self.head = kind, nn.Conv2d(2, 2, 3, padding=1), nn.Linear(98, 3)
        self.norm = nn.BatchNorm2d(2)

    def forward(self, x):
        h = self.conv(x)
        h = {"add": lambda: h + x, "cat": lambda: torch.cat([h[:, :1], x[:, :1]], 1), "batch_norm": lambda: self.norm(h.relu()),
             "avg_pool2d": lambda: F.avg_pool2d(h, 3, 1, 1), "gelu": lambda: F.gelu(h)}[self.kind]()  # fmt: skip
        return self.head(h.flatten(1))


@pytest.mark.parametrize("kind", ["add", "cat", "batch_norm", "avg_pool2d", "gelu"])
def test_only_sequences_are_explained(kind):
    with pytest.raises(UnsupportedOperation, match=rf"pattern-attribution has no rule .*{kind}.*test_patterns\.py:\d+"):
        explainers.get("pattern-attribution").explain(Residual(kind), IMAGES[:2])


def test_wrong_parameters():
    for text in ("pattern-attribution[samples=1]", "pattern-attribution[seed=one]"):
        with pytest.raises(UsageError):
            explainers.get(text).explain(net(), IMAGES[:2])
