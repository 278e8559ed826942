"""A small classifier of two classes that explainers of probabilities are fitted to."""

from __future__ import annotations

from collections import OrderedDict

from torch import nn


class Pair(nn.Sequential):
    """Three 3x3 convolutions and two linear layers; (N, 1, 32, 32) normalised images -> (N, 2) logits."""

    def __init__(self) -> None:
        super().__init__(OrderedDict[str, nn.Module](
            conv1=nn.Conv2d(1, 16, 3, padding=1), relu1=nn.ReLU(), pool1=nn.MaxPool2d(2),
            conv2=nn.Conv2d(16, 32, 3, padding=1), relu2=nn.ReLU(), pool2=nn.MaxPool2d(2),
            conv3=nn.Conv2d(32, 64, 3, padding=1), relu3=nn.ReLU(), pool3=nn.MaxPool2d(2),
            flatten=nn.Flatten(), drop=nn.Dropout(0.3),
            fc1=nn.Linear(1024, 64), relu4=nn.ReLU(), fc2=nn.Linear(64, 2),
        ))  # fmt: skip
