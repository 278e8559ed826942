"""AE+VAE for pairs: which redrawn embeddings of one image come nearest to, or stay farthest from, the other image."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from models.base import Subject
from models.embeddings import Embedding
from models.naming import UsageError, near
from models.seeds import generator

from ... import registry
from ...base import Partial
from ...controls import image_key
from .explain import RECIPE, above, check, fitted, heat, noise
from .networks import AeVae
from .vectors import embedder, subject_of

__all__ = ["RECIPE", "PairExplanation", "explain_pairs", "siamese_ae_vae"]

NAME = "siamese-ae-vae"
PAIRS = ("similar", "dissimilar")
REFERENCES = 1000


@dataclass(frozen=True, eq=False)
class PairExplanation:
    """Why two images of a pair are alike, or are not.

    Attributes:
        first, second: (N, C, H, W) heat maps on either image.
        first_images, second_images: (N, K, C, H, W) images decoded from the kept codes.
        first_centre, second_centre: (N, C, H, W) images decoded from g(h) of either.
        distance: (N,) between the embeddings.
    """

    first: Tensor
    second: Tensor
    first_images: Tensor
    second_images: Tensor
    first_centre: Tensor
    second_centre: Tensor
    distance: Tensor


def explain_pairs(
    network: Subject | Embedding,
    first: Tensor,
    second: Tensor,
    *,
    pair: str = "similar",
    seed: int = 0,
    **settings: Any,
) -> PairExplanation:
    """Explain pairs of images, both ways.

    Args:
        network: a subject, or an embedding such as `models.load_embedding("fmnist-siamese")`.
        first, second: (N, C, H, W) in [0, 1].
        pair: `similar` keeps the candidates nearest to the partner's code (case 1 of the paper), `dissimilar` the
            farthest (case 2).
        seed: draws depend on it and on the images.
        settings: as for the explainer `siamese-ae-vae`: map, samples, keep, layer, ...

    Raises:
        UsageError: a setting that does not exist, pairs of different sizes, nothing fitted to this network.

    Source: Utkin et al. 2021, section V.

    Example:
        >>> import models
        >>> subject = models.load("fmnist-lenet")
        >>> images, _ = subject.sample(4, seed=0)
        >>> found = explain_pairs(subject, images[:2], images[2:], layer="features", samples=200)
        >>> found.first.shape, found.second_images.shape
        (torch.Size([2, 1, 32, 32]), torch.Size([2, 15, 1, 32, 32]))
    """
    subject = subject_of(network) if isinstance(network, Embedding) else network
    known = registry.card(NAME).params
    unknown = [key for key in settings if key not in known]
    if unknown:
        raise UsageError(f"{NAME} has no setting {unknown[0]!r}; it has {', '.join(known)}{near(unknown[0], known)}")
    chosen = {**known, **settings, "pair": pair}
    if first.shape != second.shape:
        raise UsageError(f"pairs are {tuple(first.shape)} and {tuple(second.shape)}; both must agree")
    _checked(chosen)
    trained = fitted(subject, NAME, chosen).to(first.device)
    embed = embedder(subject, chosen["layer"])
    # one at a time: which candidates are nearest may hang on the last bit, and that on the size of the batch
    a, b = (torch.cat([embed(image[None]) for image in images]) for images in (first, second))
    sides = []
    with torch.no_grad():
        for images, own, other in ((first, a, b), (second, b, a)):
            rows = [_side(trained, *row, chosen, seed) for row in zip(images, own, other, strict=True)]
            sides.append([torch.stack(each) for each in zip(*rows, strict=True)])
    (one, ones, middle), (two, twos, centre) = sides
    return PairExplanation(one, two, ones, twos, middle, centre, (a - b).norm(dim=1))


def siamese_ae_vae(
    subject: Subject,
    images: Tensor,
    targets: Tensor,
    *,
    seed: int,
    pair: str = "similar",
    map: str = "signed-recon",
    samples: int = 5000,
    keep: int = 15,
    threshold: float = 0.0,
    layer: str = "output",
    **options: Any,
) -> Partial:
    """Each image against a partner from the reference images, (N, C, H, W).

    Args:
        pair: `similar`, the partner is the reference image of the nearest embedding and the nearest candidates are kept;
            `dissimilar`, it is drawn from the farther half and the farthest are kept.
        map: `signed-recon` (the mean of the kept images minus the one at the centre), `signed-input`, `mad`.
        samples: candidates drawn around g(h); keep: how many of them are kept.
        threshold, layer, options: as for `ae-vae`.

    Returns:
        The map of the image; reconstruction = the image decoded from g(h); extra: `partner` (N, C, H, W), its map
        `partner_map` and `partner_reconstruction`, the kept images `decoded` and `partner_decoded` (N, K, C, H, W), and
        `distance` (N,).

    Source: Utkin et al. 2021, section V. The paper's N_c = 5000 and M = 15 are read as candidates and kept ones.
    """
    settings = {"map": map, "samples": samples, "keep": keep, "threshold": threshold, "layer": layer, **options}
    _checked({**settings, "pair": pair})
    partners = partners_of(subject, images, layer, pair, seed)
    found = explain_pairs(subject, images, partners, pair=pair, seed=seed, **settings)
    extra = {
        "partner": partners, "partner_map": found.second, "partner_reconstruction": found.second_centre,
        "decoded": found.first_images, "partner_decoded": found.second_images, "distance": found.distance,
    }  # fmt: skip
    return Partial(found.first, reconstruction=found.first_centre, extra=extra)


def partners_of(subject: Subject, images: Tensor, layer: str, pair: str, seed: int) -> Tensor:
    """One reference image per image: of the nearest other embedding, or drawn from the farther half."""
    embed = embedder(subject, layer)
    count = min(REFERENCES, len(subject.reference))

    def references() -> tuple[Tensor, Tensor]:
        pixels = subject.reference.load(range(count)).to(images.device)
        return pixels, torch.cat([embed(part) for part in pixels.split(250)])

    pixels, vectors = subject.kept(f"{NAME} references {layer}", references)
    chosen = []
    for image in images:
        distances = (vectors - embed(image[None])).norm(dim=1)
        others = torch.nonzero(~(pixels == image).flatten(1).all(1))[:, 0]  # an image is no partner of itself
        order = others[distances[others].argsort()]
        if pair == "similar":
            chosen.append(int(order[0]))
        else:
            half = order[len(order) // 2 :]
            draw = generator(seed, NAME, "partner", image_key(image))
            chosen.append(int(half[int(torch.randint(len(half), (1,), generator=draw))]))
    return pixels[chosen]


def kept_codes(codes: Tensor, partner: Tensor, keep: int, pair: str) -> Tensor:
    """The codes (keep, D) among (K, D) nearest to (`similar`) or farthest from (`dissimilar`) the partner's code (D,).

    Example:
        >>> import torch
        >>> kept_codes(torch.tensor([[0.0], [3.0], [1.0]]), torch.tensor([0.2]), 2, "similar").tolist()
        [[0.0], [1.0]]
    """
    distances = (codes - partner).norm(dim=1)
    return codes[distances.argsort(descending=pair == "dissimilar", stable=True)[:keep]]


def _side(
    trained: AeVae, image: Tensor, own: Tensor, other: Tensor, settings: Mapping[str, Any], seed: int
) -> tuple[Tensor, Tensor, Tensor]:
    """Heat map (C, H, W), kept decoded images (K, C, H, W), decoded centre (C, H, W) of one image of a pair."""
    drawn = trained.codes(own[None], noise(image, settings["samples"], seed))
    goal = trained.centres(other[None])[0]
    decoded = trained.decode(kept_codes(drawn, goal, settings["keep"], settings["pair"]))
    centre = trained.decode(trained.centres(own[None]))[0]
    found = heat(decoded, centre, image.float(), settings["map"])
    return above(found[None], settings["threshold"])[0], decoded, centre


def _checked(settings: Mapping[str, Any]) -> None:
    check(NAME, settings["map"], settings["samples"], settings["threshold"])
    if settings["pair"] not in PAIRS:
        raise UsageError(f"{NAME}: pair is {settings['pair']!r}; allowed are {', '.join(PAIRS)}")
    if not 1 <= settings["keep"] <= settings["samples"]:
        raise UsageError(f"{NAME}: keep is {settings['keep']}; 1 to {settings['samples']} candidates can be kept")
