import json

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import explainers
import models
from explainers.preflight import inspect
from models.adapters import from_tensor


def valid(found):
    return {each.explainer for each in found.explainers if each.valid}


def test_the_thesis_network_is_fine_for_every_explainer():
    found = inspect(models.load("fmnist-vgg"))
    assert set(explainers.names()) - valid(found) <= {"oracle", "cam"}
    assert all(a.module for a in found.activations) and not any("GuidedBackprop" in line for line in found.hooks)
    assert dict(found.operations)["conv2d"] == 10 and dict(found.operations)["relu"] == 12


def test_the_functional_writing_would_deceive_hooks():
    found = inspect(models.load("fmnist-vgg-functional"))
    line = next(line for line in found.hooks if "GuidedBackprop" in line)
    assert "12 of 12" in line and "equals the plain gradient" in line and "vgg.py:" in line
    assert "guided-backprop" in valid(found)


class Mixed(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv, self.relu, self.fc = nn.Conv2d(1, 4, 3, padding=1), nn.ReLU(), nn.Linear(4, 3)

    def forward(self, x):
        h = self.conv(x)
        h = self.relu(h) + h
        h = self.relu(F.max_pool2d(h, 3, 2))
        return self.fc(F.gelu(h).mean((2, 3)))


def test_faults_are_found_and_explained():
    found = inspect(from_tensor(Mixed(), torch.rand(2, 1, 8, 8)))
    text = "\n".join(found.hooks)
    for part in ("second reader", "gelu", "more than once", "overlapping"):
        assert part in text
    bad = {each.explainer: each.reason for each in found.explainers if not each.valid}
    assert "gelu" in bad["guided-backprop"] and "gelu" in bad["lrp-a1b0"] and "saliency" in valid(found)


def test_layers_stand_in_the_order_in_which_they_are_executed():
    class Nested(nn.Module):
        def __init__(self):
            super().__init__()
            self.last, self.unused = nn.Linear(4, 3), nn.Linear(3, 3)
            self.body = nn.Sequential(nn.Conv2d(1, 4, 3, padding=1), nn.ReLU())
            self.again, self.attend = nn.Conv2d(4, 4, 1), nn.MultiheadAttention(4, 1, batch_first=True)

        def forward(self, x):
            h = self.again(F.relu(self.again(self.body(x)))).flatten(2).transpose(1, 2)
            return self.last(self.attend(query=h, key=h, value=h)[0].mean(1))

    found = inspect(from_tensor(Nested(), torch.rand(2, 1, 8, 8)))
    assert [(layer.path, layer.type) for layer in found.layers] == [
        ("body.0", "Conv2d"), ("body.1", "ReLU"), ("again", "Conv2d"), ("again", "Conv2d"), ("attend", "MultiheadAttention"),
        ("last", "Linear"),
    ]  # fmt: skip
    assert "layers in order of execution (6):\n  body.0 Conv2d, body.1 ReLU, again Conv2d, again" in found.text()


def test_the_model_is_left_alone_and_the_result_is_json():
    subject = models.load("fmnist-vgg")
    before = subject.checksum()
    found = inspect(subject)
    assert subject.checksum() == before
    assert json.loads(json.dumps(found.json()))["subject"] == "fmnist-vgg" and "stages" in found.text()


def test_a_network_without_convolutions_refuses_gradcam():
    net = nn.Sequential(nn.Flatten(), nn.Linear(16, 8), nn.ReLU(), nn.Linear(8, 2))
    reasons = {
        e.explainer: e.reason for e in inspect(from_tensor(net, torch.rand(2, 1, 4, 4))).explainers if not e.valid
    }
    assert "convolutional layer" in reasons["gradcam"]


@pytest.mark.parametrize("name", ["fmnist-vgg", "fmnist-vgg-functional"])
def test_pictures(tmp_path, name):
    from explainers.pictures import draw
    from models.naming import UsageError

    subject = models.load(name)
    chosen = explainers.select("saliency,gradcam,constant")
    text = draw(subject, "3", chosen, tmp_path / "a.png")
    assert (tmp_path / "a.png").stat().st_size > 5000 and "constant: degenerate-constant" in text
    for image, out, target in (
        ("10001", "b.png", None),
        ("3", "b.gif", None),
        ("3", "b.png", 10),
        (__file__, "b.png", None),
    ):
        with pytest.raises(UsageError):
            draw(subject, image, chosen, tmp_path / out, target=target)
