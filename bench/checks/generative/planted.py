"""What counterfactuals do to planted attributes, which an exact oracle reads off the pixels."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from models.data import ImageSet
from models.planted import ATTRIBUTES, CONFOUNDED, CONFOUNDER, asked_of, strengths

from . import attributes

if TYPE_CHECKING:
    from explainers import Explanation


def decisions(images: Tensor) -> Tensor:
    """Which attributes images have, (n, 4) bool; images (n, 1, 16, 16) in [0, 1], read as a screen shows them."""
    pixels = (images.float() * 255).round().clamp(0, 255).to(torch.uint8).cpu().numpy()
    return torch.from_numpy(strengths(pixels) > 0.5)


def values(found: Explanation, data: ImageSet, images: Tensor) -> dict[str, Tensor] | None:
    """Per image, (n,) each: which attributes change; None where the images have none or nothing was asked about one.

    Args:
        found: with a counterfactual, and a reconstruction where there is one.
        data: the images' data set, whose name says which attribute its classes are about.
        images: (n, 1, 16, 16) in [0, 1].

    Source: Singla et al. 2020, Fig. 7 (flips) and section 4.5 (confounding, without the paper's second division by n);
    Jeanneret et al. 2022, section 4.3, for the signed changes, whose correlations are computed from the records.
    """
    asked = asked_of(data)
    if asked is None or found.counterfactual is None:
        return None
    before, after = decisions(images), decisions(found.counterfactual)
    flips = attributes.flips(before, after).double()
    place = ATTRIBUTES.index(asked)
    beside = [index for index in range(len(ATTRIBUTES)) if index != place]
    made = {f"flip-{name}": flips[:, index] for index, name in enumerate(ATTRIBUTES)}
    made |= {
        "flip-asked": flips[:, place],
        "flips-beside": flips[:, beside].mean(1),
        "changed-attributes": attributes.changed_attributes(before, after),
    }
    made |= _signed(before, attributes.moves(before, after), place)
    if asked == CONFOUNDED:
        index = ATTRIBUTES.index(CONFOUNDER)
        made["confounding"] = attributes.confounding(before[:, index], after[:, index]).double()
    if found.reconstruction is not None:
        again = attributes.flips(before, decisions(found.reconstruction)).double()
        made["flips-reconstruction"] = again.mean(1)
    return made


def _signed(before: Tensor, moves: Tensor, asked: int) -> dict[str, Tensor]:
    """What images had and how it changes, (n,) each; the attribute that was asked about stands under `asked` alone.

    So that a table of these values shows which attributes stand beside it.
    """
    names = ["asked" if index == asked else name for index, name in enumerate(ATTRIBUTES)]
    return {
        f"{kind}-{name}": values[:, index].double()
        for index, name in enumerate(names)
        for kind, values in (("had", before), ("change", moves))
    }
