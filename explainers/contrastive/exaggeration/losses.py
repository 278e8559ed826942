"""Losses of Progressive Exaggeration, and the bins of a probability.

Source: Singla et al. 2020, eq. 5 to 9. The paper prints the discriminator's hinge as a loss to minimise (eq. 7) and then
maximises over D (eq. 9); here both players minimise. Its ratio r(c|x) stands in the discriminator's logit only, not a second
time in the term of the classifier.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

LOWEST, HIGHEST = 0.02, 0.98


def bins_of(probability: Tensor, count: int) -> Tensor:
    """The bin floor(count p) of each probability in [0, 1], int64 in 0..count-1.

    Example:
        >>> import torch
        >>> bins_of(torch.tensor([0.0, 0.1, 0.55, 1.0]), 10).tolist()
        [0, 1, 5, 9]
    """
    # a small allowance: 10 * 0.3 is a little less than 3 in floating point
    return torch.floor(probability.double() * count + 1e-6).long().clamp(0, count - 1)


def midpoints(count: int) -> Tensor:
    """The probability requested for each bin, its middle, (count,) within [0.02, 0.98].

    Example:
        >>> [round(value, 2) for value in midpoints(5).tolist()]
        [0.1, 0.3, 0.5, 0.7, 0.9]
    """
    return ((torch.arange(count) + 0.5) / count).clamp(LOWEST, HIGHEST)


def compatibility(requested: Tensor, logit: Tensor) -> Tensor:
    """KL(Bernoulli(t) || Bernoulli(sigmoid(l))) in nats, averaged over images; its gradient reaches whatever made l.

    Args:
        requested: probabilities t in (0, 1), (N,).
        logit: log-odds that the classifier gives the generated images, (N,), with their graph.

    Returns:
        0 where the classifier says what was requested, larger the further it is off.

    Source: Singla et al. 2020, section 2.2, second term of L_f.
    """
    entropy = requested * requested.log() + (1 - requested) * (1 - requested).log()
    cross = requested * F.logsigmoid(logit) + (1 - requested) * F.logsigmoid(-logit)
    return (entropy - cross).mean()


def discriminator_hinge(real: Tensor, generated: Tensor) -> Tensor:
    """E[max(0, 1 - D(real))] + E[max(0, 1 + D(generated))], to minimise over D; eq. 7."""
    return F.relu(1 - real).mean() + F.relu(1 + generated).mean()


def generator_hinge(generated: Tensor) -> Tensor:
    """-E[D(generated)], to minimise over encoder and decoder; eq. 8."""
    return -generated.mean()


def reconstruction(images: Tensor, again: Tensor) -> Tensor:
    """Mean absolute difference per pixel of images in [0, 1]; eq. 5 and 6."""
    return (images - again).abs().mean()
