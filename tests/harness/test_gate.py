"""The gate on real runs: the same twice is clean; a broken explainer and a changed layer are found."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

import reports

ROOT = Path(__file__).parents[2]
pytestmark = pytest.mark.slow
MODEL = """
import torch
from torch import nn
def make():
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(3)
        model = nn.Sequential(nn.Conv2d(1, 8, 5, padding=2), nn.ReLU(), nn.AvgPool2d(4), nn.Flatten(), nn.Linear(8 * 64, 10))
    with torch.no_grad():
        {change}
    return model.eval()
"""
EXPLAINER = """
import torch, explainers
@explainers.register("mine", signed=True, version=1)
def mine(subject, images, targets, *, seed):
    images = images.detach().requires_grad_()
    logits = subject.logits(images)
    found = torch.autograd.grad(logits.gather(1, targets[:, None]).sum(), images)[0]
    return {result}
"""


def run(folder, change="pass", result="found"):
    """One run in a process and a folder of its own; model and explainer have the same names in every run."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "net.py").write_text(MODEL.format(change=change))
    (folder / "mine.py").write_text(EXPLAINER.format(result=result))
    command = [
        sys.executable, "-m", "bench", "run", "--suite", "smoke", "--model", "net.py:make", "--data", "fashion-mnist",
        "--plugin", "mine.py", "--explainers", "mine", "--images", "6", "--seeds", "4", "--jobs", "1", "--out", "run", "--quiet",
    ]  # fmt: skip
    done = subprocess.run(
        command, cwd=folder, env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True, timeout=300
    )
    assert done.returncode in (0, 3), done.stderr
    return folder / "run"


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    return run(tmp_path_factory.mktemp("base") / "a")


def test_two_runs_of_one_configuration_compare_clean(base, tmp_path):
    found = reports.compare_runs(base, run(tmp_path / "a"))
    assert found.exit_code == 0, found.rows[found.rows["outcome"] != "same"].to_string()
    assert set(found.rows["outcome"]) == {"same"} and set(found.verdicts["outcome"]) == {"same"}
    assert not found.rows["reason"].str.contains("reproducible").any()


def test_an_explainer_that_lost_its_hook_is_a_regression(base, tmp_path):
    """It answers with the image itself, as one does whose hook does nothing."""
    found = reports.compare_runs(base, run(tmp_path / "a", result="images.detach()"))
    own = found.verdicts[(found.verdicts["explainer"] == "mine") & (found.verdicts["check"] == "cascading")].iloc[0]
    assert found.exit_code == 1
    assert (own["baseline"], own["current"], own["outcome"]) == ("PASS", "FAIL", "worse")


def test_a_model_with_a_changed_layer_is_found(base, tmp_path):
    """A layer whose filters are all the same; and one that is cut off, so that nothing can be explained."""
    changed = reports.compare_runs(base, run(tmp_path / "a", change="model[4].weight.fill_(0.0)"))
    assert changed.exit_code == 1 and changed.count("newly-failing") > 0
    assert any("weights" in note for note in changed.notes)
    same = "model[0].weight.copy_(model[0].weight[:1].clone().expand_as(model[0].weight))"
    found = reports.compare_runs(base, run(tmp_path / "b", change=same))
    rows = found.rows[(found.rows["explainer"] == "mine") & (found.rows["check"] == "cascading")]
    assert not set(rows["outcome"]) <= {"same"}
