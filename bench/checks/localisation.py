"""Localisation: how much of a map lies where the evidence for its class is known to lie.

All functions are pure: maps and masks in, numbers out. What has no answer (a map of zeros, a map without positive
relevance, no evidence) is a recorded outcome with a status of its own, never a zero and never dropped.

Source: Boehle et al. 2021, Convolutional dynamic alignment networks (grid pointing game); Zhang et al. 2018, Top-down
neural attention by excitation backprop (pointing game); Rao et al. 2022, Towards better understanding attribution methods.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from .base import CONSTANT, FAILED, NON_FINITE, NOT_APPLICABLE, OK, ZERO
from .normalise import HAS_FAILED, IS_NON_FINITE, kinds
from .similarity import DECIMALS

ABSTAINS = 1e-6
"""A map whose positive part is at most this share of all its relevance says nothing for the class."""

MEASURES = ("mass", "mass-abs", "mass-near", "hit", "auprc", "abstains", "chance")
LEAKS = ("outside", "exact")
NEAR = 2
"""Pixels by which the evidence is grown for `mass-near`: the border of a pattern is evidence too."""

_STATUS = (OK, CONSTANT, ZERO, NON_FINITE, FAILED)


@dataclass(frozen=True)
class Localised:
    """Values and statuses of N maps.

    Attributes:
        values: measure -> (N,) float64, NaN unless the status is `ok`.
        statuses: measure -> N statuses.
    """

    values: dict[str, np.ndarray]
    statuses: dict[str, list[str]]


def share(parts: Tensor, masks: Tensor) -> Tensor:
    """Sum inside the mask over the sum everywhere.

    Args:
        parts: (N, H, W), >= 0.
        masks: (N, H, W) bool.

    Returns:
        (N,) float64 in [0, 1]; exactly 1 where everything outside is 0; NaN where there is nothing to share.

    Example:
        >>> share(torch.tensor([[[3.0, 1.0]]]), torch.tensor([[[True, False]]]))
        tensor([0.7500], dtype=torch.float64)
    """
    flat = parts.double().flatten(1)
    return (flat * masks.flatten(1)).sum(1) / flat.sum(1)


def abstains(maps: Tensor) -> Tensor:
    """Whether a map says nothing for the class: its positive part is at most `ABSTAINS` of its absolute sum.

    The limit is relative, so that small relevance counts like large relevance.

    Args:
        maps: (N, H, W), finite.

    Returns:
        (N,) bool.

    Example:
        >>> abstains(torch.tensor([[[1e-20, -1e-20]], [[0.0, -1.0]], [[0.0, 0.0]]]))
        tensor([False,  True,  True])
    """
    flat = maps.double().flatten(1)
    return flat.clamp_min(0).sum(1) <= ABSTAINS * flat.abs().sum(1)


def pointing(maps: Tensor, masks: Tensor) -> Tensor:
    """Does the largest value lie inside the mask, with no tolerance around it?

    Args:
        maps: (N, H, W), finite.
        masks: (N, H, W) bool.

    Returns:
        (N,) float64: 1 for a hit, 0 for a miss; where several pixels are the largest, the share of them that lies inside,
        which is the hit rate of a draw among them. A constant map so hits as often as its mask is large.

    Example:
        >>> pointing(torch.tensor([[[2.0, 2.0, 0.0]]]), torch.tensor([[[True, False, False]]]))
        tensor([0.5000], dtype=torch.float64)
    """
    flat = maps.flatten(1)
    top = (flat == flat.amax(1, keepdim=True)).double()
    return (top * masks.flatten(1)).sum(1) / top.sum(1)


def average_precision(maps: Tensor, masks: Tensor) -> Tensor:
    """Area under the precision-recall curve of the pixels of the mask, ranked by their relevance.

    Pixels of equal relevance enter together, so that their order in memory does not matter: with thresholds t over the
    distinct values, sum over t of (R_t - R_previous) P_t, as scikit-learn's `average_precision_score`.

    Args:
        maps: (N, H, W), finite, signed.
        masks: (N, H, W) bool.

    Returns:
        (N,) float64 in (0, 1], 1 if all pixels inside rank above all outside; the share of the mask for a constant map;
        NaN for an empty mask.

    Example:
        >>> average_precision(torch.tensor([[[3.0, 2.0, 1.0]]]), torch.tensor([[[True, False, True]]])).round(decimals=4)
        tensor([0.8333], dtype=torch.float64)
    """
    values, order = maps.flatten(1).sort(dim=1, descending=True, stable=True)
    inside = masks.flatten(1).gather(1, order).double()
    count = values.shape[1]
    places = torch.arange(count, device=maps.device)
    ends = torch.ones_like(values, dtype=torch.bool)
    ends[:, :-1] = values[:, :-1] != values[:, 1:]
    # The last place of the run of equal values that a place belongs to: the nearest end at or after it.
    last = torch.where(ends, places, count).flip(1).cummin(1).values.flip(1)
    precision = inside.cumsum(1) / (places + 1)
    return (inside * precision.gather(1, last)).sum(1) / inside.sum(1)


def grown(masks: Tensor, pixels: int) -> Tensor:
    """Masks (N, H, W) grown by a number of pixels in all eight directions.

    Example:
        >>> grown(torch.tensor([[[True, False, False]]]), 1).tolist()
        [[[True, True, False]]]
    """
    wide = F.max_pool2d(masks[:, None].float(), 2 * pixels + 1, stride=1, padding=pixels)
    return wide[:, 0] > 0


def outside(maps: Tensor, masks: Tensor) -> tuple[Tensor, Tensor]:
    """What lies outside the mask: how large a share of the absolute relevance, and whether it is exactly nothing.

    Args:
        maps: (N, H, W), finite.
        masks: (N, H, W) bool.

    Returns:
        (N,) float64 share in [0, 1], NaN for a map of zeros; (N,) bool, True where every value outside is exactly 0.

    Example:
        >>> outside(torch.tensor([[[1.0, -1e-30]]]), torch.tensor([[[True, False]]]))[1]
        tensor([False])
    """
    clean = ((maps == 0) | masks).flatten(1).all(1)
    return share(maps.abs(), ~masks), clean


def localise(maps: Tensor, masks: Tensor, failed: Sequence[bool] | Tensor | None = None) -> Localised:
    """All measures of maps against where the evidence lies.

    Args:
        maps: (N, H, W), signed as the explainer gives them.
        masks: (N, H, W) bool; an empty mask makes every measure `not-applicable`.
        failed: (N,) bool, maps that the explainer itself gave up.

    Returns:
        Per measure values and statuses. `mass`: share of the positive relevance inside; `mass-abs`: of the absolute
        relevance; `mass-near`: `mass` with the evidence grown by two pixels; `hit`: see `pointing`; `auprc`: see
        `average_precision`; `abstains`: 1 for a map without positive relevance, whose `mass`, `mass-near` and `hit` are
        then `degenerate-zero`; `chance`: share of the pixels inside, what relevance spread evenly would give.

    Raises:
        ValueError: masks of another size than the maps.

    Example:
        >>> found = localise(torch.tensor([[[3.0, 1.0], [-5.0, 0.0]]]), torch.tensor([[[True, False], [False, False]]]))
        >>> {name: float(found.values[name][0]) for name in ("mass", "hit", "chance")}
        {'mass': 0.75, 'hit': 1.0, 'chance': 0.25}
    """
    kind, masks = _checked(maps, masks, failed)
    safe = torch.where((kind < IS_NON_FINITE)[:, None, None], maps, torch.zeros_like(maps))
    positive = safe.clamp_min(0)
    silent = abstains(safe)
    raw = {
        "mass": share(positive, masks),
        "mass-abs": share(safe.abs(), masks),
        "mass-near": share(positive, grown(masks, NEAR)),
        "hit": pointing(safe, masks),
        "auprc": average_precision(safe, masks),
        "abstains": silent.double(),
        "chance": masks.double().flatten(1).mean(1),
    }
    statuses = np.array([_STATUS[value] for value in kind.tolist()], dtype=object)
    empty = ~masks.flatten(1).any(1).cpu().numpy()
    values, told = {}, {}
    for name, measured in raw.items():
        status = statuses.copy()
        if name == "chance":
            status[:] = OK
        elif name == "abstains":
            status[np.isin(status, (ZERO, CONSTANT))] = OK
        elif name in ("mass", "mass-near", "hit"):
            status[(status == OK) & silent.cpu().numpy()] = ZERO
        status[empty] = NOT_APPLICABLE
        values[name], told[name] = _kept(measured, status)
    return Localised(values, told)


def nothing(count: int) -> Localised:
    """The measures of images without a map: not applicable.

    Example:
        >>> nothing(2).statuses["mass"]
        ['not-applicable', 'not-applicable']
    """
    return Localised(
        {name: np.full(count, np.nan) for name in MEASURES}, {name: [NOT_APPLICABLE] * count for name in MEASURES}
    )


def contrast(own: Localised, other: Localised) -> tuple[np.ndarray, list[str]]:
    """What the map of a class has in its cell that the map of another class does not have there.

    Args:
        own: maps of class a against the evidence of a.
        other: maps of class b against the evidence of a.

    Returns:
        (N,) mass of the first minus mass of the second, in [-1, 1], 0 for maps that do not depend on the class, NaN unless
        the status is `ok`; N statuses, the first map's where it has no mass, else the second's.
    """
    statuses = [
        one if one != OK else two for one, two in zip(own.statuses["mass"], other.statuses["mass"], strict=True)
    ]
    return np.round(own.values["mass"] - other.values["mass"], DECIMALS) + 0.0, statuses


def leaks(maps: Tensor, masks: Tensor, failed: Sequence[bool] | Tensor | None = None) -> Localised:
    """What maps leave outside a region outside of which nothing can matter.

    Args:
        maps: (N, H, W).
        masks: (N, H, W) bool, the region that the class's logit depends on.
        failed: (N,) bool, maps that the explainer itself gave up.

    Returns:
        `outside`: share of the absolute relevance outside, not rounded; `exact`: 1 if every value outside is exactly 0.

    Example:
        >>> leaks(torch.tensor([[[1.0, 0.0]]]), torch.tensor([[[True, False]]])).values["exact"]
        array([1.])
    """
    kind, masks = _checked(maps, masks, failed)
    safe = torch.where((kind < IS_NON_FINITE)[:, None, None], maps, torch.zeros_like(maps))
    amount, clean = outside(safe, masks)
    statuses = np.array([_STATUS[value] for value in kind.tolist()], dtype=object)
    statuses[~masks.flatten(1).any(1).cpu().numpy()] = NOT_APPLICABLE
    found = {
        "outside": _kept(amount, statuses, decimals=None),
        "exact": _kept(clean.double(), statuses),
    }
    return Localised({name: pair[0] for name, pair in found.items()}, {name: pair[1] for name, pair in found.items()})


def _checked(maps: Tensor, masks: Tensor, failed: Sequence[bool] | Tensor | None) -> tuple[Tensor, Tensor]:
    if maps.dim() != 3 or maps.shape != masks.shape:
        raise ValueError(f"maps are {tuple(maps.shape)} and masks {tuple(masks.shape)}; both must be one (N, H, W)")
    kind = kinds(maps)
    if failed is not None:
        marked = torch.as_tensor(failed, dtype=torch.bool, device=maps.device)
        kind = torch.where(marked, torch.full_like(kind, HAS_FAILED), kind)
    return kind, masks.to(maps.device, torch.bool)


def _kept(measured: Tensor, status: np.ndarray, decimals: int | None = DECIMALS) -> tuple[np.ndarray, list[str]]:
    values = measured.detach().cpu().double().numpy().copy()
    if decimals is not None:
        values = np.round(values, decimals) + 0.0
    values[status != OK] = np.nan
    return values, [str(name) for name in status]
