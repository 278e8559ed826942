"""Patterns of a sequential network's layers: what in the input moves together with each neuron, and how to use it.

A pattern of neuron k is a_k = cov(x, y_k) / var(y_k) over the images and positions where a ReLU behind it is active (all
of them for the layer without a ReLU). Weights times patterns take the place of weights on the way back.

Source: Kindermans et al. 2018, eq. 10 and section 4.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from ..engine import DROPOUTS, SHAPES, WINNERS, RuleMode
from .linear import ALL, Convolution, Dense
from .relevance import RelevanceRules

JOINING = frozenset("cat concat concatenate stack hstack vstack".split())


@dataclass
class Moments:
    """Running covariance of a layer's input patches with its outputs, in float64.

    Attributes:
        count, mean_y: per output neuron, (K,).
        mean_x, product: per weight, shaped as the weight: mean of the patch, sum of products of deviations.
    """

    count: Tensor
    mean_y: Tensor
    mean_x: Tensor
    product: Tensor

    def add(self, op: Convolution | Dense, x: Tensor, y: Tensor, active: Tensor) -> Moments:
        """The moments with further inputs x and outputs y, of which those `active` count."""
        axes = [axis for axis in range(y.dim()) if axis != (1 if op.spatial else y.dim() - 1)]
        mask = active.to(y.dtype)
        count = mask.sum(axes, dtype=torch.float64)
        mean_y = (mask * y).sum(axes, dtype=torch.float64) / count.clamp(min=1)
        line = mean_y.to(y.dtype).view(-1, *[1] * (y.dim() - 2)) if op.spatial else mean_y.to(y.dtype)
        flat = (-1, *[1] * (op.weight.dim() - 1))
        mean_x = op.outer(x, mask).double() / count.clamp(min=1).view(flat)
        product = op.outer(x, mask * (y - line)).double()
        both = self.count + count
        share = count / both.clamp(min=1)
        step_x, step_y = mean_x - self.mean_x, mean_y - self.mean_y
        cross = step_x * (step_y * self.count * share).view(flat)
        return Moments(
            both,
            self.mean_y + step_y * share,
            self.mean_x + step_x * share.view(flat),
            self.product + product + cross,
        )

    def kernel(self, weight: Tensor) -> Tensor:
        """Weights times patterns, shaped as the weight; they sum to 1 over the inputs of a neuron, or are 0."""
        weighted = weight.double() * self.product
        variance = weighted.flatten(1).sum(1).view(-1, *[1] * (weight.dim() - 1))
        usable = variance > 1e-12 * weighted.abs().flatten(1).sum(1).view_as(variance)
        return torch.where(usable, weighted / torch.where(usable, variance, 1), 0).to(weight.dtype)

    @classmethod
    def of(cls, weight: Tensor) -> Moments:
        """Moments of nothing yet."""
        zero = torch.zeros(len(weight), dtype=torch.float64, device=weight.device)
        shape = torch.zeros(weight.shape, dtype=torch.float64, device=weight.device)
        return cls(zero, zero, shape, shape)


class _Step(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, op: Convolution | Dense, kernel: Tensor) -> Tensor:  # type: ignore[override]
        ctx.held = replace(op, weight=kernel)
        ctx.save_for_backward(x)
        return _output(op, x)

    @staticmethod
    def backward(ctx: Any, above: Tensor) -> tuple[Tensor, None, None]:  # type: ignore[override]
        (below,) = ctx.held.back(above, tuple(ctx.saved_tensors), ALL)
        return below, None, None


class _Sequential(RelevanceRules):
    """What fitting and applying share: the operations of sequential networks of Conv, Linear, ReLU and MaxPool."""

    ordinary = (SHAPES - JOINING) | (WINNERS - {"amax"})

    def __init__(self, explainer: str) -> None:
        super().__init__(explainer, None, torch.zeros(1))
        handlers: dict[str, Callable[..., Any]] = {f"conv{d}d": self._conv for d in (1, 2, 3)}
        self.handlers = handlers | {
            "adaptive_avg_pool2d": self._pool, "linear": self._dense, "relu": self._relu,
            **dict.fromkeys(DROPOUTS, self._unchanged),
            **dict.fromkeys(("clamp", "clamp_min", "clip", "threshold"), self._clamp),
            **dict.fromkeys(("add", "radd", "sub", "rsub", "mul", "rmul", "div", "truediv", "neg"), self._affine),
        }  # fmt: skip

    def _relu(self, mode: RuleMode, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Tensor:
        return torch.relu(args[0] if args else kwargs["input"])

    def _pool(self, mode: RuleMode, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Tensor:
        """Adaptive pooling to the size that is there, which changes nothing."""
        x: Tensor = args[0] if args else kwargs["input"]
        if func(*args, **kwargs).shape != x.shape:
            raise self._declined(func, "patterns are defined for Conv, Linear, ReLU and MaxPool")
        return x.clone()

    def _clamp(self, mode: RuleMode, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Tensor:
        super()._clamp(mode, func, args, kwargs)
        return self._relu(mode, func, args, kwargs)


class PatternFit(_Sequential):
    """Gathers moments of every layer, in the order of execution; run it on each chunk of images, then `kernels`.

    Args:
        explainer: name for messages.
    """

    strict = True

    def __init__(self, explainer: str) -> None:
        super().__init__(explainer)
        self.layers: list[tuple[Convolution | Dense, Moments]] = []
        self._place = 0
        self._waiting: tuple[Tensor, Tensor] | None = None

    def carry(self, op: Any, *inputs: Tensor) -> Tensor:
        """The output of a layer, cut off from the graph."""
        self._settle(False)
        x = inputs[0].detach()
        with torch.no_grad():
            y = _output(op, x)
        if self._place == len(self.layers):
            self.layers.append((op, Moments.of(op.weight)))
        self._waiting = x, y
        return y.clone().requires_grad_(True).clone()  # a leaf could not be changed in place by the network

    def finish(self) -> None:
        """End of one chunk."""
        self._settle(False)
        self._place = 0

    def kernels(self) -> list[Tensor]:
        """Weights times patterns of every layer, in the order of execution."""
        return [moments.kernel(op.weight) for op, moments in self.layers]

    def _relu(self, mode: RuleMode, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Tensor:
        self._settle(True)
        return super()._relu(mode, func, args, kwargs)

    def _settle(self, positive: bool) -> None:
        """Book the layer that waits, now that it is known whether a ReLU follows."""
        if self._waiting is None:
            return
        x, y = self._waiting
        op, moments = self.layers[self._place]
        with torch.no_grad():
            self.layers[self._place] = (
                op,
                moments.add(op, x, y, y > 0 if positive else torch.ones_like(y, dtype=torch.bool)),
            )
        self._waiting = None
        self._place += 1


class PatternRules(_Sequential):
    """Goes back through weights times patterns.

    Args:
        explainer: name for messages.
        kernels: of every layer in the order of execution.
    """

    replaced = frozenset({"convolution", "addmm", "mm"})

    def __init__(self, explainer: str, kernels: list[Tensor]) -> None:
        super().__init__(explainer)
        self._kernels = iter(kernels)

    def carry(self, op: Any, *inputs: Tensor) -> Tensor:
        """The output of a layer, with the pattern's backward."""
        result: Tensor = _Step.apply(inputs[0], op, next(self._kernels))  # type: ignore[no-untyped-call]
        return result


def _output(op: Convolution | Dense, x: Tensor) -> Tensor:
    y = op.apply((x,), ALL)
    bias = op.bias(y)
    return y if bias is None else y + bias
