"""Small classifiers that explainers of probabilities are fitted to: of two classes, of one attribute or of several."""

from __future__ import annotations

from collections import OrderedDict

from torch import nn

from ..planted import ATTRIBUTES


class Pair(nn.Sequential):
    """Three 3x3 convolutions and two linear layers; normalised images (N, 1, side, side) -> (N, outputs) logits.

    Args:
        outputs: number of logits.
        side: height and width of the images, a multiple of 8.
    """

    def __init__(self, outputs: int = 2, side: int = 32) -> None:
        super().__init__(OrderedDict[str, nn.Module](
            conv1=nn.Conv2d(1, 16, 3, padding=1), relu1=nn.ReLU(), pool1=nn.MaxPool2d(2),
            conv2=nn.Conv2d(16, 32, 3, padding=1), relu2=nn.ReLU(), pool2=nn.MaxPool2d(2),
            conv3=nn.Conv2d(32, 64, 3, padding=1), relu3=nn.ReLU(), pool3=nn.MaxPool2d(2),
            flatten=nn.Flatten(), drop=nn.Dropout(0.3),
            fc1=nn.Linear(side * side, 64), relu4=nn.ReLU(), fc2=nn.Linear(64, outputs),
        ))  # fmt: skip


class Planted(Pair):
    """One sigmoid output per planted attribute, or two logits for one of them: 0, and the log-odds of its presence."""

    def __init__(self, attribute: str = "all") -> None:
        super().__init__(len(ATTRIBUTES) if attribute == "all" else 2, side=16)
