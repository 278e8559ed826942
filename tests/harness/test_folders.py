"""Where a user's files lie changes no name, no key, no draw and no record."""

import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import bench
import explainers
import models
import reports
from bench import runner
from bench.config import resolve
from explainers.contrastive.digests import generator_digest
from models.base import state_digest
from models.naming import UsageError, placeless
from models.randomize import randomized
from tests.harness.support import values

CODE = """
import torch
from torch import nn
import explainers


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(1, 2, 3, padding=1)
        self.fc = nn.Linear(2 * 4 * 4, 10)

    def forward(self, x):
        return self.fc(torch.nn.functional.avg_pool2d(torch.relu(self.conv(x)), 8).flatten(1))


def make():
    return Net()
"""
PLUGIN = '''
import explainers
import models


@explainers.register("of-a-generator", signed=True, params={"generator": "vae"})
def of_a_generator(subject, images, targets, *, seed, generator="vae"):
    """The image less what a generator makes of nothing."""
    return images - models.load_generator(generator).decode(images.new_zeros(1, 2)).mean()
'''
GENERATOR = """
import torch
latent, shape = 2, (1, 32, 32)


class Made:
    latent, shape = latent, shape

    def decode(self, z):
        return torch.sigmoid(z.sum(1)[:, None, None, None]).expand(-1, 1, 32, 32) + 0 * z.sum()


def make():
    return Made()
"""
TINY = {"suite": "smoke", "explainers": "gradient", "images": 1, "seeds": 1, "jobs": 1}


@pytest.fixture
def twice(tmp_path, monkeypatch):
    """The same files in two folders; the first is where we are: (relative, absolute, in the other folder)."""
    for name in ("here", "there/below"):
        folder = tmp_path / name
        folder.mkdir(parents=True)
        (folder / "mine.py").write_text(CODE)
        (folder / "made.py").write_text(GENERATOR)
    monkeypatch.chdir(tmp_path / "here")
    return "mine.py:make", f"{tmp_path}/here/mine.py:make", f"{tmp_path}/there/below/mine.py:make"


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("/a/b/c.py:f", "c.py:f"), ("../c.py:f", "c.py:f"), ("c.py:f", "c.py:f"), ("a.b:f", "a.b:f"),
        ("fmnist-vgg", "fmnist-vgg"), ("torchvision:resnet18?weights=DEFAULT", "torchvision:resnet18?weights=DEFAULT"),
    ],
)  # fmt: skip
def test_names_without_folders(text, name):
    assert placeless(text) == name


def test_a_model_is_the_same_subject_with_the_same_draws_in_any_folder(twice):
    subjects = [models.load(text) for text in twice]
    assert {subject.name for subject in subjects} == {"mine.py:make"}
    assert len({json.dumps(subject.identity()) for subject in subjects}) == 1
    drawn = [randomized(subject, subject.stages, base=0, seed=1) for subject in subjects]
    assert len({state_digest(each.model) for each in drawn}) == 1
    assert not any("/" in str(value) for value in (*subjects[1].spec.values(), subjects[1].identity()["name"]))


def test_draws_of_the_zoo_are_those_they_always_were():
    # Records on users' disks rest on these draws.
    subject = models.load("fmnist-vgg[norm=none]")
    drawn = randomized(subject, subject.stages[:2], base=0, seed=3)
    assert state_digest(drawn.model)[:16] == "80ae064c81b12023"
    assert set(subject.identity()) == {"name", "weights", "data", "reference", "mean", "std", "output"}


def test_another_architecture_with_the_same_weights_is_another_subject(twice):
    def identity(code):
        Path("mine.py").write_text(code)
        return models.load("mine.py:make").identity()

    plain = identity(CODE)
    assert identity(CODE.replace("torch.relu(", "torch.tanh(")) != plain
    assert identity(CODE.replace("padding=1", "padding=1, padding_mode='reflect'")) != plain
    assert identity(CODE + "\n\ndef another():\n    return None  # beside it\n") == plain
    assert {key for key, value in identity(CODE.replace("relu", "tanh")).items() if value != plain[key]} == {
        "architecture"
    }


def test_a_run_is_the_same_and_is_gone_on_with_from_any_folder(twice, tmp_path):
    done = bench.run(**TINY, model=twice[0], out=tmp_path / "a")
    assert done.complete and done.computed
    for text in twice[1:]:
        again = bench.run(**TINY, model=text, out=tmp_path / "a")
        assert again.complete and again.computed == 0
    bench.run(**TINY, model=twice[2], out=tmp_path / "b")
    assert values(tmp_path / "a").equals(values(tmp_path / "b"))
    assert set(values(tmp_path / "b")["subject"]) == {"mine.py:make"}
    plans = [reports.Store.open(tmp_path / name).plan() for name in ("a", "b")]
    assert plans[0] == plans[1] and str(tmp_path) not in json.dumps(plans)


