"""How much of an image a counterfactual changes, and whether what it changes is what counts."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

SMALL = 0.1
"""Changes of intensity above it count as changed pixels."""

STEPS = 50


def proximity(images: Tensor, made: Tensor, order: int = 1) -> Tensor:
    """Mean absolute (order 1) or root mean square (order 2) change per value, (n,) in [0, 1], 0 for no change.

    Example:
        >>> proximity(torch.zeros(1, 1, 2, 2), torch.full((1, 1, 2, 2), 0.5)).tolist()
        [0.5]
    """
    difference = (made - images).flatten(1)
    return difference.abs().mean(1) if order == 1 else difference.square().mean(1).sqrt()


def changed_share(images: Tensor, made: Tensor) -> Tensor:
    """Share of pixels whose largest change over channels is above 0.1, (n,) in [0, 1]."""
    return ((made - images).abs().amax(1) > SMALL).double().flatten(1).mean(1)


def concentration(images: Tensor, made: Tensor) -> Tensor:
    """Gini index of the absolute change per pixel, (n,): 0 spread evenly, near 1 in one pixel; NaN where nothing changed."""
    change = (made - images).abs().sum(1).flatten(1).double().sort(1).values
    n = change.shape[1]
    rank = torch.arange(1, n + 1, dtype=torch.float64, device=change.device)
    total = change.sum(1)
    index = (2 * (rank * change).sum(1) / (n * total)) - (n + 1) / n
    return torch.where(total > 0, index, torch.full_like(index, float("nan")))


def exchange(
    images: Tensor,
    made: Tensor,
    source: Tensor,
    target: Tensor,
    probabilities: Callable[[Tensor], Tensor],
    steps: int = STEPS,
) -> Tensor:
    """Area of p_target minus area of p_source while pixels are exchanged, most changed first; (n,) in [-1, 1], higher is better.

    The replacement is the counterfactual itself, so every image on the way lies between two plausible ones.

    Args:
        images, made: (n, C, H, W) in [0, 1].
        source, target: (n,) classes.
        probabilities: images (m, C, H, W) -> (m, K).
        steps: exchanges, >= 1; the curve has one point more.

    Returns:
        The score; NaN where the counterfactual is the image.

    Source: Khorram and Fuxin 2022 (COUT), trapezoidal over equal shares of the pixels, all channels at once.
    """
    n, _, height, width = images.shape
    order = (made - images).abs().sum(1).flatten(1).argsort(dim=1, descending=True, stable=True)
    rank = torch.empty_like(order).scatter_(1, order, torch.arange(height * width, device=order.device).expand(n, -1))
    area = torch.zeros(n, dtype=torch.float64, device=images.device)
    for step in range(steps + 1):
        taken = (rank < round(step * height * width / steps)).view(n, 1, height, width)
        found = probabilities(torch.where(taken, made, images)).double()
        lead = found.gather(1, target[:, None])[:, 0] - found.gather(1, source[:, None])[:, 0]
        area += lead * (0.5 if step in (0, steps) else 1.0) / steps
    unchanged = (made == images).flatten(1).all(1)
    return torch.where(unchanged, torch.full_like(area, float("nan")), area)
