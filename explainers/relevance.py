"""Explainers that carry relevance back through the rule engine, each map with a check of its balance."""

from __future__ import annotations

import copy
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from models.base import Subject
from models.naming import UsageError, near

from .base import ExplainerError, Partial
from .engine import run
from .memory import scarce
from .passes import chunks, fingerprint, network, precision, remembered
from .rules.propagation import AlphaBeta, Epsilon, Excitation, RelativeAttributing, SplitAlphaBeta
from .rules.relevance import RelevanceRules

TOLERANCE, EXACT = 0.01, 1e-5
DOUBLE_FROM = 4.0
SHARED_PIXELS = 64 * 1024


@dataclass(frozen=True)
class LrpOptions:
    """Parameters of `lrp`.

    Attributes:
        rule: `alpha-beta` or `epsilon`.
        alpha, beta: weights of positive and negative contributions, alpha >= 1, alpha - beta = 1.
        epsilon: stabiliser of the epsilon rule relative to the size of the layer's outputs, >= 0.
        denominator: of alpha-beta; `common` as Bach et al., `split` as the code of Nam et al. (equal for inputs >= 0).
        first: what layers do that read the image; `rule` the same as the others, `z-box` the z-box rule between the
            bounds of images in [0, 1].
        bias: of alpha-beta with common denominators; `ignore` gives biases nothing, `share` counts them as contributions,
            which take relevance out of the map. The epsilon rule always counts them.
        relevance_seed: `abs` starts with |logit| (a random head then cannot flip the sign of whole maps), `logit` with
            the logit.

    Raises:
        UsageError: another value.
    """

    rule: str = "alpha-beta"
    alpha: float = 2.0
    beta: float = 1.0
    epsilon: float = 0.01
    denominator: str = "common"
    first: str = "rule"
    bias: str = "ignore"
    relevance_seed: str = "abs"

    def __post_init__(self) -> None:
        chosen("lrp", "rule", self.rule, ("alpha-beta", "epsilon"))
        chosen("lrp", "denominator", self.denominator, ("common", "split"))
        chosen("lrp", "first", self.first, ("rule", "z-box"))
        chosen("lrp", "bias", self.bias, ("ignore", "share"))
        chosen("lrp", "seed", self.relevance_seed, ("abs", "logit"))
        if self.bias == "share" and (self.rule, self.denominator) != ("alpha-beta", "common"):
            raise UsageError(
                f"lrp: bias is 'share' with rule={self.rule}, denominator={self.denominator}; only the alpha-beta rule with "
                "common denominators has the choice: leave bias out, or take rule=alpha-beta,denominator=common"
            )
        if self.rule == "alpha-beta" and (abs(self.alpha - self.beta - 1) > 1e-9 or self.alpha < 1):
            raise UsageError(
                f"lrp: alpha is {self.alpha:g} and beta {self.beta:g}; alpha - beta = 1 and alpha >= 1 are needed"
            )
        if self.epsilon < 0:
            raise UsageError(f"lrp: epsilon is {self.epsilon:g}; a value >= 0 is needed")

    @property
    def method(self) -> object:
        """The rule at linear operations."""
        if self.rule == "epsilon":
            return Epsilon(self.epsilon)
        if self.denominator == "split":
            return SplitAlphaBeta(self.alpha, self.beta)
        return AlphaBeta(self.alpha, self.beta, self.bias == "share")


def lrp(subject: Subject, images: Tensor, targets: Tensor, *, seed: int, **options: Any) -> Partial:
    """Relevance of every pixel, (N, C, H, W); sums to |logit| less what biases and epsilon absorb.

    Args:
        options: see `LrpOptions`.

    Returns:
        The map with |sum R + absorbed - start| / |start| per image; a map that misses by more than 1% is failed.

    Source: Bach et al. 2015, eq. 58 and 60; Nuzzo 2020, eq. 4.18 to 4.20.
    """
    chosen_options = LrpOptions(**options)
    double = chosen_options.rule == "alpha-beta" and chosen_options.alpha >= DOUBLE_FROM
    way = Way("lrp", chosen_options.method, chosen_options.relevance_seed, chosen_options.first == "z-box", double)
    return propagated(subject, images, targets, way)


def deep_taylor(subject: Subject, images: Tensor, targets: Tensor, *, seed: int) -> Partial:
    """Deep Taylor decomposition: z+ everywhere, z-box where the image is read; (N, C, H, W), >= 0, sums to |logit|.

    Returns:
        The map with its relative balance error per image; more than 1% is failed.

    Source: Montavon et al. 2017, eq. 18 and section 4.2.2.
    """
    made = propagated(subject, images, targets, Way("deep-taylor", AlphaBeta(1.0, 0.0), "abs", boxed=True))
    return replace(made, attribution=made.attribution.clamp_min(0))  # fast convolutions round zeros to either side


def excitation_backprop(
    subject: Subject, images: Tensor, targets: Tensor, *, seed: int, contrastive: bool = False
) -> Partial:
    """Probability that each pixel wins, (N, C, H, W); sums to 1 less what neurons without excitation lose.

    Args:
        contrastive: subtract the probabilities of the dual unit, whose weights in the classifier's layer are negated;
            the map is then signed and sums to 0.

    Returns:
        The map with |sum P + lost - 1| per image; more than 1% is failed.

    Source: Zhang et al. 2016, eq. 5 and section 3.4.
    """
    return propagated(subject, images, targets, Way("excitation-backprop", Excitation(contrastive), "one"))


