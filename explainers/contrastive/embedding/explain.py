"""AE+VAE as an explainer: how decoded images vary when the embedding is redrawn."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict
from typing import Any

import torch
from torch import Tensor

from models.base import Subject
from models.naming import UsageError, near
from models.seeds import generator

from ... import registry
from ...base import Partial
from ...controls import image_key
from ...passes import rows_for
from ..fits import Recipe, State, load
from .fitting import Options, fit
from .networks import LATENT, AeVae
from .vectors import embedder

NAME = "ae-vae"
MAPS = ("mad", "signed-recon", "signed-input")


def ae_vae(
    subject: Subject,
    images: Tensor,
    targets: Tensor,
    *,
    seed: int,
    map: str = "mad",
    samples: int = 100,
    threshold: float = 0.0,
    layer: str = "features",
    **options: Any,
) -> Partial:
    """Spread or shift of the images decoded from embeddings redrawn around that of the image, (N, C, H, W).

    Args:
        map: `mad`, the mean absolute deviation from the mean decoded image (section IV), >= 0; `signed-recon`, the mean
            decoded image minus the one at the centre; or `signed-input`, minus the image itself (section V), which
            holds the autoencoder's error too.
        samples: decoded images, >= 2.
        threshold: values below this share of the largest of an image are set to 0; the paper uses 0.5 for display.
        layer: `features` or `output` of the network as the embedding.
        options: of the fit, with the defaults of the card. steps, vae_steps, fit_seed: see `fitting.Options`; data, cache:
            which training images (`own`: the subject's) and which folder (`default`: the cache) the fit is from.

    Returns:
        The map; reconstruction = the image decoded from the centre g(h); extra: `posterior_spread` (N,) the mean
        standard deviation of q(z | h), `largest` (N,) the largest deviation of each image in [0, 1].

    Raises:
        UsageError: nothing was fitted to this network.

    Source: Utkin et al. 2021, section IV, step 3.

    Example:
        >>> import explainers, models
        >>> subject = models.load("fmnist-lenet")
        >>> images, _ = subject.sample(2, seed=0)
        >>> explainers.get("ae-vae[samples=20]").explain(subject, images).map().shape
        torch.Size([2, 32, 32])
    """
    check(NAME, map, samples, threshold)
    params = {**registry.card(NAME).params, **options, "layer": layer}
    pair = fitted(subject, NAME, params).to(images.device)
    embed = embedder(subject, layer)
    embeddings = torch.cat([embed(part) for part in images.split(rows_for(images))])
    maps, centres, largest = [], [], []
    with torch.no_grad():
        for image, embedding in zip(images.float(), embeddings, strict=True):
            drawn = pair.decode(pair.codes(embedding[None], noise(image, samples, seed)))
            centre = pair.decode(pair.centres(embedding[None]))[0]
            maps.append(heat(drawn, centre, image, map))
            centres.append(centre)
            largest.append((drawn - drawn.mean(0)).abs().mean(0).amax())
        spread = (pair.vectors.encode(pair.aligned(embeddings))[1] / 2).exp().mean(1)
    extra = {"posterior_spread": spread, "largest": torch.stack(largest)}
    return Partial(above(torch.stack(maps), threshold), reconstruction=torch.stack(centres), extra=extra)


def heat(drawn: Tensor, centre: Tensor, image: Tensor, kind: str) -> Tensor:
    """One heat map (C, H, W) of decoded images (K, C, H, W); centre and image are (C, H, W)."""
    mean = drawn.mean(0)
    if kind == "mad":
        return (drawn - mean).abs().mean(0)
    return mean - (centre if kind == "signed-recon" else image)


def above(maps: Tensor, share: float) -> Tensor:
    """Maps (N, ...) with values below a share of each map's largest absolute value set to 0."""
    if share == 0:
        return maps
    most = maps.flatten(1).abs().amax(1).view(-1, *[1] * (maps.dim() - 1))
    return torch.where(maps.abs() >= share * most, maps, torch.zeros_like(maps))


def noise(image: Tensor, count: int, seed: int) -> Tensor:
    """Standard normal draws (count, 35) that belong to an image and a seed, not to its place in a batch."""
    draw = generator(seed, NAME, image_key(image))
    return torch.empty(count, LATENT).normal_(generator=draw).to(image.device)


def check(name: str, map: str, samples: int, threshold: float) -> None:
    """Raise UsageError for settings that no map can be made with."""
    if map not in MAPS:
        raise UsageError(f"{name}: map is {map!r}; allowed are {', '.join(MAPS)}{near(map, MAPS)}")
    if samples < 2 or not 0 <= threshold <= 1:
        raise UsageError(
            f"{name}: samples is {samples}, threshold {threshold:g}; samples >= 2 and a threshold in [0, 1] are needed"
        )


def fitted(subject: Subject, name: str, params: Mapping[str, Any]) -> AeVae:
    """The pair fitted to this subject, read once."""
    return subject.kept(f"{name} {sorted(params.items())}", lambda: built(load(name, subject, params)))


def built(state: State) -> AeVae:
    """The pair of stored weights, frozen, in eval mode."""
    channels, height, width = (int(value) for value in state["shape"])
    with torch.random.fork_rng(devices=[]):
        pair = AeVae(channels, (height, width), len(state["centre"]))
    pair.load_state_dict(state)
    return pair.eval().requires_grad_(False)


def _options(params: Mapping[str, Any]) -> dict[str, Any]:
    made = Options(steps=params["steps"], vae_steps=params["vae_steps"], seed=params["fit_seed"])
    return {**asdict(made), "layer": params["layer"]}


def _prepare(subject: Subject) -> None:
    """Any network with a vector somewhere suits; `embedder` says where there is none."""


def _fit(
    subject: Subject, images: Tensor, options: dict[str, Any], log: Callable[[str], None]
) -> tuple[State, dict[str, Any]]:
    rest = {key: value for key, value in options.items() if key != "layer"}
    pair, report = fit(embedder(subject, options["layer"]), images, Options(**rest), log=log)
    return dict(pair.state_dict()), report


RECIPE = Recipe(NAME, 1, _options, _prepare, _fit)
