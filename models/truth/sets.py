"""The data sets with known evidence by name: made of Fashion-MNIST, of test items to explain, of training items to train."""

from __future__ import annotations

from functools import lru_cache

from ..data import FASHION_CLASSES, DataCard, ImageSet, fashion_mnist
from .cue import Cues, cue_set
from .mosaic import Mosaics, mosaic_set

COUNT = 5_000
PLACES = ("top left", "top right", "bottom left", "bottom right")
PLACE_CLASSES = tuple(f"{place}: {name}" for place in PLACES for name in FASHION_CLASSES)
SUMMARIES = {
    "fmnist-mosaic": "items of two or four classes in 2x2 and 1x2 mosaics, 64x64 gray, with masks of the evidence; mosaics "
    "of no item are drawn in training only",
    "fmnist-cue": "5x5 patterns at random places of unrelated images decide the classes, 32x32 gray, with masks; images "
    "without a pattern are drawn in training only",
    "fmnist-difull": "2x2 mosaics whose classes are counted per cell (40), for a network with one head per cell; mosaics of "
    "no item are drawn in training only",
}
NAMES = (*SUMMARIES, *(f"{name}-train" for name in SUMMARIES))


def cards() -> list[DataCard]:
    """What `bench list datasets` shows of them."""
    made = "made at run time from Fashion-MNIST"
    explained = [DataCard(name, summary, made, COUNT) for name, summary in SUMMARIES.items()]
    return explained + [
        DataCard(f"{name}-train", "made of training items, likewise", made, COUNT) for name in SUMMARIES
    ]


def mosaics(name: str, part: str, seed: int = 0) -> Mosaics:
    """How the mosaics of a data set are composed of Fashion-MNIST.

    Args:
        name: `fmnist-mosaic` or `fmnist-difull`.
        part: part of Fashion-MNIST, see `models.data.fashion_mnist`.
    """
    items = fashion_mnist(part)
    drawn = f"{name}/{'test' if part == 'test' else 'train'}"
    # An item of 28x28 has two black pixels on each side, so there are four between two items.
    return Mosaics(items, lambda item: items.read([item])[0], (64, 64), drawn, seed, per_place=name == "fmnist-difull")


@lru_cache(maxsize=16)
def made_set(name: str, seed: int = 0, count: int = COUNT) -> ImageSet:
    """The data set with known evidence of this name; images are rendered when they are loaded.

    Args:
        name: one of NAMES; those that end in `-train` are made of the embedded training images.

    Example:
        >>> data = made_set("fmnist-cue")
        >>> len(data), data.shape, data.truth.kind
        (5000, (1, 32, 32), 'cue')
    """
    kind, training = name.removesuffix("-train"), name.endswith("-train")
    part = "train10k" if training else "test"
    if kind == "fmnist-cue":
        return cue_set(Cues(fashion_mnist(part), f"{kind}/{'train' if training else 'test'}", seed), count, training)
    found = mosaics(kind, part, seed)
    difull = kind == "fmnist-difull"
    law = (lambda index: found.trained(index, least=1)) if training else found.explained
    names = PLACE_CLASSES if difull else FASHION_CLASSES
    return mosaic_set(found, count, law, "difull" if difull else "mosaic", names)