def rap(
    subject: Subject,
    images: Tensor,
    targets: Tensor,
    *,
    seed: int,
    neg_rule: str = "B",
    relevance_seed: str = "abs",
) -> Partial:
    """Relative attributing propagation, (N, C, H, W), signed; sums to |logit|.

    Args:
        neg_rule: what convolutions do with negative relevance: `A` the same as with positive relevance, `B` hand it to
            the inhibiting weights, as the published code.
        relevance_seed: `abs` or `logit`, as for `lrp`.

    Returns:
        The map with its relative balance error per image; more than 1% is failed.

    Source: Nam et al. 2020 and its published code.
    """
    chosen("rap", "neg_rule", neg_rule, ("A", "B"))
    chosen("rap", "seed", relevance_seed, ("abs", "logit"))
    way = Way("rap", RelativeAttributing(neg_rule), relevance_seed, boxed=True)
    return propagated(subject, images, targets, way)


@dataclass(frozen=True)
class Way:
    """How relevance travels.

    Attributes:
        explainer: name for messages.
        method: a rule of `rules.propagation`.
        start: relevance of the explained class: `abs` |logit|, `logit` the logit, `one` 1.
        boxed: whether layers that read the image follow the z-box rule.
        double: whether to compute in float64.
    """

    explainer: str
    method: object
    start: str
    boxed: bool = False
    double: bool = False


def propagated(subject: Subject, images: Tensor, targets: Tensor, way: Way) -> Partial:
    """Relevance maps of a rule with their relative balance errors; a map that misses by more than 1% is failed.

    Images whose balance float32 misses by more than 1e-5 are done again in float64.

    Raises:
        ExplainerError: the z-box rule is asked for and no linear operation reads the image.
    """
    module = network(subject, torch.float64 if way.double else None)
    parts = [_propagated(module, x, t, way) for x, t in chunks(images, targets)]
    values, residual = torch.cat([found for found, _ in parts]), torch.cat([residual for _, residual in parts])
    again = ~(residual <= EXACT)
    if precision(module) == torch.float32 and bool(again.any()):
        better = propagated(subject, images[again], targets[again], replace(way, double=True))
        values[again], residual[again] = better.attribution, better.residual
    return Partial(values, residual=residual, failed=~(residual <= TOLERANCE))


def _propagated(module: torch.nn.Module, images: Tensor, targets: Tensor, way: Way) -> tuple[Tensor, Tensor]:
    """Maps (n, C, H, W) and relative balance errors (n,) of one chunk."""
    leaf, logits, rules = _forward(module, images, way)
    logit = logits.detach().gather(1, targets[:, None])
    begin = {"abs": logit.abs(), "logit": logit, "one": torch.ones_like(logit)}[way.start]
    start = torch.zeros_like(logits).scatter(1, targets[:, None], begin)
    (found,) = torch.autograd.grad(logits, leaf, start, retain_graph=_shareable(way, images))
    return found.float(), missed(found, rules.ledger.absorbed, begin[:, 0])


def missed(found: Tensor, absorbed: Tensor, goal: Tensor) -> Tensor:
    """|sum R + absorbed - goal| / |goal| per image, (n,) float64; `found` is (n, C, H, W), the others are (n,)."""
    total, goal = found.flatten(1).sum(1, dtype=torch.float64) + absorbed.to(found.device), goal.double()
    return (total - goal).abs() / goal.abs().clamp_min(1e-30)


def _forward(module: torch.nn.Module, images: Tensor, way: Way) -> tuple[Tensor, Tensor, RelevanceRules]:
    """Pixels, logits and rules of a forward pass; all pairs of alpha and beta share one within `shared_passes`."""

    def compute() -> tuple[Tensor, Tensor, RelevanceRules]:
        leaf = images.detach().to(precision(module)).requires_grad_(True)
        pixels = leaf.clone(memory_format=torch.contiguous_format)
        rules = RelevanceRules(way.explainer, copy.copy(way.method), pixels, way.boxed)
        logits = run(module, pixels, rules)
        if way.boxed and not rules.boxed:
            raise ExplainerError(
                f"{way.explainer} needs a convolution or linear layer that reads the image (after re-arrangements and "
                "affine maps only); this network has none: use lrp-a1b0, which has no rule of its own for the first layer"
            )
        rules.mark_top(logits)
        return leaf, logits, rules

    if not _shareable(way, images):
        return compute()
    key = ("alpha-beta", id(module), fingerprint(images), way.method.share)  # type: ignore[attr-defined]
    leaf, logits, rules = remembered(key, (module, images), compute)
    rules.rule.alpha, rules.rule.beta = way.method.alpha, way.method.beta  # type: ignore[attr-defined]
    rules.ledger.clear()
    return leaf, logits, rules


def _shareable(way: Way, images: Tensor) -> bool:
    """Whether the forward pass serves other explainers too: what it keeps does not depend on alpha and beta."""
    small = len(images) * images[0, 0].numel() <= SHARED_PIXELS and not scarce()
    return type(way.method) is AlphaBeta and not way.boxed and small


def chosen(explainer: str, key: str, value: str, allowed: tuple[str, ...]) -> None:
    """Refuse a value that is not allowed.

    Raises:
        UsageError: naming what is.
    """
    if value not in allowed:
        raise UsageError(f"{explainer}: {key} is {value!r}; allowed are {', '.join(allowed)}{near(value, allowed)}")
