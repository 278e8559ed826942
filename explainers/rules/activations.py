"""Rules that differ from back-propagation at ReLUs only: guided backpropagation, DeconvNet.

Every other operation keeps its derivative. Activations for which the papers define no rule (ReLU6, GELU, SiLU, LeakyReLU,
Hardswish, ...) are refused.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from ..engine import DROPOUTS, SHAPES, WINNERS, RuleMode, UnsupportedOperation, site

LINEAR = frozenset(
    "conv1d conv2d conv3d conv_transpose1d conv_transpose2d conv_transpose3d linear matmul mm bmm addmm add radd sub rsub "
    "mul rmul div truediv neg mean sum avg_pool1d avg_pool2d avg_pool3d adaptive_avg_pool1d adaptive_avg_pool2d "
    "adaptive_avg_pool3d interpolate upsample batch_norm group_norm layer_norm instance_norm local_response_norm".split()
)
GATES = frozenset("sigmoid hardsigmoid tanh softmax log_softmax log clamp_min".split())

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


class ReluRules:
    """A rule set that replaces the backward of every ReLU.

    Args:
        explainer: name for messages.
        backward: (input of the ReLU, what arrives from above) -> what is passed on; all (N, ...).
    """

    ordinary = SHAPES | WINNERS | DROPOUTS | LINEAR | (GATES - {"clamp_min"})

    def __init__(self, explainer: str, backward: Backward) -> None:
        self.explainer = explainer
        self.backward = backward
        self.handlers = {"relu": self._relu, "clamp": self._clamp, "clamp_min": self._clamp, "clip": self._clamp}

    def _relu(self, mode: RuleMode, function: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Tensor:
        x = args[0] if args else kwargs["input"]
        result: Tensor = _RuleRelu.apply(x, self.backward)  # type: ignore[no-untyped-call]
        return result

    def _clamp(self, mode: RuleMode, function: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Tensor:
        """x.clamp(min=0) is a ReLU; other clamps have no rule."""
        given = dict(zip(("input", "min", "max"), args, strict=False)) | kwargs
        if given.get("min") in (0, 0.0) and given.get("max") is None:
            return self._relu(mode, function, (given["input"],), {})
        raise UnsupportedOperation("clamp", site(), self.explainer, "only clamp(min=0) is a ReLU")


class GuidedBackprop(ReluRules):
    """R^l = 1[x > 0] max(R^{l+1}, 0). Source: Springenberg et al. 2015; Nuzzo 2020, eq. 4.6."""

    def __init__(self) -> None:
        super().__init__("guided-backprop", lambda x, grad: grad * ((x > 0) & (grad > 0)))


class Deconvnet(ReluRules):
    """R^l = max(R^{l+1}, 0), no forward mask. Source: Zeiler and Fergus 2014; Nuzzo 2020, eq. 4.5."""

    def __init__(self) -> None:
        super().__init__("deconvnet", lambda x, grad: grad.clamp(min=0))
