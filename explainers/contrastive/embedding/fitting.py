"""Fitting the autoencoder to images and embeddings, then the variational autoencoder to embeddings and codes."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from models.naming import UsageError
from models.seeds import derive, generator, seeded

from .networks import LATENT, AeVae

REPORTED = 250


@dataclass(frozen=True)
class Options:
    """How AE+VAE is fitted; the paper gives no weights.

    Attributes:
        steps: of the autoencoder; vae_steps: of the variational one.
        batch: images per step; the variational one takes four times as many vectors.
        alignment: weight of |h - a|^2 against |x - x*|^2, both per element.
        beta: weight of the Kullback-Leibler term of the variational autoencoder against |g(h) - a|^2 summed over
            dimensions.
        decay: weight decay of both, the paper's R(W).
        rate: highest learning rate of Adam under a one-cycle schedule.
        seed: base of every random draw.
    """

    steps: int = 1500
    vae_steps: int = 3000
    batch: int = 64
    alignment: float = 0.1
    beta: float = 3e-3
    decay: float = 1e-5
    rate: float = 3e-3
    seed: int = 0


def fit(
    embed: Callable[[Tensor], Tensor],
    images: Tensor,
    options: Options,
    *,
    log: Callable[[str], None] = lambda line: None,
) -> tuple[AeVae, dict[str, Any]]:
    """Fit both networks to the embedding of one classifier.

    Args:
        embed: images (N, C, H, W) in [0, 1] -> embeddings (N, D).
        images: training images (N, C, H, W), uint8 or float in [0, 1]; height and width are multiples of 8.

    Returns:
        The pair in eval mode, and a report with mean squared errors, seconds and those of the processor.

    Raises:
        UsageError: a size that cannot be halved three times, or an embedding that is the same for all images.

    Source: Utkin et al. 2021, section IV, steps 1 and 2.
    """
    height, width = images.shape[-2:]
    if height % 8 or width % 8:
        raise UsageError(f"images are {height}x{width}; height and width must be multiples of 8: pad or resize them")
    started, begun = time.perf_counter(), time.process_time()
    vectors = embeddings_of(embed, images)
    spread = vectors.std(0)
    if not bool((spread > 0).any()):
        raise UsageError("the embedding is the same for all training images, so there is nothing to explain")
    with seeded(derive(options.seed, "ae-vae", "initial")):
        pair = AeVae(images.shape[1], (height, width), vectors.shape[1])
    pair.centre.copy_(vectors.mean(0))
    # a dimension that never moves (a dead unit) is left unscaled rather than divided by nothing
    pair.scale.copy_(torch.where(spread > 0, spread, torch.ones_like(spread)))
    wanted = pair.aligned(vectors)
    error = _fit_images(pair, images, wanted, options, log)
    codes = _codes(pair, images)
    match = _fit_vectors(pair, wanted, codes, options, log)
    report = {
        "images": len(images), "dimensions": vectors.shape[1], "error": round(error, 5), "code_error": round(match, 5),
        "seconds": round(time.perf_counter() - started, 1), "cpu_seconds": round(time.process_time() - begun, 1),
    }  # fmt: skip
    return pair.eval().requires_grad_(False), report


def embeddings_of(embed: Callable[[Tensor], Tensor], images: Tensor) -> Tensor:
    """Embeddings (N, D) float32 of images, in portions, without a graph."""
    with torch.no_grad():
        return torch.cat([embed(floats(part)).float() for part in images.split(250)])


def floats(images: Tensor) -> Tensor:
    """Images in [0, 1] as float32."""
    return images.float() / 255 if images.dtype == torch.uint8 else images.float()


def _fit_images(pair: AeVae, images: Tensor, wanted: Tensor, options: Options, log: Callable[[str], None]) -> float:
    """gamma |x - x*|^2 + mu |h - a|^2 with gamma = 1 per pixel; returns the mean squared error of the last steps."""
    network = pair.images
    adam, pace = _adam(network, options, options.steps)
    draw = generator(options.seed, "ae-vae", "images")
    recent: list[float] = []
    for step in range(options.steps):
        chosen = torch.randint(len(images), (options.batch,), generator=draw)
        x = floats(images[chosen])
        with torch.autocast("cpu", torch.bfloat16):
            codes = network.encode(x)
            again = network.decode(codes)
        error = F.mse_loss(again.float(), x)
        loss = error + options.alignment * F.mse_loss(codes.float(), wanted[chosen])
        _update(adam, pace, loss)
        recent = [*recent[-99:], float(error.detach())]
        if (step + 1) % REPORTED == 0:
            log(f"autoencoder, step {step + 1} of {options.steps}: mean squared error {sum(recent) / len(recent):.4f}")
    return sum(recent) / max(len(recent), 1)


def _fit_vectors(pair: AeVae, wanted: Tensor, codes: Tensor, options: Options, log: Callable[[str], None]) -> float:
    """|g(h) - a|^2 + beta KL(q(z | h) || N(0, 1)); returns the mean squared error of the last steps."""
    network = pair.vectors
    adam, pace = _adam(network, options, options.vae_steps)
    draw = generator(options.seed, "ae-vae", "vectors")
    recent: list[float] = []
    for step in range(options.vae_steps):
        chosen = torch.randint(len(wanted), (4 * options.batch,), generator=draw)
        mean, spread = network.encode(wanted[chosen])
        noise = torch.empty(len(chosen), LATENT).normal_(generator=draw)
        made = network.decode(mean + (spread / 2).exp() * noise)
        error = (made - codes[chosen]).square().sum(1).mean()
        _update(adam, pace, error + options.beta * divergence(mean, spread))
        recent = [*recent[-99:], float(error.detach()) / codes.shape[1]]
        if (step + 1) % (4 * REPORTED) == 0:
            log(f"vae, step {step + 1} of {options.vae_steps}: mean squared error {sum(recent) / len(recent):.4f}")
    return sum(recent) / max(len(recent), 1)


def divergence(mean: Tensor, spread: Tensor) -> Tensor:
    """KL(N(mean, exp(spread)) || N(0, 1)) in nats, summed over dimensions, averaged over rows.

    Example:
        >>> import torch
        >>> float(divergence(torch.ones(1, 2), torch.zeros(1, 2)))
        1.0
    """
    return (mean.square() + spread.exp() - 1 - spread).sum(1).mean() / 2


def _codes(pair: AeVae, images: Tensor) -> Tensor:
    with torch.no_grad():
        return torch.cat([pair.images.encode(floats(part)) for part in images.split(250)])


def _adam(network: torch.nn.Module, options: Options, steps: int) -> tuple[torch.optim.Optimizer, Any]:
    adam = torch.optim.AdamW(network.parameters(), options.rate, weight_decay=options.decay)
    return adam, torch.optim.lr_scheduler.OneCycleLR(adam, options.rate, total_steps=max(steps, 4), pct_start=0.2)


def _update(adam: torch.optim.Optimizer, pace: Any, loss: Tensor) -> None:
    adam.zero_grad(set_to_none=True)
    loss.backward()
    adam.step()
    pace.step()
