"""Health of models: hand-computed shares, functional and in-place ReLUs, dead models."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import explainers
import explainers.passes as shared
from bench.checks.health import _above_zero, examine
from bench.checks.passes import Request, explain
from bench.protocols import get
from explainers.passes import shared_passes
from explainers.reuse import Reuse
from models.base import Subject

from .fakes import Images, subject


class Half(nn.Module):
    """Two inputs to the logits (x0 - 0.5)+, (x1 - 2)+, 0+, through one kind of ReLU: the last two are dead."""

    def __init__(self, relu: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.relu = relu
        self.scale = nn.Parameter(torch.ones(()))

    def forward(self, images: Tensor) -> Tensor:
        x = images.flatten(1)[:, :2] * self.scale
        units = torch.stack([x[:, 0] - 0.5, x[:, 1] - 2, torch.zeros_like(x[:, 0]), x[:, 0]], 1)
        return self.relu(units)


RELUS = {
    "module": nn.ReLU(),
    "in place": nn.ReLU(inplace=True),
    "functional": F.relu,
    "functional in place": lambda x: F.relu(x, inplace=True),
    "torch": torch.relu,
    "method": lambda x: x.relu(),
    "method in place": lambda x: x.relu_(),
    "clamp_min": lambda x: x.clamp_min(0),
    "relu6": nn.ReLU6(),
    "functional relu6": F.relu6,
}


def wrapped(model: nn.Module) -> Subject:
    return Subject(name="m", model=model.eval(), data=Images(), reference=Images())  # type: ignore[arg-type]


IMAGES = torch.tensor([[0.75, 0.5], [0.25, 1.0], [1.0, 0.0], [0.5, 0.5]]).view(4, 1, 1, 2)
LABELS = torch.tensor([3, 3, 3, 0])


@pytest.mark.parametrize("name", list(RELUS))
@pytest.mark.parametrize("batch_size", [None, 1, 3])
def test_share_of_dead_units_by_hand(name: str, batch_size: int | None) -> None:
    health = examine(wrapped(Half(RELUS[name])), IMAGES, LABELS, batch_size)
    assert health.dead_share == 0.5
    assert health.healthy
    assert health.accuracy == 0.75
    expected = torch.stack([(IMAGES.flatten(1)[:, 0] - 0.5).clamp_min(0), IMAGES.flatten(1)[:, 0]]).double()
    assert health.logit_sd == pytest.approx(float(expected.std(1, correction=0).sum() / 4))


def test_a_clamp_at_another_bound_is_no_relu() -> None:
    health = examine(wrapped(Half(lambda x: x.clamp_min(-5.0))), IMAGES, LABELS)
    assert health.dead_share is None
    assert ("dead-relu-share", None, "not-applicable") in health.values()


def test_reused_relu_counts_at_each_call() -> None:
    class Twice(Half):
        def forward(self, images: Tensor) -> Tensor:
            return self.relu(super().forward(images)[:, :2])

    assert examine(wrapped(Twice(nn.ReLU())), IMAGES, LABELS).dead_share == pytest.approx(3 / 6)


def test_a_dead_relu_layer_makes_the_model_unhealthy() -> None:
    model = subject()
    with torch.no_grad():
        model.model.hidden.bias.fill_(-1e6)
    health = examine(model, model.data.load(range(4)), torch.zeros(4, dtype=torch.int64))
    assert not health.healthy
    assert "same for every image" in health.reason


def test_a_dead_branch_beside_a_living_one_is_named() -> None:
    class Branches(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.scale = nn.Parameter(torch.ones(()))

        def forward(self, images: Tensor) -> Tensor:
            x = images.flatten(1)[:, :2] * self.scale
            return x + F.relu(x - 10)

    health = examine(wrapped(Branches()), IMAGES, LABELS % 2)
    assert not health.healthy
    assert "ReLU layer" in health.reason


def test_logits_that_are_not_finite() -> None:
    model = subject()
    with torch.no_grad():
        model.model.head.bias[0] = float("nan")
    health = examine(model, model.data.load(range(3)), torch.zeros(3, dtype=torch.int64))
    assert not health.healthy
    rows = {name: (value, status) for name, value, status in health.values()}
    assert rows["logit-sd"] == (None, "non-finite")
    assert rows["accuracy"] == (None, "non-finite")
    assert rows["healthy"] == (0.0, "ok")


def test_rounding_noise_in_the_logits_is_not_life() -> None:
    class Noise(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.bias = nn.Parameter(torch.ones(3))

        def forward(self, images: Tensor) -> Tensor:
            return self.bias * 100 + images.flatten(1)[:, :1] * 3e-5

    assert not examine(wrapped(Noise()), IMAGES, LABELS % 2).healthy


def test_one_image_has_no_spread_but_may_be_healthy() -> None:
    health = examine(wrapped(Half(nn.ReLU())), IMAGES[:1], LABELS[:1])
    assert health.logit_sd is None
    assert ("logit-sd", None, "not-applicable") in health.values()
    assert health.healthy


def test_the_model_is_left_as_it_was() -> None:
    model = subject()
    before = model.checksum()
    examine(model, model.data.load(range(4)), torch.zeros(4, dtype=torch.int64), batch_size=3)
    assert model.checksum() == before


class Shifted(nn.Module):
    """Changes its input in place before anything else: autograd refuses that for images it follows."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(()))

    def forward(self, images: Tensor) -> Tensor:
        images -= 0.5
        return F.relu(images.flatten(1) * self.scale)


