"""The state of a network at one moment, to see later whether anything in it was changed.

Exact, and a tenth of the time of a digest: values are compared bit by bit with a copy of them. Changes that leave no
trace in a tensor's version counter, as those through `.data`, are found as well.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

_HOOKS = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")
_AS_INTEGERS = {2: torch.int16, 4: torch.int32, 8: torch.int64}


class Snapshot:
    """Values, types and shapes of parameters and buffers, training flags, gradients and hooks of a network.

    Args:
        model: any module; it is not changed, and what it holds is copied.

    Example:
        >>> from torch import nn
        >>> net = nn.Linear(2, 2)
        >>> before = Snapshot(net)
        >>> net.weight.data[0, 0] += 1
        >>> before.holds(net)
        False
    """

    def __init__(self, model: nn.Module) -> None:
        self._shape = _shape(model)
        self._values = [tensor.detach().clone() for tensor in _tensors(model)]

    def holds(self, model: nn.Module) -> bool:
        """Whether a network is as this one was: the same names and flags, and the same bits."""
        if _shape(model) != self._shape:
            return False
        return all(same_bits(now, then) for now, then in zip(_tensors(model), self._values, strict=True))


def same_bits(one: Tensor, other: Tensor) -> bool:
    """Whether two tensors have one type, shape and device, and the same bits; equal NaN are the same, 0 and -0 are not."""
    if (one.dtype, one.shape, one.device) != (other.dtype, other.shape, other.device):
        return False
    one, other = one.detach(), other.detach()
    if one.is_complex():
        one, other = torch.view_as_real(one), torch.view_as_real(other)
    if one.is_floating_point() and one.element_size() in _AS_INTEGERS:
        kind = _AS_INTEGERS[one.element_size()]
        one, other = one.view(kind), other.view(kind)
    return torch.equal(one, other)


def _tensors(model: nn.Module) -> list[Tensor]:
    """Every parameter and buffer, in the order of the modules; what stands in two places comes twice."""
    found: list[Tensor] = []
    for module in model.modules():
        found += [value for value in module._parameters.values() if value is not None]
        found += [value for value in module._buffers.values() if value is not None]
    return found


def _shape(model: nn.Module) -> list[Any]:
    """What a network is made of beside the values: names, flags and how many hooks there are."""
    return [
        (
            path,
            type(module),
            module.training,
            [len(getattr(module, name)) for name in _HOOKS],
            [
                (name, value is None or (value.requires_grad, value.grad is None))
                for name, value in module._parameters.items()
            ],
            [(name, value is None) for name, value in module._buffers.items()],
        )
        for path, module in model.named_modules()
    ]
