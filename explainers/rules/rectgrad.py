"""The rule of RectGrad at ReLUs: only the most important units of a layer pass anything on."""

from __future__ import annotations

from torch import Tensor

from .activations import ReluRules


class RectGrad(ReluRules):
    """R^l = 1[a R^{l+1} > tau] R^{l+1} at active units, a the activation, tau a percentile per layer and image.

    Args:
        percentile: q in [0, 100); tau is the q-th percentile of a R^{l+1} over all units of the layer, inactive ones
            included.

    Source: Kim et al. 2019, eq. 4; Nuzzo 2020, eq. 4.9.
    """

    def __init__(self, percentile: float) -> None:
        super().__init__("rectgrad", lambda x, above: _passed(x, above, percentile))


def _passed(x: Tensor, above: Tensor, percentile: float) -> Tensor:
    importance = x.clamp(min=0) * above
    flat = importance.flatten(1)
    rank = 1 + int(percentile / 100 * (flat.shape[1] - 1))
    threshold = flat.kthvalue(rank, 1).values.view(-1, *[1] * (x.dim() - 1))
    return above * ((importance > threshold) & (x > 0))
