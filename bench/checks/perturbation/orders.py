"""Orders: from a map of relevance to the step at which each pixel is replaced."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from models.naming import UsageError
from models.seeds import generator


def pooled(relevance: Tensor, patch: int) -> Tensor:
    """Relevance of patches: the sum over their pixels, (N, ceil(H / patch), ceil(W / patch)) float64.

    Args:
        relevance: (N, H, W), one value per pixel for all channels together.
        patch: side of a patch in pixels, 1 for single pixels; patches at the right and lower border may be smaller.

    Source: Samek et al. 2017, region perturbation (regions ordered by their summed relevance).

    Example:
        >>> pooled(torch.ones(1, 4, 4), 2)[0].tolist()
        [[4.0, 4.0], [4.0, 4.0]]
    """
    height, width = relevance.shape[1:]
    room = (0, -width % patch, 0, -height % patch)
    return F.avg_pool2d(F.pad(relevance.double()[:, None], room), patch, divisor_override=1)[:, 0]


def permutations(keys: Sequence[str], units: int, base: int, purpose: str) -> Tensor:
    """One random permutation of 0..units - 1 per image, (N, units) int64.

    Args:
        keys: what identifies each image, so that its permutation depends on no other image.
        units: number of pixels or patches.
        base: base seed.
        purpose: what the permutation is for; other purposes get other permutations.
    """
    drawn = [torch.randperm(units, generator=generator(base, "perturbation", purpose, key)) for key in keys]
    return torch.stack(drawn) if drawn else torch.zeros(0, units, dtype=torch.int64)


def ranks(relevance: Tensor, ties: Tensor) -> Tensor:
    """Place of each pixel or patch in the order of decreasing relevance, (N, h, w) int64, 0 = most relevant.

    Equal values stand in the order of the given permutation and never in the order of the raster, so the ranks of a map
    that says nothing are a random order. The order of the negated map is that of increasing relevance.

    Args:
        relevance: (N, h, w), finite.
        ties: (N, h * w), a permutation per image.

    Example:
        >>> ranks(torch.tensor([[[0.5, 2.0, 1.0]]]), torch.arange(3)[None]).tolist()
        [[[2, 0, 1]]]
    """
    flat, ties = relevance.flatten(1), ties.to(relevance.device)
    shuffled = flat.gather(1, ties)
    order = ties.gather(1, shuffled.argsort(dim=1, descending=True, stable=True))
    places = torch.empty_like(order)
    places.scatter_(1, order, torch.arange(flat.shape[1], device=order.device).expand_as(order).contiguous())
    return places.view(relevance.shape)


def turns(places: Tensor, steps: int, patch: int, shape: tuple[int, int]) -> Tensor:
    """The step, 1..steps, at which each pixel is replaced, (N, H, W) int64.

    After step k the first round(k * units / steps) units are replaced: none at step 0, all at the last one.

    Args:
        places: (N, h, w) as `ranks` gives them, of patches or pixels.
        steps: number of steps, at most the number of units.
        patch: side of a patch in pixels.
        shape: (H, W) of the image.

    Raises:
        UsageError: more steps than units.

    Example:
        >>> turns(torch.tensor([[[2, 0], [1, 3]]]), 2, 1, (2, 2)).tolist()
        [[[2, 1], [1, 2]]]
    """
    units = places[0].numel() if len(places) else places.shape[1] * places.shape[2]
    if not 1 <= steps <= units:
        what = "pixels" if patch == 1 else f"patches of {patch}x{patch}"
        raise UsageError(f"perturbation: {steps} steps over {units} {what}; allowed are 1 to {units}")
    ends = [(2 * k * units + steps) // (2 * steps) for k in range(1, steps + 1)]
    when = torch.searchsorted(torch.tensor(ends, device=places.device), places, right=True) + 1
    large = when.repeat_interleave(patch, 1).repeat_interleave(patch, 2)
    return large[:, : shape[0], : shape[1]].contiguous()
