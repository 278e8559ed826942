"""The autoencoder of images and the variational autoencoder of embeddings.

Source: Utkin et al. 2021, sections IV and VI. The paper's last layer of the VAE has 15 units although its output is decoded
as a code of D = 20; here it has D.
"""

from __future__ import annotations

import itertools

import torch
from torch import Tensor, nn

CHANNELS, DENSE = (16, 32, 64), 128
HIDDEN, LAYERS, LATENT = 50, 5, 35


class Autoencoder(nn.Module):
    """Three convolutions and two dense layers down to a code in (-1, 1)^D, and the way back."""

    def __init__(self, channels: int, side: tuple[int, int], size: int) -> None:
        super().__init__()
        low = (CHANNELS[2], side[0] // 8, side[1] // 8)
        flat = low[0] * low[1] * low[2]
        a, b, c = CHANNELS
        self.encoder = nn.Sequential(
            *_shrink(channels, a), *_shrink(a, b), *_shrink(b, c), nn.Flatten(),
            nn.Linear(flat, DENSE), nn.ReLU(), nn.Linear(DENSE, size), nn.Tanh(),
        )  # fmt: skip
        self.decoder = nn.Sequential(
            nn.Linear(size, DENSE), nn.ReLU(), nn.Linear(DENSE, flat), nn.ReLU(), nn.Unflatten(1, low),
            *_grow(c, b), nn.ReLU(), *_grow(b, a), nn.ReLU(), *_grow(a, channels), nn.Sigmoid(),
        )  # fmt: skip

    def encode(self, images: Tensor) -> Tensor:
        """Codes (N, D) in (-1, 1) of images (N, C, H, W) in [0, 1]."""
        codes: Tensor = self.encoder(images)
        return codes

    def decode(self, codes: Tensor) -> Tensor:
        """Images (N, C, H, W) in [0, 1] of codes (N, D)."""
        images: Tensor = self.decoder(codes)
        return images


class VectorVae(nn.Module):
    """From embeddings in (-1, 1)^D through a Gaussian latent vector to codes of the autoencoder, all layers tanh."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.encoder = _dense(size)
        self.mean, self.spread = nn.Linear(HIDDEN, LATENT), nn.Linear(HIDDEN, LATENT)
        self.decoder = nn.Sequential(*_dense(LATENT), nn.Linear(HIDDEN, size), nn.Tanh())

    def encode(self, embeddings: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and log-variance of q(z | h), each (N, 35)."""
        hidden = self.encoder(embeddings)
        return self.mean(hidden), self.spread(hidden).clamp(-10, 4)

    def decode(self, points: Tensor) -> Tensor:
        """Codes (N, D) in (-1, 1) of latent points (N, 35)."""
        codes: Tensor = self.decoder(points)
        return codes


class AeVae(nn.Module):
    """Both networks, and the scale of the embeddings they were fitted to.

    Example:
        >>> import torch
        >>> pair = AeVae(1, (16, 16), 4).eval()
        >>> pair.decode(pair.codes(torch.randn(2, 4), torch.zeros(3, 35))).shape
        torch.Size([6, 1, 16, 16])
    """

    def __init__(self, channels: int, side: tuple[int, int], size: int) -> None:
        super().__init__()
        self.images = Autoencoder(channels, side, size)
        self.vectors = VectorVae(size)
        self.register_buffer("centre", torch.zeros(size))
        self.register_buffer("scale", torch.ones(size))
        self.register_buffer("shape", torch.tensor([channels, *side]))

    def aligned(self, embeddings: Tensor) -> Tensor:
        """Embeddings (N, D) standardised per dimension and squashed to (-1, 1), where the codes of a tanh layer live."""
        return torch.tanh((embeddings - self.centre) / self.scale / 2)

    def centres(self, embeddings: Tensor) -> Tensor:
        """g(h): the codes (N, D) at the mean of q(z | h)."""
        return self.vectors.decode(self.vectors.encode(self.aligned(embeddings))[0])

    def codes(self, embeddings: Tensor, noise: Tensor) -> Tensor:
        """Codes drawn around g(h).

        Args:
            embeddings: (N, D).
            noise: standard normal, (K, 35) for all or (N, K, 35).

        Returns:
            (N K, D), the K codes of the first embedding first.
        """
        mean, spread = self.vectors.encode(self.aligned(embeddings))
        points = mean[:, None] + (spread / 2).exp()[:, None] * noise
        return self.vectors.decode(points.flatten(0, 1))

    def decode(self, codes: Tensor) -> Tensor:
        """Images (N, C, H, W) in [0, 1] of codes (N, D)."""
        return self.images.decode(codes)


def _shrink(inside: int, outside: int) -> list[nn.Module]:
    return [nn.Conv2d(inside, outside, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)]


def _grow(inside: int, outside: int) -> list[nn.Module]:
    return [nn.Upsample(scale_factor=2), nn.Conv2d(inside, outside, 3, padding=1)]


def _dense(size: int) -> nn.Sequential:
    sizes = [size, *[HIDDEN] * LAYERS]
    return nn.Sequential(*(layer for a, b in itertools.pairwise(sizes) for layer in (nn.Linear(a, b), nn.Tanh())))
