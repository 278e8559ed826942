"""Whether CDeepEx's changes look the more like a bag the more of bags a network knows, over trainings of the networks.

    python tests/performance/follows_seeds.py [SEEDS]

The networks of each training: one that never saw a bag, and what becomes of it when it is shown bags until it finds .99 of
400 that are kept from it, in three readings of "then we show some samples of the class": `half` of each batch are bags, as in
the shipped network; a `tenth`, as in the data; bags `alone`. Training 0 begins with the shipped network, 1 to SEEDS (3) with
one trained with that seed. Beside them a LeNet that saw all bags from the beginning. Prints a Markdown table, 64 held-out
images without bags per row: steps, recall of the test bags, share of the other test images that are called bags, then of
`cdeepex[probe=8]` the share of searches that met their goal, the mean latent length of their moves, how much likelier the
independent network finds a bag at their ends, the same with searches that missed their goal counted as having changed
nothing, and of `xgem[goal=0.95,probe=8]` that gain.
Then the means over trainings of the gains less that of the network without bags, each with the values they are made of.
About two and a half minutes of processor time per training.
"""

from __future__ import annotations

import copy
import sys
from dataclasses import replace

import torch
from square_seeds import fitted
from torch import nn

import explainers
from bench.checks.generative.judge import judge_for
from models import studies
from models.base import Subject
from models.data import load_data
from models.seeds import generator
from models.variants import SQUARE_CLASS
from models.zoo import classifiers
from models.zoo.catalogue import member
from models.zoo.recipes import training_images

COUNT = 64
READINGS = {"half": (0.5, 1000), "tenth": (0.1, 4000), "alone": (1.0, 1000)}
"""Share of bags in a batch, and the most steps."""
RATE = 3e-4
HEAD = (
    "training",
    "network",
    "steps",
    "recall",
    "false bags",
    "reached",
    "length",
    "gain",
    "missed as unchanged",
    "xgem",
)


def _fitted(seed: int, epochs: int, bags: bool) -> nn.Module:
    """A LeNet trained with another seed, with or without bags."""
    images, labels = classifiers.tensors(training_images())
    kept = torch.ones_like(labels, dtype=torch.bool) if bags else labels != SQUARE_CLASS
    return fitted("fmnist-lenet", images[kept], labels[kept], replace(classifiers.PLAIN, epochs=epochs, seed=seed))


def networks(seed: int) -> dict[str, tuple[int, Subject]]:
    """Name -> steps with bags, and the network, on images without bags; those of seed 0 begin with shipped ones."""
    none, plain = studies.eight_0(), studies.plain()
    if seed:
        none, plain = none.with_weights(_fitted(seed, 2, False)), plain.with_weights(_fitted(seed, 3, True))
    found = {"no bags": (0, none)}
    kind, _ = member("fmnist-lenet")
    for name, (share, limit) in READINGS.items():
        network = copy.deepcopy(none.model)
        draw = generator(seed, "checkpoint", "0.99")
        data = training_images()
        steps = classifiers.show_bags(network, kind, data, 0.99, share=share, rate=RATE, draw=draw, limit=limit)
        found[name] = (steps, none.with_weights(network.eval()))
    return found | {"all bags from the beginning": (0, plain)}


def called_bags(subject: Subject) -> tuple[float, float]:
    """Share of the test bags that are called bags, and of the other test images."""
    test = load_data("fashion-mnist")
    chunks = [range(at, at + 500) for at in range(0, len(test), 500)]
    called = torch.cat([subject.predict(test.load(chunk)) for chunk in chunks]) == SQUARE_CLASS
    bags = torch.from_numpy(test.labels) == SQUARE_CLASS
    return float(called[bags].double().mean()), float(called[~bags].double().mean())


def measured(subject: Subject) -> list[float]:
    """The last five numbers of a row; images that the network takes for bags are left out."""
    images = subject.data.load(subject.select(COUNT, 0))
    source = subject.predict(images)
    images, source = images[source != SQUARE_CLASS], source[source != SQUARE_CLASS]
    judge = judge_for(subject)
    gains, before = [], judge.probabilities(images)[:, SQUARE_CLASS].double()
    for name in ("cdeepex[probe=8]", "xgem[goal=0.95,probe=8]"):
        found = explainers.get(name).explain(subject, images, targets=source, seed=0)
        assert found.counterfactual is not None and found.latents is not None
        shown = (found.counterfactual * 255).round() / 255
        gains.append(judge.probabilities(shown)[:, SQUARE_CLASS].double() - before)
        if len(gains) == 1:
            met = torch.tensor([each in ("converged", "trivial") for each in found.outcome])
            length = (found.latents[1] - found.latents[0]).flatten(1).norm(dim=1)
    return [
        float(each.double().mean()) for each in (met, length, gains[0], torch.where(met, gains[0], 0.0), gains[1])
    ]  # fmt: skip


def main(seeds: int) -> None:
    """Print the table, row by row."""
    torch.set_num_threads(1)
    gains: dict[str, list[list[float]]] = {}
    print(f"| {' | '.join(HEAD)} |\n|{' --- |' * 2}{' ---: |' * 8}", flush=True)
    for seed in range(seeds + 1):
        for name, (steps, subject) in networks(seed).items():
            values = (*called_bags(subject), *measured(subject))
            gains.setdefault(name, []).append(values[-3:])
            cells = (str(seed), name, str(steps), *(f"{value:.3f}" for value in values))
            print(f"| {' | '.join(cells)} |", flush=True)
    none = torch.tensor(gains.pop("no bags"))
    for name, found in gains.items():
        for words, each in zip(HEAD[-3:], (torch.tensor(found) - none).T, strict=True):
            print(f"{name}, {words}: {float(each.mean()):.3f} ({', '.join(f'{value:.3f}' for value in each)})")


if __name__ == "__main__":
    main(int((sys.argv[1:] or ["3"])[0]))
