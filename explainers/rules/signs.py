"""Both signs of an operation's weights: W+ x and W- x, and what goes back through either.

In float64 there are no fast convolutions, only matrix products on columns of patches. There W+ and W- are outputs of one
convolution, so that the columns are formed once, and on the way forward a few images go at a time, so that the columns
stay in the processor's cache. Every output is still a sum of products of its own, so neurons without a contribution of one
sign still have exactly 0 there, by which the rules know them.
"""

from __future__ import annotations

import math
from typing import TypeGuard

import torch
from torch import Tensor

from .linear import NEGATIVE, POSITIVE, Convolution, LinearOperation

COLUMNS = 2**18
"""Numbers in the columns of patches at once: 2 MB."""


def applied(op: LinearOperation, inputs: tuple[Tensor, ...]) -> tuple[Tensor, Tensor]:
    """W+ x and W- x, without bias.

    Args:
        op: the operation.
        inputs: its data tensors.

    Example:
        >>> from explainers.rules.linear import Dense
        >>> both = applied(Dense(torch.tensor([[2.0, -1.0]]), None), (torch.tensor([[3.0, 4.0]]),))
        >>> [each.item() for each in both]
        [6.0, -4.0]
    """
    if not op.negative:
        positive = op.apply(inputs, POSITIVE)
        return positive, torch.zeros_like(positive)
    if not _together(op, inputs):
        return op.apply(inputs, POSITIVE), op.apply(inputs, NEGATIVE)
    weight, outputs = op.signs(), len(op.weight)
    pieces = [op.forward(x, weight) for x in inputs[0].split(_rows(op, inputs[0]))]
    positive, negative = (torch.cat([piece.narrow(1, at, outputs) for piece in pieces]) for at in (0, outputs))
    return positive, negative


def shares(
    op: LinearOperation, inputs: tuple[Tensor, ...], plus: Tensor | None, minus: Tensor | None
) -> tuple[Tensor, ...]:
    """x times (W+)^T plus + (W-)^T minus, one tensor per input; None stands for zeros.

    Args:
        op: the operation.
        inputs: its data tensors.
        plus, minus: of the shape of its output.
    """
    if plus is not None and minus is not None and _together(op, inputs):
        return (op.reverse(torch.cat((plus, minus), 1), inputs[0], op.signs()).mul_(inputs[0]),)
    parts = [] if plus is None else [op.back(plus, inputs, POSITIVE)]
    if minus is not None and op.negative:
        parts.append(op.back(minus, inputs, NEGATIVE))
    if not parts:
        return tuple(torch.zeros_like(x) for x in inputs)
    backs = parts[0] if len(parts) == 1 else tuple(a + b for a, b in zip(*parts, strict=True))
    return tuple(x * back for x, back in zip(inputs, backs, strict=True))


def _together(op: LinearOperation, inputs: tuple[Tensor, ...]) -> TypeGuard[Convolution]:
    """Whether one convolution computes both."""
    plain = isinstance(op, Convolution) and not op.transposed and op.groups == 1
    return plain and inputs[0].dtype == torch.float64


def _rows(op: Convolution, x: Tensor) -> int:
    """How many images go at once."""
    positions = x[0, 0].numel() // math.prod(op.stride)
    return max(1, COLUMNS // max(1, positions * op.weight[0].numel()))
