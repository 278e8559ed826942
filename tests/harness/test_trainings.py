"""The page of what networks reached and took, and that what a training took is kept."""

import json

import pytest
from torch import nn
from typer.testing import CliRunner

from bench import trainings
from bench.cli import app
from explainers.contrastive import fits
from models.zoo import catalogue, recipes


def test_times_are_shown_where_they_were_taken_and_nowhere_else():
    entries = {
        "fmnist-vgg-none": {"accuracy": 0.92},
        "fashion-mnist-vae": {"figures": {"mse": 0.0091, "relative-residual": 0.2325}, "cpu_seconds": 150.0},
    }
    assert trainings.zoo(entries) == [
        ("`fmnist-vgg[norm=none]`", "accuracy 0.92", "not recorded"),
        ("`fashion-mnist-vae`", "mse 0.0091, relative residual 0.233", "2.5"),
    ]
    wall = {"error": 0.05, "seconds": 1225.1, "held_out": {"span": 0.9}}
    rows = trainings.fitted(
        {"a.safetensors": {"report": wall}, "b.safetensors": {"report": {**wall, "cpu_seconds": 6}}}
    )
    assert rows == [
        ("`a`", "error 0.05; held out: span 0.9", "not recorded"),
        ("`b`", "error 0.05; held out: span 0.9", "0.1"),
    ]


def test_everything_that_is_shipped_has_a_row(tmp_path):
    trainings.main(["--out", str(tmp_path / "page.md")])
    text = (tmp_path / "page.md").read_text()
    fitted = json.loads((fits.SHIPPED / "manifest.json").read_text())
    assert all(f"| `{name.removesuffix('.safetensors')}` |" in text for name in fitted)
    assert sum(line.startswith("| `") for line in text.splitlines()) == (
        len(fitted) + len(catalogue.manifest()) + len(trainings.texts({})) + text.count("| `text:")
    )
    assert "| `fmnist-vgg[norm=none]` |" in text and "| `text:reviews` |" in text and "| `fmnist-lenet` |" in text


def test_a_shipped_network_keeps_the_processor_time_of_its_recipe(tmp_path, monkeypatch):
    network = recipes.fresh_network(*catalogue.member("fmnist-siamese"))
    for module in (recipes, catalogue):
        monkeypatch.setattr(module, "FOLDER", tmp_path)
        monkeypatch.setattr(module, "MANIFEST", tmp_path / "manifest.json")
    monkeypatch.setattr(recipes, "training_images", lambda: None)

    def recipe(found, params, data, *, epochs, log):
        sum(range(2_000_000))
        return recipes.Trained(network, {"auc": 0.9}, {"epochs": epochs})

    monkeypatch.setattr(recipes, "recipe_of", lambda found: recipe)
    made = recipes.make("fmnist-siamese", epochs=3)
    assert made.cpu_seconds is not None and 0 <= made.cpu_seconds < 10 and isinstance(made.network, nn.Module)
    recipes.ship("fmnist-siamese", made)
    kept = json.loads((tmp_path / "manifest.json").read_text())["fmnist-siamese"]
    assert kept["cpu_seconds"] == made.cpu_seconds and kept["schedule"] == {"epochs": 3}


@pytest.mark.parametrize("name", ["text:reviews", "fmnist-lenet"])
def test_train_takes_sentences_and_images(name, monkeypatch):
    monkeypatch.setattr("models.text.recipes.train", lambda name, out: {"name": f"sentences {name}"})
    monkeypatch.setattr("models.zoo.recipes.train", lambda name, out: {"name": f"images {name}"})
    result = CliRunner().invoke(app, ["train", name])
    assert result.exit_code == 0, result.output
    assert f"name: {'sentences' if 'text' in name else 'images'} {name}" in result.output
