"""Input that a person can get wrong, through the whole of `bench run`: exit code 2, one message, nothing left behind."""

import json
import re

import numpy as np
import pytest
from PIL import Image
from torch import nn
from typer.testing import CliRunner

from bench.cli import app
from models.adapters import from_module
from models.data import load_data
from tests.harness.support import MODEL

MODELS = """
import torch
from torch import nn
def net(*more): return nn.Sequential(nn.Flatten(), nn.Linear(1024, 10), *more)
def softmax(): return net(nn.Softmax(1))
def scripted(): return torch.jit.script(net())
def nan():
    made = net()
    made[1].weight.data.fill_(float("nan"))
    return made
class Mixing(nn.Module):
    def __init__(self):
        super().__init__()
        self.last = nn.Linear(1024, 10)
    def forward(self, x):
        return self.last(x.flatten(1) - x.flatten(1).mean(0))
"""


def folder(path, size=(32, 32), mode="L"):
    """Four images of noise in each of two classes."""
    draw = np.random.default_rng(0)
    for name in ("cat", "dog"):
        (path / name).mkdir(parents=True)
        for index in range(4):
            pixels = draw.integers(0, 256, size if mode == "L" else (*size, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(path / name / f"{index}.png")
    return path


def cut(path):
    """Keep the first half of a file."""
    raw = path.read_bytes()
    path.write_bytes(raw[: len(raw) // 2])
    return path


def npz(path, size):
    pixels = np.random.default_rng(0).integers(0, 256, (6, *size), dtype=np.uint8)
    np.savez(path, images=pixels, labels=np.zeros(6, int))
    return path


def truncated_images(tmp_path):
    """Every image: whichever is selected."""
    for file in (made := folder(tmp_path / "pets")).rglob("*.png"):
        cut(file)
    return ["--data", made]


def truncated_image_that_is_not_selected(tmp_path):
    """Three of eight images are explained; all that may be read for statistics must be whole."""
    made = folder(tmp_path / "pets")
    data = load_data(str(made))
    chosen = from_module(nn.Sequential(nn.Flatten(), nn.Linear(1024, 10)), data, name="x").select(3, 0)
    cut(made / data.ids[next(index for index in range(len(data)) if index not in chosen)].removeprefix("pets/"))
    return ["--data", made]


def one_image_of_another_size(tmp_path):
    made = folder(tmp_path / "pets")
    Image.new("L", (30, 32)).save(made / "dog" / "9.png")
    return ["--data", made]


def corrupt_image(tmp_path):
    made = folder(tmp_path / "pets")
    (made / "cat" / "0.png").write_bytes(b"no image at all")
    return ["--data", made]


def another_size(tmp_path):
    return ["--data", folder(tmp_path / "pets", (28, 28))]


def another_number_of_channels(tmp_path):
    return ["--data", folder(tmp_path / "pets", mode="RGB")]


def truncated_npz(tmp_path):
    return ["--data", cut(npz(tmp_path / "mine.npz", (32, 32)))]


def npz_without_padding(tmp_path):
    return ["--data", npz(tmp_path / "mine.npz", (28, 28))]


def model(function):
    def words(tmp_path):
        (tmp_path / "mine.py").write_text(MODELS)
        return ["--model", f"{tmp_path / 'mine.py'}:{function}"]

    return words


def chosen(*names):
    def words(tmp_path):
        return ["--explainers", ",".join(names)]

    return words


BAD = {
    "a parameter out of range": (
        chosen("integrated-gradients[steps=0]", "saliency"),
        r"gradients\[steps=0\]: steps is 0",
    ),
    "a layer that is not there": (chosen("saliency", "gradcam[layer=x]"), r"the model has no layer 'x'"),
    "weights of relevance that do not go together": (chosen("lrp[alpha=3]"), r"alpha - beta = 1"),
    "truncated images": (truncated_images, r"png cannot be decoded"),
    "a truncated image that is not selected": (truncated_image_that_is_not_selected, r"png cannot be decoded"),
    "one image of another size": (one_image_of_another_size, r"9\.png is 32x30, the first image is 32x32"),
    "a file that is no image": (corrupt_image, r"0\.png cannot be decoded"),
    "images of another size": (another_size, r"cannot take images of pets with shape \(8, 1, 28, 28\)"),
    "images with other channels": (
        another_number_of_channels,
        r"cannot take images of pets with shape \(8, 3, 32, 32\)",
    ),
    "a truncated npz": (truncated_npz, r"mine\.npz cannot be read as an \.npz"),
    "an npz of 28x28": (npz_without_padding, r"cannot take images of mine with shape \(6, 1, 28, 28\)"),
    "a model with softmax": (model("softmax"), r"ends in softmax .* remove it"),
    "a model that gives NaN": (model("nan"), r"gives NaN or infinite logits"),
    "a scripted model": (model("scripted"), r"is TorchScript"),
    "a model that mixes images": (model("Mixing"), r"mixes the images of a batch"),
}


def run(out, *words):
    given = [
        "run",
        "--suite",
        "smoke",
        "--explainers",
        "saliency",
        "--images",
        3,
        "--seeds",
        2,
        "--jobs",
        1,
        "--out",
        out,
    ]
    result = CliRunner().invoke(app, [str(word) for word in (*given, *words)])
    return result.exit_code, " ".join(result.output.split())


@pytest.mark.parametrize("case", BAD)
def test_bad_input_ends_with_one_message_and_leaves_nothing(case, tmp_path):
    make, message = BAD[case]
    code, said = run(tmp_path / "out", *make(tmp_path))
    assert code == 2, said
    assert re.search(message, said), said
    assert "Traceback" not in said and not (tmp_path / "out").exists()


@pytest.mark.slow
def test_a_folder_of_a_newer_version_is_left_alone(tmp_path):
    out = tmp_path / "out"
    code, said = run(out, "--model", MODEL)
    assert code == 0, said
    plan = json.loads((out / "plan.json").read_text())
    (out / "plan.json").write_text(json.dumps({**plan, "schema": plan["schema"] + 1}))
    before = {path: path.read_bytes() for path in out.rglob("*") if path.is_file()}
    code, said = run(out, "--model", MODEL)
    assert code == 2 and "newer" in said and "Traceback" not in said
    assert {path: path.read_bytes() for path in out.rglob("*") if path.is_file()} == before


def test_parameters_that_suit_one_of_several_models_are_not_refused(tmp_path):
    words = (
        "--model",
        "fmnist-lenet",
        "--model",
        "fmnist-vgg",
        "--explainers",
        "gradcam[layer=conv10]",
        "--images",
        1,
        "--seeds",
        1,
    )
    code, said = run(tmp_path / "out", *words)
    assert code == 3 and "has no layer 'conv10'" in said, said
