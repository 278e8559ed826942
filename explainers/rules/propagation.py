"""How one linear operation hands relevance to its inputs: alpha-beta, epsilon, z-box, excitation, relative attributing.

A rule has `forward(op, inputs) -> (output, saved)` and `backward(op, inputs, saved, above, ledger) -> relevance of the
inputs`; one that treats the classifier's layer differently has `top` with the arguments of `backward`. What an operation
cannot hand on is booked in the ledger, so the balance of every map can be checked.
"""

from __future__ import annotations

import torch
from torch import Tensor

from . import signs
from .books import Ledger, divisor, everywhere, per_unit, quotient, silent, some
from .linear import ALL, NEGATIVE, POSITIVE, LinearOperation

Tensors = tuple[Tensor, ...]


class AlphaBeta:
    """R_j = sum_k (alpha (x_j w_jk)+ / P_k - beta (x_j w_jk)- / N_k) R_k with common denominators.

    P_k and N_k are the sums of all positive and all negative contributions to neuron k. Biases take no share, unless
    `share` counts them as contributions: what they get is booked. A neuron with contributions of one sign hands everything
    on through them; one without any hands its relevance to the bias.

    Args:
        alpha, beta: with alpha - beta = 1.
        share: whether positive biases stand in P and negative ones in N.

    Source: Bach et al. 2015, eq. 60.
    """

    def __init__(self, alpha: float, beta: float, share: bool = False) -> None:
        self.alpha, self.beta, self.share = alpha, beta, share

    def forward(self, op: LinearOperation, inputs: Tensors) -> tuple[Tensor, Tensors]:
        """Output of the operation, and the sums P and N of positive and negative contributions."""
        positive, negative = contributions(op, inputs)
        bias = op.bias(positive) if self.share else None
        sums = (positive, negative) if bias is None else (positive + bias.clamp(min=0), negative + bias.clamp(max=0))
        return _biased(op, positive + negative), sums

    def backward(self, op: LinearOperation, inputs: Tensors, saved: Tensors, above: Tensor, ledger: Ledger) -> Tensors:
        """Relevance of the inputs from the relevance of the outputs."""
        positive, negative = saved
        if everywhere(positive) and (self.beta == 0 or everywhere(negative, -1)):
            s_p = (above / positive).mul_(self.alpha)
            s_n = None if self.beta == 0 else (above / negative).mul_(-self.beta)
        else:
            ledger.book(lambda: silent(above, positive - negative))
            s_p, s_n = self._one_sided(positive, -negative, above)
        self._book_bias(op, s_p, s_n, ledger)
        return weighted(op, inputs, s_p, s_n)

    def _one_sided(self, up: Tensor, down: Tensor, above: Tensor) -> tuple[Tensor, Tensor | None]:
        """Relevance per contribution where neurons may have contributions of one sign only; `up` and `down` are >= 0."""
        by_up, by_down = divisor(up), divisor(down)
        # Quotients of an amount by its divisor are 1 or 0, and much faster than masks.
        s_p = (down / by_down).mul_(self.beta).add_(1.0).mul_(above).div_(by_up)
        s_n = (up / by_up).mul_(self.alpha).sub_(1.0).mul_(above).div_(by_down)
        nothing = self.beta == 0 and float(s_n.amax()) == 0 == float(s_n.amin())
        return s_p, None if nothing else s_n

    def _book_bias(self, op: LinearOperation, s_p: Tensor, s_n: Tensor | None, ledger: Ledger) -> None:
        bias = op.bias(s_p) if self.share else None
        if bias is not None:
            ledger.book(lambda: s_p * bias.clamp(min=0) + (0 if s_n is None else s_n * bias.clamp(max=0)))


