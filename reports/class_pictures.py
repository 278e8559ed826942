"""Pictures of class discrimination: images with their evidence outlined, and maps of one image for two classes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import matplotlib as mpl
import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from reports.picture_grid import scaled
from reports.pictures import Picture
from reports.plots import Theme, new_figure, style

Array = npt.NDArray[Any]
_COLOURS = ("#e69f00", "#56b4e9")
_LINES = ("-", "--")
_INCHES = 1.05


def mosaic_examples(picture: Picture, *, theme: Theme = "light") -> Figure:
    """Draw the images of a picture with the evidence of both classes outlined, and thin and gray all other cells.

    Args:
        picture: with the arrays `images` (n, C, H, W) and `masks` (n, 2, H, W); where they are known also `boxes`
            (n, cells, 4), top, left, height and width of every cell, -1 where an image has fewer.
        theme: colours of the text.

    Returns:
        A figure; the title of each image names its two classes, the solid outline belongs to the first.
    """
    images, masks, names = picture.arrays["images"], picture.arrays["masks"], picture.meta["classes"]
    with style(theme):
        figure = new_figure(2.1 * len(images), 2.5)
        for number, image in enumerate(images):
            axis = figure.add_subplot(1, len(images), number + 1)
            axis.imshow(_pixels(image), interpolation="nearest")
            for box in picture.arrays["boxes"][number] if "boxes" in picture.arrays else ():
                _cell(axis, box, masks[number])
            for place in range(2):
                _outlined(axis, masks[number][place], place)
            axis.set_title(f"{names[number][0]} —\n{names[number][1]} - -", fontsize=7.5)
            _bare(axis)
        return figure


def two_classes(pictures: Sequence[Picture], image: str, *, theme: Theme = "light") -> Figure:
    """Draw the maps of one image for two classes: a row per explainer; the image, both maps and their difference.

    Args:
        pictures: of one subject and check, in the order of the rows; those without the image are left out.
        image: id of the image.
        theme: colours of the text.

    Returns:
        A figure.
    """
    rows = [picture for picture in pictures if image in picture.meta["images"]]
    with style(theme):
        figure = new_figure(1.6 + 4 * _INCHES, 0.5 + _INCHES * max(1, len(rows)))
        for line, picture in enumerate(rows):
            at = picture.meta["images"].index(image)
            masks = picture.arrays["masks"][at] if "masks" in picture.arrays else None
            first, second = (np.asarray(values, dtype=np.float64) for values in picture.arrays["maps"][at])
            one, two = scaled(first, "signed"), scaled(second, "signed")
            tiles = (None, (one, first), (two, second), ((one - two) / 2, first - second))
            for column, tile in enumerate(tiles):
                axis = figure.add_subplot(len(rows), 4, 4 * line + column + 1)
                if tile is None:
                    axis.imshow(_pixels(picture.arrays["images"][at]), interpolation="nearest")
                    axis.set_ylabel(str(picture.meta["explainer"]), rotation=0, ha="right", va="center", fontsize=8)
                else:
                    _map(axis, *tile)
                for place, mask in enumerate(() if masks is None else masks[:2]):
                    # The maps show the outline of their own class, the image and the difference those of both.
                    if column in (0, 3) or column == place + 1:
                        _outlined(axis, mask, place)
                if line == 0:
                    a, b = picture.meta["classes"][at]
                    axis.set_title(("image", a, b, "difference")[column], fontsize=8)
                _bare(axis)
        return figure


def _map(axis: Axes, values: Array, raw: Array) -> None:
    """A map in red and blue, or a word where there is nothing to show."""
    if not np.isfinite(raw).all() or not np.any(raw):
        axis.imshow(np.full((*raw.shape, 4), 0.15), interpolation="nearest")
        word = "zero" if np.isfinite(raw).all() else "not finite"
        axis.text(0.5, 0.5, word, ha="center", va="center", fontsize=7, transform=axis.transAxes)
        return
    axis.imshow(np.asarray(mpl.colormaps["RdBu_r"](values / 2 + 0.5)), interpolation="nearest")


def _outlined(axis: Axes, mask: Array, place: int) -> None:
    """The border of a mask as line segments between pixels."""
    for start, end in outline(mask):
        axis.plot(
            [start[0], end[0]], [start[1], end[1]], color=_COLOURS[place], linestyle=_LINES[place], linewidth=1.4,
            solid_capstyle="butt",
        )  # fmt: skip


def _cell(axis: Axes, box: Array, masks: Array) -> None:
    """The border of a cell that holds neither class, thin and gray, a little inside so that no thick one covers it."""
    top, left, height, width = (int(value) for value in box)
    if top < 0 or masks[:, top : top + height, left : left + width].any():
        return
    inset = 0.03 * min(height, width)
    west, east = left - 0.5 + inset, left + width - 0.5 - inset
    north, south = top - 0.5 + inset, top + height - 0.5 - inset
    axis.plot([west, east, east, west, west], [north, north, south, south, north], color="#999999", linewidth=0.7)


def outline(mask: Array) -> list[tuple[tuple[float, float], tuple[float, float]]]:
    """The border of a mask as straight segments, each as long as it can be.

    Args:
        mask: (H, W), non-zero inside.

    Returns:
        Pairs of points (x, y) in pixels, pixel centres at whole numbers.

    Example:
        >>> len(outline(np.array([[0, 0, 0], [0, 1, 1], [0, 0, 0]])))
        4
    """
    inside = np.pad(np.asarray(mask) != 0, 1)
    found = []
    for turned in (False, True):
        table = inside.T if turned else inside
        edges = table[1:] != table[:-1]
        for line, row in enumerate(edges):
            steps = np.flatnonzero(np.diff(np.concatenate([[False], row, [False]]).astype(np.int8)))
            for start, end in zip(steps[::2], steps[1::2], strict=True):
                ends = [(float(place) - 1.5, line - 0.5) for place in (start, end)]
                points = [(y, x) if turned else (x, y) for x, y in ends]
                found.append((points[0], points[1]))
    return found


def _pixels(values: Array) -> Array:
    """An image (C, H, W) in [0, 1] as (H, W, 3), gray where it has not three channels."""
    shown = np.clip(np.asarray(values, dtype=np.float64), 0.0, 1.0)
    return np.dstack(list(shown) if shown.shape[0] == 3 else [shown.mean(axis=0)] * 3)


def _bare(axis: Axes) -> None:
    axis.set_xticks([])
    axis.set_yticks([])
    axis.grid(False)
    for spine in axis.spines.values():
        spine.set_visible(False)
