"""Layer-wise relevance propagation through the rule engine, with a check of its balance."""

from __future__ import annotations

import torch
from torch import Tensor

from models.base import Subject
from models.naming import UsageError, near

from .base import Partial
from .engine import RuleMode
from .passes import chunks, network
from .rules.relevance import AlphaBeta, Epsilon, RelevanceRules

TOLERANCE = 0.01
DOUBLE_FROM = 4.0


def lrp(
    subject: Subject,
    images: Tensor,
    targets: Tensor,
    *,
    seed: int,
    rule: str = "alpha-beta",
    alpha: float = 2.0,
    beta: float = 1.0,
    epsilon: float = 0.01,
    relevance_seed: str = "abs",
) -> Partial:
    """Relevance of every pixel, (N, C, H, W); sums to |logit| less what biases and epsilon absorb.

    Args:
        rule: `alpha-beta` or `epsilon`.
        alpha, beta: weights of positive and negative contributions, alpha >= 1, alpha - beta = 1.
        epsilon: stabiliser of the epsilon rule relative to the size of the layer's outputs.
        relevance_seed: `abs` starts with |logit| (a random head then cannot flip the sign of whole maps), `logit` with
            the logit.

    Returns:
        The map with |sum R + absorbed - start| / |start| per image; a map that misses by more than 1% is failed.

    Source: Bach et al. 2015, eq. 58 and 60; Nuzzo 2020, eq. 4.18 to 4.20.
    """
    _check(rule, alpha, beta, epsilon, relevance_seed)
    dtype = torch.float64 if rule == "alpha-beta" and alpha >= DOUBLE_FROM else None
    method = AlphaBeta(alpha, beta) if rule == "alpha-beta" else Epsilon(epsilon)
    return propagated(subject, images, targets, "lrp", method, dtype, relevance_seed)


def propagated(
    subject: Subject, images: Tensor, targets: Tensor, name: str, method: object, dtype: torch.dtype | None, start: str
) -> Partial:
    """Relevance maps of a rule, with residuals and failures; see `lrp`."""
    module = network(subject, dtype)
    maps, residuals = [], []
    for x, t in chunks(images, targets):
        rules = RelevanceRules(name, method)
        pixels = x.detach().to(next(module.parameters()).dtype).requires_grad_(True)
        with torch.enable_grad(), RuleMode(rules):
            logits = module(pixels)
        chosen = logits.detach().gather(1, t[:, None])
        begin = chosen.abs() if start == "abs" else chosen
        with torch.enable_grad():
            (found,) = torch.autograd.grad(logits, pixels, torch.zeros_like(logits).scatter(1, t[:, None], begin))
        absorbed = (
            rules.ledger.absorbed if rules.ledger.absorbed is not None else torch.zeros(len(x), dtype=torch.float64)
        )
        total = found.flatten(1).sum(1, dtype=torch.float64) + absorbed.to(found.device)
        goal = begin[:, 0].double()
        residuals.append((total - goal).abs() / goal.abs().clamp_min(1e-30))
        maps.append(found.float())
    residual = torch.cat(residuals)
    return Partial(torch.cat(maps), residual=residual, failed=~(residual <= TOLERANCE))


def _check(rule: str, alpha: float, beta: float, epsilon: float, start: str) -> None:
    for key, value, allowed in (("rule", rule, ("alpha-beta", "epsilon")), ("seed", start, ("abs", "logit"))):
        if value not in allowed:
            raise UsageError(f"lrp: {key} is {value!r}; allowed are {', '.join(allowed)}{near(value, allowed)}")
    if rule == "alpha-beta" and (abs(alpha - beta - 1) > 1e-9 or alpha < 1):
        raise UsageError(f"lrp: alpha is {alpha:g} and beta {beta:g}; alpha - beta = 1 and alpha >= 1 are needed")
    if epsilon < 0:
        raise UsageError(f"lrp: epsilon is {epsilon:g}; a value >= 0 is needed")
