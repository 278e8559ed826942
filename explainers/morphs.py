"""Pictures of explanations with counterfactuals: what was changed, and the way there with the class probabilities."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure, SubFigure
from torch import Tensor

from .base import Explanation

COLUMNS, SERIES = 8, 10
"""Panels in a row; of a series over requested probabilities, which would say less with a request left out."""
HOLD, FRAME = 900, 180
"""Milliseconds that the ends and the frames between them are shown."""


def has_story(made: Explanation) -> bool:
    """Whether there is more to show of an explanation than its map."""
    return made.counterfactual is not None


def rows_of(made: Explanation) -> int:
    """Rows of panels that `story` draws."""
    return 1 + (made.trajectory is not None)


def columns_of(made: Explanation) -> int:
    """Panels in a row of `story`."""
    return SERIES if made.trajectory is not None and made.trajectory.kind == "exaggeration" else COLUMNS


def story(place: Figure | SubFigure, image: Tensor, made: Explanation, name: str, classes: Sequence[str]) -> None:
    """Input, reconstruction, counterfactual, signed map and its absolute value; below them the morph with probabilities.

    Args:
        place: a figure or a part of one; `rows_of(made)` rows of `columns_of(made)` panels are drawn.
        image: (C, H, W) in [0, 1].
        made: explanation of this one image.
        classes: names of all classes.
    """
    columns = columns_of(made)
    grid = place.subplots(rows_of(made), columns, squeeze=False)
    for axis in grid.flat:
        axis.set_axis_off()
    place.suptitle(_title(made, name, classes), fontsize=10, x=0.01, ha="left")
    panels: list[tuple[str, Any]] = [("input", image)]
    if made.reconstruction is not None:
        panels.append(("reconstruction", made.reconstruction[0]))
    if made.counterfactual is not None:
        panels.append(("counterfactual", made.counterfactual[0]))
    for axis, (title, picture) in zip(grid[0], panels, strict=False):
        show(axis, picture)
        axis.set_title(title, fontsize=8)
    values = made.map()[0].cpu().numpy()
    finite = np.abs(values[np.isfinite(values)])
    limit = float(finite.max()) if finite.size and finite.max() > 0 else 1.0
    signed, saliency = grid[0][len(panels)], grid[0][len(panels) + 1]
    signed.imshow(values, cmap="RdBu_r", vmin=-limit, vmax=limit)
    signed.set_title("red: add, blue: remove", fontsize=8)
    saliency.imshow(np.abs(values), cmap="gray_r", vmin=0, vmax=limit)
    saliency.set_title("saliency", fontsize=8)
    if made.trajectory is not None:
        for axis, frame in zip(grid[1], _chosen(made.trajectory.images.shape[1], columns), strict=False):
            show(axis, made.trajectory.images[0, frame])
            axis.text(0, -0.03, caption(made, frame, classes), fontsize=7, va="top", transform=axis.transAxes)


def caption(made: Explanation, frame: int, classes: Sequence[str]) -> str:
    """Probabilities of the explained, the probe and the likeliest other class at one frame of the morph."""
    if made.trajectory is None:
        return ""
    shares = made.trajectory.probabilities[0, frame].float().cpu().numpy()
    ends = [int(each[0]) for each in (made.source, made.target) if each is not None and int(each[0]) >= 0]
    named = [index for index in dict.fromkeys(ends) if index < len(shares)]
    others = [index for index in np.argsort(-shares).tolist() if index not in named][:1]
    lines = [f"{classes[index][:12]} {shares[index]:.2f}" for index in [*named, *others]]
    if made.trajectory.requested is not None:
        lines.insert(0, f"asked {float(made.trajectory.requested[0, frame]):.2f}")
    return "\n".join(lines)


def animate(file: Path, found: Sequence[Explanation], names: Sequence[str], classes: Sequence[str]) -> None:
    """Write the morphs of one image side by side as an endless GIF, there and back.

    Args:
        found: explanations of this one image; those without a morph are left out.
    """
    from PIL import Image

    shown = [(made, name) for made, name in zip(found, names, strict=True) if made.trajectory is not None]
    length = max(made.trajectory.images.shape[1] for made, _ in shown if made.trajectory is not None)
    pictures = []
    for step in range(length):
        figure = Figure(figsize=(2.2 * len(shown), 3.0), layout="constrained")
        for axis, (made, name) in zip(figure.subplots(1, len(shown), squeeze=False)[0], shown, strict=True):
            axis.set_axis_off()
            if made.trajectory is not None:
                frame = min(step, made.trajectory.images.shape[1] - 1)
                show(axis, made.trajectory.images[0, frame])
                axis.set_title(f"{name}\n{caption(made, frame, classes)}", fontsize=8, loc="left")
        canvas = FigureCanvasAgg(figure)
        canvas.draw()
        pictures.append(Image.fromarray(np.asarray(canvas.buffer_rgba())).convert("RGB"))
    times = [HOLD, *[FRAME] * (length - 2), HOLD][:length]
    back = pictures[-2:0:-1]
    pictures[0].save(
        file, save_all=True, append_images=[*pictures[1:], *back], duration=[*times, *[FRAME] * len(back)], loop=0
    )


def show(axis: Any, picture: Tensor) -> None:
    """One image (C, H, W) in [0, 1] on an axis."""
    pixels = picture.detach().float().cpu().numpy()
    axis.imshow(pixels[0] if len(pixels) == 1 else pixels.transpose(1, 2, 0), cmap="gray", vmin=0, vmax=1)


def _chosen(frames: int, most: int) -> list[int]:
    """At most so many frames, the first and the last among them."""
    if frames <= most:
        return list(range(frames))
    return [round(place * (frames - 1) / (most - 1)) for place in range(most)]


def _title(made: Explanation, name: str, classes: Sequence[str]) -> str:
    text = name
    if made.source is not None and made.target is not None and int(made.target[0]) >= 0:
        text += f": why {classes[int(made.source[0])]} and not {classes[int(made.target[0])]}?"
    return text + (f"  ({made.outcome[0]})" if made.outcome is not None else "")
