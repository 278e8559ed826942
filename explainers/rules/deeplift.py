"""Multipliers of DeepLIFT: how an operation's change from the reference is shared among its inputs' changes.

Images and references run as one batch [x; x0], so every operation knows both of its values. The gradient channel carries
multipliers: of the positive part of a change in the rows of x, of the negative part in the rows of x0. Under the rescale
rule the two are equal. Linear operations keep their derivative; element-wise ones take the quotient of the changes;
maximum pooling is split by the cross-maximum; products are shared symmetrically; a normalisation is taken apart into
these. Each of them hands on the whole change, so the map sums to f(x) - f(x0).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from ..engine import ACTIVATIONS, DROPOUTS, SHAPES, Handler, RuleMode, UnsupportedOperation, operation, site, tensors_in

LINEAR = frozenset(
    "conv1d conv2d conv3d conv_transpose1d conv_transpose2d conv_transpose3d linear add radd sub rsub neg mean sum "
    "avg_pool1d avg_pool2d avg_pool3d adaptive_avg_pool1d adaptive_avg_pool2d adaptive_avg_pool3d interpolate "
    "upsample".split()
)
SMOOTH = frozenset("gelu silu mish softplus sigmoid logsigmoid tanh softsign tanhshrink celu hardswish erf".split())
ELEMENTWISE = SMOOTH | frozenset(
    "relu relu6 hardtanh leaky_relu prelu rrelu elu selu threshold hardshrink softshrink hardsigmoid clamp clamp_min "
    "clamp_max clip abs exp expm1 log log1p sqrt rsqrt square reciprocal pow rpow rtruediv rdiv sin cos atan".split()
)
POOLS = frozenset(f"{kind}max_pool{axes}d" for kind in ("", "adaptive_") for axes in (1, 2, 3))
Function = Callable[[Tensor], Tensor]


def halves(pair: Tensor) -> tuple[Tensor, Tensor]:
    """The rows of the images and the rows of the references of a batch [x; x0]."""
    count = len(pair) // 2
    return pair[:count], pair[count:]


def slope(function: Function, at: Tensor) -> Tensor:
    """Derivative of an element-wise function."""
    with torch.enable_grad():
        x = at.detach().requires_grad_(True)
        (found,) = torch.autograd.grad(function(x).sum(), x)
    return found


def quotient(function: Function, x: tuple[Tensor, Tensor], y: tuple[Tensor, Tensor], smooth: bool) -> Tensor:
    """Change of the output over change of the input.

    Where the input does not change it is the derivative. Smooth functions take the derivative in the middle below the
    root of the rounding unit: there it is closer to the quotient than the rounded quotient itself.
    """
    change = x[0] - x[1]
    near = change.abs() <= (math.sqrt(torch.finfo(change.dtype).eps) if smooth else 0.0)
    ratio = (y[0] - y[1]) / torch.where(near, 1, change)
    return torch.where(near, slope(function, (x[0] + x[1]) / 2), ratio) if bool(near.any()) else ratio


class _Rescale(torch.autograd.Function):
    """An element-wise function under the rescale rule: m = Delta y / Delta x."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, function: Function, smooth: bool) -> Tensor:  # type: ignore[override]
        y = function(x)
        ctx.save_for_backward(x, y)
        ctx.held = function, smooth
        return y

    @staticmethod
    def backward(ctx: Any, above: Tensor) -> tuple[Tensor, None, None]:  # type: ignore[override]
        x, y = ctx.saved_tensors
        function, smooth = ctx.held
        down = halves(above)[0] * quotient(function, halves(x), halves(y), smooth)
        return torch.cat([down, down]), None, None


