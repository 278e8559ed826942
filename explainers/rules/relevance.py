"""The rule set that carries relevance through a whole network, whatever the rule at its linear operations.

The gradient channel carries relevance. ReLU, dropout, affine maps per element and batch norms that could not be folded
pass it unchanged; a product with a gate (the sigmoid of a squeeze-and-excitation block) passes all of it to the signal;
maximum pooling sends it to the winner; additions, average pooling, means and enlargements are linear layers under the
family's own rule. With `box`, linear operations that read the image through re-arrangements and affine maps only are
propagated by the z-box rule between the images of 0 and 1.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from ..engine import (
    COMPUTATIONS,
    DROPOUTS,
    SHAPES,
    WINNERS,
    Refused,
    RuleMode,
    UnsupportedOperation,
    is_relu,
    nodes,
    operation,
    site,
    tensors_in,
)
from .books import Ledger
from .linear import Addition, Average, LinearOperation, convolution, dense, product
from .propagation import ZBox

GATES = frozenset("sigmoid hardsigmoid softmax relu6 hardtanh".split())
ENLARGED = ("nearest", "nearest-exact", "linear", "bilinear", "trilinear", "area")


class Carry(torch.autograd.Function):
    """A linear operation whose backward is a relevance rule."""

    @staticmethod
    def forward(ctx: Any, rule: Any, op: LinearOperation, ledger: Ledger, *inputs: Tensor) -> Tensor:  # type: ignore[override]
        result, saved = rule.forward(op, inputs)
        ctx.save_for_backward(*inputs, *saved)
        ctx.held = rule, op, ledger, len(inputs)
        ctx.top = False
        return result  # type: ignore[no-any-return]

    @staticmethod
    def backward(ctx: Any, above: Tensor) -> tuple[Any, ...]:  # type: ignore[override]
        rule, op, ledger, count = ctx.held
        tensors = ctx.saved_tensors
        hand_on = rule.top if ctx.top else rule.backward
        return (None, None, None, *hand_on(op, tensors[:count], tensors[count:], above, ledger))


class Passed(torch.autograd.Function):
    """An operation per element that passes relevance unchanged, summed where a constant widened the tensor."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, compute: Callable[[], Tensor]) -> Tensor:  # type: ignore[override]
        ctx.shape = x.shape
        value = compute()
        return value.clone() if value.data_ptr() == x.data_ptr() else value

    @staticmethod
    def backward(ctx: Any, above: Tensor) -> tuple[Tensor, None]:  # type: ignore[override]
        return above.sum_to_size(ctx.shape), None


