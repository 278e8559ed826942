"""A binary classifier of brightness and images of every brightness, for explainers that are fitted beforehand."""

import numpy as np
import torch
from torch import nn

from models.base import Subject
from models.data import ImageSet

SIDE = 8


class Brightness(nn.Module):
    """Log-odds 12 (mean - 1/2), over `classes` logits; a linear layer, so that it has a stage to speak of."""

    def __init__(self, classes=2):
        super().__init__()
        self.mean = nn.Linear(SIDE * SIDE, 4)
        self.last = nn.Linear(4, classes)
        with torch.no_grad():
            self.mean.weight.fill_(1 / SIDE**2)
            self.mean.bias.fill_(-0.5)
            self.last.weight.zero_()
            self.last.weight[1] = 3.0
            self.last.bias.zero_()

    def forward(self, x):
        return self.last(self.mean(x.flatten(1)))


def image_set(name, count, seed):
    """Noise of a brightness of its own on two halves of unlike shade, quantised to 8 bits."""
    draw = np.random.default_rng(seed)
    level = draw.uniform(0.1, 0.9, (count, 1, 1, 1))
    left = np.where(np.arange(SIDE) < SIDE // 2, 1.0, 0.6)
    pixels = np.clip(level * left + draw.normal(0, 0.03, (count, 1, SIDE, SIDE)), 0, 1)
    pixels = np.round(pixels * 255).astype(np.uint8)
    ids = [f"{name}/{index}" for index in range(count)]
    labels = (pixels.mean((1, 2, 3)) > 127).astype(np.int64)
    return ImageSet(name, labels, ids, ("dark", "light"), (1, SIDE, SIDE), lambda indices: pixels[list(indices)])


def subject(classes=2):
    """The classifier with 200 images to fit to and 64 others."""
    return Subject(
        "brightness", Brightness(classes).eval(), image_set("toy-test", 64, 1), image_set("toy-train", 200, 0)
    )
