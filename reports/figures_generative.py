"""Figures of the suite on counterfactuals: what each explainer makes of an image, and what its set is like."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import pandas as pd
from matplotlib.figure import Figure

from reports import flip_tables, set_tables
from reports.frame import load
from reports.page import Shown
from reports.pictures import Picture
from reports.store import Store

if TYPE_CHECKING:
    from reports.gallery import Gallery

CHECK = "counterfactual"
_COLUMNS = ("input", "reconstruction", "counterfactual", "difference")
_STRIPS = (
    "One row per explainer: the image, what its generator makes of it, its counterfactual, and the difference between "
    "counterfactual and image: red is added, blue taken away. What was asked, and how the search ended, stands at the left."
)
_SETS = (
    "Distance of the set of counterfactuals to as many real images (kernel distance; the line is the distance between two "
    "sets of real images), against the share of counterfactuals that are still the same object. Low and right is good; the "
    "unchanged image lies there too and explains nothing, so read it beside what was reached."
)

_ASKED = (
    "Kernel distance to real images and identity of the counterfactuals, where each image was asked for one probability "
    "drawn evenly from tenths (round) and at the far end (square). Bars are 95% intervals over images."
)
_MATRIX = (
    "Share of the counterfactuals that change each planted attribute, read off the pixels by an exact oracle. A row is a "
    "model whose classes are about the attribute in its name: that one should change, and no other."
)
_PLANTED = "fmnist-planted"


def sections(frame: pd.DataFrame, store: Store, gallery: Gallery) -> list[Shown]:
    """Draw the strips of the stored images and the map of the sets.

    Args:
        frame: tidy records of one subject.
        store: the run folder, for its pictures.
        gallery: keeps the figures.
    """
    shown = []
    subjects = set(frame["subject"].unique())
    own = [p for p in store.read_pictures() if p.meta.get("check") == CHECK and p.meta.get("subject") in subjects]
    own.sort(key=lambda picture: (str(picture.meta.get("explainer")), picture.key))
    for image in sorted({image for picture in own for image in picture.meta["images"]}):
        figure = strips(own, image)
        shown.append(gallery.add_pixels(f"counterfactuals-{image}", f"Counterfactuals of {image}", _STRIPS, figure))
    shown += list(_asked(frame, subjects, gallery))
    shown += list(_flips(subjects, store, gallery))
    figure_of_sets = sets(frame)
    if figure_of_sets is not None:
        shown.append(
            gallery.add("counterfactual-sets", "As sets: like real images, and still the same?", _SETS, figure_of_sets)
        )
    return shown


def _asked(frame: pd.DataFrame, subjects: set[str], gallery: Gallery) -> Iterator[Shown]:
    """Draw the sets that were asked for known probabilities."""
    table = set_tables.asked_sets(frame)
    for subject in sorted(subjects):
        figure = set_tables.figure(table, subject)
        if figure is not None:
            yield gallery.add(f"{subject}-asked-sets", "Sets that were asked for known probabilities", _ASKED, figure)


def _flips(subjects: set[str], store: Store, gallery: Gallery) -> Iterator[Shown]:
    """Draw the matrix of planted attributes, once for all subjects of the run, beside the first of them."""
    if not any(each.startswith(_PLANTED) for each in subjects):
        return
    matrix = flip_tables.flip_matrix(load(store))
    if len(matrix) and matrix.index[0][0] in subjects:
        figure = flip_tables.heat_map(matrix)
        yield gallery.add("flip-matrix", "What was asked about, and what changed", _MATRIX, figure)


def strips(pictures: list[Picture], image: str) -> Figure:
    """One row per explainer: input, reconstruction, counterfactual, difference.

    Args:
        pictures: stored by the check `counterfactual`.
        image: id of the image; pictures without it are left out.

    Raises:
        ValueError: no picture shows the image.
    """
    rows = [(picture, picture.meta["images"].index(image)) for picture in pictures if image in picture.meta["images"]]
    if not rows:
        raise ValueError(f"no stored counterfactual shows {image!r}; pictures are kept of the first images of a run")
    figure = Figure(figsize=(7.2, 1.35 * len(rows) + 0.5), layout="constrained")
    axes = figure.subplots(len(rows), len(_COLUMNS), squeeze=False)
    for line, (picture, place) in zip(axes, rows, strict=True):
        source = _pixels(picture.arrays["images"][place])
        again = picture.arrays.get("reconstructions")
        change = np.asarray(picture.arrays["maps"][place, 0], dtype=np.float64)
        panels = [
            source,
            None if again is None else _pixels(again[place]),
            _pixels(picture.arrays["counterfactuals"][place]),
        ]
        for axis, panel in zip(line, [*panels, change], strict=True):
            axis.set_xticks([])
            axis.set_yticks([])
            if panel is None:
                axis.axis("off")
            elif panel is change:
                size = float(np.abs(change).max()) or 1.0
                axis.imshow(change, cmap="RdBu_r", vmin=-size, vmax=size)
            else:
                axis.imshow(panel, cmap="gray", vmin=0, vmax=1)
        meta = picture.meta
        ended = meta["outcomes"][place] if place < len(meta.get("outcomes", [])) else ""
        words = f"{meta['explainer']}\n{meta['classes'][place]} → {meta['toward'][place]}\n{ended}"
        line[0].set_ylabel(words, rotation=0, ha="right", va="center", fontsize=7)
    for axis, title in zip(axes[0], _COLUMNS, strict=True):
        axis.set_title(title, fontsize=8)
    return figure


def sets(frame: pd.DataFrame) -> Figure | None:
    """Kernel distance against the share verified as the same object, one dot per explainer; None without such values."""
    rows = frame[(frame["check"] == "distribution").to_numpy(dtype=bool) & frame["value"].notna().to_numpy()]
    table = rows.pivot_table(index="explainer", columns="measure", values="value", observed=True)
    if not {"kid", "verification"} <= set(table.columns) or table[["kid", "verification"]].dropna().empty:
        return None
    figure = Figure(figsize=(6.4, 4.2), layout="constrained")
    axis = figure.subplots()
    for name, row in table.dropna(subset=["kid", "verification"]).iterrows():
        axis.scatter(row["verification"], row["kid"], color="#0b6aa2")
        axis.annotate(
            str(name), (row["verification"], row["kid"]), textcoords="offset points", xytext=(5, 3), fontsize=7
        )
    if "kid-floor" in table:
        axis.axhline(float(table["kid-floor"].mean()), linestyle="--", linewidth=1, color="#808080")
    axis.set_yscale("symlog", linthresh=max(1e-6, float(table["kid"].abs().max()) / 100))
    axis.set_xlim(-0.03, 1.18)
    axis.set_xlabel("share verified as the same object")
    axis.set_ylabel("kernel distance to real images")
    return figure


def _pixels(image: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Make (C, H, W) drawable."""
    return image[0] if image.shape[0] == 1 else np.moveaxis(image, 0, -1)
