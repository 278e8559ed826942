"""Recipes of the classifiers of images with known evidence: sigmoid outputs, fresh images in every step.

Softmax would be wrong here: another item lowers the probability of a class, so evidence against it lies outside its cell.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..data import ImageSet
from ..seeds import derive, seeded
from ..truth.base import Scene
from ..truth.cue import CUES, Cues
from ..truth.mosaic import Mosaics
from ..truth.sets import PLACE_CLASSES, made_set, mosaics
from .catalogue import Member
from .recipes import Trained, fresh_network

EPOCH = 100
TESTED = 2_000


@dataclass(frozen=True)
class Steps:
    """How long and how fast a multi-label classifier trains.

    Attributes:
        epochs: hundreds of steps.
        batch: images per step.
        rate: the highest learning rate of the one-cycle schedule of AdamW.
        decay: weight decay.
        smooth: how far the wanted probabilities stay away from 0 and 1.
        agree: weight of the squared difference between logits of the same cues on two carriers.
        seed: base of every random draw.
        first: steps taken before, so that a second cycle meets images that the first one has not seen.
    """

    epochs: int
    batch: int = 96
    rate: float = 2e-3
    decay: float = 1e-2
    smooth: float = 0.0
    agree: float = 0.0
    seed: int = 0
    first: int = 0


def mosaic(
    found: Member, params: Mapping[str, str], data: ImageSet, *, epochs: int | None, log: Callable[[str], None]
) -> Trained:
    """Train on 2x2 and 1x2 mosaics of 0 to 4 items in two cycles; accuracy is over labels of 2,000 mosaics of test items."""
    made = mosaics("fmnist-mosaic", "train")
    cycles = (Steps(epochs or 9, rate=3e-3), Steps(epochs or 6, rate=1e-3, first=900))
    trained = _trained(found, params, made, 10, cycles, log)
    mean, std = found.mean[0], found.std[0]
    # Most mosaics to explain show four classes, which is harder than what the network is trained on.
    reached = accuracy_as_trained(trained.network, mosaics("fmnist-mosaic", "test"), 10, lambda x: (x - mean) / std)
    return replace(trained, figures={**trained.figures, "accuracy-as-trained": reached})


def difull(
    found: Member, params: Mapping[str, str], data: ImageSet, *, epochs: int | None, log: Callable[[str], None]
) -> Trained:
    """Train on 2x2 mosaics of 0 to 4 items, classes counted per cell."""
    made = mosaics("fmnist-difull", "train")
    return _trained(found, params, made, len(PLACE_CLASSES), (Steps(epochs or 12),), log)


def cue(
    found: Member, params: Mapping[str, str], data: ImageSet, *, epochs: int | None, log: Callable[[str], None]
) -> Trained:
    """Train on images with 0, 1 or 2 cues; the same cues on two carriers have to give the same logits."""
    made = Cues(data, "fmnist-cue/train")
    steps = Steps(epochs or 40, batch=64, smooth=0.002, agree=0.05)
    return _trained(found, params, made, CUES, (steps,), log)


def _trained(
    found: Member,
    params: Mapping[str, str],
    made: Mosaics | Cues,
    classes: int,
    cycles: tuple[Steps, ...],
    log: Callable[[str], None],
) -> Trained:
    with seeded(derive(cycles[0].seed, "initial")):
        network = fresh_network(found, params)
    mean, std = found.mean[0], found.std[0]
    for steps in cycles:
        fit(network, made, classes, steps, normalise=lambda x: (x - mean) / std, log=log)
    figures = {"accuracy": label_accuracy(network, made_set(found.data), lambda x: (x - mean) / std)}
    schedule = {**asdict(cycles[0]), **{f"then {number}": asdict(each) for number, each in enumerate(cycles[1:], 1)}}
    return Trained(network, figures, schedule, "made of the 60,000 training images of Fashion-MNIST")


def fit(
    network: nn.Module,
    made: Mosaics | Cues,
    classes: int,
    steps: Steps,
    *,
    normalise: Callable[[Tensor], Tensor],
    log: Callable[[str], None] = print,
) -> nn.Module:
    """Train in place with binary cross-entropy on images that are made as they are needed.

    Args:
        network: takes normalised images, returns (N, classes) logits.
        made: composes the images.
        normalise: maps [0, 1] images to what the network takes.

    Returns:
        The network, in eval mode.
    """
    network.to(memory_format=torch.channels_last).train()  # type: ignore[call-overload]
    optimiser = torch.optim.AdamW(network.parameters(), lr=steps.rate, weight_decay=steps.decay)
    total = steps.epochs * EPOCH
    pace = torch.optim.lr_scheduler.OneCycleLR(optimiser, steps.rate, total_steps=total, pct_start=0.2)
    running = 0.0
    with seeded(derive(steps.seed, "dropout", *([steps.first] if steps.first else []))):
        for step in range(total):
            scenes = [made.trained((steps.first + step) * steps.batch + row) for row in range(steps.batch)]
            wanted = _targets(scenes, classes)
            if steps.agree and isinstance(made, Cues):
                scenes += [made.other_carrier(scene, 0) for scene in scenes]
                wanted = wanted.repeat(2, 1)
            x = normalise(_pixels(made, scenes)).to(memory_format=torch.channels_last)
            with torch.autocast("cpu", torch.bfloat16):
                logits = network(x)
            logits = logits.float()
            loss = F.binary_cross_entropy_with_logits(logits, wanted * (1 - 2 * steps.smooth) + steps.smooth)
            if steps.agree:
                one, other = logits.chunk(2)
                loss = loss + steps.agree * (one - other).square().mean()
            optimiser.zero_grad(set_to_none=True)
            loss.backward()
            nn.utils.clip_grad_norm_(network.parameters(), 5.0)
            optimiser.step()
            pace.step()
            running += float(loss.detach())
            if (step + 1) % EPOCH == 0:
                log(f"epoch {(step + 1) // EPOCH} of {steps.epochs}: loss {running / EPOCH:.4f}")
                running = 0.0
    return network.to(memory_format=torch.contiguous_format).eval()  # type: ignore[call-overload,no-any-return]


def label_accuracy(network: nn.Module, data: ImageSet, normalise: Callable[[Tensor], Tensor]) -> float:
    """Share of right yes-or-no decisions over classes and the first 2,000 images, in [0, 1]."""
    right = total = 0
    with torch.inference_mode():
        for start in range(0, min(TESTED, len(data)), 200):
            indices = range(start, min(start + 200, len(data)))
            wanted = torch.from_numpy(data.truth.targets(indices)) > 0.5  # type: ignore[union-attr]
            found = network(normalise(data.load(indices))) > 0
            right, total = right + int((found == wanted).sum()), total + wanted.numel()
    return right / total


def accuracy_as_trained(
    network: nn.Module, made: Mosaics | Cues, classes: int, normalise: Callable[[Tensor], Tensor]
) -> float:
    """Share of right yes-or-no decisions on 2,000 images of held-out items composed as in training, in [0, 1].

    Args:
        made: composes images of held-out items.
    """
    right = total = 0
    with torch.inference_mode():
        for start in range(0, TESTED, 200):
            scenes = [made.trained(index) for index in range(start, min(start + 200, TESTED))]
            found = network(normalise(_pixels(made, scenes))) > 0
            right, total = right + int((found == (_targets(scenes, classes) > 0.5)).sum()), total + found.numel()
    return right / total


def _pixels(made: Mosaics | Cues, scenes: list[Scene]) -> Tensor:
    return torch.from_numpy(np.stack([made.render(scene) for scene in scenes])).float().div_(255)


def _targets(scenes: list[Scene], classes: int) -> Tensor:
    wanted = torch.zeros(len(scenes), classes)
    for row, scene in enumerate(scenes):
        wanted[row, list(scene.present)] = 1
    return wanted
