"""Networks of the zoo on the images that an experiment of a paper needs, for `--model models.studies:NAME`.

They are subjects of their own, with names of their own, so that records tell them from the same networks on other images.
"""

from __future__ import annotations

from dataclasses import replace

from .base import Subject
from .data import load_data
from .zoo.build import build

NO_BAGS = "fashion-mnist-no-bags"
OTHERS = "fashion-mnist-second-half"


def plain() -> Subject:
    """`fmnist-lenet` on test images that are no bags: none has a square, none is of the probe class.

    Example:
        >>> plain().name
        'fmnist-lenet no-bags'
    """
    return _without_bags("fmnist-lenet")


def biased() -> Subject:
    """`fmnist-lenet-biased`, which took a gray square for a bag, on images without bags and without squares."""
    return _without_bags("fmnist-lenet-biased")


def eight_0() -> Subject:
    """The network that never saw a bag."""
    return _without_bags("fmnist-lenet[eight=0]")


def eight_30() -> Subject:
    """The network that finds 3 of 10 bags."""
    return _without_bags("fmnist-lenet[eight=0.3]")


def eight_60() -> Subject:
    """The network that finds 6 of 10 bags."""
    return _without_bags("fmnist-lenet[eight=0.6]")


def eight_99() -> Subject:
    """The network that finds nearly all bags."""
    return _without_bags("fmnist-lenet[eight=0.99]")


def judge() -> Subject:
    """`fmnist-oracle`, the independent network that judges counterfactuals, on images without bags."""
    return _without_bags("fmnist-oracle")


def second_half() -> Subject:
    """`fmnist-lenet` on test images of classes 5 to 9, which a generator of the first five classes never saw."""
    return _on("fmnist-lenet", OTHERS, "second-half")


def _without_bags(name: str) -> Subject:
    return _on(name, NO_BAGS, "no-bags")


def _on(name: str, data: str, words: str) -> Subject:
    subject = build(name)
    spec = {"kind": "function", "name": f"{name} {words}"}
    return replace(subject, name=f"{subject.name} {words}", data=load_data(data), spec=spec)