class _Winners(torch.autograd.Function):
    """Maximum over sets of the last axis, given as the winners' places, split by the cross-maximum.

    max(out, out0) - out0 is credited to the winner of the image, out - max(out, out0) to the winner of the reference.
    The change of a credited unit is at least what it is credited with, so the multipliers are in [0, 1].
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, places: Tensor) -> Tensor:  # type: ignore[override]
        ctx.save_for_backward(x, places)
        return x.gather(-1, places)

    @staticmethod
    def backward(ctx: Any, above: Tensor) -> tuple[Tensor, None]:  # type: ignore[override]
        x, places = ctx.saved_tensors
        (here, there), (mine, yours) = halves(x), halves(places)
        change = here.gather(-1, mine) - there.gather(-1, yours)
        moved_mine = here.gather(-1, mine) - there.gather(-1, mine)
        moved_yours = here.gather(-1, yours) - there.gather(-1, yours)
        rise = torch.where(change > 0, change / torch.where(change > 0, moved_mine, 1), 0)
        rise = torch.where((change == 0) & (mine == yours), 1, rise)
        fall = torch.where(change < 0, change / torch.where(change < 0, moved_yours, 1), 0)
        arriving = halves(above)[0]
        down = torch.zeros_like(here).scatter_add(-1, mine, arriving * rise).scatter_add(-1, yours, arriving * fall)
        return torch.cat([down, down]), None


class _Product(torch.autograd.Function):
    """a b with both from the image: Delta(ab) = Delta a (b + b0) / 2 + Delta b (a + a0) / 2, exactly."""

    @staticmethod
    def forward(ctx: Any, a: Tensor, b: Tensor) -> Tensor:  # type: ignore[override]
        ctx.save_for_backward(a, b)
        return a * b

    @staticmethod
    def backward(ctx: Any, above: Tensor) -> tuple[Tensor, Tensor]:  # type: ignore[override]
        a, b = ctx.saved_tensors
        means = [sum(halves(t)) / 2 for t in (a, b)]
        by_a, by_b = (above * torch.cat([mean, mean]) for mean in means)
        return by_b.sum_to_size(a.shape), by_a.sum_to_size(b.shape)


class DeepLiftRules:
    """The rule set of DeepLIFT with the rescale rule.

    Args:
        explainer: name for messages.
        rows: rows of the batch [x; x0], even.

    Source: Shrikumar et al. 2017, sections 3.2, 3.5.1, 3.5.2; Nuzzo 2020, eq. 4.21 to 4.26. Cross-maximum: as in the
    DeepExplainer of Lundberg and Lee 2017. Products: the symmetric split, Shapley values of two factors.
    """

    ordinary = SHAPES | DROPOUTS | LINEAR
    replaced = ACTIVATIONS | frozenset("sigmoid hardsigmoid tanh exp log sqrt rsqrt pow softmax log_softmax".split())

    def __init__(self, explainer: str, rows: int) -> None:
        self.explainer, self.rows = explainer, rows
        self.handlers: dict[str, Handler] = {
            **dict.fromkeys(ELEMENTWISE, self._elementwise), **dict.fromkeys(POOLS, self._pool), "amax": self._amax,
            **dict.fromkeys(("mul", "rmul", "multiply"), self._mul), **dict.fromkeys(("div", "truediv"), self._div),
            **dict.fromkeys(("matmul", "rmatmul", "mm", "bmm"), self._matmul), "batch_norm": self._batch_norm,
            "layer_norm": self._layer_norm, "group_norm": self._group_norm,
        }  # fmt: skip

    def activation(self, x: Tensor, function: Function, smooth: bool) -> Tensor:
        """An element-wise function of the data under this rule set."""
        result: Tensor = _Rescale.apply(x, function, smooth)  # type: ignore[no-untyped-call]
        return result

    def data(self, name: str, args: tuple[Any, ...], kwargs: dict[str, Any], most: int = 1) -> list[Tensor]:
        """The operands that depend on the image, checked to keep images and references in the two halves of axis 0."""
        found = [t for t in tensors_in(args, kwargs) if t.requires_grad]
        if len(found) > most:
            raise UnsupportedOperation(name, site(), self.explainer, "more than one operand depends on the image")
        if any(t.dim() == 0 or len(t) % self.rows for t in found):
            raise UnsupportedOperation(name, site(), self.explainer, "the images are not along its first axis")
        return found

    def _elementwise(self, mode: RuleMode, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Tensor:
        name, inplace = operation(func)
        (x,) = self.data(name, args, kwargs)

        def function(t: Tensor) -> Tensor:
            t = t.clone() if inplace else t
            rest = {key: t if value is x else value for key, value in kwargs.items()}
            result: Tensor = func(*(t if value is x else value for value in args), **rest)
            return result

        return self.activation(x, function, name in SMOOTH)

    def _pool(self, mode: RuleMode, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Tensor:
        name = operation(func)[0]
        (x,) = self.data(name, args, kwargs)
        if kwargs.get("return_indices"):
            raise UnsupportedOperation(name, site(), self.explainer, "it returns indices")
        options = {key: value for key, value in kwargs.items() if key not in ("input", "return_indices")}
        with torch.no_grad():
            value, places = getattr(F, name)(x.detach(), *args[1:], **options, return_indices=True)
        result: Tensor = _Winners.apply(x.flatten(2), places.flatten(2))  # type: ignore[no-untyped-call]
        return result.view(value.shape)

    def _amax(self, mode: RuleMode, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Tensor:
        (x,) = self.data("amax", args, kwargs)
        given = dict(zip(("input", "dim", "keepdim"), args, strict=False)) | kwargs
        axes = given.get("dim", ())
        axes = sorted({axis % x.dim() for axis in ((axes,) if isinstance(axes, int) else axes)})
        if not axes or axes[0] == 0:
            raise UnsupportedOperation("amax", site(), self.explainer, "it mixes images")
        last = x.movedim(axes, list(range(-len(axes), 0))).flatten(-len(axes))
        result: Tensor = _Winners.apply(last, last.detach().argmax(-1, keepdim=True))  # type: ignore[no-untyped-call]
        keep = [1 if axis in axes else size for axis, size in enumerate(x.shape)]
        return result.view(keep) if given.get("keepdim") else result.squeeze(-1)

    def _mul(self, mode: RuleMode, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Tensor:
        found = self.data("mul", args, kwargs, most=2)
        return func(*args, **kwargs) if len(found) == 1 else self._product(*found)

    def _product(self, a: Tensor, b: Tensor) -> Tensor:
        result: Tensor = _Product.apply(a, b)  # type: ignore[no-untyped-call]
        return result

    def _div(self, mode: RuleMode, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Tensor:
        given = dict(zip(("input", "other"), args, strict=False)) | kwargs
        found = self.data("div", args, kwargs, most=2)
        if given.get("rounding_mode") is not None:
            raise UnsupportedOperation("div", site(), self.explainer, "it rounds")
        below = given["other"]
        if not isinstance(below, Tensor) or not below.requires_grad:
            return func(*args, **kwargs)
        inverse = self.activation(below, torch.reciprocal, False)
        return self._product(given["input"], inverse) if len(found) == 2 else given["input"] * inverse

    def _matmul(self, mode: RuleMode, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Tensor:
        self.data(operation(func)[0], args, kwargs)
        return func(*args, **kwargs)

    def _batch_norm(self, mode: RuleMode, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Tensor:
        if kwargs.get("training", args[5] if len(args) > 5 else False):
            raise UnsupportedOperation("batch_norm", site(), self.explainer, "it uses the statistics of the batch")
        return func(*args, **kwargs)

    def _layer_norm(self, mode: RuleMode, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Tensor:
        self.data("layer_norm", args, kwargs)
        names = ("input", "normalized_shape", "weight", "bias", "eps")
        given = {"weight": None, "bias": None, "eps": 1e-5} | dict(zip(names, args, strict=False)) | kwargs
        y = self._standardised(given["input"], len(given["normalized_shape"]), given["eps"])
        y = y if given["weight"] is None else y * given["weight"]
        return y if given["bias"] is None else y + given["bias"]

    def _group_norm(self, mode: RuleMode, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Tensor:
        self.data("group_norm", args, kwargs)
        names = ("input", "num_groups", "weight", "bias", "eps")
        given = {"weight": None, "bias": None, "eps": 1e-5} | dict(zip(names, args, strict=False)) | kwargs
        x = given["input"]
        y = self._standardised(x.reshape(len(x), given["num_groups"], -1), 1, given["eps"]).view(x.shape)
        shape = (1, -1, *[1] * (x.dim() - 2))
        y = y if given["weight"] is None else y * given["weight"].view(shape)
        return y if given["bias"] is None else y + given["bias"].view(shape)

    def _standardised(self, x: Tensor, axes: int, epsilon: float) -> Tensor:
        """(x - mean) / sd over the last axes, as a product of two functions of the data."""
        over = tuple(range(-axes, 0))
        centred = x - x.mean(over, keepdim=True)
        variance = self.activation(centred, torch.square, False).mean(over, keepdim=True)
        return self._product(centred, self.activation(variance, lambda v: (v + epsilon).rsqrt(), False))
