"""W+ x, W- x and their ways back in one convolution are those of two."""

import pytest
import torch

from explainers.rules import signs
from explainers.rules.linear import NEGATIVE, POSITIVE, Addition, Convolution, Dense, convolution

KINDS = [
    ("conv2d", (3, 6, 5, 3, 3), {"padding": 1}),
    ("conv2d", (3, 7, 5, 3, 2), {"stride": (2, 1), "padding": (0, 1), "dilation": (1, 2)}),
    ("conv2d", (3, 6, 5, 2, 2), {"padding": "same"}),
    ("conv2d", (4, 6, 6, 3, 3), {"groups": 2}),
    ("conv1d", (3, 9, 5, 3), {"stride": 2}),
    ("conv3d", (2, 4, 3, 2, 2, 2), {}),
    ("conv_transpose2d", (3, 4, 5, 2, 2), {"stride": 2}),
]


def made(name, sizes, options, kind=torch.float64):
    inputs, size, outputs, *kernel = sizes
    draw = torch.Generator().manual_seed(0)
    axes = len(kernel)
    shape = (inputs, outputs) if "transpose" in name else (outputs, inputs // options.get("groups", 1))
    weight = torch.randn(*shape, *kernel, generator=draw, dtype=kind)
    images = torch.rand(5, inputs, *[size] * axes, generator=draw, dtype=kind)
    x, op = convolution(name, (images, weight), options)
    return op, x, torch.Generator().manual_seed(1)


@pytest.mark.parametrize(("name", "sizes", "options"), KINDS)
@pytest.mark.parametrize("columns", [1, 2**18])
def test_both_signs_at_once_are_those_of_two_convolutions(monkeypatch, name, sizes, options, columns):
    monkeypatch.setattr(signs, "COLUMNS", columns)
    op, x, draw = made(name, sizes, options)
    positive, negative = signs.applied(op, (x,))
    torch.testing.assert_close(positive, op.apply((x,), POSITIVE), rtol=1e-13, atol=1e-13)
    torch.testing.assert_close(negative, op.apply((x,), NEGATIVE), rtol=1e-13, atol=1e-13)
    assert float(positive.amin()) >= 0 >= float(negative.amax()) and float(negative.amin()) < 0
    plus, minus = (torch.randn(positive.shape, generator=draw, dtype=x.dtype) for _ in range(2))
    (found,) = signs.shares(op, (x,), plus, minus)
    (up,), (down,) = op.back(plus, (x,), POSITIVE), op.back(minus, (x,), NEGATIVE)
    torch.testing.assert_close(found, x * (up + down), rtol=1e-13, atol=1e-12)
    assert found.shape == x.shape and float((found - x * (up - down)).abs().max()) > 0.1


@pytest.mark.parametrize("columns", [1, 2**18])
def test_what_has_no_contribution_is_exactly_zero(monkeypatch, columns):
    """One-sided neurons are told by zeros: a black patch, weights of one sign, and a patch that only reads black."""
    monkeypatch.setattr(signs, "COLUMNS", columns)
    op, x, _ = made("conv2d", (3, 16, 24, 3, 3), {"padding": 1})
    op.weight[:8] = op.weight[:8].abs()
    op.weight[8:16] = -op.weight[8:16].abs()
    x[:, :, :8] = 0
    positive, negative = signs.applied(op, (x,))
    assert int(positive[:, :, :7].count_nonzero()) == 0 == int(negative[:, :, :7].count_nonzero())
    assert int(negative[:, :8].count_nonzero()) == 0 == int(positive[:, 8:16].count_nonzero())
    assert bool((positive[:, 16:, 8:] > 0).all()) and bool((negative[:, 16:, 8:] < 0).all())


def test_only_float64_convolutions_are_joined(monkeypatch):
    calls = []
    monkeypatch.setattr(
        Convolution, "signs", lambda op: calls.append(op) or torch.cat((op.weight.clamp(min=0), op.weight.clamp(max=0)))
    )
    for kind in (torch.float32, torch.float64):
        op, x, _ = made("conv2d", (3, 6, 5, 3, 3), {}, kind)
        signs.applied(op, (x,))
    assert len(calls) == 1


def test_operations_without_negative_weights_and_of_two_inputs():
    a, b = torch.tensor([[1.0, 2.0]]), torch.tensor([[3.0, 4.0]])
    positive, negative = signs.applied(Addition(), (a, b))
    assert torch.equal(positive, a + b) and not negative.any()
    found = signs.shares(Addition(-1.0), (a, b), torch.ones(1, 2), torch.full((1, 2), 2.0))
    assert torch.equal(found[0], a) and torch.equal(found[1], -2 * b)
    assert not signs.shares(Dense(torch.ones(2, 2), None), (a,), None, None)[0].any()
