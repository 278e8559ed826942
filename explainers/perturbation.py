"""Explainers that hide parts of the image and watch the output: occlusion, RISE."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
import torch.nn.functional as F
from captum.attr import Occlusion
from torch import Tensor, nn

from models.base import Subject
from models.naming import UsageError
from models.seeds import generator

from .controls import image_key
from .gradients import baseline_images
from .passes import network, precision, rows_for
from .perturbed import pixels


def occlusion(
    subject: Subject,
    images: Tensor,
    targets: Tensor,
    *,
    seed: int,
    window: float = 0.125,
    stride: float = 0.0625,
    baseline: str = "black",
) -> Tensor:
    """Fall of the target logit when a window is hidden, averaged over the windows on a pixel, (N, 1, H, W), logits.

    Args:
        window: side of the square window as a share of the shorter side (4 pixels of 32).
        stride: distance between windows, likewise; at most the window.
        baseline: what hides: `black`, `white`, `mean` (of the reference images, per pixel) or `blur`.

    All channels are hidden together. Windows that change no pixel cost no pass: their difference is exactly 0.

    Source: Zeiler and Fergus 2014, section 4.2; averaged over overlapping windows as captum does.
    """
    side, step = (
        pixels("occlusion", "window", window, images),
        pixels("occlusion", "stride", stride, images),
    )
    if step > side:
        raise UsageError(
            f"occlusion: stride {stride:g} is larger than window {window:g}, which leaves pixels out; lower it"
        )
    module = network(subject)
    behind = baseline_images(subject, images, baseline)
    kind, channels = precision(module), images.shape[1]
    method = Occlusion(_Changed(module))
    maps = []
    for x, x0, target in zip(images.split(1), behind.split(1), targets, strict=True):
        with torch.no_grad():
            plain = module(x.to(kind))[:, target]
            found = method.attribute(
                x.to(kind), sliding_window_shapes=(channels, side, side), strides=(channels, step, step),
                baselines=x0.to(kind), additional_forward_args=(x.to(kind), plain, int(target)),
                perturbations_per_eval=rows_for(images),
            )  # fmt: skip
        maps.append(found[:, :1].float())
    return torch.cat(maps)


class _Changed:
    """One logit of a module on copies of an image, computed only for the copies that differ from it."""

    def __init__(self, module: nn.Module) -> None:
        self.module = module

    def __call__(self, copies: Tensor, original: Tensor, plain: Tensor, target: int) -> Tensor:
        differs = (copies != original).flatten(1).any(1)
        values = plain.expand(len(copies)).clone()
        if bool(differs.any()):
            values[differs] = self.module(copies[differs])[:, target]
        return values


def rise(
    subject: Subject,
    images: Tensor,
    targets: Tensor,
    *,
    seed: int,
    samples: int = 200,
    cells: int = 7,
    keep: float = 0.5,
) -> Tensor:
    """Mean of random soft masks weighted by the target's probability under the mask, (N, 1, H, W), >= 0, probability.

    Args:
        samples: masks per image, drawn anew for every image and seed, in opposite pairs.
        cells: side of the coarse grid of a mask.
        keep: probability p that a cell is kept, in (0, 1).

    A mask and its opposite (made of u and 1 - u) have the law of the paper's masks each, so the expectation is the
    paper's; what they share cancels, and 200 of them agree better with the limit than 400 independent ones.

    Source: Petsiuk et al. 2018, eq. 6 and section 3.2.
    """
    if samples < 1 or cells < 1 or not 0 < keep < 1:
        raise UsageError(
            f"rise: samples is {samples}, cells {cells}, keep {keep:g}; samples >= 1, cells >= 1 and 0 < keep < 1 are needed"
        )
    module = network(subject)
    kind = precision(module)
    maps = []
    for image, target in zip(images, targets, strict=True):

        def probability(copies: Tensor, target: Tensor = target) -> Tensor:
            with torch.no_grad():
                return module(copies.to(kind)).float().softmax(1)[:, target]

        draw = generator(seed, "rise", image_key(image))
        maps.append(mask_mean(probability, image, draw, samples, cells, keep))
    return torch.stack(maps)


def mask_mean(
    score: Callable[[Tensor], Tensor],
    image: Tensor,
    draw: torch.Generator,
    samples: int,
    cells: int,
    keep: float,
) -> Tensor:
    """sum_i score(image * M_i) M_i / (samples * keep) over random soft masks M_i, (1, H, W).

    Args:
        score: (n, C, H, W) -> (n,).
        image: (C, H, W); a mask multiplies it, so what is hidden turns black.
        draw: source of the masks, which are the same whatever their number at once.

    Example:
        >>> import torch
        >>> image = torch.ones(1, 8, 8)
        >>> ones = mask_mean(lambda x: torch.ones(len(x)), image, torch.Generator().manual_seed(0), 2000, 4, 0.5)
        >>> bool((ones - 1).abs().max() < 0.1)
        True
    """
    height, width = image.shape[1:]
    cell = math.ceil(height / cells), math.ceil(width / cells)
    pairs = (samples + 1) // 2
    uniform = torch.rand(pairs, 1, cells, cells, generator=draw)
    bits = torch.stack([uniform, 1 - uniform], 1).flatten(0, 1)[:samples].lt(keep).to(image)
    shifts = [
        torch.randint(0, size, (pairs,), generator=draw).repeat_interleave(2)[:samples].to(image.device)
        for size in cell
    ]
    total = torch.zeros(1, height, width, dtype=torch.float32, device=image.device)
    rows = rows_for(image)
    for first in range(0, samples, rows):
        part = slice(first, first + rows)
        masks = _enlarged(bits[part], shifts[0][part], shifts[1][part], (height, width), cell)
        total += torch.einsum("s,schw->chw", score(image * masks), masks)
    return total / (samples * keep)


def _enlarged(bits: Tensor, down: Tensor, right: Tensor, shape: tuple[int, int], cell: tuple[int, int]) -> Tensor:
    """Coarse grids enlarged bilinearly by one cell more than needed and cropped at the shifts, (n, 1, H, W)."""
    cells = bits.shape[-1]
    large = F.interpolate(bits, size=[(cells + 1) * size for size in cell], mode="bilinear", align_corners=False)[:, 0]
    y = down[:, None] + torch.arange(shape[0], device=bits.device)
    x = right[:, None] + torch.arange(shape[1], device=bits.device)
    each = torch.arange(len(bits), device=bits.device)[:, None, None]
    return large[each, y[:, :, None], x[:, None, :]][:, None]
