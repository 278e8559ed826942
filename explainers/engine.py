"""The rule engine: run the network forward, go backward with another rule at some operations.

One `TorchFunctionMode` sees every operation of the forward pass, whether it is called as a module, a function, a method
or in place, and lets a rule set replace it by an `autograd.Function` whose backward is the rule of the method. State
lives in the graph: the model is not touched, threads and nested modes do not meet. What comes back to an operation that
the rule set does not cover raises `UnsupportedOperation`; a plausible but wrong map is never returned. The error waits
for the backward pass because an operation may stand where nothing comes back (the gate of a squeeze-and-excitation
block, an auxiliary head). Operations that run below Python's functions are found in the graph and refused as well.
"""

from __future__ import annotations

import functools
import os
import re
import sys
import traceback
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode, resolve_name

Handler = Callable[..., Any]

SHAPES = frozenset(
    "flatten unflatten ravel reshape view view_as reshape_as permute transpose t movedim moveaxis swapaxes swapdims squeeze "
    "unsqueeze contiguous clone copy expand expand_as broadcast_to repeat tile repeat_interleave chunk tensor_split split "
    "split_with_sizes unbind narrow select index_select gather take_along_dim getitem cat concat concatenate stack hstack "
    "vstack pad channel_shuffle pixel_shuffle pixel_unshuffle unfold roll flip fliplr flipud rot90 to float double type "
    "type_as identity T.__get__ mT.__get__".split()
)
WINNERS = frozenset("max_pool1d max_pool2d max_pool3d adaptive_max_pool1d adaptive_max_pool2d amax".split())
DROPOUTS = frozenset("dropout dropout1d dropout2d dropout3d alpha_dropout feature_dropout".split())
INPLACE_AT = {
    **dict.fromkeys("relu relu6 hardswish hardsigmoid silu mish selu".split(), 1),
    **dict.fromkeys("leaky_relu elu celu".split(), 2), **dict.fromkeys(("hardtanh", "threshold", *DROPOUTS), 3), "rrelu": 4,
}  # fmt: skip
ACTIVATIONS = frozenset(
    "relu threshold hardtanh relu6 clamp clamp_min leaky_relu prelu prelu_kernel rrelu elu selu celu gelu silu mish "
    "hardswish softplus softsign logsigmoid".split()
)
COMPUTATIONS = ACTIVATIONS | frozenset(
    "convolution convolution_overrideable mkldnn_convolution cudnn_convolution cudnn_convolution_transpose "
    "miopen_convolution mkldnn_linear linear mm addmm bmm baddbmm addmv mv dot mul add sub rsub div neg mean sum prod pow "
    "exp log sqrt rsqrt abs sigmoid hardsigmoid tanh softmax log_softmax native_batch_norm cudnn_batch_norm "
    "miopen_batch_norm native_layer_norm native_group_norm avg_pool2d avg_pool3d adaptive_avg_pool2d adaptive_avg_pool3d "
    "upsample_nearest2d upsample_bilinear2d addcmul addcdiv einsum scaled_dot_product_flash_attention_for_cpu "
    "scaled_dot_product_flash_attention scaled_dot_product_efficient_attention".split()
)
CHECKPOINTS = "saved tensors are changed under the rule engine"
ENGINE_HOME = str(Path(__file__).parent) + os.sep
TORCH_HOME = str(Path(torch.__file__).parent) + os.sep


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
        handlers: operation -> function `(mode, function, args, kwargs)` that computes it with the method's backward, or
            raises UnsupportedOperation.

    A rule set may also have `follow(made, tensor)`, which is told that `tensor` now holds what `made` holds; `replaced`,
    the operations whose native derivative must not be found in the graph; and `strict`, which makes an operation without
    a rule raise at once.
    """

    explainer: str
    ordinary: frozenset[str]
    handlers: dict[str, Handler]


class Refused(torch.autograd.Function):
    """The identity on the result of an operation without a rule; raises when something comes back through it."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, error: UnsupportedOperation) -> Tensor:  # type: ignore[override]
        ctx.error = error
        return x.clone()

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:  # type: ignore[override]
        raise ctx.error


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
        >>> (torch.autograd.grad(-y, x)[0] == 0).tolist()
        [[True, True]]
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
        handler = self.rules.handlers.get(name)
        flag = INPLACE_AT.get(name, len(args))
        inplace = inplace or kwargs.get("inplace") is True or (flag < len(args) and args[flag] is True)
        if handler is None and name in self.rules.ordinary:
            return func(*args, **kwargs)
        if not inplace:
            return self._ruled(handler, name, func, args, kwargs)
        source = args[0] if args else kwargs["input"]
        copy = source.clone()
        self._follow(source, copy)
        rest = tuple(False if place == flag else value for place, value in enumerate(args[1:], 1))
        kept = {key: value for key, value in kwargs.items() if key not in ("inplace", "input")}
        made = self._ruled(handler, name, func, (copy, *rest), kept)
        source.copy_(made)
        self._follow(made, source)
        return source

    def _ruled(
        self,
        handler: Handler | None,
        name: str,
        func: Callable[..., Any],
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
    ) -> Any:
        """The handler's result; without a handler, or where it declines, a result that refuses what comes back."""
        error = None
        if handler is not None:
            try:
                return handler(self, func, args, kwargs)
            except UnsupportedOperation as declined:
                error = declined.with_traceback(None)
        result = func(*args, **kwargs)
        if not any(tensor.requires_grad for tensor in tensors_in((result,), {})):
            return result
        error = error or UnsupportedOperation(name, site(), self.rules.explainer)
        if getattr(self.rules, "strict", False):
            raise error
        if isinstance(result, Tensor):
            return Refused.apply(result, error)  # type: ignore[no-untyped-call]
        if all(isinstance(item, Tensor) for item in result):
            marked = [Refused.apply(t, error) if t.requires_grad else t for t in result]  # type: ignore[no-untyped-call]
            return type(result)(marked)  # results with names keep them
        raise error

    def _follow(self, made: Tensor, tensor: Tensor) -> None:
        follow = getattr(self.rules, "follow", None)
        if follow is not None:
            follow(made, tensor)


