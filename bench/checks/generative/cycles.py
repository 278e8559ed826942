"""Does a series lead back to the image? What the generator makes of it, there and back again, and after ten rounds.

Every frame is taken as a screen shows it before it is explained again. The request that belongs to an image is the one
of its series that is nearest to the probability that the model gives the image itself.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from . import change

if TYPE_CHECKING:
    from explainers import Explanation

ROUNDS = 10


def values(
    first: Explanation, images: Tensor, own: Tensor, ask: Callable[[Tensor], Explanation]
) -> dict[str, Tensor] | None:
    """Errors of the ways back, (n,) each: mean absolute difference to the image per value, in [0, 1], 0 is best.

    Args:
        first: the explanation of the images.
        images: (n, C, H, W) in [0, 1].
        own: (n,) probability of the target class that the model gives the images themselves.
        ask: other images (n, C, H, W) in place of these -> their explanation, toward the same target classes.

    Returns:
        `self-error`, |x - I(x, own)|; `cycle-error`, |x - I(I(x, far end), own)|; `away`, |x - I(x, far end)|, which is what
        a way back has to undo; `rounds-error`, |x - x_10| for x_k = I(x_{k-1}, own) and x_0 = x. None for an explainer
        whose answer has no series of two frames or more with requested probabilities.

    Source: Singla et al. 2020, eq. 5 and 6 (self-consistency); Monteiro et al. 2023, section 3.1 (composition).
    """
    if not has_series(first):
        return None
    itself, far = _frame(first, own), _shown(_last(first))
    found = {"self-error": itself, "cycle-error": _frame(ask(far), own), "away": far, "rounds-error": itself}
    for _ in range(ROUNDS - 1):
        found["rounds-error"] = _frame(ask(found["rounds-error"]), own)
    return {name: change.proximity(images, made).double() for name, made in found.items()}


def has_series(found: Explanation) -> bool:
    """Whether an explanation has two frames or more for which probabilities were requested."""
    strip = found.trajectory
    return strip is not None and strip.requested is not None and strip.images.shape[1] > 1


def _frame(found: Explanation, own: Tensor) -> Tensor:
    """The frame of each series whose request is nearest to a probability, (n, C, H, W)."""
    strip = found.trajectory
    if strip is None or strip.requested is None:
        raise ValueError("the explanation of an image that was made has no series; that of the image itself has one")
    place = (strip.requested - own.to(strip.requested)[:, None]).abs().argmin(1)
    return _shown(strip.images[torch.arange(len(place), device=place.device), place])


def _last(found: Explanation) -> Tensor:
    """The far end of each series, (n, C, H, W)."""
    if found.trajectory is None:
        raise ValueError("the explanation has no series")
    return found.trajectory.images[:, -1]


def _shown(images: Tensor) -> Tensor:
    """As a screen shows them."""
    return (images * 255).round() / 255
