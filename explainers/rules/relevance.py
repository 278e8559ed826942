"""Rules that carry relevance: alpha-beta and epsilon, at every linear operation.

The gradient channel carries relevance. ReLU, dropout, affine maps per element and batch norms that could not be folded
pass it unchanged, maximum pooling sends it to the winner, additions, average pooling and means are linear layers under
the family's own rule. What goes into biases (and the epsilon) is booked, so the balance of every map can be checked.

Source: Bach et al. 2015, eq. 56 to 60.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from ..engine import DROPOUTS, SHAPES, WINNERS, RuleMode, UnsupportedOperation, operation, site
from .linear import ALL, NEGATIVE, POSITIVE, Addition, Average, LinearOperation, convolution, dense


class Ledger:
    """Relevance that biases and stabilisers took, per image."""

    def __init__(self) -> None:
        self.absorbed: Tensor | None = None

    def book(self, amounts: Tensor) -> None:
        """Add amounts (N, ...) of relevance, summed per image in float64."""
        total = amounts.flatten(1).sum(1, dtype=torch.float64)
        self.absorbed = total if self.absorbed is None else self.absorbed + total


class AlphaBeta:
    """R_j = sum_k (alpha (x_j w_jk)+ / P_k + beta (x_j w_jk)- / N_k') R_k with common denominators.

    P_k and N_k are the sums of all positive and all negative contributions to neuron k. Biases take no share. A neuron
    with contributions of one sign hands everything on through them; one without any hands its relevance to the bias.

    Args:
        alpha, beta: with alpha - beta = 1.

    Source: Bach et al. 2015, eq. 60.
    """

    def __init__(self, alpha: float, beta: float) -> None:
        self.alpha, self.beta = alpha, beta

    def forward(self, op: LinearOperation, inputs: tuple[Tensor, ...]) -> tuple[Tensor, tuple[Tensor, ...]]:
        """Output of the operation, and the sums P and N of positive and negative contributions."""
        up = tuple(x.clamp(min=0) for x in inputs)
        down = tuple(x.clamp(max=0) for x in inputs) if any(bool((x < 0).any()) for x in inputs) else None
        positive = op.apply(up, POSITIVE)
        negative = op.apply(up, NEGATIVE) if op.negative else torch.zeros_like(positive)
        if down is not None:
            negative = negative + op.apply(down, POSITIVE)
            if op.negative:
                positive = positive + op.apply(down, NEGATIVE)
        bias = op.bias(positive)
        total = positive + negative
        return (total if bias is None else total + bias), (positive, negative)

    def backward(
        self, op: LinearOperation, inputs: tuple[Tensor, ...], saved: tuple[Tensor, ...], above: Tensor, ledger: Ledger
    ) -> tuple[Tensor, ...]:
        """Relevance of the inputs from the relevance of the outputs."""
        positive, negative = saved
        tiny = torch.finfo(above.dtype).tiny * 2**20
        has_p, has_n = positive > tiny, negative < -tiny
        if not bool((has_p | has_n).all()):
            ledger.book(above.masked_fill(has_p | has_n, 0))
        share_p = torch.where(has_n, above * self.alpha, above)
        s_p = torch.where(has_p, share_p / torch.where(has_p, positive, 1), 0)
        share_n = torch.where(has_p, above * -self.beta, above)
        s_n = torch.where(has_n, share_n / torch.where(has_n, negative, -1), 0)
        use_n = self.beta != 0 or bool(s_n.any())
        signed = any(bool((x < 0).any()) for x in inputs)
        result = _weighted(op, inputs, s_p, s_n if use_n else None, 0)
        if signed:
            lower = _weighted(op, inputs, s_n if use_n else None, s_p, 1)
            result = tuple(a + b for a, b in zip(result, lower, strict=True))
        return result


def _weighted(
    op: LinearOperation, inputs: tuple[Tensor, ...], by_positive: Tensor | None, by_negative: Tensor | None, sign: int
) -> tuple[Tensor, ...]:
    """x+ (sign 0) or x- (sign 1), times (W+)^T by_positive + (W-)^T by_negative."""
    parts = []
    if by_positive is not None:
        parts.append(op.back(by_positive, inputs, POSITIVE))
    if by_negative is not None and op.negative:
        parts.append(op.back(by_negative, inputs, NEGATIVE))
    limit = {"min": 0} if sign == 0 else {"max": 0}
    if not parts:
        return tuple(torch.zeros_like(x) for x in inputs)
    return tuple(x.clamp(**limit) * sum(part[i] for part in parts) for i, x in enumerate(inputs))


class Epsilon:
    """R_j = sum_k x_j w_jk / (z_k + epsilon_k sign(z_k)) R_k.

    Args:
        epsilon: relative to the root mean square of the layer's outputs per image; 0 is LRP-0.

    Source: Bach et al. 2015, eq. 58, with the scale of Montavon et al. 2019, section 10.2.
    """

    def __init__(self, epsilon: float) -> None:
        self.epsilon = epsilon

    def forward(self, op: LinearOperation, inputs: tuple[Tensor, ...]) -> tuple[Tensor, tuple[Tensor, ...]]:
        """Output of the operation, and its stabilised denominators."""
        z = op.apply(inputs, ALL)
        bias = op.bias(z)
        z = z if bias is None else z + bias
        scale = z.flatten(1).square().mean(1).sqrt().view(-1, *[1] * (z.dim() - 1))
        return z, (z + self.epsilon * scale * torch.where(z >= 0, 1.0, -1.0).to(z.dtype),)

    def backward(
        self, op: LinearOperation, inputs: tuple[Tensor, ...], saved: tuple[Tensor, ...], above: Tensor, ledger: Ledger
    ) -> tuple[Tensor, ...]:
        """Relevance of the inputs from the relevance of the outputs; the rest is booked to bias and epsilon."""
        (z,) = saved
        s = torch.where(z != 0, above / torch.where(z != 0, z, 1), 0)
        result = tuple(x * back for x, back in zip(inputs, op.back(s, inputs, ALL), strict=True))
        ledger.book(above - s * op.apply(inputs, ALL))
        return result


class _Carry(torch.autograd.Function):
    """A linear operation whose backward is a relevance rule."""

    @staticmethod
    def forward(ctx: Any, rule: Any, op: LinearOperation, ledger: Ledger, *inputs: Tensor) -> Tensor:  # type: ignore[override]
        result, saved = rule.forward(op, inputs)
        ctx.save_for_backward(*inputs, *saved)
        ctx.held = rule, op, ledger, len(inputs)
        return result  # type: ignore[no-any-return]

    @staticmethod
    def backward(ctx: Any, above: Tensor) -> tuple[Any, ...]:  # type: ignore[override]
        rule, op, ledger, count = ctx.held
        tensors = ctx.saved_tensors
        return (None, None, None, *rule.backward(op, tensors[:count], tensors[count:], above, ledger))


class _Pass(torch.autograd.Function):
    """Any operation that keeps the shape, passing relevance unchanged."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, value: Tensor) -> Tensor:  # type: ignore[override]
        return value.clone()

    @staticmethod
    def backward(ctx: Any, above: Tensor) -> tuple[Tensor, None]:  # type: ignore[override]
        return above, None


class RelevanceRules:
    """A rule set of the engine that carries relevance.

    Args:
        explainer: name for messages.
        rule: AlphaBeta, Epsilon, or another object with their two methods.

    Attributes:
        ledger: what biases and stabilisers absorbed.
    """

    ordinary = SHAPES | WINNERS

    def __init__(self, explainer: str, rule: Any) -> None:
        self.explainer, self.rule, self.ledger = explainer, rule, Ledger()
        linear = {f"conv{t}{d}d": self._conv for t in ("", "_transpose") for d in (1, 2, 3)}
        average = {f"{a}avg_pool{d}d": self._average for a in ("", "adaptive_") for d in (1, 2, 3)}
        unchanged = dict.fromkeys(("relu", "batch_norm", *DROPOUTS), self._unchanged)
        affine = dict.fromkeys(("mul", "rmul", "div", "truediv", "sub", "neg"), self._affine)
        self.handlers: dict[str, Callable[..., Any]] = {
            **linear, **average, **unchanged, **affine, "linear": self._dense, "mean": self._average, "add": self._add,
            "radd": self._add,
        }  # fmt: skip

    def carry(self, op: LinearOperation, *inputs: Tensor) -> Tensor:
        """The output of a linear operation, with this rule set's backward."""
        result: Tensor = _Carry.apply(self.rule, op, self.ledger, *inputs)  # type: ignore[no-untyped-call]
        return result

    def _conv(self, mode: RuleMode, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Tensor:
        x, op = convolution(operation(func)[0], args, kwargs)
        return self.carry(op, x)

    def _dense(self, mode: RuleMode, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Tensor:
        x, op = dense(args, kwargs)
        return self.carry(op, x)

    def _average(self, mode: RuleMode, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Tensor:
        x, rest = (args[0], args[1:]) if args else (kwargs["input"], ())
        options = {key: value for key, value in kwargs.items() if key != "input"}
        return self.carry(Average(lambda t: func(t, *rest, **options)), x)

    def _add(self, mode: RuleMode, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Tensor:
        a, b = args[0], args[1] if len(args) > 1 else kwargs["other"]
        if kwargs.get("alpha", 1) != 1:
            raise UnsupportedOperation("add", site(), self.explainer, "alpha is not 1")
        data = [t for t in (a, b) if isinstance(t, Tensor) and t.requires_grad]
        if len(data) == 2:
            return self.carry(Addition(), a, b)
        return self._kept(data[0], a + b, "add")

    def _affine(self, mode: RuleMode, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Tensor:
        """Scaling or shifting by constants keeps relevance where it is."""
        operands = [t for t in (*args, *kwargs.values()) if isinstance(t, Tensor) and t.requires_grad]
        name = operation(func)[0]
        if len(operands) != 1:
            raise UnsupportedOperation(name, site(), self.explainer, "both operands depend on the image")
        with torch.no_grad():
            value = func(*args, **kwargs)
        return self._kept(operands[0], value, name)

    def _unchanged(self, mode: RuleMode, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Tensor:
        with torch.no_grad():
            value = func(*args, **kwargs)
        return self._kept(args[0] if args else kwargs["input"], value, operation(func)[0])

    def _kept(self, x: Tensor, value: Tensor, name: str) -> Tensor:
        if value.shape != x.shape:
            raise UnsupportedOperation(name, site(), self.explainer, "it changes the shape of its input")
        result: Tensor = _Pass.apply(x, value.detach())  # type: ignore[no-untyped-call]
        return result
