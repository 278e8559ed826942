"""Networks of the zoo's generators for gray images of 32x32: convolutional VAE and AE, DCGAN.

Source: Kingma & Welling 2014 (VAE), Higgins et al. 2017 (weight of the KL term), Radford et al. 2016 (DCGAN), Miyato et
al. 2018 (spectral norm), Arjovsky et al. 2017 (WGAN); widths chosen for two CPU cores.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm

WIDTHS = (32, 64, 128)


def _encoder(outputs: int) -> nn.Sequential:
    """(N, 1, 32, 32) in [0, 1] -> (N, outputs): three strided convolutions and a linear layer."""
    layers: list[nn.Module] = []
    channels = 1
    for width in WIDTHS:
        layers += [nn.Conv2d(channels, width, 4, 2, 1), nn.ReLU()]
        channels = width
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(channels * 16, outputs))


def _decoder(latent: int) -> nn.Sequential:
    """(N, latent) -> (N, 1, 32, 32) logits of pixels: a linear layer and three transposed convolutions."""
    layers: list[nn.Module] = [nn.Linear(latent, WIDTHS[-1] * 16), nn.ReLU(), nn.Unflatten(1, (WIDTHS[-1], 4, 4))]
    for width, following in zip(WIDTHS[::-1], (*WIDTHS[-2::-1], 0), strict=True):
        layers.append(nn.ConvTranspose2d(width, following or 1, 4, 2, 1))
        if following:
            layers.append(nn.ReLU())
    return nn.Sequential(*layers)


class ConvVae(nn.Module):
    """Variational autoencoder; its code of an image is the mean of the encoder's distribution.

    Example:
        >>> import torch
        >>> vae = ConvVae().eval()
        >>> vae.decode(vae.encode(torch.zeros(2, 1, 32, 32))).shape
        torch.Size([2, 1, 32, 32])
    """

    latent, shape = 32, (1, 32, 32)

    def __init__(self) -> None:
        super().__init__()
        self.encoder = _encoder(2 * self.latent)
        self.decoder = _decoder(self.latent)

    def moments(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and log variance (N, 32) each of the code's distribution."""
        mean, log_variance = self.encoder(images).chunk(2, dim=1)
        return mean, log_variance.clamp(-10, 10)

    def posterior(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and standard deviation (N, 32) each of the code's distribution."""
        mean, log_variance = self.moments(images)
        return mean, (0.5 * log_variance).exp()

    def encode(self, images: Tensor) -> Tensor:
        """Codes (N, 32) of images (N, 1, 32, 32) in [0, 1]."""
        return self.moments(images)[0]

    def logits(self, z: Tensor) -> Tensor:
        """Logits of pixels (N, 1, 32, 32)."""
        drawn: Tensor = self.decoder(z)
        return drawn

    def decode(self, z: Tensor) -> Tensor:
        """Images (N, 1, 32, 32) in [0, 1] of codes (N, 32)."""
        return torch.sigmoid(self.logits(z))


class ConvAe(nn.Module):
    """Autoencoder without a KL term; codes are shifted and scaled so that those of the training images are standard.

    Without that, distances and learning rates in the latent space would mean nothing.
    """

    latent, shape = 32, (1, 32, 32)
    centre: Tensor
    spread: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.encoder = _encoder(self.latent)
        self.decoder = _decoder(self.latent)
        self.register_buffer("centre", torch.zeros(self.latent))
        self.register_buffer("spread", torch.ones(self.latent))

    def encode(self, images: Tensor) -> Tensor:
        """Standardised codes (N, 32) of images (N, 1, 32, 32) in [0, 1]."""
        raw: Tensor = self.encoder(images)
        return (raw - self.centre) / self.spread

    def logits(self, z: Tensor) -> Tensor:
        """Logits of pixels (N, 1, 32, 32) of standardised codes."""
        drawn: Tensor = self.decoder(z * self.spread + self.centre)
        return drawn

    def decode(self, z: Tensor) -> Tensor:
        """Images (N, 1, 32, 32) in [0, 1] of standardised codes (N, 32)."""
        return torch.sigmoid(self.logits(z))


class DcganGenerator(nn.Module):
    """DCGAN's generator at reduced width, 128-64-32, from 32 standard normal dimensions; it has no encoder.

    Example:
        >>> import torch
        >>> DcganGenerator().eval().decode(torch.zeros(2, 32)).shape
        torch.Size([2, 1, 32, 32])
    """

    latent, shape = 32, (1, 32, 32)

    def __init__(self) -> None:
        super().__init__()
        layers: list[nn.Module] = [nn.Unflatten(1, (self.latent, 1, 1))]
        channels = self.latent
        for index, width in enumerate(WIDTHS[::-1]):
            stride, padding = (1, 0) if index == 0 else (2, 1)
            layers.append(nn.ConvTranspose2d(channels, width, 4, stride, padding, bias=False))
            layers += [nn.BatchNorm2d(width), nn.ReLU()]
            channels = width
        self.layers = nn.Sequential(*layers, nn.ConvTranspose2d(channels, 1, 4, 2, 1), nn.Tanh())

    def decode(self, z: Tensor) -> Tensor:
        """Images (N, 1, 32, 32) in [0, 1] of latent points (N, 32)."""
        return (self.layers(z) + 1) / 2


class DcganCritic(nn.Module):
    """DCGAN's discriminator 32-64-128 without batch norm, (N, 1, 32, 32) in [0, 1] -> (N,) scores.

    Args:
        spectral: bounds every layer's largest singular value to one (not with clipped weights).
    """

    def __init__(self, spectral: bool = True) -> None:
        super().__init__()
        bound = spectral_norm if spectral else (lambda layer: layer)
        layers: list[nn.Module] = []
        channels = 1
        for width in WIDTHS:
            layers += [bound(nn.Conv2d(channels, width, 4, 2, 1)), nn.LeakyReLU(0.2)]
            channels = width
        self.layers = nn.Sequential(*layers, nn.Flatten(), bound(nn.Linear(channels * 16, 1)))

    def forward(self, images: Tensor) -> Tensor:
        """Scores (N,), higher for images that look real."""
        scores: Tensor = self.layers(2 * images - 1)
        return scores.squeeze(1)
