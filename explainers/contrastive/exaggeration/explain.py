"""Progressive Exaggeration as an explainer: the series, the map between its ends, the counterfactual at the far end."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict
from typing import Any

import torch
from torch import Tensor

from models.base import Subject
from models.naming import UsageError, near

from ... import registry
from ...base import Partial
from ...passes import network, rows_for
from ...trajectory import Trajectory
from ..fits import Recipe, State, load
from .fitting import Options, fit, with_profile
from .losses import bins_of, midpoints
from .networks import Exaggerator
from .quality import quality

NAME = "progressive-exaggeration"
MAPS = ("extremes", "input")


def progressive_exaggeration(
    subject: Subject,
    images: Tensor,
    targets: Tensor,
    *,
    seed: int,
    map: str = "extremes",
    **options: Any,
) -> Partial:
    """What would have to change for a binary classifier to move from the explained class to the other, (N, C, H, W).

    Args:
        map: `extremes`, the image at the far end of the series minus that at the near end, whose absolute value is the
            paper's |x_1 - x_0|; or `input`, the counterfactual minus the image, which holds the generator's blur too.
        options: of the fit, with the defaults of the card. profile: `default`, or `paper` for the paper's weights 1, 100,
            1 of kl, reconstruction, adversarial; bins, steps, kl, reconstruction, adversarial, width, fit_seed: see
            `fitting.Options`; data, cache: which training images (`own`: the subject's) and which folder (`default`: the
            cache) the fit is from.

    Returns:
        Signed map, + where intensity is added on the way to the other class; counterfactual = the far end; trajectory =
        one frame per bin, from the explained class to the other; reconstruction = the image at its own bin. Outcome
        `converged` where the counterfactual is of the other class, `trivial` where the image was already, else
        `infeasible`.

    Raises:
        UsageError: the classifier does not have two classes, or nothing was fitted to it.

    Source: Singla et al. 2020, sections 2 and 4.3.

    Example:
        >>> import explainers, models
        >>> subject = models.load("fmnist-tshirt-shirt")
        >>> images, _ = subject.sample(2, seed=0)
        >>> found = explainers.get("progressive-exaggeration").explain(subject, images)
        >>> found.trajectory.images.shape, found.counterfactual.shape
        (torch.Size([2, 10, 1, 32, 32]), torch.Size([2, 1, 32, 32]))
    """
    if map not in MAPS:
        raise UsageError(f"{NAME}: map is {map!r}; allowed are {', '.join(MAPS)}{near(map, MAPS)}")
    given = {**registry.card(NAME).params, **options, "map": map}
    fitted = subject.kept(f"{NAME} {sorted(given.items())}", lambda: built(load(NAME, subject, given)))
    fitted = fitted.to(images.device)
    odds = log_odds_of(subject)
    series, own = exaggerated(fitted, odds, images)
    upward = targets == 0
    frames = torch.where(upward[:, None, None, None, None], series, series.flip(1))
    asked = midpoints(fitted.bins).to(images.device).expand(len(images), -1)
    achieved = torch.sigmoid(_per_frame(odds, frames)).float()
    # frames run towards the other class, for which both ways of counting ask for the same rising probabilities
    towards = torch.where(upward[:, None], achieved, 1 - achieved)
    probabilities = torch.stack([1 - achieved, achieved], 2)
    start = torch.sigmoid(torch.cat([odds(part) for part in images.split(rows_for(images))]))
    already = torch.where(upward, start, 1 - start) > 0.5
    flipped = towards[:, -1] > 0.5
    outcome = tuple(
        "trivial" if was else "converged" if now else "infeasible"
        for was, now in zip(already.tolist(), flipped.tolist(), strict=True)
    )
    far, near_end = frames[:, -1], frames[:, 0]
    return Partial(
        far - near_end if map == "extremes" else far - images,
        counterfactual=far,
        trajectory=Trajectory(frames, probabilities, asked, "exaggeration"),
        reconstruction=own,
        source=targets,
        target=1 - targets,
        outcome=outcome,
    )


def exaggerated(
    fitted: Exaggerator, odds: Callable[[Tensor], Tensor], images: Tensor, series: bool = True
) -> tuple[Tensor, Tensor]:
    """The series over all bins (N, bins, C, H, W), lowest first, and each image at its own bin (N, C, H, W)."""
    rows = max(1, rows_for(images) // fitted.bins)
    strips, own = [], []
    with torch.no_grad():
        for start in range(0, len(images), rows):
            part = images[start : start + rows].float()
            code = fitted.encode(part)
            every = torch.arange(fitted.bins, device=images.device)
            frames = fitted.decode(code.repeat_interleave(fitted.bins, 0), every.repeat(len(part)))
            strips.append(frames.unflatten(0, (len(part), fitted.bins)))
            bins = bins_of(torch.sigmoid(odds(images[start : start + rows])), fitted.bins)
            own.append(strips[-1][torch.arange(len(part), device=images.device), bins])
    return torch.cat(strips), torch.cat(own)


def log_odds_of(subject: Subject) -> Callable[[Tensor], Tensor]:
    """Images (N, C, H, W) -> log-odds of class 1 (N,), differentiable; the subject is left as it is."""
    module = network(subject)

    def odds(images: Tensor) -> Tensor:
        logits: Tensor = module(images.to(subject.dtype))
        return logits[:, 1] - logits[:, 0]

    return odds


def built(state: State) -> Exaggerator:
    """The generator of stored weights, frozen, in eval mode."""
    width, channels = state["first.weight"].shape[:2]
    with torch.random.fork_rng(devices=[]):
        made = Exaggerator(channels, len(state["norm.scale"]), width)
    made.load_state_dict(state)
    return made.eval().requires_grad_(False)


def _per_frame(odds: Callable[[Tensor], Tensor], frames: Tensor) -> Tensor:
    flat = frames.flatten(0, 1)
    rows = rows_for(flat)
    with torch.no_grad():
        parts = [odds(flat[start : start + rows]) for start in range(0, len(flat), rows)]
    return torch.cat(parts).unflatten(0, frames.shape[:2])


def _options(params: Mapping[str, Any]) -> dict[str, Any]:
    plain = Options(
        bins=params["bins"], steps=params["steps"], kl=params["kl"], reconstruction=params["reconstruction"],
        adversarial=params["adversarial"], width=params["width"], seed=params["fit_seed"],
        warmup=min(Options.warmup, params["steps"] // 4),
    )  # fmt: skip
    return asdict(with_profile(plain, params["profile"]))


def _prepare(subject: Subject) -> None:
    if subject.num_classes != 2:
        raise UsageError(
            f"{NAME} explains binary classifiers, and {subject.name} has {subject.num_classes} classes; give one with two "
            "logits (for one class against the rest: a module that returns these two)"
        )


def _fit(
    subject: Subject, images: Tensor, options: dict[str, Any], log: Callable[[str], None]
) -> tuple[State, dict[str, Any]]:
    odds = log_odds_of(subject)
    made, report = fit(odds, images, Options(**options), log=log)
    state = {key: value.half().float() for key, value in made.state_dict().items()}
    chosen = subject.select(min(200, len(subject.data)))
    return state, {**report, "held_out": quality(built(state), odds, subject.data.load(chosen)).summary()}


RECIPE = Recipe(NAME, 1, _options, _prepare, _fit)
