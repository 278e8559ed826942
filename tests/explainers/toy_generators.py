"""Generators as users write them, for tests: `tests/explainers/toy_generators.py:function`; and networks to explain with them."""

import torch
from torch import nn

from models.adapters import from_tensor
from models.seeds import generator as draw


class Squashed(nn.Module):
    """Every pixel is the sigmoid of a latent number of its own: it draws every image."""

    def __init__(self, *shape):
        super().__init__()
        self.shape = shape
        self.register_buffer("gain", torch.ones(1))

    def decode(self, z):
        return torch.sigmoid(self.gain * z).view(-1, *self.shape)

    def encode(self, images):
        return torch.logit(images.flatten(1).clamp(0.02, 0.98))


class Waves(nn.Module):
    """A few smooth patterns, squashed: it cannot draw every image, so that a residual is left."""

    def __init__(self, *shape):
        super().__init__()
        self.shape = shape
        channels, height, width = shape
        y, x = torch.meshgrid(torch.linspace(0, 1, height), torch.linspace(0, 1, width), indexing="ij")
        planes = []
        for channel in range(channels):
            for u, v in [(0, 0), (0, 1), (1, 0), (1, 1), (0, 2), (2, 0)]:
                plane = torch.zeros(shape)
                plane[channel] = torch.cos(torch.pi * u * y) * torch.cos(torch.pi * v * x)
                planes.append(plane.flatten())
        self.register_buffer("planes", torch.stack(planes))

    def decode(self, z):
        return torch.sigmoid(z @ self.planes - 1).view(-1, *self.shape)

    def encode(self, images):
        wanted = torch.logit(images.flatten(1).clamp(0.05, 0.95)) + 1
        return wanted @ torch.linalg.pinv(self.planes)


class Blind(nn.Module):
    """Waves without an encoder."""

    def __init__(self, *shape):
        super().__init__()
        self.waves, self.shape = Waves(*shape), shape
        self.latent = len(self.waves.planes)

    def decode(self, z):
        return self.waves.decode(z)


def pixels():
    return Squashed(1, 4, 4)


def waves():
    return Waves(1, 4, 4)


def probe_waves():
    return Waves(3, 16, 16)


class Sampled(Waves):
    """Waves whose encoder has a distribution."""

    def posterior(self, images):
        mean = self.encode(images)
        return mean, torch.full_like(mean, 0.1)


def sampled_waves():
    return Sampled(3, 16, 16)


def blind():
    return Blind(1, 4, 4)


class CountedPixels(Squashed):
    """Notes in `seen` how many images it draws at once."""

    def __init__(self, *shape):
        super().__init__(*shape)
        self.seen = []

    def decode(self, z):
        self.seen.append(len(z))
        return super().decode(z)


class CountedBlind(Blind):
    """The same without an encoder."""

    def __init__(self, *shape):
        super().__init__(*shape)
        self.seen = []

    def decode(self, z):
        self.seen.append(len(z))
        return super().decode(z)


def counted_pixels():
    return CountedPixels(1, 4, 4)


def counted_blind():
    return CountedBlind(1, 4, 4)


def not_a_number():
    made = Squashed(1, 4, 4)
    made.gain.fill_(float("nan"))
    return made


def bright():
    made = Squashed(1, 4, 4)
    decode = made.decode
    made.decode = lambda z: 2 * decode(z)
    return made


def classifier(seed=0, classes=10, count=32):
    """A smooth network of two layers with seeded weights on 4x4 images, and images that it is sure about."""
    g = draw(seed, "toy classifier")
    net = nn.Sequential(nn.Flatten(), nn.Linear(16, 32), nn.Tanh(), nn.Linear(32, classes))
    with torch.no_grad():
        for layer, size in ((net[1], 2.0), (net[3], 1.2)):
            layer.weight.normal_(0, size / layer.in_features**0.5 * 2, generator=g)
            layer.bias.normal_(0, 0.5, generator=g)
    images = torch.rand(count, 1, 4, 4, generator=g) * 0.9 + 0.05
    return from_tensor(net, images), images
