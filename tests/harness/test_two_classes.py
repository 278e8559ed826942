"""The picture of one image explained for two classes."""

from __future__ import annotations

import pytest
from PIL import Image

import explainers
import models
from bench.two_classes import draw
from models.naming import UsageError


@pytest.fixture(scope="module")
def subject():
    return models.load("fmnist-mosaic")


def test_one_image_for_two_classes_with_the_correlation_of_the_maps(subject, tmp_path) -> None:
    first, second = subject.data.truth.present(0)[:2]
    chosen = explainers.select("gradient,edge-detector")
    said = draw(subject, "0", chosen, tmp_path / "a" / "two.png", against=second, target=first).splitlines()
    assert said[1] == "edge-detector: correlation of the two maps 1.000"
    assert said[0].startswith("gradient: ") and -1 <= float(said[0].split()[-1]) < 0.9
    with Image.open(tmp_path / "a" / "two.png") as picture:
        assert min(picture.size) > 100 and len(picture.convert("L").getcolors() or range(256)) > 20


@pytest.mark.parametrize(
    ("options", "what"),
    [
        ({"against": 3, "target": 3}, "both classes are 3"),
        ({"against": 10}, "--against is 10; the classes of fmnist-mosaic are 0 to 9"),
        ({"against": 1, "target": -1}, "--target is -1"),
    ],
)
def test_classes_that_cannot_be_compared_are_refused(subject, options, what, tmp_path) -> None:
    with pytest.raises(UsageError, match=what):
        draw(subject, "0", explainers.select("edge-detector"), tmp_path / "two.png", **options)


def test_other_suffixes_are_refused(subject, tmp_path) -> None:
    with pytest.raises(UsageError, match="ends in .png"):
        draw(subject, "0", explainers.select("edge-detector"), tmp_path / "two.gif", against=1)
