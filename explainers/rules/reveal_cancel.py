"""The RevealCancel rule of DeepLIFT: positive and negative terms of a sum act on an activation separately.

A linear operation whose output an activation reads books the sum of its positive terms; the activation then hands
different multipliers to the positive and to the negative part, in the two halves of the gradient channel. An activation
that reads anything else than a sum (a pooling, a batch norm that could not be folded, another activation) sees a single
term, for which RevealCancel is the rescale rule.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from ..engine import RuleMode, UnsupportedOperation, operation, site
from .deeplift import DeepLiftRules, Function, halves, quotient
from .linear import ALL, NEGATIVE, POSITIVE, Addition, LinearOperation, convolution, dense

SAME_ORDER = frozenset(
    "CloneBackward0 ViewBackward0 UnsafeViewBackward0 ReshapeAliasBackward0 UnsqueezeBackward0 SqueezeBackward0 "
    "SqueezeBackward1 SqueezeBackward2 AliasBackward0".split()
)


class _Sum(torch.autograd.Function):
    """A linear operation that books the sum of its positive terms.

    Backward, for a term w Delta x: w m+ where it is positive, w m- where it is negative, their mean where it is zero.
    """

    @staticmethod
    def forward(ctx: Any, op: LinearOperation, *inputs: Tensor) -> Tensor:  # type: ignore[override]
        value = op.apply(inputs, ALL)
        bias = op.bias(value)
        changes = tuple(here - there for here, there in map(halves, inputs))
        positive = op.apply(tuple(change.clamp(min=0) for change in changes), POSITIVE)
        if op.negative:
            positive = positive + op.apply(tuple(change.clamp(max=0) for change in changes), NEGATIVE)
        ctx.save_for_backward(*changes)
        ctx.op, ctx.positive = op, positive
        return value if bias is None else value + bias

    @staticmethod
    def backward(ctx: Any, above: Tensor) -> tuple[Tensor | None, ...]:  # type: ignore[override]
        changes, op = ctx.saved_tensors, ctx.op
        rising = _both(op, changes, *halves(above))
        falling = _both(op, changes, *reversed(halves(above)))
        found: list[Tensor | None] = [None]
        for change, up, down in zip(changes, rising, falling, strict=True):
            multiplier = torch.where(change > 0, up, torch.where(change < 0, down, (up + down) / 2))
            found.append(torch.cat([multiplier, multiplier]))
        return tuple(found)


def _both(op: LinearOperation, like: tuple[Tensor, ...], first: Tensor, second: Tensor) -> tuple[Tensor, ...]:
    """(W+)^T first + (W-)^T second."""
    parts = op.back(first, like, POSITIVE)
    if not op.negative:
        return parts
    return tuple(a + b for a, b in zip(parts, op.back(second, like, NEGATIVE), strict=True))


class _RevealCancel(torch.autograd.Function):
    """An element-wise function of a sum: each part's change is averaged over acting first and acting second."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, positive: Tensor, function: Function, smooth: bool) -> Tensor:  # type: ignore[override]
        y = function(x)
        ctx.save_for_backward(x, y, positive)
        ctx.held = function, smooth
        return y

    @staticmethod
    def backward(ctx: Any, above: Tensor) -> tuple[Tensor, None, None, None]:  # type: ignore[override]
        x, y, positive = ctx.saved_tensors
        function, smooth = ctx.held
        (here, there), (value, before) = halves(x), halves(y)
        negative = here - there - positive
        after_positive, after_negative = function(there + positive), function(there + negative)
        cross = after_positive - after_negative
        gains = (value - before + cross) / 2, (value - before - cross) / 2
        noise = 8 * torch.finfo(x.dtype).eps * (1 + here.abs() + there.abs() + positive)
        whole = quotient(function, (here, there), (value, before), smooth)
        down = [
            arriving * torch.where(part.abs() > noise, gain / torch.where(part.abs() > noise, part, 1), whole)
            for arriving, part, gain in zip(halves(above), (positive, negative), gains, strict=True)
        ]
        return torch.cat(down), None, None, None


class RevealCancelRules(DeepLiftRules):
    """The rule set of DeepLIFT with the RevealCancel rule.

    Args:
        explainer: name for messages.
        rows: rows of the batch [x; x0], even.

    Source: Shrikumar et al. 2017, sections 3.4, 3.5.1, 3.5.3; Nuzzo 2020, eq. 4.27 to 4.30.
    """

    def __init__(self, explainer: str, rows: int) -> None:
        super().__init__(explainer, rows)
        self.handlers |= {f"conv{t}{d}d": self._conv for t in ("", "_transpose") for d in (1, 2, 3)}
        self.handlers |= {"linear": self._dense, "add": self._add, "radd": self._add, "sub": self._add}

    def activation(self, x: Tensor, function: Function, smooth: bool) -> Tensor:
        """An element-wise function; of a sum under RevealCancel, of anything else under the rescale rule."""
        positive = _positive_part(x)
        if positive is None:
            return super().activation(x, function, smooth)
        result: Tensor = _RevealCancel.apply(x, positive, function, smooth)  # type: ignore[no-untyped-call]
        return result

    def _conv(self, mode: RuleMode, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Tensor:
        name = operation(func)[0]
        self.data(name, args, kwargs)
        x, op = convolution(name, args, kwargs)
        return self._sum(op, x)

    def _dense(self, mode: RuleMode, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Tensor:
        self.data("linear", args, kwargs)
        x, op = dense(args, kwargs)
        return self._sum(op, x)

    def _add(self, mode: RuleMode, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Tensor:
        name = operation(func)[0]
        found = self.data(name, args, kwargs, most=2)
        if len(found) == 1:
            return func(*args, **kwargs)
        if kwargs.get("alpha", 1) != 1:
            raise UnsupportedOperation(name, site(), self.explainer, "alpha is not 1")
        return self._sum(Addition(), found[0], -found[1] if name == "sub" else found[1])

    def _sum(self, op: LinearOperation, *inputs: Tensor) -> Tensor:
        result: Tensor = _Sum.apply(op, *inputs)  # type: ignore[no-untyped-call]
        return result


def _positive_part(x: Tensor) -> Tensor | None:
    """The booked positive terms of the sum that x is, through copies and changes of shape; None if it is no sum."""
    node = x.grad_fn
    while node is not None and node.name() in SAME_ORDER:
        node = node.next_functions[0][0]
    positive = getattr(node, "positive", None)
    return positive.reshape(len(x) // 2, *x.shape[1:]) if isinstance(positive, Tensor) else None
