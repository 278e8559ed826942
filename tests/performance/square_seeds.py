"""Whether CDeepEx's controls of the planted square hang on how it is measured, or on one training of a network.

    python tests/performance/square_seeds.py [NETWORKS] [GENERATORS]

NETWORKS and GENERATORS (0 each) are how many more pairs of each are trained, with seeds 1, 2, ...: a LeNet on images with
squares on bags and one on plain images (about a minute of processor time), and a variational autoencoder with six passes
over plain images and two more over images with squares (about four). Prints a Markdown table, 64 held-out images without
bags per row: share of searches toward bag that reached the boundary, mean change inside the square, the same before images
are cut to [0, 1], the mean over images whose search reached it, their median, the share of the change inside the square, and
the median gain of the logit gap when its original pixels are put back. Then, over all pairs of networks with all pairs of
generators, how many times the controls' mean the biased pair's is, with a 95% interval for which networks and generators are
drawn with replacement, each on its own (images are not drawn).
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

import explainers
from bench.checks.papers import square
from explainers.contrastive.start import generator_for
from models import studies
from models.base import Subject
from models.data import load_data
from models.seeds import derive, generator, seeded
from models.training import Schedule, fit
from models.variants import SQUARE_CLASS, with_square
from models.zoo import autoencoders, classifiers
from models.zoo.build import empty_network
from models.zoo.catalogue import member
from models.zoo.recipes import training_images

COUNT = 64
HEAD = (
    "images",
    "network",
    "generator",
    "reached",
    "change",
    "uncut",
    "of those reached",
    "median",
    "share",
    "put back",
)
CHANGE, SHARE = 1, 5
"""Places of the mean change inside the square, and of its share of the whole change, among the numbers of a row."""
DRAWS = 10_000
Row = tuple[str, int, str, int]
"""Network and its seed, generator and its seed."""
LOADER = """from safetensors.torch import load_file
from models.zoo.build import empty_network
from models.zoo.catalogue import member
def made():
    network = empty_network(*member("fashion-mnist-vae"))
    network.load_state_dict(load_file({weights!r}))
    return network.eval()
