"""Means and variances carried through a network, operation by operation (Lightweight Probabilistic Networks).

Every value is taken as an independent Gaussian. A batch holds the means in its first half and the variances in its second,
so shape operations work unchanged. Exact for linear operations up to the correlations that are dropped.

Source: Gast and Roth 2018, section 3; Ancona et al. 2019, section 4; maxima after Clark 1961, eq. 2 to 4.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from ..engine import DROPOUTS, UnsupportedOperation, operation, site, tensors_in

SHAPES = frozenset(
    "flatten unflatten reshape view view_as squeeze unsqueeze contiguous clone to float identity".split()
)
AFFINE = frozenset("sub rsub add radd div truediv mul rmul neg batch_norm".split())
NAMES = {
    "linear": ("input", "weight", "bias"),
    "conv": ("input", "weight", "bias", "stride", "padding", "dilation", "groups"),
    "max_pool2d": ("input", "kernel_size", "stride", "padding", "dilation", "ceil_mode", "return_indices"),
    "avg_pool2d": ("input", "kernel_size", "stride", "padding", "ceil_mode", "count_include_pad", "divisor_override"),
    "adaptive_avg_pool2d": ("input", "output_size"),
    "batch_norm": ("input", "running_mean", "running_var", "weight", "bias", "training", "momentum", "eps"),
    "dropout": ("input", "p", "training", "inplace"),
}
FIRST = frozenset("conv1d conv2d conv3d linear".split())

Moments = tuple[Tensor, Tensor]


def relu_moments(mean: Tensor, variance: Tensor) -> Moments:
    """Mean and variance of max(z, 0) for z ~ N(mean, variance), without cancellation where the mean is large.

    Example:
        >>> import torch
        >>> [round(float(value), 4) for value in relu_moments(torch.tensor(0.0), torch.tensor(1.0))]
        [0.3989, 0.3408]
    """
    deviation = variance.clamp_min(_tiny(mean)).sqrt()
    above, density = _normal(mean / deviation)
    edge = deviation * density
    expected = torch.addcmul(edge, mean, above)
    spread = torch.addcmul(variance * above, expected, torch.addcmul(-edge, mean, 1 - above))
    return expected, spread.clamp_min(0)


def max_moments(one: Moments, other: Moments) -> Moments:
    """Mean and variance of the larger of two independent Gaussians. Source: Clark 1961, eq. 2 to 4."""
    gap = one[0] - other[0]
    deviation = (one[1] + other[1]).clamp_min(_tiny(gap)).sqrt()
    above, density = _normal(gap / deviation)
    edge = deviation * density
    gain = torch.addcmul(edge, gap, above)
    spread = torch.addcmul(torch.lerp(other[1], one[1], above), gain, torch.addcmul(-edge, gap, 1 - above))
    return other[0] + gain, spread.clamp_min(0)


class MomentMode(TorchFunctionMode):
    """Runs a chain of layers on a batch of images up to its first layer, then on means and variances.

    Args:
        enter: takes the first layer's outputs for the batch of images, (B, ...), and gives means and variances for R
            cases, (2 R, ...), which the rest of the network then carries.
        explainer: name for messages.

    Before the first layer only operations that act on every pixel alone are allowed (the normalisation). An operation
    without a rule, among them every meeting of two data tensors, raises UnsupportedOperation.
    """

    def __init__(self, enter: Callable[[Tensor], Tensor], explainer: str = "dasp") -> None:
        super().__init__()
        self.enter, self.explainer = enter, explainer
        self.entered = False
        self._live: dict[int, tuple[Tensor, int]] = {}
        self._rules: dict[str, Callable[[str, dict[str, Any], Any], Tensor]] = {
            "relu": _relu, "linear": _weighted, "conv1d": _weighted, "conv2d": _weighted, "conv3d": _weighted,
            "max_pool2d": _max_pool, "avg_pool2d": _avg_pool, "adaptive_avg_pool2d": _adaptive_avg_pool,
            "batch_norm": _batch_norm,
        }  # fmt: skip

    def watch(self, tensor: Tensor) -> Tensor:
        """The tensor, noted as data of the chain."""
        self._live[id(tensor)] = (tensor, tensor._version)
        return tensor

    def run(self, module: nn.Module, images: Tensor) -> Tensor:
        """Means (first half) and variances of the logits, (2 R, K).

        Raises:
            UnsupportedOperation: see above; also where an operation escaped this mode (scripted or custom code).
        """
        with torch.no_grad(), self:
            logits: Tensor = module(self.watch(images))
        if not self.entered or not self._followed(logits):
            self._refuse("(hidden)", "the chain is lost in an operation below Python's functions")
        return logits

    def _followed(self, tensor: Tensor) -> bool:
        return id(tensor) in self._live and self._live[id(tensor)][1] == tensor._version

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        kwargs = kwargs or {}
        data = [tensor for tensor in tensors_in(args, kwargs) if id(tensor) in self._live]
        if not data:
            return func(*args, **kwargs)
        name, inplace = operation(func)
        if not all(self._followed(tensor) for tensor in data):
            self._refuse(name, "its input was changed in place by an operation that cannot be seen")
        given = bound(name, args, kwargs)
        if len(data) > 1 or given.get("input") is not data[0]:
            self._refuse(name, "only a chain of layers can be followed, no sums or joins of branches")
        made = self._made(name, func, given, args, kwargs)
        if not isinstance(made, Tensor):
            return made
        if inplace or given.get("inplace") is True:
            return self.watch(data[0].copy_(made))
        return self.watch(made)

    def _made(
        self, name: str, func: Callable[..., Any], given: dict[str, Any], args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Any:
        source: Tensor = given["input"]
        if name in DROPOUTS:
            if given.get("training"):
                self._refuse(name, "it is in training mode")
            return source
        if not self.entered and name in FIRST:
            self.entered = True
            return self.enter(func(*args, **kwargs))
        if self.entered and name in self._rules:
            try:
                return self._rules[name](name, given, func)
            except _Unruled as reason:
                self._refuse(name, str(reason))
        made = func(*args, **kwargs)
        plain = name in SHAPES or (name in AFFINE and not self.entered and not given.get("training"))
        if isinstance(made, Tensor) and not (plain and made.shape[:1] == source.shape[:1]):
            self._refuse(name, "" if self.entered else "it stands before the first layer")
        return made

    def _refuse(self, name: str, why: str) -> None:
        raise UnsupportedOperation(name, site(), self.explainer, why)


class _Unruled(Exception):
    """A rule does not cover these arguments; the text says which."""


def bound(name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> dict[str, Any]:
    """Arguments of an operation by name; the first is `input`."""
    names = NAMES["dropout" if name in DROPOUTS else "conv" if name.startswith("conv") else name] if (
        name in NAMES or name in DROPOUTS or name in FIRST
    ) else ("input", "inplace")  # fmt: skip
    given = dict(zip(names, args, strict=False)) | kwargs
    if "self" in given:
        given["input"] = given.pop("self")
    return given


def _tiny(like: Tensor) -> float:
    return float(torch.finfo(like.dtype).tiny) ** 0.5


def _normal(z: Tensor) -> tuple[Tensor, Tensor]:
    """Phi(z) and the density of the standard normal."""
    scaled = z * -math.sqrt(0.5)
    return torch.erfc(scaled) / 2, torch.exp(-scaled.square()) * (1 / math.sqrt(2 * math.pi))


def _relu(name: str, given: dict[str, Any], func: Any) -> Tensor:
    return torch.cat(relu_moments(*given["input"].chunk(2)))


def _weighted(name: str, given: dict[str, Any], func: Any) -> Tensor:
    mean, variance = given["input"].chunk(2)
    rest = {key: value for key, value in given.items() if key not in ("input", "weight", "bias")}
    weight = given["weight"]
    return torch.cat([
        func(mean, weight, given.get("bias"), **rest), func(variance, weight.square(), None, **rest),
    ])  # fmt: skip


def _batch_norm(name: str, given: dict[str, Any], func: Any) -> Tensor:
    if given.get("training") or given.get("running_var") is None:
        raise _Unruled("it is in training mode")
    if func is not F.batch_norm:
        raise _Unruled("only torch.nn.functional.batch_norm and nn.BatchNorm are covered")
    mean, variance = given["input"].chunk(2)
    scale = (given["running_var"] + given.get("eps", 1e-5)).rsqrt()
    scale = scale if given.get("weight") is None else scale * given["weight"]
    return torch.cat([
        func(**{**given, "input": mean}), variance * scale.square().view(1, -1, *[1] * (variance.dim() - 2)),
    ])  # fmt: skip


def _max_pool(name: str, given: dict[str, Any], func: Any) -> Tensor:
    size, padding = _pair(given["kernel_size"]), _pair(given.get("padding", 0))
    step = _pair(given.get("stride") or size)
    if given.get("ceil_mode") or given.get("return_indices") or _pair(given.get("dilation", 1)) != (1, 1):
        raise _Unruled("ceil_mode, dilation and return_indices are not covered")
    mean, variance = given["input"].chunk(2)
    if padding != (0, 0):
        border = (padding[1], padding[1], padding[0], padding[0])
        far = (
            float(mean.amin() - 10 * variance.amax().sqrt()) - 1
        )  # never the largest, and near enough to lose no digits
        mean, variance = F.pad(mean, border, value=far), F.pad(variance, border)
    parts = [
        (mean[..., y:, x:], variance[..., y:, x:]) for y in range(size[0]) for x in range(size[1])
    ]  # fmt: skip
    rows = (mean.shape[-2] - size[0]) // step[0] + 1
    columns = (mean.shape[-1] - size[1]) // step[1] + 1
    places = [
        tuple(each[..., : rows * step[0] : step[0], : columns * step[1] : step[1]] for each in part) for part in parts
    ]
    while len(places) > 1:
        merged = [max_moments(places[i], places[i + 1]) for i in range(0, len(places) - 1, 2)]  # type: ignore[arg-type]
        places = [*merged, *places[2 * len(merged) :]]
    return torch.cat(places[0])


def _avg_pool(name: str, given: dict[str, Any], func: Any) -> Tensor:
    if given.get("divisor_override") or given.get("ceil_mode") or _pair(given.get("padding", 0)) != (0, 0):
        raise _Unruled("padding, ceil_mode and divisor_override are not covered")
    size = _pair(given["kernel_size"])
    mean, variance = func(**given).chunk(2)
    return torch.cat([mean, variance / (size[0] * size[1])])


def _adaptive_avg_pool(name: str, given: dict[str, Any], func: Any) -> Tensor:
    height, width = given["input"].shape[-2:]
    mean, variance = func(**given).chunk(2)
    if height % mean.shape[-2] or width % mean.shape[-1]:
        raise _Unruled("windows of unequal size are not covered")
    return torch.cat([mean, variance * (mean.shape[-2] * mean.shape[-1] / (height * width))])


def _pair(value: Any) -> tuple[int, int]:
    return (value[0], value[-1]) if isinstance(value, tuple | list) else (value, value)
