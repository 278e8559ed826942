"""The picture grid: what the maps look like while the model is randomised layer by layer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import matplotlib as mpl
import numpy as np
import numpy.typing as npt
from matplotlib.figure import Figure
from PIL import Image

from reports.pictures import Picture
from reports.plots import Theme, new_figure, style

Mode = Literal["signed", "positive"]
Array = npt.NDArray[Any]

_TILE = 64
_GAP = 4
_INCHES = 0.66


def picture_grid(pictures: Sequence[Picture], image: str, mode: Mode = "signed", *, theme: Theme = "light") -> Figure:
    """Draw the maps of one image: a row per explainer; the image, the trained model, then each stage.

    Every map is scaled by its own 99th percentile of |a|, so a grid shows where relevance lies and not how
    much of it there is.

    Args:
        pictures: pictures of one subject and one check, in the order of the rows.
        image: id of the image; pictures without it are left out.
        mode: `signed` shows all relevance on a diverging map (red = for the class, blue = against it),
            `positive` what speaks for the class on a sequential map (of non-negative maps, all of it).
        theme: colours of the text.

    Returns:
        A figure.
    """
    rows = [picture for picture in pictures if image in picture.meta["images"]]
    layers: list[str] = max((picture.meta["layers"] for picture in rows), key=len, default=[])
    columns = ["image", "trained", *layers]
    step = _TILE + _GAP
    # Bytes, as they are shown: numbers would be drawn as bytes too, in several times the time.
    canvas = np.zeros((step * max(len(rows), 1) - _GAP, step * len(columns) - _GAP, 4), dtype=np.uint8)
    words: list[tuple[int, int, str]] = []
    for line, picture in enumerate(rows):
        number = picture.meta["images"].index(image)
        tiles = [_image_tile(picture.arrays["images"][number])]
        for values in picture.arrays["maps"][number][: len(columns) - 1]:
            said = _nothing(values)
            if said:
                words.append((len(tiles), line, said))
            signed = bool(picture.meta.get("signed", True))
            tiles.append(_blank_tile() if said else _map_tile(values, mode, signed))
        for column, tile in enumerate(tiles):
            place = np.s_[line * step : line * step + _TILE, column * step : column * step + _TILE]
            canvas[place] = (tile * 255).astype(np.uint8)
    with style(theme):
        figure = new_figure(1.7 + _INCHES * len(columns), 0.7 + _INCHES * max(len(rows), 1))
        axis = figure.add_subplot()
        axis.imshow(canvas, interpolation="nearest")
        axis.grid(False)
        for spine in axis.spines.values():
            spine.set_visible(False)
        centres = [_TILE / 2 + step * number for number in range(max(len(rows), len(columns)))]
        axis.set_yticks(centres[: len(rows)], [str(picture.meta["explainer"]) for picture in rows])
        axis.set_xticks(centres[: len(columns)], [_short(str(name)) for name in columns], rotation=40, ha="left")
        axis.tick_params(bottom=False, left=False, top=False, labelbottom=False, labeltop=True, pad=1)
        for column, line, said in words:
            axis.text(centres[column], centres[line], said, fontsize=6.5, ha="center", va="center")
        return figure


def scaled(values: Array, mode: Mode) -> Array:
    """Scale a map by its own 99th percentile of |a|, to [-1, 1] or, for `positive`, to [0, 1].

    A map without relevance is all zeros; what is no number is 0.

    Args:
        values: (H, W).
        mode: as for `picture_grid`.

    Example:
        >>> scaled(np.array([[2.0, -1.0]]), "positive").round(2).tolist()
        [[1.0, 0.0]]
    """
    plain = np.nan_to_num(np.asarray(values, dtype=np.float64), nan=0.0, posinf=0.0, neginf=0.0)
    if mode == "positive":
        plain = np.maximum(plain, 0.0)
    size = np.abs(plain)
    limit = float(np.percentile(size, 99)) if size.size else 0.0
    # Few bright pixels: the percentile is 0 although there is relevance.
    limit = limit or float(size.max(initial=0.0))
    return np.asarray(np.clip(plain / limit, -1.0, 1.0) if limit > 0 else plain)


def _nothing(values: Array) -> str:
    """Say why a map cannot be shown; empty when it can."""
    finite = np.isfinite(values)
    if not finite.any():
        return "none"
    if not finite.all():
        return "not\nfinite"
    if np.ptp(values) == 0:
        return "constant" if np.any(values) else "zero"
    return ""


def _image_tile(values: Array) -> Array:
    """Turn an image (C, H, W) in [0, 1] into a tile, in colour when it has three channels."""
    shown = np.clip(np.asarray(values, dtype=np.float64), 0.0, 1.0)
    channels = shown if shown.shape[0] == 3 else [shown.mean(axis=0)] * 3
    return np.dstack([*[_resized(channel) for channel in channels], np.ones((_TILE, _TILE))])


def _map_tile(values: Array, mode: Mode, signed: bool) -> Array:
    """Turn a map into a coloured tile; a non-negative map stays on the one-sided scale."""
    if mode == "signed" and signed:
        return np.asarray(mpl.colormaps["RdBu_r"](_resized(scaled(values, "signed")) / 2 + 0.5))
    return np.asarray(mpl.colormaps["magma"](_resized(scaled(values, "positive"))))


def _blank_tile() -> Array:
    """A faint tile that carries a word."""
    return np.broadcast_to(np.array([0.5, 0.5, 0.5, 0.15]), (_TILE, _TILE, 4))


def _resized(values: Array) -> Array:
    """Bring (H, W) to the size of a tile: enlarged pixels stay sharp, made smaller they are averaged."""
    way = Image.Resampling.NEAREST if max(values.shape) <= _TILE else Image.Resampling.BOX
    picture = Image.fromarray(np.asarray(values, dtype=np.float32))
    return np.asarray(picture.resize((_TILE, _TILE), way), dtype=np.float64)


def _short(name: str) -> str:
    """Keep the end of a long layer name; it tells the layers apart."""
    return name if len(name) <= 16 else "…" + name[-15:]