class SplitAlphaBeta:
    """Alpha-beta with separate denominators of the positive and the negative inputs.

    R_j = alpha sum_k (x_j+ w_jk+ / Z1 + x_j- w_jk- / Z2) R_k - beta sum_k (x_j+ w_jk- / Z3 + x_j- w_jk+ / Z4) R_k. For
    inputs >= 0 this is `AlphaBeta`; for signed ones each half carries all of R_k, so the sum doubles, which the balance
    shows.

    Source: the published code of Nam et al. 2020.
    """

    def __init__(self, alpha: float, beta: float) -> None:
        self.alpha, self.beta = alpha, beta

    def forward(self, op: LinearOperation, inputs: Tensors) -> tuple[Tensor, Tensors]:
        """Output of the operation, and the four sums Z1 to Z4."""
        up, down = (contributions(op, tuple(x.clamp(**side) for x in inputs)) for side in ({"min": 0}, {"max": 0}))
        return _biased(op, up[0] + up[1] + down[0] + down[1]), (up[0], down[0], up[1], down[1])

    def backward(self, op: LinearOperation, inputs: Tensors, saved: Tensors, above: Tensor, ledger: Ledger) -> Tensors:
        """Relevance of the inputs from the relevance of the outputs."""
        has = [some(z.abs()) for z in saved]
        has_p, has_n = has[0] | has[1], has[2] | has[3]
        ledger.book(lambda: above.masked_fill(has_p | has_n, 0))
        share_p = torch.where(has_n, above * self.alpha, above)
        share_n = torch.where(has_p, above * -self.beta, above)
        up = tuple(x.clamp(min=0) for x in inputs)
        down = tuple(x.clamp(max=0) for x in inputs)
        upper = weighted(op, up, quotient(share_p, saved[0], has[0]), quotient(share_n, saved[2], has[2]))
        lower = weighted(op, down, quotient(share_p, saved[1], has[1]), quotient(share_n, saved[3], has[3]))
        return tuple(a + b for a, b in zip(upper, lower, strict=True))


class Epsilon:
    """R_j = sum_k x_j w_jk / (z_k + epsilon_k sign(z_k)) R_k.

    Args:
        epsilon: relative to the root mean square of the layer's outputs per image; 0 is LRP-0.

    Source: Bach et al. 2015, eq. 58, with the scale of Montavon et al. 2019, section 10.2.
    """

    def __init__(self, epsilon: float) -> None:
        self.epsilon = epsilon

    def forward(self, op: LinearOperation, inputs: Tensors) -> tuple[Tensor, Tensors]:
        """Output of the operation, its stabilised denominators (infinite where nothing is to divide by), products, scale."""
        products = op.apply(inputs, ALL)
        bias = op.bias(products)
        z = products.clone() if bias is None else products + bias
        size = torch.linalg.vector_norm(z, dim=tuple(range(1, z.dim())), keepdim=True)
        scale = size * (self.epsilon * (z[0].numel() ** -0.5))
        if self.epsilon == 0:
            return z, (z.masked_fill(z == 0, torch.inf), products, scale)
        return z, (z + torch.copysign(torch.where(scale > 0, scale, torch.inf), z), products, scale)

    def backward(self, op: LinearOperation, inputs: Tensors, saved: Tensors, above: Tensor, ledger: Ledger) -> Tensors:
        """Relevance of the inputs from the relevance of the outputs; the rest is booked to bias and epsilon."""
        s = above / saved[0]
        ledger.book(lambda: self._absorbed(op, saved, above, s, ledger.exact))
        return tuple(x * back for x, back in zip(inputs, op.back(s, inputs, ALL), strict=True))

    def _absorbed(self, op: LinearOperation, saved: Tensors, above: Tensor, s: Tensor, exact: bool) -> Tensor:
        """What bias and epsilon take.

        At a rectifier relevance arrives at positive outputs only, and their denominators exceed their products by the
        bias and the scale, so that sums over positions tell. In float64, in which a map is made again when the balance
        misses, and wherever else, it is the difference of two products.
        """
        _, products, scale = saved
        several = op.weighted and not op.spatial and s.dim() > 2  # a linear layer at several positions
        if exact or several or not op.rectified or s.dtype == torch.float64:
            return torch.addcmul(above, s, products, value=-1)
        arrived = s.sum(tuple(range(2, s.dim()))) if s.dim() > 2 else s
        bias, by = op.bias(arrived), scale.view(-1, 1)
        return arrived * (by if bias is None else by + bias)


