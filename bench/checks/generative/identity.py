"""Does a counterfactual stay the same object? Closeness in a common embedding, and verification at its equal-error threshold."""

from __future__ import annotations

import torch
from torch import Tensor

from models.naming import UsageError


def closest_to_itself(sources: Tensor, made: Tensor, reading: str = "text") -> Tensor:
    """Whether each counterfactual is nearer to its own source than anything else of the set is; (n,) bool, higher is better.

    Args:
        sources, made: (n, d) embeddings of the images and of their counterfactuals, in order; n >= 2. The chance level is
            1 / n, so values are compared at equal n only.
        reading: `text` asks whether the counterfactual of image i is, of all counterfactuals, the nearest to image i;
            `equation` asks whether, of all images, image i is the nearest to its counterfactual.

    Source: Singla et al. 2020, latent space closeness, section 4.3 and eq. 10, whose two readings these are.

    Example:
        >>> x = torch.eye(3)
        >>> closest_to_itself(x, x).tolist(), closest_to_itself(x, x.flip(0)).tolist()
        ([True, True, True], [False, True, False])
    """
    _same_rows(sources, made)
    distances = torch.cdist(sources.double(), made.double())
    if reading not in ("text", "equation"):
        raise UsageError(f"reading is {reading!r}; allowed are 'text', 'equation'")
    distances = distances if reading == "text" else distances.T
    own = distances.diagonal()
    others = distances.clone().fill_diagonal_(float("inf"))
    return own < others.amin(1)


def verified(sources: Tensor, made: Tensor, threshold: float) -> Tensor:
    """Whether an image and its counterfactual count as the same object: cosine above a threshold; (n,) bool.

    Args:
        sources, made: (n, d) embeddings, in order.
        threshold: as `equal_error` finds it.

    Source: Singla et al. 2020, face verification accuracy, with the threshold of the embedding at hand in place of 0.5.
    """
    _same_rows(sources, made)
    return torch.cosine_similarity(sources.double(), made.double(), dim=1) > threshold


def equal_error(same: Tensor, different: Tensor) -> tuple[float, float]:
    """The cosine at which as many pairs of one object are refused as pairs of two objects are accepted.

    Args:
        same: (n,) cosines of pairs that show the same object (an image and its augmented version).
        different: (m,) cosines of pairs of different objects.

    Returns:
        The threshold, and the error rate there in [0, 0.5] or above for an embedding that is worse than chance.

    Example:
        >>> equal_error(torch.tensor([0.9, 0.8]), torch.tensor([0.1, 0.2]))[1]
        0.0
    """
    if not len(same) or not len(different):
        raise UsageError(f"{len(same)} same and {len(different)} different pairs; at least one of each is needed")
    candidates = torch.cat([same, different]).double().unique()
    # Between neighbours, so that no pair stands on the threshold itself.
    candidates = torch.cat([candidates[:1] - 1e-6, (candidates[1:] + candidates[:-1]) / 2, candidates[-1:] + 1e-6])
    # Counted in sorted lists: tables of all pairs and all candidates would take gigabytes.
    held, strange = same.double().sort().values, different.double().sort().values
    refused = torch.searchsorted(held, candidates, right=True).double() / len(held)
    accepted = 1 - torch.searchsorted(strange, candidates, right=True).double() / len(strange)
    gap = (refused - accepted).abs()
    best = gap == gap.min()
    place = int(torch.nonzero(best)[int(best.sum()) // 2])
    return float(candidates[place]), float((refused + accepted)[place] / 2)


def _same_rows(sources: Tensor, made: Tensor) -> None:
    if sources.shape != made.shape or sources.dim() != 2 or len(sources) < 2:
        raise UsageError(
            f"embeddings have shapes {tuple(sources.shape)} and {tuple(made.shape)}; (n, d) twice with n >= 2 is needed"
        )
