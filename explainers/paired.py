"""Pictures of explanations of pairs: both images, what is decoded from their codes, both maps, the candidates that were kept."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure, SubFigure
from torch import Tensor

from .base import Explanation
from .morphs import COLUMNS, show


def has_story(made: Explanation) -> bool:
    """Whether the explanation is of an image and a partner."""
    return made.extra is not None and "partner" in made.extra


def rows_of(made: Explanation) -> int:
    """Rows of panels that `story` draws: one for the image, one for its partner."""
    return 2


def columns_of(made: Explanation) -> int:
    """Panels in a row."""
    return COLUMNS


def story(place: Figure | SubFigure, image: Tensor, made: Explanation, name: str, classes: Sequence[str]) -> None:
    """A row for the image and one for its partner: the image, the one decoded from its code, the map, kept candidates.

    Args:
        place: a figure or a part of one; two rows of COLUMNS panels are drawn, the first candidates as far as there is room.
        image: (C, H, W) in [0, 1].
        made: explanation of this one image.
        classes: not used, as in a pair no class is asked about.
    """
    extra = made.extra or {}
    grid = place.subplots(rows_of(made), COLUMNS, squeeze=False)
    for axis in grid.flat:
        axis.set_axis_off()
    apart = float(extra["distance"][0])
    place.suptitle(f"{name}: the two embeddings lie {apart:.3g} apart", fontsize=10, x=0.01, ha="left")
    rows = (
        ("input", image, made.reconstruction, made.map()[0], extra["decoded"][0]),
        (
            "partner", extra["partner"][0], extra["partner_reconstruction"], extra["partner_map"][0].sum(0),
            extra["partner_decoded"][0],
        ),
    )  # fmt: skip
    for panels, (called, picture, centre, values, kept) in zip(grid, rows, strict=True):
        _titled(panels[0], called, picture)
        if centre is not None:
            _titled(panels[1], f"{called}, decoded", centre[0])
        _map(panels[2], values, f"{called}, map")
        for number, (axis, each) in enumerate(zip(panels[3:], kept, strict=False), start=1):
            _titled(axis, f"{called}, kept {number}", each)


def _titled(axis: Any, title: str, picture: Tensor) -> None:
    show(axis, picture)
    axis.set_title(title, fontsize=8)


def _map(axis: Any, values: Tensor, title: str) -> None:
    """A map (H, W) scaled by its largest absolute value."""
    pixels = values.detach().float().cpu().numpy()
    finite = np.abs(pixels[np.isfinite(pixels)])
    limit = float(finite.max()) if finite.size and finite.max() > 0 else 1.0
    axis.imshow(pixels, cmap="RdBu_r", vmin=-limit, vmax=limit)
    axis.set_title(title, fontsize=8)