def test_models_that_would_share_a_name_are_refused_unless_they_are_one(twice, tmp_path):
    prepared = runner.prepare(resolve({**TINY, "model": list(twice), "out": str(tmp_path / "a")}))
    alone = runner.prepare(resolve({**TINY, "model": twice[0], "out": str(tmp_path / "a")}))
    assert prepared.plan.keys == alone.plan.keys
    Path("mine.py").write_text(CODE.replace("torch.relu(", "torch.tanh("))
    with pytest.raises(UsageError, match=r"would both be called 'mine.py:make'.*different names"):
        runner.prepare(resolve({**TINY, "model": list(twice), "out": str(tmp_path / "a")}))


@pytest.fixture
def pets(tmp_path):
    """Two equal folders of images, and two equal archives."""
    generator = np.random.default_rng(0)
    pixels = generator.integers(0, 255, (4, 32, 32), np.uint8)
    for place in ("x", "y/z"):
        for index, label in enumerate(("cat", "dog") * 2):
            file = tmp_path / place / "pets" / label / f"{index}.png"
            file.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels[index]).save(file)
        np.savez(tmp_path / place / "pets.npz", images=pixels, labels=np.array([0, 1, 0, 1]))
    return tmp_path


def test_data_in_any_folder_and_however_it_is_spelled(pets, twice, monkeypatch):
    monkeypatch.chdir(pets / "x" / "pets")
    texts = [
        ".",
        str(pets / "x" / "pets"),
        str(pets / "y" / "z" / "pets") + "/",
        "../pets",
        os.path.join("..", "pets", ""),
    ]
    sets = [models.load_data(text) for text in texts]
    assert {(data.name, tuple(data.ids), data.digest(range(4))) for data in sets} == {
        ("pets", tuple(sets[1].ids), sets[1].digest(range(4)))
    }
    files = [models.load_data(str(pets / place / "pets.npz")) for place in ("x", "y/z")]
    assert len({(data.name, tuple(data.ids), data.digest(range(4))) for data in files}) == 1
    for place in ("x/pets", "y/z/pets"):
        done = bench.run(**TINY, model=twice[1], data=str(pets / place), out=pets / "run")
        assert done.complete and bool(done.computed) == (place == "x/pets")
    assert reports.Store.open(pets / "run").config["data"] == "pets"


def test_generators_in_any_folder(twice):
    texts = [text.replace("mine.py", "made.py") for text in twice]
    found = [models.load_generator(text) for text in texts]
    assert {each.name for each in found} == {"made.py:make"}
    assert len({json.dumps(each.identity()) for each in found}) == 1
    shown = [explainers.resolve(f"xgem[generator={text}]") for text in texts]
    assert len({explainers.label(spec) for spec in shown}) == 1
    assert len({json.dumps(explainers.identity(spec)) for spec in shown}) == 1
    Path("made.py").write_text(GENERATOR + "# another\n")
    assert explainers.identity(shown[0]) != explainers.identity(shown[2])


def test_a_generators_weights_are_known_by_their_content(tmp_path):
    files = [tmp_path / name for name in ("a.safetensors", "b.safetensors")]
    for file, content in zip(files, (b"one", b"other"), strict=True):
        file.write_bytes(content)
    assert generator_digest(str(files[0])) != generator_digest(str(files[1])) != ""
    shutil.copy(files[0], files[1])
    assert generator_digest(str(files[0])) == generator_digest(str(files[1]))


def test_the_cache_of_a_fit_is_no_part_of_its_explainer():
    here, there = (explainers.resolve(f"ae-vae[cache={place}]") for place in ("/a", "/b/c"))
    assert explainers.identity(here) == explainers.identity(there) and explainers.label(here) == "ae-vae"


def test_an_explainer_with_a_file_is_recorded_without_its_folder(twice, tmp_path):
    (tmp_path / "plugin.py").write_text(PLUGIN)
    options = {**TINY, "model": twice[0], "plugin": str(tmp_path / "plugin.py")}
    chosen = [f"of-a-generator[generator={tmp_path}/{folder}/made.py:make]" for folder in ("here", "there/below")]
    runs = []
    for number, text in enumerate(chosen):
        done = bench.run(**{**options, "explainers": text}, out=tmp_path / f"run{number}")
        assert done.complete, done.failed
        runs.append(values(done.path))
    assert runs[0].equals(runs[1]) and "of-a-generator[generator=made.py:make]" in set(runs[0]["explainer"])
    with pytest.raises(UsageError, match="would both be called"):
        runner.prepare(resolve({**options, "explainers": ",".join(chosen), "out": str(tmp_path / "c")}))


def test_the_source_of_a_class_is_found_where_two_files_share_a_name(twice):
    Path("mine.py").write_text(CODE.replace("torch.relu(", "torch.tanh("))
    one, other = models.load(twice[1]), models.load(twice[2])
    assert one.identity()["architecture"] != other.identity()["architecture"]
    assert torch.equal(one.model.fc.weight, other.model.fc.weight)
