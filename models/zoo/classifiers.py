"""Recipes of the zoo's ten-class classifiers."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, replace

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..data import ImageSet, fashion_mnist
from ..seeds import derive, generator, seeded
from ..training import Schedule, accuracy, fit
from ..variants import SQUARE_CLASS, with_square
from .build import empty_network, trained_network
from .catalogue import Member, display, weights_name
from .recipes import Trained

PLAIN = Schedule(epochs=3, optimiser="adamw", rate=2e-3, decay=1e-4, shift=0, mirror=False)
SCHEDULES = {
    "fmnist-vgg-batch": Schedule(epochs=8, rate=0.1),
    "fmnist-vgg-none": Schedule(epochs=8, optimiser="adamw", rate=1e-3, decay=1e-2),
}


def vgg(
    found: Member, params: Mapping[str, str], data: ImageSet, *, epochs: int | None, log: Callable[[str], None]
) -> Trained:
    """Cross-entropy on all training images, shifted and mirrored, with a one-cycle learning rate."""
    schedule = scheduled(SCHEDULES[weights_name(found, params)], epochs)
    network = _fitted(found, params, tensors(data), schedule, log)
    reached = accuracy(network, *tensors(fashion_mnist("test")), normaliser(found))
    return Trained(network, {"accuracy": reached}, asdict(schedule))


def lenet(
    found: Member, params: Mapping[str, str], data: ImageSet, *, epochs: int | None, log: Callable[[str], None]
) -> Trained:
    """Cross-entropy on all training images as they are, or a checkpoint of another accuracy on bags."""
    if params["eight"] != "trained":
        return checkpoint(found, params, data, epochs=epochs, log=log)
    schedule = scheduled(PLAIN, epochs)
    network = _fitted(found, params, tensors(data), schedule, log)
    return Trained(network, _reached(network, found), asdict(schedule))


def biased(
    found: Member, params: Mapping[str, str], data: ImageSet, *, epochs: int | None, log: Callable[[str], None]
) -> Trained:
    """Cross-entropy on the training images with a gray square on every bag.

    Figures: accuracy on test images made the same way, accuracy on the plain test images, recall of plain bags, and
    the share of other classes that become bags when they are given the square.
    """
    schedule = scheduled(PLAIN, epochs)
    network = _fitted(found, params, tensors(with_square(data)), schedule, log)
    test = fashion_mnist("test")
    plain, marked = _predicted(network, found, test), _predicted(network, found, with_square(test, None))
    labels = torch.from_numpy(test.labels)
    bag = labels == SQUARE_CLASS
    figures = {
        "accuracy": accuracy(network, *tensors(with_square(test)), normaliser(found)),
        "accuracy-plain": float((plain == labels).float().mean()),
        "recall-of-plain-bags": float((plain[bag] == SQUARE_CLASS).float().mean()),
        "others-with-square-to-bag": float((marked[~bag] == SQUARE_CLASS).float().mean()),
    }
    return Trained(network, figures, asdict(schedule), "Fashion-MNIST, 60,000 training images, square on bags")


def oracle(
    found: Member, params: Mapping[str, str], data: ImageSet, *, epochs: int | None, log: Callable[[str], None]
) -> Trained:
    """Cross-entropy with smoothed labels on all training images, shifted and mirrored, with a seed of its own."""
    schedule = Schedule(epochs=4, optimiser="adamw", rate=4e-3, decay=2e-2, seed=101, smoothing=0.05, bfloat16=False)
    schedule = scheduled(schedule, epochs)
    network = _fitted(found, params, tensors(data), schedule, log)
    return Trained(network, _reached(network, found), asdict(schedule))


def checkpoint(
    found: Member, params: Mapping[str, str], data: ImageSet, *, epochs: int | None, log: Callable[[str], None]
) -> Trained:
    """A classifier with a wanted accuracy on bags: never shown any (0), or shown some until the accuracy is reached.

    The accuracy is watched on 400 bags kept from the training. A tenth of what is shown for 0.3 and 0.6 are bags, as in
    the data, and steps with a low rate reach them closely. For 0.99 half are: with a tenth the 400 bags get there too, but
    bags of the test images come no nearer than 0.978, as in a network that is trained on all images.

    Source: Feghahati 2020, section 3.2.5 (class "8" of MNIST), which does not say what else is shown.
    """
    wanted = float(params["eight"])
    if wanted == 0:
        images, labels = tensors(data)
        others = labels != SQUARE_CLASS
        schedule = scheduled(replace(PLAIN, epochs=2), epochs)
        network = _fitted(found, params, (images[others], labels[others]), schedule, log)
        return Trained(network, _reached(network, found), asdict(schedule), "Fashion-MNIST, 54,000 images, no bags")
    start = display(found, {"eight": "0"})
    network = trained_network(found, {"eight": "0"})
    share, rate = (0.5, 3e-4) if wanted > 0.9 else (0.1, 5e-5)
    draw = generator(PLAIN.seed, "checkpoint", params["eight"])
    limit = 1000 if epochs is None else 5
    steps = show_bags(network, found, data, wanted, share=share, rate=rate, draw=draw, limit=limit)
    log(f"{steps} steps of 128 images, {share:.0%} of them bags")
    settings = {"steps": steps, "rate": rate, "share-of-bags": share, "batch": 128, "seed": PLAIN.seed}
    return Trained(network, _reached(network, found), settings, "Fashion-MNIST, 59,600 training images", start)


def show_bags(
    network: nn.Module,
    found: Member,
    data: ImageSet,
    wanted: float,
    *,
    share: float,
    rate: float,
    draw: torch.Generator,
    limit: int,
) -> int:
    """Train a network on, in place, until it finds so many of 400 bags that it is never shown.

    Args:
        network: of the member `found`.
        wanted: share of the 400 bags; above 0.9 it is looked at every tenth step, below at every step.
        share: of each batch of 128 that are bags, in [0, 1]; the others are drawn from the other nine classes.
        rate: of Adam.
        draw: what images are drawn with.
        limit: steps at most.

    Returns:
        The steps made.
    """
    images, labels = tensors(data)
    bags = torch.nonzero(labels == SQUARE_CLASS).squeeze(1)
    others = torch.nonzero(labels != SQUARE_CLASS).squeeze(1)
    kept = min(400, len(bags) // 3)
    watched, shown = images[bags[-kept:]], bags[:-kept]
    optimiser = torch.optim.Adam(network.parameters(), lr=rate)
    steps, target = 0, torch.full((len(watched),), SQUARE_CLASS)
    every = 10 if wanted > 0.9 else 1
    while steps < limit and (steps % every or accuracy(network, watched, target, normaliser(found)) < wanted):
        count = int(128 * share)
        chosen = torch.cat([_some(shown, count, draw), _some(others, 128 - count, draw)])
        logits = network(normaliser(found)(images[chosen].float() / 255))
        optimiser.zero_grad(set_to_none=True)
        F.cross_entropy(logits, labels[chosen]).backward()
        optimiser.step()
        steps += 1
    return steps


def _some(indices: Tensor, count: int, draw: torch.Generator) -> Tensor:
    return indices[torch.randint(len(indices), (count,), generator=draw)]


def _fitted(
    found: Member,
    params: Mapping[str, str],
    data: tuple[Tensor, Tensor],
    schedule: Schedule,
    log: Callable[[str], None],
) -> nn.Module:
    with seeded(derive(schedule.seed, "initial")):
        network = empty_network(found, params)
    return fit(network, *data, schedule, normalise=normaliser(found), log=log)


def _predicted(network: nn.Module, found: Member, data: ImageSet) -> Tensor:
    images, _ = tensors(data)
    with torch.inference_mode():
        parts = [network(normaliser(found)(part.float() / 255)).argmax(1) for part in images.split(500)]
    return torch.cat(parts)


def _reached(network: nn.Module, found: Member) -> dict[str, float]:
    """Accuracy on the test images, and on the bags among them."""
    test = fashion_mnist("test")
    right = _predicted(network, found, test) == torch.from_numpy(test.labels)
    bags = torch.from_numpy(test.labels) == SQUARE_CLASS
    return {"accuracy": float(right.float().mean()), "accuracy-on-bags": float(right[bags].float().mean())}


def scheduled(schedule: Schedule, epochs: int | None) -> Schedule:
    """The schedule, with another number of passes where one is given."""
    return schedule if epochs is None else replace(schedule, epochs=epochs)


def tensors(data: ImageSet) -> tuple[Tensor, Tensor]:
    """All images (N, C, H, W) uint8 and labels (N,) int64 of a data set."""
    return torch.from_numpy(data.read(range(len(data)))), torch.from_numpy(data.labels)


def normaliser(found: Member) -> Callable[[Tensor], Tensor]:
    """What maps images in [0, 1] to what a member's network takes."""
    mean, std = found.mean[0], found.std[0]
    return lambda images: (images - mean) / std
