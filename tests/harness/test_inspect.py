"""`bench inspect`: what it says of a model in text and for machines."""

import json

import pytest
from typer.testing import CliRunner

from bench.cli import app
from tests.harness.support import MODEL, TOY

FUNCTIONAL = """
import torch
import torch.nn.functional as F
from torch import nn
class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.last, self.first = nn.Linear(4, 10), nn.Conv2d(1, 4, 3)
    def forward(self, x):
        return self.last(F.gelu(self.first(x)).mean((2, 3)))
def make():
    torch.manual_seed(0)
    return Net()
"""


def inspect(*words):
    result = CliRunner().invoke(app, ["inspect", *(str(word) for word in words)])
    assert result.exit_code == 0, result.output
    return result.output


@pytest.fixture(scope="module")
def functional(tmp_path_factory):
    """A model of which many explainers are not valid, in a file."""
    path = tmp_path_factory.mktemp("models") / "functional.py"
    path.write_text(FUNCTIONAL)
    return f"{path}:make"


def test_text_says_layers_stages_activations_and_what_is_not_valid_and_why(functional):
    text = inspect("--model", functional)
    assert "layers in order of execution (2):\n  first Conv2d, last Linear" in text
    assert "stages, output first" in text and text.index("    1  last") < text.index("    2  first")
    assert "1 x gelu by function" in text and "functional.py:10" in text
    assert "valid explainers" in text and "not valid: guided-backprop: guided-backprop has no rule for" in text
    assert "gelu silently keep the plain gradient" in text


def test_json_holds_the_same_for_machines():
    found = json.loads(inspect("--model", MODEL, "--plugin", TOY, "--json"))
    assert [(layer["path"], layer["type"]) for layer in found["layers"]] == [
        ("conv", "Conv2d"), ("relu", "ReLU"), ("pool", "AvgPool2d"), ("fc", "Linear"),
    ]  # fmt: skip
    assert [(stage["index"], stage["name"]) for stage in found["stages"]] == [(1, "fc"), (2, "conv")]
    assert found["activations"][0]["operation"] == "relu" and found["activations"][0]["module"] == "relu"
    validity = {each["explainer"]: each for each in found["explainers"]}
    assert validity["lrp-a1b0"]["valid"] and validity["toy-gradient"]["valid"]
    assert not validity["cam"]["valid"] and validity["cam"]["reason"]
    assert found["operations"] and found["hooks"] == []


def test_a_model_that_cannot_be_questioned_is_a_usage_error(functional):
    result = CliRunner().invoke(app, ["inspect", "--model", functional.replace(":make", ":mke")])
    assert result.exit_code == 2 and "did you mean 'make'" in result.output and "Traceback" not in result.output


CUT = """
import torch
from torch import nn
class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.last = nn.Linear(1024, 10)
    @torch.no_grad()
    def forward(self, x):
        return self.last(x.flatten(1))
class Refusing(Net):
    def forward(self, x):
        if torch.is_grad_enabled():
            raise RuntimeError("gradients must be off")
        return self.last(x.flatten(1))
"""


def test_a_model_without_gradients_is_valid_for_no_method_that_needs_them(tmp_path):
    (tmp_path / "cut.py").write_text(CUT)
    found = json.loads(inspect("--model", f"{tmp_path / 'cut.py'}:Net", "--json"))
    validity = {each["explainer"]: each for each in found["explainers"]}
    for name in ("gradient", "integrated-gradients", "smoothgrad", "guided-backprop", "lrp-a1b0", "deeplift"):
        assert not validity[name]["valid"] and "have no gradient" in validity[name]["reason"]
    assert validity["occlusion"]["valid"] and validity["edge-detector"]["valid"]
    result = CliRunner().invoke(app, ["inspect", "--model", f"{tmp_path / 'cut.py'}:Refusing"])
    assert result.exit_code == 2 and "fails as soon as gradients are recorded" in result.output
