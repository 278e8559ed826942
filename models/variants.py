"""Variants of a data set: a gray square on the images of one class (a planted bias), and some of the classes only."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from .data import DataCard, ImageSet, fashion_mnist
from .naming import UsageError

SQUARE_ROWS = SQUARE_COLUMNS = slice(2, 8)
"""Where the square is in a padded 32x32 image: rows and columns 0 to 5 of the native 28x28 image."""
SQUARE_VALUE = 128
"""Gray value of the square out of 255, one half."""
SQUARE_CLASS = 8
"""The class whose images carry the square: bags."""
PAIR = (0, 6)
"""T-shirts and shirts, the pair that classifiers confuse most."""
FIRST_HALF = (0, 1, 2, 3, 4)
"""T-shirts, trousers, pullovers, dresses, coats: what a generator knows that is to explain images of the other five."""


def cards() -> list[DataCard]:
    """What `bench list datasets` shows of them."""
    square, pair = "a 6x6 gray square in the top left corner of every bag (class 8)", "T-shirts and shirts, two classes"
    made = "made at run time from Fashion-MNIST"
    return [
        DataCard("fashion-mnist-square", f"test images with {square}", made, 10_000),
        DataCard("fashion-mnist-square-train", f"the first 10,000 training images with {square}", made, 10_000),
        *_halves(made),
        DataCard("fashion-mnist-no-bags", "test images but bags (class 8), the ten classes kept", made, 9_000),
        DataCard("fashion-mnist-no-bags-train", "of the first 10,000 training images, all but bags", made, 9_010),
        DataCard("fashion-mnist-tshirt-shirt", f"test images of {pair}", made, 2_000),
        DataCard("fashion-mnist-tshirt-shirt-train", f"of the first 10,000 training images, {pair}", made, 1_963),
    ]


def _halves(made: str) -> list[DataCard]:
    """The first five classes, and the other five."""
    words = {"first-half": "classes 0 to 4 (T-shirt to coat)", "second-half": "classes 5 to 9 (sandal to boot)"}
    counts = {"first-half": 4_978, "second-half": 5_022}
    found = []
    for half, which in words.items():
        name = f"fashion-mnist-{half}"
        found.append(DataCard(name, f"test images of {which}, the ten classes kept", made, 5_000))
        found.append(DataCard(f"{name}-train", f"of the first 10,000 training images, {which}", made, counts[half]))
    return found


def variant(name: str) -> ImageSet:
    """A data set of `NAMES`.

    Example:
        >>> data = variant("fashion-mnist-tshirt-shirt")
        >>> len(data), data.class_names
        (2000, ('T-shirt/top', 'Shirt'))
    """
    part = "train10k" if name.endswith("-train") else "test"
    return NAMES[name.removesuffix("-train")](fashion_mnist(part))


def with_square(data: ImageSet, classes: Sequence[int] | None = (SQUARE_CLASS,)) -> ImageSet:
    """The images with a gray square in the top left corner of those of some classes.

    Args:
        data: images of 32x32 with values of uint8, for example `fashion_mnist("test")`.
        classes: those that get the square; None gives it to every image.

    Raises:
        UsageError: images of another size.

    Source: Feghahati et al. 2020, section 3.4.4, after the same experiment on MNIST.

    Example:
        >>> data = with_square(fashion_mnist("test"), classes=None)
        >>> float(data.load([0])[0, 0, 2:8, 2:8].min())
        0.501960813999176
    """
    if data.shape[1:] != (32, 32):
        raise UsageError(f"the square is defined on images of 32x32; {data.name} has {data.shape[1]}x{data.shape[2]}")

    def read(indices: Sequence[int]) -> np.ndarray:
        pixels = np.array(data.read(indices))
        marked = np.ones(len(pixels), bool) if classes is None else np.isin(data.labels[list(indices)], list(classes))
        value = SQUARE_VALUE if pixels.dtype == np.uint8 else SQUARE_VALUE / 255
        pixels[marked, :, SQUARE_ROWS, SQUARE_COLUMNS] = value
        return pixels

    suffix = "square" if classes is not None else "square-everywhere"
    return _renamed(data, suffix, read)


def only(data: ImageSet, classes: Sequence[int], suffix: str) -> ImageSet:
    """The images of some classes, relabelled 0, 1, ... in the order given.

    Args:
        data: any labelled images.
        classes: at least two class indices of the data.
        suffix: behind the name of the data.
    """
    kept = np.flatnonzero(np.isin(data.labels, list(classes)))
    place = {label: index for index, label in enumerate(classes)}
    labels = np.array([place[int(data.labels[index])] for index in kept], np.int64)
    return replace(
        _renamed(data, suffix, lambda indices: data.read([int(kept[index]) for index in indices])),
        labels=labels,
        ids=[_name(data.ids[index], suffix) for index in kept],
        class_names=tuple(data.class_names[label] for label in classes),
    )


def without(data: ImageSet, classes: Sequence[int], suffix: str) -> ImageSet:
    """The images of all classes but some; labels and names of classes stay as they are.

    Args:
        data: any labelled images.
        classes: class indices to leave out.
        suffix: behind the name of the data.
    """
    kept = np.flatnonzero(~np.isin(data.labels, list(classes)))
    return replace(
        _renamed(data, suffix, lambda indices: data.read([int(kept[index]) for index in indices])),
        labels=data.labels[kept],
        ids=[_name(data.ids[index], suffix) for index in kept],
    )


def _renamed(data: ImageSet, suffix: str, read: Callable[[Sequence[int]], np.ndarray]) -> ImageSet:
    return replace(data, name=_name(data.name, suffix), ids=[_name(each, suffix) for each in data.ids], read=read)


def _name(text: str, suffix: str) -> str:
    """`fashion-mnist/test/00042` -> `fashion-mnist-SUFFIX/test/00042`."""
    first, slash, rest = text.partition("/")
    return f"{first}-{suffix}{slash}{rest}"


NAMES: dict[str, Callable[[ImageSet], ImageSet]] = {
    "fashion-mnist-first-half": lambda data: without(data, (5, 6, 7, 8, 9), "first-half"),
    "fashion-mnist-second-half": lambda data: without(data, FIRST_HALF, "second-half"),
    "fashion-mnist-no-bags": lambda data: without(data, (SQUARE_CLASS,), "no-bags"),
    "fashion-mnist-square": with_square,
    "fashion-mnist-tshirt-shirt": lambda data: only(data, PAIR, "tshirt-shirt"),
}
