"""Scores of a pair of curves: how much faster the model forgets when the most relevant pixels go first."""

from __future__ import annotations

from torch import Tensor

from .curves import READOUTS


def aopc(morf: Tensor) -> Tensor:
    """Area over the perturbation curve: mean fall from the clean value, (N, ...), higher is better.

    Args:
        morf: (N, steps + 1, ...), values while the most relevant pixels are replaced first.

    Source: Samek et al. 2017, definition of AOPC: 1 / (L + 1) * sum over k = 0..L of f(x_0) - f(x_k).

    Example:
        >>> import torch
        >>> aopc(torch.tensor([[1.0, 0.5, 0.0]])).item()
        0.5
    """
    return (morf[:, :1] - morf).mean(1)


def abpc(morf: Tensor, lerf: Tensor) -> Tensor:
    """Area between the curves, (N, ...), 0 for an order that says nothing, higher is better.

    Args:
        morf: (N, steps + 1, ...), most relevant first.
        lerf: (N, steps + 1, ...), least relevant first.

    Source: Samek et al. 2017, definition of ABPC: the mean of f(LeRF_k) - f(MoRF_k) over k = 0..L.
    """
    return (lerf - morf).mean(1)


def area(curve: Tensor) -> Tensor:
    """Area under a curve over the share of replaced pixels, trapezoid rule, (N, ...), in the unit of the curve.

    Args:
        curve: (N, steps + 1, ...).
    """
    return ((curve[:, 1:] + curve[:, :-1]) / 2).mean(1)


def scores(morf: Tensor, lerf: Tensor) -> dict[str, Tensor]:
    """All scores of a block, name -> (N,).

    Args:
        morf, lerf: (N, steps + 1, 3) as `curves.curve` gives them.

    Returns:
        `abpc` and `aopc` of the probability, with `-logit` and `-accuracy` for the other readouts; `deletion` (area
        under MoRF, lower is better) and `insertion` (area under LeRF, higher is better: pixels that come back in the
        order of their relevance walk along the LeRF curve from its end to its start).

    Source: Petsiuk et al. 2018, RISE (insertion and deletion).
    """
    found: dict[str, Tensor] = {}
    between, over = abpc(morf, lerf), aopc(morf)
    for place, readout in enumerate(READOUTS):
        suffix = "" if place == 0 else f"-{readout}"
        found[f"abpc{suffix}"], found[f"aopc{suffix}"] = between[:, place], over[:, place]
    found["insertion"], found["deletion"] = area(lerf)[:, 0], area(morf)[:, 0]
    return found