class ZBox:
    """R_i = sum_k (x_i w_ik - l_i w_ik+ - h_i w_ik-) / (sum of the same over i) R_k, for inputs between l and h.

    All terms are >= 0. A neuron whose terms are all 0 hands its relevance to the bias.

    Args:
        low, high: bounds of each input, of its shape.

    Source: Montavon et al. 2017, section 4.2.2.
    """

    def __init__(self, low: Tensors, high: Tensors) -> None:
        self.low, self.high = low, high

    def forward(self, op: LinearOperation, inputs: Tensors) -> tuple[Tensor, Tensors]:
        """Output of the operation, and the denominators."""
        above_low, below_high = self._distances(inputs)
        terms = op.apply(above_low, POSITIVE)
        if op.negative:
            terms = terms + op.apply(below_high, NEGATIVE)
        z = _biased(op, op.apply(inputs, ALL))
        # Both in one order of memory: operations on tensors in two orders are several times slower.
        return z, (terms if terms.stride() == z.stride() else torch.empty_like(z).copy_(terms),)

    def backward(self, op: LinearOperation, inputs: Tensors, saved: Tensors, above: Tensor, ledger: Ledger) -> Tensors:
        """Relevance of the inputs from the relevance of the outputs."""
        s = per_unit(above, saved[0], ledger)
        above_low, below_high = self._distances(inputs)
        parts = [x * back for x, back in zip(above_low, op.back(s, inputs, POSITIVE), strict=True)]
        if op.negative:
            lower = op.back(s, inputs, NEGATIVE)
            parts = [part + x * back for part, x, back in zip(parts, below_high, lower, strict=True)]
        return tuple(parts)

    def _distances(self, inputs: Tensors) -> tuple[Tensors, Tensors]:
        return (
            tuple(x - low for x, low in zip(inputs, self.low, strict=True)),
            tuple(x - high for x, high in zip(inputs, self.high, strict=True)),
        )


class Excitation(AlphaBeta):
    """Marginal winning probability: R_j = sum_k (x_j w_jk)+ / P_k R_k; a neuron without excitation hands on nothing.

    Args:
        contrastive: at the classifier's layer subtract the probabilities under the negated weights.

    Source: Zhang et al. 2016, eq. 5 and section 3.4.
    """

    def __init__(self, contrastive: bool) -> None:
        super().__init__(1.0, 0.0)
        self.contrastive = contrastive

    def backward(self, op: LinearOperation, inputs: Tensors, saved: Tensors, above: Tensor, ledger: Ledger) -> Tensors:
        """Probability of the inputs from that of the outputs."""
        return weighted(op, inputs, per_unit(above, saved[0], ledger), None)

    def top(self, op: LinearOperation, inputs: Tensors, saved: Tensors, above: Tensor, ledger: Ledger) -> Tensors:
        """The same for the classifier's layer, less the winning probability of the dual unit."""
        result = self.backward(op, inputs, saved, above, ledger)
        if not self.contrastive:
            return result
        has = some(-saved[1])
        ledger.book(lambda: above.masked_fill(~has, 0))
        dual = weighted(op, inputs, None, quotient(above, saved[1], has))
        return tuple(a - b for a, b in zip(result, dual, strict=True))


