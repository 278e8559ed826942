"""Distances of the counterfactuals with and without the class, each to real images with or without it.

The present group holds the images in which the model finds the second of its two classes with a probability of at least
0.9, the absent one those with at most 0.1: real images by their own probability, counterfactuals by that which they
reached, not by that which was asked of them.

Source: Singla et al. 2020, Table 1.
"""

from __future__ import annotations

from torch import Tensor

from . import distances

PRESENT, ABSENT = 0.9, 0.1
FEWEST = 100
"""Images that a group needs for a kernel distance; a Frechet distance needs ten per feature."""


def grouped(
    probabilities: Tensor, real_probabilities: Tensor, features: Tensor, real_features: Tensor
) -> tuple[dict[str, float], dict[str, str]]:
    """Sizes and distances of both groups.

    Args:
        probabilities: (n, 2) of the model on the counterfactuals.
        real_probabilities: (m, 2) on real images that are none of their sources.
        features, real_features: (n, d) and (m, d).

    Returns:
        Per group (`present`, `absent`) `size`, and where it has enough images `fid` and `kid`, as `size-present` and so on;
        and for what is refused the reason, with the number of images needed. Both sides have as many images: as many as
        the smaller one. Empty for a model of more than two classes, where no class is the one that is there or not.

    Example:
        >>> import torch
        >>> p = torch.tensor([[0.05, 0.95]]).repeat(3, 1)
        >>> grouped(p, p, torch.zeros(3, 2), torch.zeros(3, 2))[1]["kid-present"]
        '3 images of at least 100'
    """
    values: dict[str, float] = {}
    reasons: dict[str, str] = {}
    if probabilities.shape[1] != 2:
        return values, reasons
    need = distances.smallest_group(features.shape[1])
    for name in ("present", "absent"):
        one = real_features[_members(real_probabilities, name)]
        other = features[_members(probabilities, name)]
        count = min(len(one), len(other))
        values[f"size-{name}"] = float(count)
        for measure, least, distance in (("fid", need, distances.frechet), ("kid", FEWEST, distances.kernel_distance)):
            if count < least:
                reasons[f"{measure}-{name}"] = f"{count} images of at least {least}"
            else:
                values[f"{measure}-{name}"] = distance(one[:count], other[:count])
    return values, reasons


def _members(probabilities: Tensor, name: str) -> Tensor:
    """Which images (n,) bool belong to a group."""
    second = probabilities[:, 1]
    return second >= PRESENT if name == "present" else second <= ABSENT
