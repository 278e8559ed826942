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


class LinearOperation(Protocol):
    """A linear map of one or more data tensors.

    Attributes:
        negative: whether any weight can be negative.
    """

    negative: bool

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
    """Any convolution or transposed convolution, with stride, padding, dilation and groups."""

    weight: Tensor
    offset: Tensor | None
    stride: list[int]
    padding: list[int]
    dilation: list[int]
    transposed: bool
    output_padding: list[int]
    groups: int
    negative: bool = True

    def apply(self, inputs: tuple[Tensor, ...], part: str) -> Tensor:
        result: Tensor = torch.ops.aten.convolution(
            inputs[0], _part(self.weight, part), None, self.stride, self.padding, self.dilation, self.transposed,
            self.output_padding, self.groups,
        )  # fmt: skip
        return result

    def bias(self, like: Tensor) -> Tensor | None:
        return None if self.offset is None else self.offset.view(1, -1, *[1] * (like.dim() - 2))

    def back(self, above: Tensor, inputs: tuple[Tensor, ...], part: str) -> tuple[Tensor, ...]:
        down = torch.ops.aten.convolution_backward(
            above, inputs[0], _part(self.weight, part), None, self.stride, self.padding, self.dilation, self.transposed,
            self.output_padding, self.groups, (True, False, False),
        )  # fmt: skip
        return (down[0],)


@dataclass
class Dense:
    """x W^T + b over the last axis."""

    weight: Tensor
    offset: Tensor | None
    negative: bool = True

    def apply(self, inputs: tuple[Tensor, ...], part: str) -> Tensor:
        return inputs[0] @ _part(self.weight, part).T

    def bias(self, like: Tensor) -> Tensor | None:
        return self.offset

    def back(self, above: Tensor, inputs: tuple[Tensor, ...], part: str) -> tuple[Tensor, ...]:
        return (above @ _part(self.weight, part),)


@dataclass
class Addition:
    """a + b with broadcasting: unit weights."""

    negative: bool = False

    def apply(self, inputs: tuple[Tensor, ...], part: str) -> Tensor:
        total = inputs[0] + inputs[1]
        return torch.zeros_like(total) if part == NEGATIVE else total

    def bias(self, like: Tensor) -> Tensor | None:
        return None

    def back(self, above: Tensor, inputs: tuple[Tensor, ...], part: str) -> tuple[Tensor, ...]:
        if part == NEGATIVE:
            return tuple(torch.zeros_like(x) for x in inputs)
        return tuple(above.sum_to_size(x.shape) for x in inputs)


@dataclass
class Average:
    """Average pooling or a mean: a linear map with weights >= 0, given as a function."""

    function: Callable[[Tensor], Tensor]
    negative: bool = False

    def apply(self, inputs: tuple[Tensor, ...], part: str) -> Tensor:
        result = self.function(inputs[0])
        return torch.zeros_like(result) if part == NEGATIVE else result

    def bias(self, like: Tensor) -> Tensor | None:
        return None

    def back(self, above: Tensor, inputs: tuple[Tensor, ...], part: str) -> tuple[Tensor, ...]:
        if part == NEGATIVE:
            return (torch.zeros_like(inputs[0]),)
        with torch.enable_grad():
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
    padding = given.get("padding", 0)
    if padding == "valid":
        padding = 0
    elif padding == "same":
        totals = [d * (k - 1) for d, k in zip(spread["dilation"], weight.shape[2:], strict=True)]
        if any(total % 2 for total in totals):
            x = F.pad(x, [side for total in reversed(totals) for side in (total // 2, total - total // 2)])
            padding = 0
        else:
            padding = [total // 2 for total in totals]
    return x, Convolution(
        weight.detach(), _detached(given.get("bias")), spread["stride"], _tuple(padding, axes), spread["dilation"], transposed,
        spread["output_padding"], int(given.get("groups", 1)),
    )  # fmt: skip


def dense(args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Tensor, Dense]:
    """The data tensor and the operation of a call of `linear`."""
    given = dict(zip(("input", "weight", "bias"), args, strict=False)) | kwargs
    return given["input"], Dense(given["weight"].detach(), _detached(given.get("bias")))


def _detached(tensor: Tensor | None) -> Tensor | None:
    return None if tensor is None else tensor.detach()


def _tuple(value: Any, axes: int) -> list[int]:
    return [int(value)] * axes if isinstance(value, int) else [int(v) for v in value] * (axes if len(value) == 1 else 1)
