"""Prediction difference analysis: what the prediction loses when a patch is unknown, averaged over plausible contents."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from models.base import Subject
from models.naming import UsageError, near
from models.seeds import generator

from .controls import image_key
from .passes import network
from .perturbed import logits_of_copies, pixels

SAMPLINGS = ("conditional", "marginal")
SCORES = ("evidence", "probability", "logit")
REFERENCE_IMAGES, PATCHES_PER_IMAGE = 64, 64
CELLS, CONTEXT = 4, 2
JITTER = 1e-4

Place = tuple[int, int]


def pda(
    subject: Subject,
    images: Tensor,
    targets: Tensor,
    *,
    seed: int,
    sampling: str = "conditional",
    patch: float = 0.125,
    stride: float = 0.125,
    samples: int = 2,
    score: str = "evidence",
) -> Tensor:
    """Evidence of each patch for the target, averaged over the patches on a pixel, (N, 1, H, W), bits by default.

    Args:
        sampling: how contents for an unknown patch are drawn: `conditional` (a Gaussian given the two cells around the
            patch, fitted to patches of the reference images) or `marginal` (the same place of reference images).
        patch: side of the square patch as a share of the shorter side (4 pixels of 32).
        stride: distance between patches, likewise; at most the patch.
        samples: contents per patch, >= 1.
        score: `evidence` (difference of log2 odds with Laplace's correction, the paper's), `probability` or `logit`.

    Large patches are modelled on cells of several pixels, about 4x4 cells a patch, and enlarged bilinearly: a Gaussian
    over all their pixels could not be fitted.

    Source: Zintgraf et al. 2017, eq. 1 to 5 and Algorithm 1.
    """
    for key, value, allowed in (("sampling", sampling, SAMPLINGS), ("score", score, SCORES)):
        if value not in allowed:
            raise UsageError(f"pda: {key} is {value!r}; allowed are {', '.join(allowed)}{near(value, allowed)}")
    side, step = pixels("pda", "patch", patch, images), pixels("pda", "stride", stride, images)
    if step > side or samples < 1:
        raise UsageError(
            f"pda: patch {patch:g}, stride {stride:g}, samples {samples}; stride <= patch and samples >= 1 are needed"
        )
    contents = _contents(subject, images, sampling, side)
    places = [(y, x) for y in _starts(images.shape[2], side, step) for x in _starts(images.shape[3], side, step)]
    module = network(subject)
    counted = _covered(images[0], places, torch.ones(len(places)), side)
    maps = []
    for image, target in zip(images, targets, strict=True):
        draw = generator(seed, "pda", sampling, image_key(image))
        drawn = [contents(image, place, samples, draw) for place in places]

        def copies(first: int, last: int, image: Tensor = image, drawn: list[Tensor] = drawn) -> Tensor:
            made = image.repeat(last - first, 1, 1, 1)
            for row in range(first, last):
                (y, x), sample = places[row // samples], row % samples
                made[row - first, :, y : y + side, x : x + side] = drawn[row // samples][sample]
            return made

        plain = logits_of_copies(module, image, 1, lambda a, b, image=image: image[None])
        logits = logits_of_copies(module, image, len(places) * samples, copies).unflatten(0, (len(places), samples))
        fall = difference(plain, logits, int(target), score, len(subject.reference))
        maps.append(_covered(image, places, fall, side) / counted)
    return torch.stack(maps).float()


def difference(plain: Tensor, changed: Tensor, target: int, score: str, count: int) -> Tensor:
    """Score of the image less the score with a part unknown, one per part, (P,) float64.

    Args:
        plain: (1, K) logits of the image.
        changed: (P, S, K) logits with sampled contents; probabilities (or logits) are averaged over S first.
        score: `evidence` in bits, `probability` or `logit`.
        count: training images N of Laplace's correction (p N + 1) / (N + K).
    """
    plain, changed = plain.double(), changed.double()
    if score == "logit":
        return plain[0, target] - changed.mean(1)[:, target]
    before, after = plain.softmax(1)[0, target], changed.softmax(2).mean(1)[:, target]
    if score == "probability":
        return before - after

    def log_odds(p: Tensor) -> Tensor:
        p = (p * count + 1) / (count + plain.shape[1])
        return torch.log2(p) - torch.log2(1 - p)

    return log_odds(before) - log_odds(after)


@dataclass
class PatchGaussian:
    """A Gaussian over square pieces of images, of which the middle is unknown and the rest known.

    Attributes:
        mean: (D,) and covariance (D, D), float64, D = C * side * side, of pieces flattened as (C, side, side).
        channels, side: of a piece.
    """

    mean: Tensor
    covariance: Tensor
    channels: int
    side: int

    @classmethod
    def fitted(cls, pieces: Tensor) -> PatchGaussian:
        """From pieces (M, C, side, side); a small multiple of the mean variance is added to the diagonal."""
        flat = pieces.flatten(1).double()
        covariance = torch.cov(flat.T, correction=0)
        covariance = covariance + (JITTER * covariance.diagonal().mean() + 1e-8) * torch.eye(len(covariance)).to(flat)
        return cls(flat.mean(0), covariance, pieces.shape[1], pieces.shape[2])

    def conditional(self, hidden: Tensor) -> tuple[Tensor, Tensor]:
        """(regression of the hidden on the visible values, lower factor of the covariance that remains).

        Args:
            hidden: (D,) bool.
        """
        across = self.covariance[hidden][:, ~hidden]
        slope = torch.linalg.solve(self.covariance[~hidden][:, ~hidden], across.T).T
        rest = self.covariance[hidden][:, hidden] - slope @ across.T
        rest = (rest + rest.T) / 2 + 1e-9 * torch.eye(len(rest)).to(rest)
        return slope, torch.linalg.cholesky(rest)


class Conditional:
    """Contents of a patch drawn given what surrounds it.

    Args:
        reference: (M, C, H, W) images that the Gaussian is fitted to.
        side: of the patch, pixels.
    """

    def __init__(self, reference: Tensor, side: int) -> None:
        self.side = side
        self.cell = max(1, side // CELLS)
        self.cells = -(-side // self.cell)
        height, width = (size // self.cell for size in reference.shape[2:])
        self.piece = min(self.cells + 2 * CONTEXT, height, width)
        if self.piece <= self.cells:
            raise UsageError(
                f"pda: a patch of {side} pixels leaves no surroundings in images of {tuple(reference.shape[2:])}; "
                "lower patch or take sampling=marginal"
            )
        draw = generator(0, "pda", "pieces")
        coarse = F.avg_pool2d(reference, self.cell)
        cut = []
        for image in coarse:
            y = torch.randint(0, height - self.piece + 1, (PATCHES_PER_IMAGE,), generator=draw).tolist()
            x = torch.randint(0, width - self.piece + 1, (PATCHES_PER_IMAGE,), generator=draw).tolist()
            cut += [image[:, a : a + self.piece, b : b + self.piece] for a, b in zip(y, x, strict=True)]
        self.gaussian = PatchGaussian.fitted(torch.stack(cut))
        self._known: dict[Place, tuple[Tensor, Tensor, Tensor]] = {}

    def __call__(self, image: Tensor, place: Place, samples: int, draw: torch.Generator) -> Tensor:
        """Contents (samples, C, side, side) in [0, 1] for the patch whose upper left corner is `place`."""
        cell, piece = self.cell, self.piece
        reach = [size - piece * cell for size in image.shape[1:]]
        margin = (piece - self.cells) // 2 * cell
        corner = [min(max(0, at - margin), most) for at, most in zip(place, reach, strict=True)]
        inside = [min((at - start) // cell, piece - self.cells) for at, start in zip(place, corner, strict=True)]
        hidden, slope, factor = self._conditional((inside[0], inside[1]))
        around = image[:, corner[0] : corner[0] + piece * cell, corner[1] : corner[1] + piece * cell]
        values = F.avg_pool2d(around[None], cell).flatten().double()
        mean = self.gaussian.mean.to(values)
        middle = mean[hidden] + slope @ (values[~hidden] - mean[~hidden])
        noise = torch.empty(samples, len(middle), dtype=torch.float64).normal_(generator=draw).to(middle)
        drawn = (middle + noise @ factor.T).reshape(samples, len(image), self.cells, self.cells)
        size = self.cells * cell
        if cell > 1:
            drawn = F.interpolate(drawn, size=(size, size), mode="bilinear", align_corners=False)
        return drawn[:, :, : self.side, : self.side].clamp(0, 1).to(image)

    def _conditional(self, inside: Place) -> tuple[Tensor, Tensor, Tensor]:
        if inside not in self._known:
            mask = torch.zeros(self.gaussian.channels, self.piece, self.piece, dtype=torch.bool)
            mask[:, inside[0] : inside[0] + self.cells, inside[1] : inside[1] + self.cells] = True
            hidden = mask.flatten().to(self.gaussian.mean.device)
            self._known[inside] = (hidden, *self.gaussian.conditional(hidden))
        return self._known[inside]


class Marginal:
    """Contents of a patch drawn from the same place of reference images (M, C, H, W)."""

    def __init__(self, reference: Tensor, side: int) -> None:
        self.reference, self.side = reference, side

    def __call__(self, image: Tensor, place: Place, samples: int, draw: torch.Generator) -> Tensor:
        """Contents (samples, C, side, side) for the patch whose upper left corner is `place`."""
        chosen = torch.randint(0, len(self.reference), (samples,), generator=draw).to(image.device)
        y, x = place
        return self.reference[chosen, :, y : y + self.side, x : x + self.side].to(image)


def _contents(
    subject: Subject, images: Tensor, sampling: str, side: int
) -> Callable[[Tensor, Place, int, torch.Generator], Tensor]:
    reference = subject.reference.load(range(min(REFERENCE_IMAGES, len(subject.reference)))).to(images)
    if reference.shape[1:] != images.shape[1:]:
        raise UsageError(
            f"pda: reference images are {tuple(reference.shape[1:])} and the images {tuple(images.shape[1:])} (C, H, W); "
            "both must agree"
        )
    return Conditional(reference, side) if sampling == "conditional" else Marginal(reference, side)


def _starts(length: int, side: int, step: int) -> list[int]:
    """Where patches begin along one axis: every `step`, and flush with the end."""
    starts = list(range(0, length - side + 1, step))
    return starts if starts[-1] == length - side else [*starts, length - side]


def _covered(image: Tensor, places: list[Place], values: Tensor, side: int) -> Tensor:
    """Sum of the values of the patches on each pixel, (1, H, W) float64."""
    total = torch.zeros(1, *image.shape[1:], dtype=torch.float64, device=image.device)
    for (y, x), value in zip(places, values.to(total), strict=True):
        total[:, y : y + side, x : x + side] += value
    return total