class RelativeAttributing:
    """Relative attributing propagation: influence without its sign, then the weak units shifted below zero.

    With A_k and B_k the sums of positive and of absolute negative contributions to neuron k,
    C_j = sum_k R_k ((x_j w_jk)+ / A_k + |(x_j w_jk)-| / (A_k + B_k)), and R_j = C_j - (sum C - sum R) / #{C != 0} where
    C_j is not 0, per image. At the classifier's layer R_j = R |x_j w_j| / sum_i |x_i w_i|: the bias shares of the paper's
    absolute influence normalisation cancel. For inputs >= 0, the only ones in networks of ReLUs, this is the published
    code; signed contributions are joined here, where the code counts each sign in full.

    Args:
        negative_rule: what a convolution does with R_k < 0: `A` the same as above, `B` as the published code, where
            |(x_j w_jk)-| / B_k takes the place of (x_j w_jk)+ / A_k.

    Source: Nam et al. 2020 and its published code.
    """

    def __init__(self, negative_rule: str) -> None:
        self.negative_rule = negative_rule

    def forward(self, op: LinearOperation, inputs: Tensors) -> tuple[Tensor, Tensors]:
        """Output of the operation, and the sums of positive and negative contributions."""
        positive, negative = contributions(op, inputs)
        return _biased(op, positive + negative), (positive, negative)

    def backward(self, op: LinearOperation, inputs: Tensors, saved: Tensors, above: Tensor, ledger: Ledger) -> Tensors:
        """Relevance of the inputs from the relevance of the outputs, shifted to the same sum."""
        a, b = saved[0], -saved[1]
        by_positive = quotient(above, a, some(a))
        by_negative = quotient(above, a + b, some(a + b))
        if self.negative_rule == "B" and op.spatial:
            below = above < 0
            by_positive = by_positive.masked_fill(below, 0)
            by_negative = by_negative + quotient(above, b, some(b) & below)
        return _shifted(weighted(op, inputs, by_positive, -by_negative), above, ledger)

    def top(self, op: LinearOperation, inputs: Tensors, saved: Tensors, above: Tensor, ledger: Ledger) -> Tensors:
        """Absolute influence normalisation at the classifier's layer."""
        whole = saved[0] - saved[1]
        has = some(whole)
        ledger.book(lambda: above.masked_fill(has, 0))
        s = quotient(above, whole, has)
        return weighted(op, inputs, s, -s)


def contributions(op: LinearOperation, inputs: Tensors) -> tuple[Tensor, Tensor]:
    """Sums of the positive and of the negative products x_j w_jk of every output, without bias."""
    if not _signed(inputs):
        return signs.applied(op, inputs)
    up, down = (signs.applied(op, tuple(x.clamp(**side) for x in inputs)) for side in ({"min": 0}, {"max": 0}))
    return up[0] + down[1], up[1] + down[0]


def weighted(op: LinearOperation, inputs: Tensors, by_positive: Tensor | None, by_negative: Tensor | None) -> Tensors:
    """sum_k (x_j w_jk)+ by_positive_k + (x_j w_jk)- by_negative_k for every input."""
    if not _signed(inputs):
        return signs.shares(op, inputs, by_positive, by_negative)
    up, down = (tuple(x.clamp(**side) for x in inputs) for side in ({"min": 0}, {"max": 0}))
    upper, lower = signs.shares(op, up, by_positive, by_negative), signs.shares(op, down, by_negative, by_positive)
    return tuple(a + b for a, b in zip(upper, lower, strict=True))


def _shifted(parts: Tensors, above: Tensor, ledger: Ledger) -> Tensors:
    """The parts with one constant per image taken from every entry that is not 0, so that they sum to `above`."""
    goal = _summed(above)
    total = torch.stack([_summed(part) for part in parts]).sum(0)
    entries = [part.sign().abs() for part in parts]
    count = torch.stack([_summed(each) for each in entries]).sum(0)
    if not bool((count > 0).all()):
        ledger.book(lambda: goal.masked_fill(count > 0, 0)[:, None])
    shift = torch.where(count > 0, (total - goal) / count.clamp(min=1), 0)
    return tuple(
        torch.addcmul(part, each, shift.to(part).view(-1, *[1] * (part.dim() - 1)), value=-1)
        for part, each in zip(parts, entries, strict=True)
    )


def _summed(values: Tensor) -> Tensor:
    """Sum per row of the first axis, (n,) float64, without a copy in another order."""
    return values.sum(tuple(range(1, values.dim())), dtype=torch.float64)


def _biased(op: LinearOperation, total: Tensor) -> Tensor:
    """A sum made for this purpose, with the bias added in place."""
    bias = op.bias(total)
    return total if bias is None else total.add_(bias)


def _signed(inputs: Tensors) -> bool:
    return any(x.numel() > 0 and float(x.amin()) < 0 for x in inputs)
