"""Small garments with four planted attributes, as strong as a number in [0, 1] says, and the exact oracle of these numbers.

Square, stripe, brightness and border are drawn independently of each other and of the garment beneath. Their strengths are
functions of the pixels, so that of any image, a counterfactual too, it is known which attributes it has. In the confounded
version the square is as strong as the garment is bright, so that a classifier of brightness may look at the square. The
images have 16x16 pixels, so that fitting an explainer to each attribute costs a minute or two.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache

import numpy as np

from .data import DataCard, ImageSet, fashion_mnist
from .naming import UsageError, near
from .seeds import derive

ATTRIBUTES = ("square", "stripe", "brightness", "border")
CONFOUNDED, CONFOUNDER = "brightness", "square"
GARMENTS = (0, 2, 4, 6)
"""T-shirts, pullovers, coats, shirts: they fill the middle of the image, where brightness is read."""
CLEAR = 0.2
"""Images to explain have strengths below it or above one minus it, so that nothing is on the edge of a decision."""
SIDE = 16
SQUARE = (slice(1, 5), slice(1, 5))
STRIPE = (slice(13, 15), slice(1, 15))
MIDDLE = (slice(5, 11), slice(5, 11))
DARK, SPAN = 0.2, 0.6
"""Mean intensity of the middle of the darkest garment, and how much brighter the brightest is."""
ROUNDS = 4
REPEATS = 2
KIND = "fmnist-planted"


def border() -> np.ndarray:
    """Where the border is, (16, 16) bool: the outermost pixels.

    Example:
        >>> int(border().sum())
        60
    """
    found = np.ones((SIDE, SIDE), bool)
    found[1:-1, 1:-1] = False
    return found


def strengths(images: np.ndarray) -> np.ndarray:
    """The exact oracle: how strong each of `ATTRIBUTES` is in each image, (n, 4) in [0, 1]; above 0.5 the image has it.

    Args:
        images: (n, 1, 16, 16), uint8 or float in [0, 1].

    Raises:
        UsageError: images of another size.

    Example:
        >>> strengths(np.full((1, 1, 16, 16), 0.8)).round(2).tolist()
        [[0.8, 0.8, 1.0, 0.8]]
    """
    if images.ndim != 4 or images.shape[1:] != (1, SIDE, SIDE):
        raise UsageError(f"planted attributes are read in images of (n, 1, 16, 16); these are {tuple(images.shape)}")
    pixels = images[:, 0].astype(np.float64) / (255 if images.dtype == np.uint8 else 1)
    middle = pixels[:, *MIDDLE].mean((1, 2))
    found = (
        pixels[:, *SQUARE].mean((1, 2)),
        pixels[:, *STRIPE].mean((1, 2)),
        (middle - DARK) / SPAN,
        pixels[:, border()].mean(1),
    )
    return np.stack(found, 1).clip(0, 1)


def plant(garments: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """Garments with attributes of the wanted strengths, (n, 1, 16, 16) uint8.

    Args:
        garments: (n, 1, 16, 16) uint8.
        wanted: (n, 4) in [0, 1]; reached to a gray value, but for brightness where a garment has too many black pixels.
    """
    pixels = garments[:, 0].astype(np.float64) / 255
    goal = DARK + SPAN * wanted[:, 2]
    for _ in range(ROUNDS):  # cutting at white takes brightness away again
        middle = pixels[:, *MIDDLE].mean((1, 2)).clip(0.02)
        pixels = (pixels * (goal / middle)[:, None, None]).clip(0, 1)
    pixels[:, *SQUARE] = wanted[:, 0, None, None]
    pixels[:, *STRIPE] = wanted[:, 1, None, None]
    pixels[:, border()] = wanted[:, 3, None]
    return (pixels * 255).round().astype(np.uint8)[:, None]


def drawn(count: int, name: str, *, clear: bool = False, confounded: bool = False, seed: int = 0) -> np.ndarray:
    """Strengths of the attributes of `count` images, (count, 4) in [0, 1], uniform and independent.

    Args:
        name: names the draws.
        clear: keep away from the middle, see `CLEAR`.
        confounded: the square is as strong as the garment is bright.
    """
    found = np.random.Generator(np.random.PCG64(derive(seed, "planted", name))).random((count, len(ATTRIBUTES)))
    if clear:
        found = np.where(found < 0.5, 2 * CLEAR * found, 1 - 2 * CLEAR * (1 - found))
    if confounded:
        found[:, ATTRIBUTES.index(CONFOUNDER)] = found[:, ATTRIBUTES.index(CONFOUNDED)]
    return found


def attributes_of(data: ImageSet) -> tuple[str, ...]:
    """The attributes that are planted in a data set, in the order of `strengths`; empty where none are known."""
    return ATTRIBUTES if data.name.startswith(KIND) else ()


def asked_of(data: ImageSet) -> str | None:
    """The attribute that the two classes of a data set are about, None for a data set without one.

    Example:
        >>> asked_of(planted("fmnist-planted-border"))
        'border'
    """
    name = data.name.partition("/")[0].removeprefix(KIND).removeprefix("-")
    return name if attributes_of(data) and name in ATTRIBUTES else None


def garments(part: str) -> ImageSet:
    """The images beneath, at half their size: see `models.data.fashion_mnist` for the parts."""
    from .variants import only

    return halved(only(fashion_mnist(part), GARMENTS, "garments"))


def halved(data: ImageSet) -> ImageSet:
    """Images of 32x32 at half the size, each pixel the mean of four."""

    def read(indices: Sequence[int]) -> np.ndarray:
        pixels = np.asarray(data.read(indices), np.float64).reshape(-1, 1, SIDE, 2, SIDE, 2)
        return pixels.mean((3, 5)).round().astype(np.uint8)

    return replace(data, shape=(1, SIDE, SIDE), read=read)


@lru_cache(maxsize=16)
def planted(name: str, seed: int = 0) -> ImageSet:
    """A data set of `NAMES`.

    Labels are whether the image has the attribute named, or, where none is named, which of the four is strongest.

    Raises:
        UsageError: unknown name.

    Example:
        >>> data = planted("fmnist-planted-square")
        >>> len(data), data.class_names, data.shape
        (4000, ('no square', 'square'), (1, 16, 16))
    """
    if name not in NAMES:
        raise UsageError(f"data {name!r} is unknown; allowed are {', '.join(NAMES)}{near(name, NAMES)}")
    stem, training = name.removesuffix("-train"), name.endswith("-train")
    about = stem.removeprefix(KIND).removeprefix("-")
    beneath = garments("train10k" if training else "test")
    count = len(beneath) * (REPEATS if training else 1)
    part = "train" if training else "test"
    # all versions but the confounded one show the same images
    confounded = about == "confounded"
    wanted = drawn(count, part, clear=not training, confounded=confounded, seed=seed)

    def read(indices: Sequence[int]) -> np.ndarray:
        chosen = list(indices)
        return plant(np.asarray(beneath.read([index % len(beneath) for index in chosen])), wanted[chosen])

    found = strengths(read(range(count)))
    if about in ATTRIBUTES:
        labels = (found[:, ATTRIBUTES.index(about)] > 0.5).astype(np.int64)
        classes: tuple[str, ...] = (f"no {about}" if about != "brightness" else "dark", _present(about))
    else:
        labels, classes = found.argmax(1).astype(np.int64), tuple(_present(each) for each in ATTRIBUTES)
    ids = [f"{stem}/{part}/{index:05d}" for index in range(count)]
    return ImageSet(f"{stem}/{part}", labels, ids, classes, (1, SIDE, SIDE), read)


def _present(attribute: str) -> str:
    return "bright" if attribute == "brightness" else attribute


STEMS = tuple(f"{KIND}-{each}" for each in ("all", *ATTRIBUTES, "confounded"))
NAMES = (*STEMS, *(f"{stem}-train" for stem in STEMS))


def cards() -> list[DataCard]:
    """What `bench list datasets` shows of them."""
    made, words = "made at run time from Fashion-MNIST", "garments with planted square, stripe, brightness, border"
    about = {
        f"{KIND}-all": "the strongest is the class",
        f"{KIND}-confounded": "the square is as strong as the garment is bright",
    }
    found = []
    for stem in STEMS:
        which = about.get(stem, f"two classes: with and without {stem.rpartition('-')[2]}")
        found.append(DataCard(stem, f"{words}; {which}", made, 4_000))
        found.append(DataCard(f"{stem}-train", f"{words}; {which}; of training images", made, 2 * TRAINING_GARMENTS))
    return found


TRAINING_GARMENTS = 3_953
"""Garments among the first 10,000 training images."""
