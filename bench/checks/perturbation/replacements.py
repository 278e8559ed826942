"""Replacements: what stands in place of the pixels that are taken away."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from explainers.gradients import blurred
from models.base import Subject
from models.naming import UsageError, near
from models.seeds import generator

from .road import NOISE, imputed

NAMES = ("uniform", "mean", "blur", "black", "road", "counterfactual")
REFERENCES = 128
BLUR = 15


@dataclass(frozen=True)
class Replacement:
    """What takes the place of removed pixels in a block of N images.

    Attributes:
        name: one of `NAMES`.
        draws: number of random fields over which curves are averaged; 1 where nothing is random.
        copies: (rows (m,), masks (m, H, W) bool, draw) -> (m, C, H, W): copies of the images `rows` of the block with
            the pixels in the mask replaced, all channels jointly.
        differs: (draw) -> (N, H, W) bool, pixels whose replacement is not the pixel itself: steps that touch no such
            pixel change nothing and need no pass. None where a replacement depends on what else is missing.
    """

    name: str
    draws: int
    copies: Callable[[Tensor, Tensor, int], Tensor]
    differs: Callable[[int], Tensor] | None = None


def replacement(name: str, subject: Subject, images: Tensor, keys: Sequence[str], base: int, draws: int) -> Replacement:
    """A replacement for a block of images, the same for every explainer.

    Args:
        name: `uniform` (i.i.d. per pixel and channel in [0, 1], in the space of images, before any normalisation),
            `mean` (the mean colour of the reference images), `blur` (Gaussian, 15x15), `black` (0) or `road` (noisy
            linear imputation).
        subject: its reference images give the mean colour.
        images: (N, C, H, W) in [0, 1].
        keys: what identifies each image: its noise depends on nothing else.
        base: base seed.
        draws: number of noise fields of `uniform`, >= 1; the others have one.

    Raises:
        UsageError: unknown name.

    Source: Samek et al. 2017 (uniform); Hooker et al. 2019 (mean colour); Petsiuk et al. 2018 (blur); Rong et al. 2022.
    """
    if name == "uniform":
        return field(name, images, [_noise(images, keys, base, f"uniform-{draw}", "uniform") for draw in range(draws)])
    if name == "mean":
        return field(name, images, [mean_colour(subject).to(images).view(1, -1, 1, 1).expand_as(images)])
    if name == "blur":
        return field(name, images, [blurred(images, BLUR)])
    if name == "black":
        return field(name, images, [torch.zeros_like(images)])
    if name == "road":
        return _road(images, mean_colour(subject), _noise(images, keys, base, "road", "normal") * NOISE)
    allowed = ", ".join(NAMES[:-1])
    raise UsageError(f"replacement is {name!r}; allowed are {allowed}{near(name, NAMES[:-1])}")


def field(name: str, images: Tensor, fields: Sequence[Tensor]) -> Replacement:
    """A replacement by given images, for example by counterfactuals.

    Args:
        name: one of `NAMES`.
        images: (N, C, H, W).
        fields: per draw (N, C, H, W), what stands behind the images.

    Example:
        >>> made = field("black", torch.ones(1, 1, 1, 2), [torch.zeros(1, 1, 1, 2)])
        >>> made.copies(torch.tensor([0]), torch.tensor([[[True, False]]]), 0).tolist()
        [[[[0.0, 1.0]]]]
    """

    def copies(rows: Tensor, masks: Tensor, draw: int) -> Tensor:
        return torch.where(masks[:, None], fields[draw][rows], images[rows])

    return Replacement(name, len(fields), copies, lambda draw: (fields[draw] != images).any(1))


def mean_colour(subject: Subject) -> Tensor:
    """Mean of the first reference images (at most 128) over images and pixels, (C,) in [0, 1]."""

    def compute() -> Tensor:
        count = min(REFERENCES, len(subject.reference))
        return subject.reference.load(range(count)).mean((0, 2, 3))

    return subject.kept("mean-colour", compute)


def _noise(images: Tensor, keys: Sequence[str], base: int, purpose: str, law: str) -> Tensor:
    """Noise of the shape of the images from one generator per image, drawn on the host whatever the device."""
    drawn = []
    for key in keys:
        source = generator(base, "perturbation", purpose, key)
        empty = torch.empty(images.shape[1:])
        drawn.append(empty.uniform_(generator=source) if law == "uniform" else empty.normal_(generator=source))
    return (torch.stack(drawn) if drawn else torch.empty(0, *images.shape[1:])).to(images)


def _road(images: Tensor, colour: Tensor, noise: Tensor) -> Replacement:
    known, empty = images.double().cpu().numpy(), colour.double().cpu().numpy()

    def copies(rows: Tensor, masks: Tensor, draw: int) -> Tensor:
        filled = np.stack(
            [imputed(known[row], mask, empty) for row, mask in zip(rows.tolist(), masks.cpu().numpy(), strict=True)]
        )
        made = torch.from_numpy(filled).to(images)
        return torch.where(masks[:, None], made + noise[rows], images[rows])

    return Replacement("road", 1, copies)
