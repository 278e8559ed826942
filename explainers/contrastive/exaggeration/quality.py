"""How well a fitted Progressive Exaggeration does what it promises, on images it was not fitted to."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from .losses import bins_of, midpoints
from .networks import Exaggerator

Odds = Callable[[Tensor], Tensor]


@dataclass(frozen=True, eq=False)
class Quality:
    """Per image, (N,) each.

    Attributes:
        spearman: rank correlation of requested and achieved probability over the series, in [-1, 1]; 1 is best. NaN
            where all achieved are equal.
        error: mean |requested - achieved|, in [0, 1]; 0 is best.
        span: largest minus smallest achieved probability, in [0, 1].
        itself: mean |x - G(E(x), own bin)| per pixel, in [0, 1]; 0 is best.
        cycle: mean |x - G(E(x_d), own bin)| per pixel for x_d at the opposite end; 0 is best.
        achieved: (N, bins) probabilities of the series.
    """

    spearman: Tensor
    error: Tensor
    span: Tensor
    itself: Tensor
    cycle: Tensor
    achieved: Tensor

    def summary(self) -> dict[str, float]:
        """Means over the images."""
        names = ("spearman", "error", "span", "itself", "cycle")
        return {name: round(float(getattr(self, name).double().nanmean()), 4) for name in names}


def quality(fitted: Exaggerator, odds: Odds, images: Tensor, judge: Odds | None = None) -> Quality:
    """Compatibility with the classifier and self-consistency of a fit.

    Args:
        fitted: the generator.
        odds: the classifier's log-odds, images (N, C, H, W) -> (N,); it decides the bins of the images.
        images: held-out images (N, C, H, W) in [0, 1].
        judge: whose probabilities count as achieved: another classifier (an oracle, a random one), else `odds`.

    Source: Singla et al. 2020, section 4.1 (Fig. 3), eq. 5 and 6.
    """
    count = fitted.bins
    asked = midpoints(count)
    parts: list[tuple[Tensor, ...]] = []
    with torch.no_grad():
        for x in images.split(25):
            own = bins_of(torch.sigmoid(odds(x)), count)
            code = fitted.encode(x)
            frames = [fitted.decode(code, torch.full_like(own, index)) for index in range(count)]
            achieved = torch.stack([torch.sigmoid((judge or odds)(frame)) for frame in frames], 1).float()
            opposite = torch.where((own < count / 2)[:, None, None, None], frames[-1], frames[0])
            itself = (x - fitted.decode(code, own)).abs().flatten(1).mean(1)
            cycle = (x - fitted(opposite, own)).abs().flatten(1).mean(1)
            parts.append((achieved, itself, cycle))
    achieved, itself, cycle = (torch.cat(each) for each in zip(*parts, strict=True))
    error = (achieved - asked).abs().mean(1)
    return Quality(rank_correlation(achieved), error, achieved.amax(1) - achieved.amin(1), itself, cycle, achieved)


def rank_correlation(values: Tensor) -> Tensor:
    """Spearman's correlation of each row of (N, T) with its order 0..T-1; ties share their mean rank.

    Example:
        >>> import torch
        >>> rank_correlation(torch.tensor([[0.1, 0.2, 0.9], [3.0, 2.0, 1.0]])).round(decimals=6).tolist()
        [1.0, -1.0]
    """
    below = (values[:, :, None] > values[:, None, :]).double().sum(2)
    level = (values[:, :, None] == values[:, None, :]).double().sum(2)
    ranks = below + (level - 1) / 2
    order = torch.arange(values.shape[1], dtype=torch.float64).expand_as(ranks)
    a, b = ranks - ranks.mean(1, keepdim=True), order - order.mean(1, keepdim=True)
    return (a * b).sum(1) / (a.norm(dim=1) * b.norm(dim=1))
