"""Fitting Progressive Exaggeration to one binary classifier."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from models.naming import UsageError
from models.seeds import derive, seeded
from models.seeds import generator as random_numbers

from .losses import bins_of, compatibility, discriminator_hinge, generator_hinge, midpoints, reconstruction
from .networks import Discriminator, Exaggerator

REPORTED = 50


@dataclass(frozen=True)
class Options:
    """How Progressive Exaggeration is fitted.

    Attributes:
        bins: number of bins of the probability, the paper's 1 / delta.
        steps: of one update of the discriminator and one of the generator.
        warmup: first steps with the reconstruction alone.
        batch: images per step.
        rate: learning rate of both Adam optimisers (betas 0 and 0.9); falls linearly to 0 over the second half.
        kl, reconstruction, adversarial: weights of the terms; the paper's are 1, 100 and 1.
        average: decay of the running mean of the generator's weights, which is what is kept.
        width: channels of the generator's first layer; the discriminator has half as many again.
        seed: base of every random draw.
    """

    bins: int = 10
    steps: int = 1250
    warmup: int = 100
    batch: int = 32
    rate: float = 4e-4
    kl: float = 10.0
    reconstruction: float = 50.0
    adversarial: float = 1.0
    average: float = 0.995
    width: int = 16
    seed: int = 0


@dataclass
class _Players:
    generator: Exaggerator
    discriminator: Discriminator
    kept: Exaggerator
    adam_generator: torch.optim.Optimizer
    adam_discriminator: torch.optim.Optimizer


def fit(
    log_odds: Callable[[Tensor], Tensor],
    images: Tensor,
    options: Options,
    *,
    log: Callable[[str], None] = lambda line: None,
) -> tuple[Exaggerator, dict[str, Any]]:
    """Fit encoder and generator to a classifier by alternating minimisation of the two players' losses.

    Args:
        log_odds: images (N, C, H, W) in [0, 1] -> log-odds of the second class (N,), differentiable.
        images: training images (N, C, H, W), uint8 or float in [0, 1]; height and width are multiples of 8.
        options: sizes, weights, steps.
        log: receives progress lines.

    Returns:
        The generator with averaged weights, in eval mode; and a report: images per bin, steps, seconds and those of the
        processor, the error of compatibility over the last steps.

    Raises:
        UsageError: images of a size that cannot be halved three times, or a classifier whose probabilities fall into
            one bin.
    """
    height, width = images.shape[-2:]
    if height % 8 or width % 8:
        raise UsageError(f"images are {height}x{width}; height and width must be multiples of 8: pad or resize them")
    members = _members(log_odds, images, options.bins)
    players = _players(images.shape[1], options)
    draw = random_numbers(options.seed, "exaggeration", "draws")
    middles = midpoints(options.bins)
    errors: list[float] = []
    started, begun = time.perf_counter(), time.process_time()
    for step in range(options.steps):
        _pace(players, step, options)
        chosen, sources = _balanced(members, options.batch, draw)
        x = _floats(images[chosen])
        bins = torch.randint(options.bins, (options.batch,), generator=draw)
        error = _warm(players, x, sources) if step < options.warmup else None
        if error is None:
            error = _step(players, x, sources, bins, middles[bins], log_odds, options)
            errors.append(error)
        # young means forget faster, so that a short fit does not end on its first steps
        since = step - options.warmup
        _average(players, 0.0 if since <= 0 else min(options.average, (since + 1) / (since + 4)))
        if (step + 1) % REPORTED == 0:
            what = "reconstruction" if step < options.warmup else "|requested - achieved|"
            recent = errors[-REPORTED:] or [error]
            log(f"step {step + 1} of {options.steps}: {what} {sum(recent) / len(recent):.3f}")
    report = {
        "images": len(images),
        "images_per_bin": [len(each) for each in members],
        "steps": options.steps,
        "seconds": round(time.perf_counter() - started, 1),
        "cpu_seconds": round(time.process_time() - begun, 1),
        "error": round(sum(errors[-100:]) / max(len(errors[-100:]), 1), 4),
    }
    return players.kept.eval().requires_grad_(False), report


def with_profile(options: Options, profile: str) -> Options:
    """The options under a named profile: `default` as they are, `paper` with the paper's weights 1, 100 and 1.

    Raises:
        UsageError: unknown profile.

    Example:
        >>> with_profile(Options(), "paper").reconstruction
        100.0
    """
    if profile == "default":
        return options
    if profile == "paper":
        return replace(options, kl=1.0, reconstruction=100.0, adversarial=1.0)
    raise UsageError(f"progressive-exaggeration: profile is {profile!r}; allowed are default, paper")


def _members(log_odds: Callable[[Tensor], Tensor], images: Tensor, count: int) -> list[Tensor]:
    with torch.no_grad():
        parts = [log_odds(_floats(images[start : start + 250])) for start in range(0, len(images), 250)]
    bins = bins_of(torch.sigmoid(torch.cat(parts)), count)
    members = [torch.nonzero(bins == index)[:, 0] for index in range(count)]
    if sum(len(each) > 0 for each in members) < 2:
        raise UsageError(
            f"the classifier puts all {len(images)} training images into one of {count} bins of probability; there is "
            "nothing to exaggerate: calibrate it, or give images of both classes"
        )
    return members


def _balanced(members: list[Tensor], count: int, draw: torch.Generator) -> tuple[Tensor, Tensor]:
    """Indices of images, each from a bin drawn evenly among those that have any, and these bins."""
    filled = torch.tensor([index for index, each in enumerate(members) if len(each)])
    sources = filled[torch.randint(len(filled), (count,), generator=draw)]
    shares = torch.rand(count, generator=draw)
    chosen = [members[int(b)][int(share * len(members[int(b)]))] for b, share in zip(sources, shares, strict=True)]
    return torch.stack(chosen), sources


def _players(channels: int, options: Options) -> _Players:
    with seeded(derive(options.seed, "exaggeration", "initial")):
        generator = Exaggerator(channels, options.bins, options.width)
        discriminator = Discriminator(channels, options.bins, options.width * 3 // 2)
        kept = Exaggerator(channels, options.bins, options.width)
    for network in (generator, discriminator, kept):
        network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    kept.load_state_dict(generator.state_dict())
    return _Players(
        generator,
        discriminator,
        kept.requires_grad_(False),
        torch.optim.Adam(generator.parameters(), options.rate, betas=(0.0, 0.9)),
        torch.optim.Adam(discriminator.parameters(), options.rate, betas=(0.0, 0.9)),
    )


def _pace(players: _Players, step: int, options: Options) -> None:
    rate = options.rate * min(1.0, 2 * (options.steps - step) / options.steps)
    for adam in (players.adam_generator, players.adam_discriminator):
        for group in adam.param_groups:
            group["lr"] = rate


def _warm(players: _Players, x: Tensor, sources: Tensor) -> float:
    with torch.autocast("cpu", torch.bfloat16):
        again = players.generator(x, sources)
    loss = reconstruction(x, again)
    _update(players.adam_generator, loss)
    return float(loss.detach())


def _step(
    players: _Players, x: Tensor, sources: Tensor, bins: Tensor, requested: Tensor,
    log_odds: Callable[[Tensor], Tensor], options: Options,
) -> float:  # fmt: skip
    """One update of each player on one generated batch; returns the mean |requested - achieved|."""
    generator = players.generator
    with torch.autocast("cpu", torch.bfloat16):
        code = generator.encode(x)
        changed = generator.decode(code, bins)
    odds = log_odds(changed)
    loss = options.kl * compatibility(requested, odds)
    # a term of weight 0 would cost as much as any other
    if options.adversarial:
        loss = loss + options.adversarial * _adversarial(players, x, sources, changed, bins)
    if options.reconstruction:
        with torch.autocast("cpu", torch.bfloat16):
            same, back = generator.decode(code, sources), generator(changed, sources)
        loss = loss + options.reconstruction * (reconstruction(x, same) + reconstruction(x, back))
    _update(players.adam_generator, loss)
    players.discriminator.requires_grad_(True)
    return float((requested - torch.sigmoid(odds.detach())).abs().mean())


def _adversarial(players: _Players, x: Tensor, sources: Tensor, changed: Tensor, bins: Tensor) -> Tensor:
    """One update of the discriminator, then the generator's term, which leaves the discriminator without gradients."""
    discriminator = players.discriminator
    with torch.autocast("cpu", torch.bfloat16):
        judged = discriminator(torch.cat([x, changed.detach()]), torch.cat([sources, bins]))
    _update(players.adam_discriminator, discriminator_hinge(judged[: len(x)], judged[len(x) :]))
    discriminator.requires_grad_(False)
    with torch.autocast("cpu", torch.bfloat16):
        return generator_hinge(discriminator(changed, bins))


def _update(adam: torch.optim.Optimizer, loss: Tensor) -> None:
    adam.zero_grad(set_to_none=True)
    loss.backward()
    adam.step()


def _average(players: _Players, keep: float) -> None:
    with torch.no_grad():
        for mean, value in zip(players.kept.parameters(), players.generator.parameters(), strict=True):
            mean.lerp_(value, 1 - keep)


def _floats(images: Tensor) -> Tensor:
    return images.float() / 255 if images.dtype == torch.uint8 else images.float()