class Bordered(torch.autograd.Function):
    """A border of a constant that is not 0 around the data: what it contributes to the next layer is booked."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, sides: tuple[int, ...], compute: Callable[[], Tensor], ledger: Ledger) -> Tensor:  # type: ignore[override]
        ctx.held = sides, ledger
        return compute()

    @staticmethod
    def backward(ctx: Any, above: Tensor) -> tuple[Tensor, None, None, None]:  # type: ignore[override]
        sides, ledger = ctx.held
        inner = F.pad(above, [-side for side in sides])
        rows = [part.flatten(1).sum(1, dtype=torch.float64) for part in (above, inner)]
        ledger.book(lambda: rows[0] - rows[1])
        return inner, None, None, None


class RelevanceRules:
    """A rule set of the engine that carries relevance.

    Args:
        explainer: name for messages.
        rule: how a linear operation hands relevance on; see `propagation`.
        pixels: the images (N, C, H, W) that will be run.
        box: whether the linear operations that read them follow the z-box rule.

    Attributes:
        ledger: what biases, stabilisers and silent neurons absorbed.
        boxed: how many linear operations followed the z-box rule.
    """

    ordinary = SHAPES | WINNERS | {"max", "maximum"}
    replaced = COMPUTATIONS

    def __init__(self, explainer: str, rule: Any, pixels: Tensor, box: bool = False) -> None:
        self.explainer, self.rule, self.ledger, self.boxed = explainer, rule, Ledger(len(pixels)), 0
        self._boxes: dict[int, tuple[Tensor, int, Tensor, Tensor]] = {}
        self._rectifiers = 0
        linear = {f"conv{t}{d}d": self._conv for t in ("", "_transpose") for d in (1, 2, 3)}
        average = {f"{a}avg_pool{d}d": self._average for a in ("", "adaptive_") for d in (1, 2, 3)}
        unchanged = dict.fromkeys(("relu", "batch_norm", *DROPOUTS), self._unchanged)
        clamps = dict.fromkeys(("clamp", "clamp_min", "clip", "threshold"), self._clamp)
        affine = dict.fromkeys(("div", "truediv", "neg"), self._affine)
        self.handlers: dict[str, Callable[..., Any]] = {
            **linear, **average, **unchanged, **clamps, **affine, "linear": self._dense, "mean": self._average,
            "sum": self._average, "interpolate": self._enlarge, "upsample": self._enlarge, "add": self._add,
            "radd": self._add, "sub": self._add, "subtract": self._add, "rsub": self._affine, "mul": self._mul,
            "rmul": self._mul, "multiply": self._mul, "matmul": self._matmul, "mm": self._matmul, "addmm": self._matmul,
        }  # fmt: skip
        if box:
            self.handlers |= dict.fromkeys(SHAPES, self._arranged)
            values = pixels.detach().flatten(1)
            low, high = (t.view(-1, 1, 1, 1) for t in (values.amin(1).clamp(max=0), values.amax(1).clamp(min=1)))
            self._keep_box(pixels, low.expand_as(pixels), high.expand_as(pixels))
        self.handlers["pad"] = self._pad

    def carry(self, op: LinearOperation, *inputs: Tensor) -> Tensor:
        """The output of a linear operation, with this rule set's backward."""
        boxes = [self._box(x) for x in inputs]
        found = [box for box in boxes if box is not None]
        rule = self.rule
        if found and len(found) == len(inputs):
            self.boxed += 1
            rule = ZBox(tuple(low for low, _ in found), tuple(high for _, high in found))
        result: Tensor = Carry.apply(rule, op, self.ledger, *inputs)  # type: ignore[no-untyped-call]
        return result

    def follow(self, made: Tensor, tensor: Tensor) -> None:
        """Note that `tensor` now holds what `made` holds."""
        box = self._box(made)
        self._boxes.pop(id(tensor), None)
        if box is not None:
            self._keep_box(tensor, *box)

    def mark_top(self, logits: Tensor) -> None:
        """Let the trained layers next to the output follow the rule's own `top`."""

        def trained(node: Any) -> bool:
            return getattr(type(node), "_forward_cls", None) is Carry and node.held[1].weighted

        for node in nodes(logits, ends=trained):
            if trained(node):
                node.top = hasattr(node.held[0], "top")

    def _conv(self, mode: RuleMode, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Tensor:
        x, op = convolution(operation(func)[0], args, kwargs)
        self._need_constants(func, args, kwargs)
        self._need_rows(func, x)
        return self.carry(op, x)

    def _dense(self, mode: RuleMode, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Tensor:
        x, op = dense(args, kwargs)
        self._need_constants(func, args, kwargs)
        self._need_rows(func, x)
        return self.carry(op, x)

    def _matmul(self, mode: RuleMode, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Tensor:
        found = product(operation(func)[0], args, kwargs)
        if found is None:
            raise self._declined(func, "only a product of the data with a constant matrix on the right has a rule")
        self._need_rows(func, found[0])
        return self.carry(found[1], found[0])

    def _average(self, mode: RuleMode, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Tensor:
        x, rest = (args[0], args[1:]) if args else (kwargs["input"], ())
        options = {key: value for key, value in kwargs.items() if key != "input"}
        if operation(func)[0] in ("mean", "sum"):
            axes = rest[0] if rest else options.get("dim", options.get("axis"))
            if axes in (0, (0,), [0], -x.dim()):  # over a stack of tensors: the images are on the second axis
                rest, options, x = (), {**options, "dim": 1}, x.transpose(0, 1)
            elif axes is None or (not isinstance(axes, int) and {0, -x.dim()} & set(axes)):
                raise self._declined(func, "it mixes images")
        self._need_rows(func, x)
        return self.carry(Average(lambda t: func(t, *rest, **options)), x)

    def _enlarge(self, mode: RuleMode, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Tensor:
        kind = args[3] if len(args) > 3 else kwargs.get("mode", "nearest")
        if kind not in ENLARGED:
            raise self._declined(func, f"mode {kind!r} has no rule, {', '.join(ENLARGED)} have")
        return self._average(mode, func, args, kwargs)

    def _add(self, mode: RuleMode, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Tensor:
        a, b = args[0] if args else kwargs["input"], args[1] if len(args) > 1 else kwargs["other"]
        if not all(isinstance(t, Tensor) and t.requires_grad for t in (a, b)):
            return self._affine(mode, func, args, kwargs)
        self._need_rows(func, a, b)
        factor = float(kwargs.get("alpha", 1)) * (-1.0 if operation(func)[0].startswith("sub") else 1.0)
        return self.carry(Addition(factor), a.clone(), b.clone())

    def _mul(self, mode: RuleMode, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Tensor:
        """A product with a constant is affine; a product with a gate belongs to the signal."""
        data = [t for t in tensors_in(args, kwargs) if t.requires_grad]
        if len(data) < 2:
            return self._affine(mode, func, args, kwargs)
        signals = [t for t in data if not is_gate(t)]
        if len(signals) != 1:
            raise self._declined(func, "both factors depend on the image and not exactly one of them is a gate")
        return self._passed(signals[0], func, args, kwargs)

    def _shifting(self) -> None:
        """Zeros of a ReLU that are shifted, or normalised, may get relevance: nothing is taken for granted any more."""
        self.ledger.exact = self._rectifiers > 0 or self.ledger.exact

    def _rectifier(self, x: Tensor) -> None:
        """Tell the operation whose result goes through a ReLU."""
        node: Any = x.grad_fn
        if node is not None and node.name() == "CloneBackward0":  # what works in place works on a copy
            node = node.next_functions[0][0]
        if getattr(type(node), "_forward_cls", None) is Carry:
            node.held[1].rectified = True
            self._rectifiers += 1

    def _affine(self, mode: RuleMode, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Tensor:
        """Scaling or shifting by constants keeps relevance where it is."""
        operands = [t for t in tensors_in(args, kwargs) if t.requires_grad]
        divisor = args[1] if len(args) > 1 else kwargs.get("other")
        if len(operands) != 1 or (operation(func)[0] in ("div", "truediv") and divisor is operands[0]):
            raise self._declined(func, "it is not affine in the image")
        self._shifting()
        ends = self._ends(func, args, kwargs)
        return self._with_box(self._passed(operands[0], func, args, kwargs), ends)

    def _unchanged(self, mode: RuleMode, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Tensor:
        name = operation(func)[0]
        if name == "relu":
            self._rectifier(args[0] if args else kwargs["input"])
        elif name == "batch_norm":
            self._shifting()
        ends = self._ends(func, args, kwargs) if name != "relu" else None
        return self._with_box(self._passed(args[0] if args else kwargs["input"], func, args, kwargs), ends)

    def _clamp(self, mode: RuleMode, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Tensor:
        if not is_relu(operation(func)[0], args, kwargs):
            raise self._declined(func, "only clamp(min=0) and threshold(0, 0) are a ReLU")
        self._rectifier(args[0] if args else kwargs["input"])
        return self._passed(args[0] if args else kwargs["input"], func, args, kwargs)

    def _arranged(self, mode: RuleMode, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        ends = self._ends(func, args, kwargs)
        return self._with_box(func(*args, **kwargs), ends)

    def _pad(self, mode: RuleMode, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        given = dict(zip(("input", "pad", "mode", "value"), args, strict=False)) | kwargs
        if given.get("mode", "constant") != "constant" or not given.get("value"):
            return self._arranged(mode, func, args, kwargs)
        self._need_rows(func, given["input"])
        ends, sides = self._ends(func, args, kwargs), tuple(given["pad"])
        made = Bordered.apply(given["input"], sides, lambda: func(*args, **kwargs), self.ledger)  # type: ignore[no-untyped-call]
        return self._with_box(made, ends)

    def _passed(self, x: Tensor, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Tensor:
        result: Tensor = Passed.apply(x, lambda: func(*args, **kwargs))  # type: ignore[no-untyped-call]
        return result

    def _need_constants(self, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        if sum(t.requires_grad for t in tensors_in(args, kwargs)) != 1:
            raise self._declined(func, "its weights depend on the image")

    def _need_rows(self, func: Any, *inputs: Tensor) -> None:
        rows = self.ledger.images
        if any(x.dim() == 0 or x.shape[0] == 0 or x.shape[0] % rows for x in inputs):
            raise self._declined(func, "images are not on its first axis")

    def _declined(self, func: Any, why: str) -> UnsupportedOperation:
        return UnsupportedOperation(operation(func)[0], site(), self.explainer, why)

    def _box(self, x: Tensor) -> tuple[Tensor, Tensor] | None:
        held = self._boxes.get(id(x))
        return held[2:] if held is not None and held[0] is x and held[1] == x._version else None

    def _keep_box(self, x: Tensor, low: Tensor, high: Tensor) -> None:
        self._boxes[id(x)] = (x, x._version, low, high)

    def _ends(self, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> list[Any] | None:
        """Results at both bounds, where every operand that depends on the image has bounds."""
        data = [t for t in tensors_in(args, kwargs) if t.requires_grad]
        if not self._boxes or any(self._box(t) is None for t in data):
            return None
        with torch.no_grad():
            return [
                func(*(self._end(v, e) for v in args), **{k: self._end(v, e) for k, v in kwargs.items()})
                for e in (0, 1)
            ]

    def _with_box(self, result: Any, ends: list[Any] | None) -> Any:
        """The result, or every tensor of it, with the bounds that its ends span."""
        if ends is not None:
            made = [[each] if isinstance(each, Tensor) else list(each) for each in (result, *ends)]
            for value, a, b in zip(*made, strict=True):
                self._keep_box(value, torch.minimum(a, b), torch.maximum(a, b))
        return result

    def _end(self, value: Any, end: int) -> Any:
        if isinstance(value, list | tuple) and any(isinstance(item, Tensor) for item in value):
            return type(value)(self._end(item, end) for item in value)
        box = self._box(value) if isinstance(value, Tensor) else None
        return value if box is None else box[end].clone()


def is_gate(x: Tensor) -> bool:
    """Whether a tensor is the result of a gate, up to re-arrangements and operations that pass relevance."""
    node: Any = x.grad_fn
    while node is not None:
        made_by = getattr(type(node), "_forward_cls", None)
        if made_by is Refused:
            return node.error.operation in GATES
        if made_by is Carry:
            return False
        below = [each for each, _ in node.next_functions if each is not None]
        if len(below) != 1 and "CopyBackwards" not in node.name():
            return False
        node = below[-1] if below else None
    return False
