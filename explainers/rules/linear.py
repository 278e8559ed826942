"""Linear operations as relevance rules see them: apply the weights' positive or negative part, and go back.

Convolutions, linear layers, additions, average pooling and means are all `y = W x + b`; a rule needs `W x`, `W+ x`,
`W- x` and their transposes, and nothing else.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor

ALL, POSITIVE, NEGATIVE = "all", "positive", "negative"
LARGE = 2**20


class LinearOperation(Protocol):
    """A linear map of one or more data tensors.

    Attributes:
        negative: whether any weight can be negative.
        weighted: whether it has trained weights (a convolution or a linear layer).
        spatial: whether it is a convolution.
        rectified: whether a ReLU reads its result.
    """

    negative: bool
    weighted: bool
    spatial: bool
    rectified: bool

    def apply(self, inputs: tuple[Tensor, ...], part: str) -> Tensor:
        """W x without bias, with all weights or their positive or negative part."""

    def bias(self, like: Tensor) -> Tensor | None:
        """The bias, broadcastable to the output, or None."""

    def back(self, above: Tensor, inputs: tuple[Tensor, ...], part: str) -> tuple[Tensor, ...]:
        """W^T applied to what arrives from above, one tensor per input."""


def _part(weight: Tensor, part: str) -> Tensor:
    return weight if part == ALL else weight.clamp(min=0) if part == POSITIVE else weight.clamp(max=0)


@dataclass
class Convolution:
    """Any convolution or transposed convolution, with stride, padding, dilation and groups.

    `sides` is what `padding="same"` adds in front of and behind each axis, last axis first, where the two differ.
    """

    weight: Tensor
    offset: Tensor | None
    stride: list[int]
    padding: list[int]
    dilation: list[int]
    transposed: bool
    output_padding: list[int]
    groups: int
    sides: tuple[int, ...] = ()
    negative: bool = True
    weighted: bool = True
    spatial: bool = True
    rectified: bool = False

    def apply(self, inputs: tuple[Tensor, ...], part: str) -> Tensor:
        return self.forward(inputs[0], _part(self.weight, part))

    def bias(self, like: Tensor) -> Tensor | None:
        return None if self.offset is None else self.offset.view(1, -1, *[1] * (like.dim() - 2))

    def back(self, above: Tensor, inputs: tuple[Tensor, ...], part: str) -> tuple[Tensor, ...]:
        return (self.reverse(above, inputs[0], _part(self.weight, part)),)

    def signs(self) -> Tensor:
        """Kernels of twice as many outputs: the positive weights, then the negative ones."""
        return torch.cat((_part(self.weight, POSITIVE), _part(self.weight, NEGATIVE)))

    def forward(self, x: Tensor, weight: Tensor) -> Tensor:
        """The convolution of x with another weight, without bias."""
        result: Tensor = torch.ops.aten.convolution(
            self._padded(x), weight, None, self.stride, self.padding, self.dilation, self.transposed,
            self.output_padding, self.groups,
        )  # fmt: skip
        return result

    def reverse(self, above: Tensor, x: Tensor, weight: Tensor) -> Tensor:
        """Its transpose applied to what arrives from above, shaped as x."""
        down: Tensor = self._backward(above, x, weight, (True, False, False))[0]
        return F.pad(down, [-side for side in self.sides]) if self.sides else down

    def outer(self, x: Tensor, factor: Tensor) -> Tensor:
        """Sum over images and positions of factor_k times the patch that output k reads, shaped as the weight."""
        result: Tensor = self._backward(factor, x, self.weight, (False, True, False))[1]
        return result

    def _padded(self, x: Tensor) -> Tensor:
        return F.pad(x, self.sides) if self.sides else x

    def _backward(self, above: Tensor, x: Tensor, weight: Tensor, wanted: tuple[bool, bool, bool]) -> Any:
        return torch.ops.aten.convolution_backward(
            above, self._padded(x), weight, None, self.stride, self.padding, self.dilation, self.transposed,
            self.output_padding, self.groups, wanted,
        )  # fmt: skip


@dataclass
class Dense:
    """x W^T + b over the last axis."""

    weight: Tensor
    offset: Tensor | None
    negative: bool = True
    weighted: bool = True
    spatial: bool = False
    rectified: bool = False

    def apply(self, inputs: tuple[Tensor, ...], part: str) -> Tensor:
        if part == ALL or self.weight.numel() < LARGE:
            return inputs[0] @ _part(self.weight, part).T
        return torch.cat([inputs[0] @ _part(rows, part).T for rows in self._blocks()], -1)

    def bias(self, like: Tensor) -> Tensor | None:
        return self.offset

    def back(self, above: Tensor, inputs: tuple[Tensor, ...], part: str) -> tuple[Tensor, ...]:
        if part == ALL or self.weight.numel() < LARGE:
            return (above @ _part(self.weight, part),)
        blocks = self._blocks()
        pieces = above.split([len(rows) for rows in blocks], -1)
        total = pieces[0] @ _part(blocks[0], part)
        for piece, rows in zip(pieces[1:], blocks[1:], strict=True):
            total += piece @ _part(rows, part)
        return (total,)

    def _blocks(self) -> tuple[Tensor, ...]:
        """Rows of a large weight by the megabyte: the parts of one fit a processor's cache."""
        return self.weight.split(max(1, LARGE // self.weight.shape[1]))

    def outer(self, x: Tensor, factor: Tensor) -> Tensor:
        """Sum over rows of factor_k times x, shaped as the weight."""
        return factor.flatten(0, -2).T @ x.flatten(0, -2)


@dataclass
class Addition:
    """a + factor b with broadcasting."""

    factor: float = 1.0
    weighted: bool = False
    spatial: bool = False
    rectified: bool = False

    @property
    def negative(self) -> bool:
        """Whether b is subtracted."""
        return self.factor < 0

    def apply(self, inputs: tuple[Tensor, ...], part: str) -> Tensor:
        first, second = self._weights(part)
        return inputs[0] * first + inputs[1] * second

    def bias(self, like: Tensor) -> Tensor | None:
        return None

    def back(self, above: Tensor, inputs: tuple[Tensor, ...], part: str) -> tuple[Tensor, ...]:
        weights = self._weights(part)
        return tuple((above * w).sum_to_size(x.shape) for x, w in zip(inputs, weights, strict=True))

    def _weights(self, part: str) -> tuple[float, float]:
        low, high = (float("-inf") if part != POSITIVE else 0.0), (float("inf") if part != NEGATIVE else 0.0)
        return min(max(1.0, low), high), min(max(self.factor, low), high)


@dataclass
class Average:
    """Average pooling, a mean, a sum, enlargement: a linear map with weights >= 0, given as a function."""

    function: Callable[[Tensor], Tensor]
    negative: bool = False
    weighted: bool = False
    spatial: bool = False
    rectified: bool = False

    def apply(self, inputs: tuple[Tensor, ...], part: str) -> Tensor:
        result = self.function(inputs[0])
        return torch.zeros_like(result) if part == NEGATIVE else result

    def bias(self, like: Tensor) -> Tensor | None:
        return None

    def back(self, above: Tensor, inputs: tuple[Tensor, ...], part: str) -> tuple[Tensor, ...]:
        if part == NEGATIVE:
            return (torch.zeros_like(inputs[0]),)
        with torch.enable_grad(), torch._C.DisableTorchFunction():
            x = torch.zeros_like(inputs[0], requires_grad=True)
            return torch.autograd.grad(self.function(x), x, above)


_CONV = ("input", "weight", "bias", "stride", "padding", "dilation", "groups")
_CONV_T = ("input", "weight", "bias", "stride", "padding", "output_padding", "groups", "dilation")


def convolution(name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Tensor, Convolution]:
    """The data tensor and the operation of a call of `conv1d` ... `conv_transpose3d`."""
    transposed = "transpose" in name
    given = dict(zip(_CONV_T if transposed else _CONV, args, strict=False)) | kwargs
    x, weight = given["input"], given["weight"]
    axes = weight.dim() - 2
    spread = {
        key: _tuple(given.get(key, default), axes)
        for key, default in (("stride", 1), ("dilation", 1), ("output_padding", 0))
    }
    padding, sides = given.get("padding", 0), ()
    if padding == "valid":
        padding = 0
    elif padding == "same":
        totals = [d * (k - 1) for d, k in zip(spread["dilation"], weight.shape[2:], strict=True)]
        padding = [total // 2 for total in totals]
        if any(total % 2 for total in totals):
            padding, sides = 0, tuple(side for t in reversed(totals) for side in (t // 2, t - t // 2))
    return x, Convolution(
        weight.detach(), _detached(given.get("bias")), spread["stride"], _tuple(padding, axes), spread["dilation"], transposed,
        spread["output_padding"], int(given.get("groups", 1)), sides,
    )  # fmt: skip


def dense(args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Tensor, Dense]:
    """The data tensor and the operation of a call of `linear`."""
    given = dict(zip(("input", "weight", "bias"), args, strict=False)) | kwargs
    return given["input"], Dense(given["weight"].detach(), _detached(given.get("bias")))


def product(name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Tensor, Dense] | None:
    """The data tensor and the operation of `x @ W` or `addmm(b, x, W)` with a constant matrix W, else None."""
    keys = ("bias", "input", "mat2") if name == "addmm" else ("input", "mat2")
    given = dict(zip(keys, args, strict=False))
    x, matrix, bias = given.get("input"), given.get("mat2"), given.get("bias")
    constant = isinstance(matrix, Tensor) and not matrix.requires_grad and matrix.dim() == 2
    if not isinstance(x, Tensor) or not constant or kwargs or (bias is not None and bias.requires_grad):
        return None
    return x, Dense(matrix.detach().T, _detached(bias))


def _detached(tensor: Tensor | None) -> Tensor | None:
    return None if tensor is None else tensor.detach()


def _tuple(value: Any, axes: int) -> list[int]:
    return [int(value)] * axes if isinstance(value, int) else [int(v) for v in value] * (axes if len(value) == 1 else 1)