def test_a_network_that_autograd_cannot_follow_is_measured_without_it() -> None:
    given = IMAGES.clone()
    health = examine(wrapped(Shifted()), given, LABELS % 2)
    assert health.healthy and health.dead_share == 0.0
    assert health.logit_sd == pytest.approx(float(F.relu(IMAGES.flatten(1) - 0.5).double().std(0, correction=0).mean()))


def test_units_are_told_apart_whatever_the_order_of_the_memory() -> None:
    result = torch.randn(5, 3, 4, 2, generator=torch.Generator().manual_seed(0)).sub(1).relu()
    wanted = (result > 0).any(0).flatten()
    assert 0 < int(wanted.sum()) < len(wanted)
    assert torch.equal(_above_zero(result), wanted)
    assert torch.equal(_above_zero(result.to(memory_format=torch.channels_last)), wanted)
    assert torch.equal(_above_zero(result.transpose(2, 3).contiguous().transpose(2, 3)), wanted)
    assert torch.equal(_above_zero(result[:, 0, 0, 0]), wanted[:1])


@pytest.mark.parametrize("batch_size", [None, 3])
def test_health_beside_gradients_is_health_alone(batch_size: int | None) -> None:
    model, targets = subject(), torch.zeros(7, dtype=torch.int64)
    images = model.data.load(range(7))
    alone = examine(model, images, targets, batch_size)
    gradient, reuse = explainers.get("gradient"), Reuse(images)
    with shared_passes(reuse):
        gradient.explain(model, images, targets, batch_size=batch_size)
        assert reuse.gradients
        assert examine(model, images, targets, batch_size, targets) == alone
    plain = examine(model, images, targets, 1)
    assert plain.dead_share == alone.dead_share and plain.logit_sd == pytest.approx(alone.logit_sd, rel=1e-5)


def test_the_time_of_a_pass_made_for_health_counts_for_the_first_that_takes_its_gradient(monkeypatch) -> None:
    now = [0.0]
    monkeypatch.setattr(shared.time, "perf_counter", lambda: now[0])
    model = subject()
    request = Request(model.data.load(range(4)), torch.zeros(4, dtype=torch.int64), 0, get("recommended"))
    reuse, names = Reuse(request.images), ("input", "gradient", "saliency")
    with shared_passes(reuse):
        explain(explainers.get("gradient"), model, request)
    watched = shared.forward

    def slow(*given, **options):
        now[0] += 5.0
        return watched(*given, **options)

    monkeypatch.setattr(shared, "forward", slow)
    for explained in (names, (), names):
        with shared_passes(reuse):
            examine(model, request.images, request.targets, targets=request.targets)
            seconds = [explain(explainers.get(name), model, request).seconds for name in explained]
        assert seconds == [0.0, 5.0, 0.0][: len(explained)]
    with shared_passes(reuse):
        assert explain(explainers.get("gradient"), model, request).seconds == 5.0, "it made its own pass"