"""


def networks(seed: int) -> dict[str, Subject]:
    """The LeNet that learnt the square and the plain one; those of seed 0 are shipped."""
    found = {"biased": studies.biased(), "clean": studies.plain()}
    if not seed:
        return found
    data = training_images()
    for name, images in (("biased", with_square(data)), ("clean", data)):
        kind = "fmnist-lenet-biased" if name == "biased" else "fmnist-lenet"
        network = fitted(kind, *classifiers.tensors(images), replace(classifiers.PLAIN, seed=seed))
        found[name] = found[name].with_weights(network)
    return found


def fitted(name: str, images: Tensor, labels: Tensor, schedule: Schedule) -> nn.Module:
    """A classifier of the zoo trained on these images, from weights drawn with the seed of the schedule."""
    kind, params = member(name)
    with seeded(derive(schedule.seed, "initial")):
        network = empty_network(kind, params)
    return fit(network, images, labels, schedule, normalise=classifiers.normaliser(kind), log=lambda _: None)


def generators(seed: int, folder: Path) -> dict[str, str]:
    """The generator that saw squares and the one that did not, as explainers are told; those of seed 0 are shipped."""
    if not seed:
        return {"biased": "fashion-mnist-vae-biased", "clean": "fashion-mnist-vae"}
    data, settings = training_images(), autoencoders.Settings(epochs=6, seed=seed)
    kind, params = member("fashion-mnist-vae")
    with seeded(derive(seed, "initial", kind.name)):
        network = empty_network(kind, params)
    autoencoders._fit(network, classifiers.tensors(data)[0], settings, print)
    found = {"clean": _kept(network, folder / f"clean{seed}")}
    again = replace(settings, epochs=2, rate=1e-3)
    autoencoders._fit(network, classifiers.tensors(with_square(data))[0], again, print)
    return found | {"biased": _kept(network, folder / f"biased{seed}")}


def _kept(network: nn.Module, stem: Path) -> str:
    weights = str(stem.with_suffix(".safetensors"))
    save_file({key: value.contiguous() for key, value in network.state_dict().items()}, weights)
    stem.with_suffix(".py").write_text(LOADER.format(weights=weights))
    return f"{stem.with_suffix('.py')}:made"


def measured(subject: Subject, images: Tensor, generator: str) -> list[float]:
    """The numbers of one row; images that the network takes for bags are left out."""
    source = subject.predict(images)
    images, source = images[source != SQUARE_CLASS], source[source != SQUARE_CLASS]
    found = explainers.get(f"cdeepex[generator={generator},probe=8]").explain(subject, images, targets=source, seed=0)
    made = found.counterfactual
    assert made is not None and found.latents is not None
    drawn = generator_for(subject, generator, images)
    with torch.no_grad():
        began, ended = (drawn.decode(points) for points in found.latents)
    change = square.change(images, made)
    reached = torch.tensor([each in ("converged", "trivial") for each in found.outcome])
    restored = square.causal(subject.predict_logits, images, made, source)["square-restored"]
    return [
        float(each) for each in (
            reached.double().mean(), change.mean(), square.change(began, ended).mean(), change[reached].mean(),
            change[reached].median(), square.energy(made - images).nanmean(), restored.median(),
        )
    ]  # fmt: skip


def sets() -> dict[str, Tensor]:
    """The images of the suite, and the first test images from number 1000 on that are no bags."""
    subject, test = studies.biased(), load_data("fashion-mnist")
    others = [index for index in range(1000, 1200) if test.labels[index] != SQUARE_CLASS]
    return {"suite": subject.data.load(subject.select(COUNT, 0)), "from 1000": test.load(others[:COUNT])}


def times(own: Tensor, control: Tensor) -> tuple[float, float, float]:
    """Ratio of the two means, and the 95% interval of it over trainings.

    Args:
        own, control: (networks, generators), one number per pair of them; the same draw is taken from both.

    Example:
        >>> times(torch.tensor([[2.0, 4.0]]), torch.tensor([[1.0, 2.0]]))
        (2.0, 2.0, 2.0)
    """
    draw, (rows, columns) = generator(0, "trainings"), own.shape
    some = torch.randint(rows, (DRAWS, rows), generator=draw)
    others = torch.randint(columns, (DRAWS, columns), generator=draw)
    mine, its = (each[some[:, :, None], others[:, None, :]].mean((1, 2)) for each in (own, control))
    low, high = torch.quantile(mine / its, torch.tensor([0.025, 0.975], dtype=own.dtype)).tolist()
    return float(own.mean() / control.mean()), low, high


def summary(rows: Mapping[Row, list[float]], networks: int, generators: int) -> list[str]:
    """The lines about the means over all pairs, seeds 0 to `networks` and 0 to `generators`."""
    found = []
    for words, place in (("change", CHANGE), ("share", SHARE)):
        own, network, drawing = (
            torch.tensor(
                [[rows[one, i, other, j][place] for j in range(generators + 1)] for i in range(networks + 1)],
                dtype=torch.float64,
            )
            for one, other in (("biased", "biased"), ("clean", "biased"), ("biased", "clean"))
        )  # fmt: skip
        for name, control in (("clean networks", network), ("clean generators", drawing)):
            ratio, low, high = times(own, control)
            means = f"{float(own.mean()):.4f} against {float(control.mean()):.4f}"
            found.append(f"{words}, {name}: {means}, {ratio:.2f} times ({low:.2f}, {high:.2f})")
    return found


def main(more_networks: int, more_generators: int) -> None:
    """Print the table, row by row, and what comes of it over trainings."""
    torch.set_num_threads(1)
    images = sets()
    print(f"| {' | '.join(HEAD)} |\n|{' --- |' * 3}{' ---: |' * 7}", flush=True)
    rows: dict[Row, list[float]] = {}
    with tempfile.TemporaryDirectory() as folder:
        pairs = [(seed, "suite", 0) for seed in range(more_networks + 1)] + [(0, "from 1000", 0)]
        pairs += [(seed, "suite", g) for g in range(1, more_generators + 1) for seed in range(more_networks + 1)]
        known: dict[int, dict[str, Subject]] = {}
        drawn: dict[int, dict[str, str]] = {}
        for seed, name, other in pairs:
            known[seed] = known.get(seed) or networks(seed)
            drawn[other] = drawn.get(other) or generators(other, Path(folder))
            for one, two in (("biased", "biased"), ("clean", "biased"), ("biased", "clean")):
                row = measured(known[seed][one], images[name], drawn[other][two])
                if name == "suite":
                    rows[one, seed, two, other] = row
                cells = (name, f"{one} {seed}", f"{two} {other}", *(f"{value:.3f}" for value in row))
                print(f"| {' | '.join(cells)} |", flush=True)
    print("\n".join(["", *summary(rows, more_networks, more_generators)]))


if __name__ == "__main__":
    main(*(int(each) for each in [*sys.argv[1:], "0", "0"][:2]))
