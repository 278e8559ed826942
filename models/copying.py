"""Deep copies of networks, quick for the layers of torch: the same result as `copy.deepcopy`, a tenth of its steps."""

from __future__ import annotations

import copy
from collections import OrderedDict
from typing import Any

from torch import Tensor, nn

_QUICK = ("torch.nn.modules.", "models.networks.")
_ATOMS = frozenset({int, float, str, bool, type(None)})
_EMPTY = frozenset({dict, OrderedDict, set})
_ITEMS = (Tensor, nn.Module, type(None))
_PLAIN = (int, float, str, bool, tuple, type(None))


def private(module: nn.Module, memo: dict[int, Any] | None = None) -> nn.Module:
    """A copy that shares nothing that can change with the original.

    Args:
        module: any module; layers of torch and containers of them are copied field by field, all others by
            `copy.deepcopy`.
        memo: as for `copy.deepcopy`; what is shared within the original is shared within the copy.

    Example:
        >>> from torch import nn
        >>> net = nn.Sequential(nn.Linear(2, 2), nn.ReLU())
        >>> private(net)[0].weight is net[0].weight
        False
    """
    memo = {} if memo is None else memo
    if id(module) in memo:
        found: nn.Module = memo[id(module)]
        return found
    if not type(module).__module__.startswith(_QUICK) or "__deepcopy__" in vars(type(module)):
        return copy.deepcopy(module, memo)
    made = module.__class__.__new__(module.__class__)
    memo[id(module)] = made
    fields = made.__dict__
    fields.update(module.__dict__)
    for name, value in module.__dict__.items():
        kind = type(value)
        if kind in _EMPTY and not value:
            fields[name] = kind()
        elif kind not in _ATOMS:
            fields[name] = _value(value, memo)
    return made


def _value(value: Any, memo: dict[int, Any]) -> Any:
    if isinstance(value, _PLAIN) and not (isinstance(value, tuple) and any(not isinstance(v, _PLAIN) for v in value)):
        return value
    if type(value) is dict or type(value).__name__ == "OrderedDict":
        if not value:
            return type(value)()
        if all(isinstance(item, _ITEMS) for item in value.values()):
            return type(value)((key, _item(item, memo)) for key, item in value.items())
    return copy.deepcopy(value, memo)


def _item(item: nn.Module | Tensor | None, memo: dict[int, Any]) -> nn.Module | Tensor | None:
    if isinstance(item, nn.Module):
        return private(item, memo)
    if type(item) is nn.Parameter and id(item) not in memo:
        made = nn.Parameter(item.detach().clone(), item.requires_grad)
        if item.grad is not None:
            made.grad = item.grad.clone()
        memo[id(item)] = made
        return made
    if type(item) is Tensor and id(item) not in memo and not item.requires_grad and not vars(item):
        memo[id(item)] = copied = item.detach().clone()
        return copied
    return copy.deepcopy(item, memo)
