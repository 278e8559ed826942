"""The blocks of the README that a reader copies: one's own explainer and one's own model, run as they stand there."""

import re

import numpy as np
import pytest
import torch
import torchvision
from PIL import Image
from typer.testing import CliRunner

import explainers
import models
import reports
from bench.cli import app
from tests.harness.support import MODEL, ROOT


def block(name):
    """The Python block of the README that begins with the name of its file."""
    (found,) = re.findall(rf"```python\n(# {re.escape(name)}\n.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    return found


def run(*words):
    result = CliRunner().invoke(
        app, ["run", "--suite", "smoke", "--images", "3", "--seeds", "2", "--jobs", "1", *(str(w) for w in words)]
    )
    assert result.exit_code == 0, result.output
    return result.output


@pytest.fixture
def mine(tmp_path, monkeypatch):
    """A folder in which a reader has done what the README says, with random weights and images of noise."""
    (tmp_path / "mine.py").write_text(block("mine.py"))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        torch.save(torchvision.models.resnet18(num_classes=10).state_dict(), tmp_path / "mine.pt")
    draw = np.random.default_rng(0)
    for name in ("cat", "dog"):
        (tmp_path / "my_images" / name).mkdir(parents=True)
        for index in range(2):
            pixels = draw.integers(0, 256, (32, 32, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(tmp_path / "my_images" / name / f"{index}.png")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_your_own_explainer_runs_as_it_stands_there(tmp_path):
    (tmp_path / "my_explainer.py").write_text(block("my_explainer.py"))
    out = tmp_path / "run"
    said = run("--plugin", tmp_path / "my_explainer.py", "--explainers", "my-method,smoothgrad[samples=2](my-method)",
               "--model", MODEL, "--out", out)  # fmt: skip
    assert "my-method" in said
    frame = reports.load(out)
    own = frame[frame["explainer"] == "my-method"]
    assert len(own) and set(own["status"]) <= {"ok", "not-applicable"}


def test_your_own_model_loads_as_it_stands_there(mine):
    subject = models.load("mine.py:network", data="my_images")
    assert subject.num_classes == 10 and subject.class_names[:2] == ("cat", "dog") and len(subject.stages) == 21
    images, _ = subject.sample(2, seed=0)
    assert explainers.get("guided-backprop").explain(subject, images).status == ("ok", "ok")


@pytest.mark.slow
def test_your_own_model_is_tested_as_it_stands_there(mine):
    said = run("--model", "mine.py:network", "--data", "my_images", "--explainers", "saliency", "--out", "run")
    assert "saliency" in said and set(reports.load("run")["subject"]) == {"mine.py:network"}
