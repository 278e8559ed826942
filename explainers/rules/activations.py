"""Rules that differ from back-propagation at ReLUs only: guided backpropagation, DeconvNet.

Every other operation keeps its derivative. Activations for which the papers define no rule (ReLU6, GELU, SiLU, LeakyReLU,
Hardswish, ...) are refused; `extend="monotone"` lets them pass the positive part of their true derivative's product.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from ..engine import (
    ACTIVATIONS,
    DROPOUTS,
    SHAPES,
    WINNERS,
    RuleMode,
    UnsupportedOperation,
    is_relu,
    operation,
    site,
    tensors_in,
)

LINEAR = frozenset(
    "conv1d conv2d conv3d conv_transpose1d conv_transpose2d conv_transpose3d linear matmul mm bmm addmm add radd sub rsub "
    "mul rmul div truediv neg mean sum avg_pool1d avg_pool2d avg_pool3d adaptive_avg_pool1d adaptive_avg_pool2d "
    "adaptive_avg_pool3d interpolate upsample batch_norm group_norm layer_norm instance_norm local_response_norm".split()
)
GATES = frozenset("sigmoid hardsigmoid tanh softmax log_softmax log".split())
RELUS = frozenset("relu clamp clamp_min clip threshold".split())
OTHERS = ACTIVATIONS - RELUS

Backward = Callable[[Tensor, Tensor], Tensor]


class _RuleRelu(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, rule: Backward) -> Tensor:  # type: ignore[override]
        ctx.save_for_backward(x)
        ctx.rule = rule
        return x.clamp(min=0)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:  # type: ignore[override]
        (x,) = ctx.saved_tensors
        return ctx.rule(x, grad), None


class _PositivePart(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:  # type: ignore[override]
        return x.clone()

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:  # type: ignore[override]
        return grad.clamp(min=0)


class ReluRules:
    """A rule set that replaces the backward of every ReLU.

    Args:
        explainer: name for messages.
        backward: (input of the ReLU, what arrives from above) -> what is passed on; all (N, ...).
        extend: `none` refuses other activations, `monotone` lets them pass max(VJP, 0).
    """

    ordinary = SHAPES | WINNERS | DROPOUTS | LINEAR | GATES

    def __init__(self, explainer: str, backward: Backward, extend: str = "none") -> None:
        self.explainer = explainer
        self.backward = backward
        self.handlers = {"relu": self._relu, **dict.fromkeys(RELUS - {"relu"}, self._clamp)}
        self.handlers |= dict.fromkeys(("mul", "rmul", "multiply"), self._mul)
        self.replaced = RELUS if extend == "monotone" else ACTIVATIONS
        if extend == "monotone":
            self.handlers |= dict.fromkeys(OTHERS, self._other)

    def _relu(self, mode: RuleMode, function: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Tensor:
        x = args[0] if args else kwargs["input"]
        result: Tensor = _RuleRelu.apply(x, self.backward)  # type: ignore[no-untyped-call]
        return result

    def _clamp(self, mode: RuleMode, function: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Tensor:
        """x.clamp(min=0) and threshold(x, 0, 0) are a ReLU; others have no rule."""
        name = operation(function)[0]
        if is_relu(name, args, kwargs):
            return self._relu(mode, function, args, kwargs)
        raise UnsupportedOperation(name, site(), self.explainer, "only clamp(min=0) and threshold(0, 0) are a ReLU")

    def _mul(self, mode: RuleMode, function: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """A product with a mask may be a ReLU in disguise, whose rule would be missed."""
        factors = tensors_in(args, kwargs)
        if any(_is_mask(factor, factors) for factor in factors):
            raise UnsupportedOperation("mul", site(), self.explainer, "a product with a mask may be a ReLU; call relu")
        return function(*args, **kwargs)

    def _other(self, mode: RuleMode, function: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """An activation without a rule of its own: the positive part of its true derivative's product."""
        x, rest = (args[0], args[1:]) if args else (kwargs["input"], ())
        options = {key: value for key, value in kwargs.items() if key != "input"}
        return function(_PositivePart.apply(x), *rest, **options)  # type: ignore[no-untyped-call]


def _is_mask(factor: Tensor, factors: Sequence[Tensor]) -> bool:
    """Whether a factor is boolean, or a constant of the data's shape that holds only 0 and 1."""
    if factor.dtype == torch.bool:
        return True
    if factor.requires_grad or not any(other.requires_grad and other.shape == factor.shape for other in factors):
        return False
    return bool(((factor == 0) | (factor == 1)).all())


class GuidedBackprop(ReluRules):
    """R^l = 1[x > 0] max(R^{l+1}, 0). Source: Springenberg et al. 2015; Nuzzo 2020, eq. 4.6."""

    def __init__(self, extend: str = "none") -> None:
        super().__init__("guided-backprop", _guided, extend)


def _guided(x: Tensor, grad: Tensor) -> Tensor:
    """max(grad, 0) where x > 0, else 0, in two passes over memory."""
    result: Tensor = torch.ops.aten.threshold_backward(grad.clamp(min=0), x, 0)
    return result


class Deconvnet(ReluRules):
    """R^l = max(R^{l+1}, 0), no forward mask. Source: Zeiler and Fergus 2014; Nuzzo 2020, eq. 4.5."""

    def __init__(self, extend: str = "none") -> None:
        super().__init__("deconvnet", lambda x, grad: grad.clamp(min=0), extend)
