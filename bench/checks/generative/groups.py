"""Distances of the counterfactuals with and without the class, each to real images with or without it.

The present group holds the images in which the model finds the second of its two classes with a probability of at least
0.9, the absent one those with at most 0.1: real images by their own probability, counterfactuals by that which they
reached, not by that which was asked of them.

Both sides of every distance have exactly as many images for every explainer: distances depend on that number. A kernel
distance is taken in all features, a Frechet distance in 20 dimensions (`distances.frechet_of_few`).

Source: Singla et al. 2020, Table 1.
"""

from __future__ import annotations

from torch import Tensor

from . import distances

PRESENT, ABSENT = 0.9, 0.1
SIZE = 200
"""Images on each side: ten for each of the 20 dimensions of the Frechet distance."""


def grouped(
    probabilities: Tensor, real_probabilities: Tensor, features: Tensor, real_features: Tensor
) -> tuple[dict[str, float], dict[str, str]]:
    """Sizes and distances of both groups.

    Args:
        probabilities: (n, 2) of the model on the counterfactuals, in the order in which they are taken.
        real_probabilities: (m, 2) on real images that are none of their sources.
        features, real_features: (n, d) and (m, d).

    Returns:
        Per group (`present`, `absent`) `members`, the counterfactuals that belong to it, and `fid`, `kid` of the first 200
        of them to the first 200 real ones, `fid-floor`, `kid-floor` of these to the next 200 real ones, as
        `members-present` and so on; `group-features`, the dimensions of `fid`; and for what is refused the reason, with
        the number of images needed. Empty for a model of more than two classes, where no class is the one that is there or
        not.

    Example:
        >>> import torch
        >>> p = torch.tensor([[0.05, 0.95]]).repeat(199, 1)
        >>> grouped(p, p.repeat(3, 1), torch.zeros(199, 2), torch.zeros(597, 2))[1]["kid-present"]
        '199 counterfactuals, 200 needed'
    """
    values: dict[str, float] = {}
    reasons: dict[str, str] = {}
    if probabilities.shape[1] != 2:
        return values, reasons
    values["group-features"] = float(min(features.shape[1], distances.FEW))
    for name in ("present", "absent"):
        real = real_features[_members(real_probabilities, name)]
        made = features[_members(probabilities, name)]
        values[f"members-{name}"] = float(len(made))
        for suffix, other, kind in (("", made, "counterfactuals"), ("-floor", real[SIZE:], "further real images")):
            names = [f"{measure}{suffix}-{name}" for measure in ("fid", "kid")]
            lacking = [(len(real), "real images"), (len(other), kind)]
            why = [f"{count} {what}, {SIZE} needed" for count, what in lacking if count < SIZE]
            if why:
                reasons |= dict.fromkeys(names, why[0])
                continue
            one, two = real[:SIZE], other[:SIZE]
            values |= dict(
                zip(names, (distances.frechet_of_few(one, two), distances.kernel_distance(one, two)), strict=True)
            )
    return values, reasons


def _members(probabilities: Tensor, name: str) -> Tensor:
    """Which images (n,) bool belong to a group."""
    second = probabilities[:, 1]
    return second >= PRESENT if name == "present" else second <= ABSENT
