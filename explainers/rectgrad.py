"""RectGrad through the rule engine."""

from __future__ import annotations

from torch import Tensor

from models.base import Subject
from models.naming import UsageError

from .backprop import ruled_gradient
from .passes import network
from .rules.rectgrad import RectGrad


def rectgrad(subject: Subject, images: Tensor, targets: Tensor, *, seed: int, percentile: float = 98.0) -> Tensor:
    """Positive part of the input times what important units let through, (N, C, H, W), non-negative.

    Args:
        percentile: share in percent of a layer's units that pass nothing on, in [0, 100).

    Source: Kim et al. 2019, section 4 (without the redistribution of its appendix); Nuzzo 2020, eq. 4.9 and 4.10.
    """
    if not 0 <= percentile < 100:
        raise UsageError(f"rectgrad: percentile is {percentile:g}; a value from 0 to below 100 is needed")
    arriving = ruled_gradient(network(subject), RectGrad(percentile), images, targets)
    return (images * arriving).clamp_min(0)
