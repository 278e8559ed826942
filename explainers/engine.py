"""The rule engine: run the network forward, go backward with another rule at some operations.

One `TorchFunctionMode` sees every operation of the forward pass, whether it is called as a module, a function, a method
or in place, and lets a rule set replace it by an `autograd.Function` whose backward is the rule of the method. State
lives in the graph: the model is not touched, threads and nested modes do not meet. An operation that the rule set does
not cover raises `UnsupportedOperation`; a plausible but wrong map is never returned.
"""

from __future__ import annotations

import functools
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode, resolve_name

Handler = Callable[..., Any]

SHAPES = frozenset(
    "flatten unflatten reshape view view_as reshape_as permute transpose movedim squeeze unsqueeze contiguous clone expand "
    "chunk split unbind narrow select getitem cat concat concatenate stack pad channel_shuffle pixel_shuffle "
    "pixel_unshuffle roll flip to float double type_as identity".split()
)
WINNERS = frozenset("max_pool1d max_pool2d max_pool3d adaptive_max_pool1d adaptive_max_pool2d amax".split())
DROPOUTS = frozenset("dropout dropout1d dropout2d dropout3d alpha_dropout feature_dropout".split())


class UnsupportedOperation(RuntimeError):
    """An explainer has no rule for an operation of the network.

    Attributes:
        operation: name of the operation, for example `gelu`.
        site: file and line of the model's code that called it.
        explainer: who has no rule.
    """

    def __init__(self, operation: str, site: str, explainer: str, why: str = "") -> None:
        self.operation, self.site, self.explainer = operation, site, explainer
        super().__init__(
            f"{explainer} has no rule for the operation {operation!r} called at {site}"
            f"{': ' + why if why else ''}; use an explainer of the gradient or perturbation family, or another network"
        )


class Rules(Protocol):
    """What a method does at operations.

    Attributes:
        explainer: name for messages.
        ordinary: operations that keep their ordinary derivative.
        handlers: operation -> function `(mode, function, args, kwargs)` that computes it with the method's backward.
    """

    explainer: str
    ordinary: frozenset[str]
    handlers: dict[str, Handler]


@functools.cache
def operation(function: Any) -> tuple[str, bool]:
    """Short name of an operation and whether it works in place, for example `("relu", True)` for `Tensor.relu_`."""
    full = resolve_name(function) or getattr(function, "__name__", repr(function))
    name = full.split(".")[-1]
    if name in ("__get__", "__set__"):
        return full.split(".")[-2] + "." + name, False
    if name.startswith("__") and name.endswith("__"):
        name = name.strip("_")
        inplace = name in ("iadd", "isub", "imul", "itruediv")
        return (name[1:] if inplace else name), inplace
    if name.startswith("_") and not name.endswith("_"):
        name = name.lstrip("_")
    return (name[:-1], True) if name.endswith("_") else (name, False)


class RuleMode(TorchFunctionMode):
    """Applies a rule set to everything that runs inside it.

    Example:
        >>> import torch
        >>> from explainers.rules.activations import GuidedBackprop
        >>> x = torch.tensor([[1.0, -1.0]], requires_grad=True)
        >>> with RuleMode(GuidedBackprop()):
        ...     y = torch.relu(x).sum()
        >>> torch.autograd.grad(-y, x)[0].tolist()
        [[0.0, 0.0]]
    """

    def __init__(self, rules: Rules) -> None:
        super().__init__()
        self.rules = rules

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        kwargs = kwargs or {}
        if not torch.is_grad_enabled() or not any(tensor.requires_grad for tensor in tensors_in(args, kwargs)):
            return func(*args, **kwargs)
        name, inplace = operation(func)
        inplace = inplace or bool(kwargs.get("inplace")) or _positional_inplace(name, args)
        handler = self.rules.handlers.get(name)
        if handler is None:
            return self._uncovered(name, func, args, kwargs)
        if not inplace:
            return handler(self, func, args, kwargs)
        source = args[0] if args else kwargs["input"]
        rest = {key: value for key, value in kwargs.items() if key not in ("inplace", "input")}
        made = handler(self, func, (source.clone(), *_without_inplace(name, args[1:])), rest)
        return source.copy_(made)

    def _uncovered(self, name: str, func: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        result = func(*args, **kwargs)
        if name in self.rules.ordinary or not any(t.requires_grad for t in tensors_in((result,), {})):
            return result
        raise UnsupportedOperation(name, site(), self.rules.explainer)


def tensors_in(args: Sequence[Any], kwargs: dict[str, Any]) -> list[Tensor]:
    """The tensors among arguments, one level into lists and tuples."""
    found = []
    for value in (*args, *kwargs.values()):
        if isinstance(value, Tensor):
            found.append(value)
        elif isinstance(value, list | tuple):
            found += [item for item in value if isinstance(item, Tensor)]
    return found


def site() -> str:
    """File and line of the innermost frame that belongs to neither torch nor this engine."""
    torch_home, here = str(Path(torch.__file__).parent), str(Path(__file__).parent)
    for frame in reversed(traceback.extract_stack()):
        if not frame.filename.startswith((torch_home, here)) and "torch/" not in frame.filename.replace("\\", "/"):
            return f"{frame.filename}:{frame.lineno}"
    return "an unknown place"


def _positional_inplace(name: str, args: tuple[Any, ...]) -> bool:
    if name in ("relu", "relu6", "hardswish", "hardsigmoid", "silu", "mish", "selu") and len(args) > 1:
        return args[1] is True
    return name in DROPOUTS and len(args) > 3 and args[3] is True


def _without_inplace(name: str, rest: tuple[Any, ...]) -> tuple[Any, ...]:
    return () if name == "relu" else rest[:2] if name in DROPOUTS else rest
