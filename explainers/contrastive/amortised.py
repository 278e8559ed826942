"""Two checks for explainers that are fitted to a classifier beforehand, in place of the cascade.

A fitted generator shows the same images whatever becomes of the classifier afterwards, so randomising the classifier says
nothing. What can be asked instead: does the agreement of requested and achieved probability break down when the classifier
is exchanged for a random one (it has to, or it came from somewhere else); and does a fit to a random classifier give other
maps than a fit to the trained one.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from models.base import Subject
from models.naming import UsageError

from ..base import Explainer
from .exaggeration.networks import Exaggerator
from .exaggeration.quality import quality

COLLAPSED = 0.3
SMALLEST = 1e-6


@dataclass(frozen=True, eq=False)
class Collapse:
    """Agreement of requested and achieved probability, Spearman's correlation per image, in [-1, 1].

    Attributes:
        trained: (N,) with the classifier that the explainer was fitted to.
        randomised: (R, N) with R random ones, on the same images of the explainer; NaN where all probabilities of one are
            equal.
        error: (N,) mean |requested - achieved|; randomised_error: (R, N) likewise.
    """

    trained: Tensor
    randomised: Tensor
    error: Tensor
    randomised_error: Tensor

    @property
    def collapsed(self) -> bool:
        """Whether the mean agreement with the random classifiers is below 0.3, equal probabilities counting as 0.

        One random classifier may rise or fall along a series by chance, and alike for all images; only the mean over
        several of them says something.
        """
        return float(self.randomised.nan_to_num(0.0).mean()) < COLLAPSED


def collapse(
    fitted: Exaggerator, odds: Callable[[Tensor], Tensor], random: Sequence[Callable[[Tensor], Tensor]], images: Tensor
) -> Collapse:
    """What is left of the agreement when the same series is shown to random classifiers.

    Args:
        fitted: the generator fitted to the trained classifier; it is not changed.
        odds: log-odds of the trained classifier, images (N, C, H, W) -> (N,).
        random: the same of random classifiers, at least one and better three or more.
        images: held-out images (N, C, H, W) in [0, 1].

    Returns:
        Per image; `randomised` near `trained` means that the agreement is not the classifier's.

    Raises:
        UsageError: no random classifier.
    """
    if not random:
        raise UsageError("no random classifier was given; at least one is needed")
    ours = quality(fitted, odds, images)
    theirs = [quality(fitted, odds, images, each) for each in random]
    return Collapse(
        ours.spearman,
        torch.stack([each.spearman for each in theirs]),
        ours.error,
        torch.stack([each.error for each in theirs]),
    )


@dataclass(frozen=True, eq=False)
class Refit:
    """Similarity of the maps of a fit to the trained classifier with those of another fit, per image (N,).

    Attributes:
        randomised: Pearson's correlation with the maps of a fit to a random classifier.
        ceiling: with the maps of a fit to the same classifier from another seed.
        floor: with the maps of other images, same fit.
    """

    randomised: Tensor
    ceiling: Tensor
    floor: Tensor

    @property
    def score(self) -> float:
        """(randomised - floor) / (ceiling - floor) of the means: 0 where maps follow the classifier, 1 where they do not.

        NaN where the ceiling is not above the floor, so that nothing can be told.
        """
        low, high = float(self.floor.nanmean()), float(self.ceiling.nanmean())
        return (float(self.randomised.nanmean()) - low) / (high - low) if high - low > SMALLEST else float("nan")


def refit(maps: Tensor, same: Tensor, random: Tensor) -> Refit:
    """Compare maps of three fits of one explainer on the same images.

    Args:
        maps: (N, H, W) of the fit to the trained classifier, N >= 2.
        same: of a fit to the same classifier from another seed.
        random: of a fit to a random classifier.

    Raises:
        UsageError: fewer than two images, or maps of different sizes.

    Example:
        >>> import torch
        >>> maps = torch.eye(4).view(4, 2, 2)
        >>> refit(maps, maps, maps).score, round(refit(maps, maps, maps.roll(1, 0)).score, 6)
        (1.0, 0.0)
    """
    if len(maps) < 2 or maps.shape != same.shape or maps.shape != random.shape:
        raise UsageError(
            f"maps are {tuple(maps.shape)}, {tuple(same.shape)}, {tuple(random.shape)}; three of one size and at least two "
            "images are needed"
        )
    return Refit(pearson(maps, random), pearson(maps, same), pearson(maps, maps.roll(1, 0)))


def refit_maps(
    explainer: Explainer, subject: Subject, random: Subject, images: Tensor, targets: Tensor, *,
    training: Tensor | None = None, folder: str = "", seed: int = 0, log: Callable[[str], None] = lambda line: None,
) -> tuple[Tensor, Tensor, Tensor]:  # fmt: skip
    """The maps that `refit` compares; fits what is not in the cache, which takes minutes per fit.

    Args:
        explainer: amortised; its parameter `fit_seed` is raised by one for the ceiling.
        random: the same architecture with random weights; its logits are brought to the spread of the trained one's.
        training: images to fit to; None takes the subject's own.
        folder: where fits are kept.

    Returns:
        Signed maps (N, H, W) of the fit to the trained classifier, of its re-fit, and of the fit to the random one.
    """
    from .. import registry

    name = explainer.info.name
    params = dict(explainer.resolved.params)
    again = registry.get(registry.Spec(name, tuple(sorted({**params, "fit_seed": params["fit_seed"] + 1}.items()))))
    matched = with_spread_of(random, subject)
    found = []
    for each, network in ((explainer, subject), (again, subject), (explainer, matched)):
        fitted = each.fit(network, training, folder=folder, log=log)
        found.append(fitted.explain(network, images, targets, seed=seed).map("signed"))
    return found[0], found[1], found[2]


class _Rescaled(nn.Module):
    """A binary classifier whose log-odds are scaled and shifted."""

    def __init__(self, network: nn.Module, scale: Tensor, shift: Tensor) -> None:
        super().__init__()
        self.network = network
        self.register_buffer("scale", scale)
        self.register_buffer("shift", shift)

    def forward(self, images: Tensor) -> Tensor:
        logits = self.network(images)
        odds = (logits[:, 1] - logits[:, 0]) * self.scale + self.shift
        return torch.stack([-odds / 2, odds / 2], 1)


def with_spread_of(random: Subject, trained: Subject, count: int = 500) -> Subject:
    """A random binary classifier whose log-odds have the mean and standard deviation of the trained one's.

    Otherwise all probabilities of a random classifier fall into one bin and there is nothing to fit to. Classifiers of more
    classes are returned as they are: explainers of embeddings standardise what they are fitted to.

    Args:
        count: reference images that both are measured on.
    """
    if trained.num_classes != 2:
        return random
    images = trained.reference.load(range(min(count, len(trained.reference)))).to(trained.device)
    wanted, given = (each.predict_logits(images).diff(dim=1)[:, 0] for each in (trained, random))
    scale = wanted.std() / given.std().clamp_min(SMALLEST)
    made = _Rescaled(random.module, scale, wanted.mean() - given.mean() * scale).eval()
    return replace(random, model=made, mean=(0.0,), std=(1.0,), output="logits", wiring={}, origin=None)


def pearson(first: Tensor, second: Tensor) -> Tensor:
    """Correlation per image, (N,) in [-1, 1]; NaN where a map is constant.

    Example:
        >>> import torch
        >>> maps = torch.tensor([[[0.0, 1.0]], [[2.0, 5.0]]])
        >>> pearson(maps, torch.tensor([[[3.0, 5.0]], [[1.0, 0.0]]])).round(decimals=6).tolist()
        [1.0, -1.0]
    """
    a, b = first.flatten(1).double(), second.flatten(1).double()
    a, b = a - a.mean(1, keepdim=True), b - b.mean(1, keepdim=True)
    return (a * b).sum(1) / (a.norm(dim=1) * b.norm(dim=1))