def run(module: Callable[[Tensor], Tensor], pixels: Tensor, rules: Rules) -> Tensor:
    """Logits of a module under a rule set, checked for operations that the rule set could not see.

    Args:
        module: takes images, gives logits (N, K); its parameters need no gradient.
        pixels: (N, C, H, W), requires gradient.
        rules: the rule set.

    Returns:
        (N, K) logits; `torch.autograd.grad` from them goes back by the rules.

    Raises:
        UnsupportedOperation: a scripted, compiled or custom operation stands in the graph, or activations are computed
            twice (checkpointing).
    """
    try:
        with torch.enable_grad(), torch.autograd.graph.disable_saved_tensors_hooks(CHECKPOINTS), RuleMode(rules):
            logits: Tensor = module(pixels)
    except RuntimeError as error:
        if CHECKPOINTS not in str(error):
            raise
        why = "activations computed a second time on the way back would escape the rules; switch checkpointing off"
        raise UnsupportedOperation("checkpoint", site(error.__traceback__), rules.explainer, why) from None
    hidden = next(unseen(logits, getattr(rules, "replaced", frozenset())), None)
    if hidden is not None:
        why = "it runs below Python's functions (TorchScript, compiled or custom code)"
        raise UnsupportedOperation(hidden, f"an unknown place of {type(module).__name__}", rules.explainer, why)
    return logits


def unseen(output: Tensor, replaced: frozenset[str]) -> Iterator[str]:
    """Names of operations in the graph of `output` that no rule set could see.

    Args:
        output: result of a forward pass.
        replaced: operations, such as `relu`, whose native derivative must not be there.
    """
    native = {name.replace("_", "") for name in replaced}
    for node in nodes(output):
        made_by = getattr(type(node), "_forward_cls", None)
        name = node.name()
        short = re.sub(r"Backward\d*$", "", name).lower()
        if made_by is not None:
            if made_by.__module__.split(".")[0] != __name__.split(".")[0]:
                yield made_by.__name__
        elif "jit" in name or "CompiledFunction" in name or short in native:
            yield short


def nodes(output: Tensor, ends: Callable[[Any], bool] | None = None) -> Iterator[Any]:
    """Every node of the graph behind a tensor, each once, from the output down.

    Args:
        ends: nodes behind which is not looked; by default those of refusals.
    """
    ends = ends or (lambda node: getattr(type(node), "_forward_cls", None) is Refused)
    waiting, seen = [output.grad_fn], set()
    while waiting:
        node = waiting.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        yield node
        if ends(node):
            continue
        waiting += [below for below, _ in node.next_functions]


def tensors_in(args: Sequence[Any], kwargs: dict[str, Any]) -> list[Tensor]:
    """The tensors among arguments, one level into lists and tuples."""
    found = []
    for value in (*args, *kwargs.values()):
        if isinstance(value, Tensor):
            found.append(value)
        elif isinstance(value, list | tuple):
            found += [item for item in value if isinstance(item, Tensor)]
    return found


def is_relu(name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
    """Whether a call of `clamp`, `clamp_min`, `clip` or `threshold` is a ReLU."""
    keys = ("input", "threshold", "value") if name == "threshold" else ("input", "min", "max")
    _, first, second = ((dict(zip(keys, args, strict=False)) | kwargs).get(key) for key in keys)
    zero = isinstance(first, int | float) and first == 0
    return zero and (second == 0 if name == "threshold" else second is None)


def site(trace: TracebackType | None = None) -> str:
    """File and line of the innermost frame, of this call or of a traceback, in neither torch nor this package."""
    walk = traceback.walk_tb(trace) if trace is not None else traceback.walk_stack(sys._getframe(1))
    frames = [(frame.f_code.co_filename, line) for frame, line in walk]
    for name, line in reversed(frames) if trace is not None else frames:
        if not name.startswith((TORCH_HOME, ENGINE_HOME)):
            return f"{name}:{line}"
    return "an unknown place"
