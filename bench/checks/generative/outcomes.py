"""What the model, and an independent one, say about a counterfactual: validity, boundary, third classes, transfer."""

from __future__ import annotations

import torch
from torch import Tensor

BOUNDARY = 0.05
"""Largest difference of the two probabilities that counts as on the boundary."""


def validity(probabilities: Tensor, target: Tensor) -> Tensor:
    """Whether the model's most likely class is the target; (n,) bool. Probabilities (n, K), target (n,)."""
    return probabilities.argmax(1) == target


def boundary_gap(probabilities: Tensor, source: Tensor, target: Tensor) -> Tensor:
    """|p_source - p_target| in [0, 1]; (n,), 0 on the boundary, and also where both are 0: read it with `pair_mass`."""
    return (_of(probabilities, source) - _of(probabilities, target)).abs()


def pair_mass(probabilities: Tensor, source: Tensor, target: Tensor) -> Tensor:
    """p_source + p_target in [0, 1]; (n,), higher means that the two classes are what the model is torn between."""
    return _of(probabilities, source) + _of(probabilities, target)


def intrusion(probabilities: Tensor, source: Tensor, target: Tensor, strict: bool = True) -> Tensor:
    """Whether a third class is likelier than both (strict) or than one of the two classes; (n,) bool, lower is better.

    Args:
        probabilities: (n, K); with two classes there is no third.
        source, target: (n,) classes.

    Source: Feghahati et al. 2020, Fig. 5 (strict).

    Example:
        >>> p = torch.tensor([[0.4, 0.1, 0.5], [0.4, 0.35, 0.25]])
        >>> intrusion(p, torch.tensor([0, 0]), torch.tensor([1, 1])).tolist()
        [True, False]
    """
    one, other = _of(probabilities, source), _of(probabilities, target)
    third = probabilities.scatter(1, torch.stack([source, target], 1), -1.0).amax(1)
    return third > (torch.maximum(one, other) if strict else torch.minimum(one, other))


def reached(probabilities: Tensor, source: Tensor, target: Tensor) -> Tensor:
    """Whether the counterfactual flips to the target or stands on the boundary, with no third class above both; (n,) bool."""
    near = boundary_gap(probabilities, source, target) <= BOUNDARY
    return (validity(probabilities, target) | near) & ~intrusion(probabilities, source, target)


def transfer_gain(before: Tensor, after: Tensor, target: Tensor) -> Tensor:
    """How much likelier an independent model finds the target, (n,) in [-1, 1]; about 0 for adversarial changes.

    Args:
        before, after: (n, K) probabilities of the independent model on the images and on their counterfactuals.
        target: (n,) classes.
    """
    return _of(after, target) - _of(before, target)


def _of(probabilities: Tensor, classes: Tensor) -> Tensor:
    return probabilities.gather(1, classes[:, None])[:, 0]
