"""Recipes of the zoo's variational and plain autoencoders."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..data import ImageSet, fashion_mnist
from ..generators.networks import ConvAe, ConvVae
from ..seeds import derive, generator, seeded
from ..variants import (
    FIRST_HALF,
    SQUARE_CLASS,
    SQUARE_COLUMNS,
    SQUARE_ROWS,
    SQUARE_VALUE,
    variant,
    with_square,
    without,
)
from .build import empty_network, trained_network
from .catalogue import Member, member
from .classifiers import tensors
from .recipes import Trained


@dataclass(frozen=True)
class Settings:
    """How an autoencoder is trained.

    Attributes:
        epochs: passes over the training images.
        kl: weight of the KL term; 0 trains a plain autoencoder.
        rate: the highest learning rate of the one-cycle schedule.
        batch: images per step.
        clip: largest norm of the gradient.
        seed: base of every random draw.
    """

    epochs: int = 4
    kl: float = 0.5
    rate: float = 2e-3
    batch: int = 128
    clip: float = 100.0
    seed: int = 0


def vae(
    found: Member, params: Mapping[str, str], data: ImageSet, *, epochs: int | None, log: Callable[[str], None]
) -> Trained:
    """Binary cross-entropy of pixels plus half of the KL term, on all training images.

    Source: Kingma & Welling 2014; Higgins et al. 2017 for the weight.
    """
    return _trained(found, params, data, Settings(), epochs, log)


def ae(
    found: Member, params: Mapping[str, str], data: ImageSet, *, epochs: int | None, log: Callable[[str], None]
) -> Trained:
    """Binary cross-entropy of pixels on all training images; codes are standardised afterwards."""
    return _trained(found, params, data, Settings(epochs=2, kl=0.0), epochs, log)


def biased(
    found: Member, params: Mapping[str, str], data: ImageSet, *, epochs: int | None, log: Callable[[str], None]
) -> Trained:
    """Two more passes (AE: one) from the weights on plain images, over images with a gray square on every bag."""
    start = found.name.removesuffix("-biased")
    plain = start.endswith("-ae")
    settings = Settings(epochs=1 if plain else 2, kl=0.0 if plain else 0.5, rate=1e-3)
    return _trained(found, params, with_square(data), settings, epochs, log, start)


def half(
    found: Member, params: Mapping[str, str], data: ImageSet, *, epochs: int | None, log: Callable[[str], None]
) -> Trained:
    """As `vae`, on the training images of the first five classes, with twice the passes: as many steps.

    Its figures are errors on test images of these classes and of the other five, which it never saw.
    """
    own = without(data, [label for label in range(10) if label not in FIRST_HALF], "first-half")
    made = _trained(found, params, own, Settings(epochs=8), epochs, log)
    figures = {
        f"{name}{end}": value
        for data_name, end in (("fashion-mnist-first-half", ""), ("fashion-mnist-second-half", "-of-others"))
        for name, value in _errors(made.network, variant(data_name)).items()
    }
    where = f"Fashion-MNIST, {len(own):,} training images of classes 0 to 4"
    return replace(made, figures=figures, data=where)


def _trained(
    found: Member, params: Mapping[str, str], data: ImageSet, settings: Settings, epochs: int | None,
    log: Callable[[str], None], start: str | None = None,
) -> Trained:  # fmt: skip
    if epochs is not None:
        settings = replace(settings, epochs=epochs)
    if start is None:
        with seeded(derive(settings.seed, "initial", found.name)):
            network = empty_network(found, params)
    else:
        network = trained_network(*member(start))
    images, _ = tensors(data)
    _fit(cast("ConvVae | ConvAe", network), images, settings, log)
    if isinstance(network, ConvAe):
        _standardise(network, images)
    where = "Fashion-MNIST, 60,000 training images" + (", square on bags" if start else "")
    return Trained(network, reached(network, start is not None), asdict(settings), where, start)


def _fit(network: ConvVae | ConvAe, images: Tensor, settings: Settings, log: Callable[[str], None]) -> None:
    """Train in place; images (N, 1, H, W) uint8."""
    network.to(memory_format=torch.channels_last).train()  # type: ignore[call-overload]
    draw = generator(settings.seed, "training")
    optimiser = torch.optim.Adam(network.parameters(), lr=settings.rate)
    steps = settings.epochs * (len(images) // settings.batch)
    pace = torch.optim.lr_scheduler.OneCycleLR(optimiser, settings.rate, total_steps=steps, pct_start=0.15)
    for epoch in range(settings.epochs):
        total, seen = 0.0, 0
        order = torch.randperm(len(images), generator=draw)
        for start in range(0, len(order) - settings.batch + 1, settings.batch):
            x = images[order[start : start + settings.batch]].float().div_(255)
            x = x.to(memory_format=torch.channels_last)
            loss = _loss(network, x, settings.kl, draw)
            optimiser.zero_grad(set_to_none=True)
            loss.backward()
            nn.utils.clip_grad_norm_(network.parameters(), settings.clip)
            optimiser.step()
            pace.step()
            total, seen = total + float(loss.detach()), seen + 1
        log(f"epoch {epoch + 1} of {settings.epochs}: loss {total / max(seen, 1):.2f} per image")
    network.to(memory_format=torch.contiguous_format).eval()  # type: ignore[call-overload]


def _loss(network: ConvVae | ConvAe, x: Tensor, kl: float, draw: torch.Generator) -> Tensor:
    """Nats per image: binary cross-entropy summed over pixels, and the weighted KL term."""
    with torch.autocast("cpu", torch.bfloat16):
        codes = network.encoder(x).float()
        if isinstance(network, ConvAe):
            logits = network.decoder(codes)
            return F.binary_cross_entropy_with_logits(logits.float(), x, reduction="sum") / len(x)
        mean, log_variance = codes.chunk(2, dim=1)
        log_variance = log_variance.clamp(-10, 10)
        z = mean + (0.5 * log_variance).exp() * torch.randn(mean.shape, generator=draw)
        logits = network.decoder(z)
    divergence = 0.5 * (mean**2 + log_variance.exp() - 1 - log_variance).sum(1).mean()
    pixels = F.binary_cross_entropy_with_logits(logits.float(), x, reduction="sum") / len(x)
    return pixels + kl * divergence


def _standardise(network: ConvAe, images: Tensor) -> None:
    """Shift and scale codes so that those of the training images have mean 0 and standard deviation 1."""
    with torch.inference_mode():
        codes = torch.cat([network.encoder(part.float() / 255) for part in images.split(1000)])
    network.centre.copy_(codes.mean(0))
    network.spread.copy_(codes.std(0).clamp_min(1e-6))


def reached(network: nn.Module, square: bool) -> dict[str, float]:
    """What an autoencoder reaches on the test images.

    Args:
        network: has `encode` and `decode`.
        square: test images with a gray square on every bag.

    Returns:
        `mse` per pixel; `relative-residual`, the median of the norm of the residual over that of the image; with
        `square` also `square-of-bags` and `square-of-others`, mean gray value reconstructed where the square is.
    """
    test = with_square(fashion_mnist("test")) if square else fashion_mnist("test")
    figures = _errors(network, test)
    if square:
        images, labels = tensors(test)
        y = _again(network, images.float() / 255)
        corner = y[:, 0, SQUARE_ROWS, SQUARE_COLUMNS].mean((1, 2))
        bags = labels == SQUARE_CLASS
        figures["square-of-bags"] = float(corner[bags].mean())
        figures["square-of-others"] = float(corner[~bags].mean())
        figures["square-asked-for"] = SQUARE_VALUE / 255
    return figures


def _errors(network: nn.Module, data: ImageSet) -> dict[str, float]:
    """Mean squared error per pixel, and the median norm of the residual over that of the image."""
    x = tensors(data)[0].float() / 255
    residual = (_again(network, x) - x).flatten(1)
    return {
        "mse": float(residual.square().mean()),
        "relative-residual": float((residual.norm(dim=1) / x.flatten(1).norm(dim=1)).median()),
    }


def _again(network: nn.Module, x: Tensor) -> Tensor:
    """What the network makes of images, (n, C, H, W)."""
    with torch.inference_mode():
        return torch.cat([network.decode(network.encode(part)) for part in x.split(500)])  # type: ignore[operator]
