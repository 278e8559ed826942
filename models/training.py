"""Training loop of the zoo's recipes: seeded, on the CPU, in bfloat16 where the processor has it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .seeds import derive, generator, seeded


@dataclass(frozen=True)
class Schedule:
    """How long and how fast a recipe trains.

    Attributes:
        epochs: passes over the training images.
        batch: images per step.
        optimiser: `sgd` (Nesterov momentum 0.9) or `adamw`.
        rate: the highest learning rate of the one-cycle schedule.
        decay: weight decay.
        shift: horizontal and vertical shifts of the augmentation, pixels.
        seed: base of every random draw.
        mirror: mirror images with probability one half.
        smoothing: share of the target's mass that is spread over all classes.
        bfloat16: run the network in 16 bits, faster but for small layers.
    """

    epochs: int = 6
    batch: int = 128
    optimiser: str = "sgd"
    rate: float = 0.1
    decay: float = 5e-4
    shift: int = 1
    seed: int = 0
    mirror: bool = True
    smoothing: float = 0.0
    bfloat16: bool = True


def fit(
    network: nn.Module,
    images: Tensor,
    labels: Tensor,
    schedule: Schedule,
    *,
    normalise: Callable[[Tensor], Tensor],
    log: Callable[[str], None] = print,
) -> nn.Module:
    """Train a classifier in place with cross-entropy and a one-cycle learning rate.

    Args:
        network: takes normalised images, returns (N, K) logits; its parameters are overwritten.
        images: (N, C, H, W) uint8; labels: (N,) int64.
        normalise: maps [0, 1] images to what the network takes.

    Returns:
        The network, in eval mode.
    """
    network.to(memory_format=torch.channels_last).train()  # type: ignore[call-overload]
    draw = generator(schedule.seed, "training")
    optimiser = _optimiser(network, schedule)
    steps = schedule.epochs * (len(images) // schedule.batch)
    pace = torch.optim.lr_scheduler.OneCycleLR(optimiser, schedule.rate, total_steps=steps, pct_start=0.25)
    with seeded(derive(schedule.seed, "dropout")):
        for epoch in range(schedule.epochs):
            total, seen = 0.0, 0
            order = torch.randperm(len(images), generator=draw)
            for start in range(0, len(order) - schedule.batch + 1, schedule.batch):
                chosen = order[start : start + schedule.batch]
                x = augmented(images[chosen].float().div_(255), schedule.shift, draw, schedule.mirror)
                x = normalise(x).to(memory_format=torch.channels_last)
                with torch.autocast("cpu", torch.bfloat16, enabled=schedule.bfloat16):
                    logits = network(x)
                loss = F.cross_entropy(logits.float(), labels[chosen], label_smoothing=schedule.smoothing)
                optimiser.zero_grad(set_to_none=True)
                loss.backward()
                nn.utils.clip_grad_norm_(network.parameters(), 5.0)
                optimiser.step()
                pace.step()
                total, seen = total + float(loss.detach()), seen + 1
            log(f"epoch {epoch + 1} of {schedule.epochs}: loss {total / max(seen, 1):.4f}")
    return network.to(memory_format=torch.contiguous_format).eval()  # type: ignore[call-overload,no-any-return]


def _optimiser(network: nn.Module, schedule: Schedule) -> torch.optim.Optimizer:
    if schedule.optimiser == "adamw":
        return torch.optim.AdamW(network.parameters(), lr=schedule.rate, weight_decay=schedule.decay)
    return torch.optim.SGD(
        network.parameters(), lr=schedule.rate, momentum=0.9, nesterov=True, weight_decay=schedule.decay
    )


def augmented(images: Tensor, shift: int, draw: torch.Generator, mirror: bool = True) -> Tensor:
    """Shifted by up to `shift` pixels per batch and mirrored per image, (N, C, H, W) in [0, 1] -> the same."""
    if shift:
        dy, dx = (int(v) for v in torch.randint(-shift, shift + 1, (2,), generator=draw))
        images = torch.roll(images, (dy, dx), dims=(2, 3))
    if not mirror:
        return images
    mirrored = torch.rand(len(images), generator=draw) < 0.5
    return torch.where(mirrored[:, None, None, None], images.flip(3), images)


def accuracy(network: nn.Module, images: Tensor, labels: Tensor, normalise: Callable[[Tensor], Tensor]) -> float:
    """Share of right predictions in [0, 1]; images (N, C, H, W) uint8, labels (N,)."""
    right = 0
    with torch.inference_mode():
        for start in range(0, len(images), 500):
            x = normalise(images[start : start + 500].float().div_(255))
            right += int((network(x).argmax(1) == labels[start : start + 500]).sum())
    return right / len(images)
