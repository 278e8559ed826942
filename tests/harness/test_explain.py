"""`bench explain`: an explainer that refuses or breaks, and a place that cannot be written, are one message each."""

import re

import pytest
from typer.testing import CliRunner

from bench.cli import app
from tests.harness.support import MODEL

PLUGIN = """
import sys
import explainers
@explainers.register("explain-silent", signed=True)
def silent(subject, images, targets, *, seed):
    raise ValueError
@explainers.register("explain-quits", signed=True)
def quits(subject, images, targets, *, seed):
    sys.exit(0)
@explainers.register("explain-flat", signed=True)
def flat(subject, images, targets, *, seed):
    return images[:, 0]
"""


def explain(*words):
    result = CliRunner().invoke(app, ["explain", *(str(word) for word in words), "--model", MODEL])
    return result.exit_code, " ".join(result.output.split())


@pytest.fixture(scope="module")
def plugin(tmp_path_factory):
    """A file with explainers that break; one for all tests, since two files cannot register one name."""
    file = tmp_path_factory.mktemp("plugin") / "mine.py"
    file.write_text(PLUGIN)
    return file


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("cam", "cam: cam needs a network that ends in global average pooling.*bench inspect"),
        ("oracle", "oracle needs planted evidence"),
        ("word-contrast", "explains sentences"),
        ("explain-silent", "explain-silent failed on toy.py:model: ValueError; --verbose shows where"),
        ("explain-quits", "explain-quits failed on .*SystemExit: 0"),
        ("explain-flat", r"explain-flat returned \(1, 32, 32\)"),
    ],
)
@pytest.mark.parametrize("more", [(), ("--against", 3, "--target", 1)])
def test_an_explainer_that_gives_no_map_is_one_message(tmp_path, plugin, name, message, more):
    out = tmp_path / "new" / "a.png"
    code, said = explain(0, "--plugin", plugin, "--explainer", name, "--out", out, *more)
    assert code == 2 and "Traceback" not in said and not out.parent.exists()
    assert re.search(message, said), said


@pytest.mark.parametrize("image", ["", ","])
def test_no_image_is_one_message(tmp_path, image):
    code, said = explain(image, "--explainer", "saliency", "--out", tmp_path / "a.png")
    assert code == 2 and "give an image file" in said


def test_a_place_that_cannot_be_written_is_one_message(tmp_path):
    (tmp_path / "file").write_text("x")
    code, said = explain(0, "--explainer", "gradient", "--out", tmp_path / "file" / "a.png")
    assert code == 2 and "cannot be written" in said and "give another file" in said
