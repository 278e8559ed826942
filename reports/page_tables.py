"""Tables that stand on the page for themselves: distances of sets in their groups, what changes together, the square."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import pandas as pd

from reports import bias_tables, distance_tables, flip_tables, set_tables

if TYPE_CHECKING:
    from reports.gallery import Gallery
    from reports.store import Store

IMAGES = 4
"""Images of which the comparison is drawn."""

_DISTANCES = (
    "Frechet (fid) and kernel distance (kid) of the counterfactuals to as many real images, features of an independent network "
    "or those chosen with --features. present: the model finds the second of its two classes with 0.9 or more, absent: with 0.1 "
    "or less, by what the counterfactual reached; 200 images of each group, or no distance. The floor is the distance between "
    "two sets of real images. n: images on each side; d: dimensions of the Frechet distance, for groups 20, averaged over 10 "
    "projections; the kernel distance is in all features. Compare rows of equal n and d only."
)
_BIAS = (
    "Explanations of why an image without a square is no bag. energy: share of the map inside the square (95% interval); of "
    "area: that over the 0.046 of the picture that it covers; change: what a counterfactual adds there; restored: how many "
    "logits it loses when the original pixels are put back. Only a network that takes the square for a bag should show it."
)
_ASKED = (
    "spread: each image was asked for one probability, drawn evenly from tenths; extreme: the far end. fid and kid as above, of "
    "the whole set; floor: of as many other real images; reconstruction: of what the generator makes of the unchanged images. "
    "closeness: the share whose own counterfactual is the nearest among so many (column among), by chance one of them. Intervals "
    "are 95% over images. Compare equal n only."
)
_TOGETHER = (
    "Do attributes change together that are independent in the data? together: correlation of an attribute's signed change with "
    "that of the attribute that was asked about; in data: of the two attributes in the explained images; difference: of these "
    "two, without sign (95% interval), 0 is best; the last row of each explainer is the mean, the correlation difference (CD)."
)
_COMPARED = (
    "The same question to all explainers: red speaks for a bag, blue against it; for counterfactuals red is added and blue taken "
    "away. The square is outlined."
)


def page_tables(frame: pd.DataFrame, store: Store, gallery: Gallery) -> list[dict[str, Any]]:
    """The tables that the records have rows for.

    Args:
        frame: tidy records.
        store: the run folder, for its pictures.
        gallery: keeps the figures.

    Returns:
        Per table `title`, `caption`, `head` (names of columns), `rows` (plain values, None for nulls), `numbers` (columns
        that hold numbers) and `figures`.
    """
    found = []
    distances = distance_tables.distances(frame)
    if len(distances):
        found.append(_table("Distances to real images", _DISTANCES, distances))
    asked = set_tables.asked_sets(frame)
    if len(asked):
        found.append(_table("Sets that were asked for known probabilities", _ASKED, asked))
    together = flip_tables.correlations(frame)
    if len(together):
        found.append(_table("What changes together", _TOGETHER, together))
    bias = bias_tables.bias(frame)
    if len(bias):
        found.append(_table("The planted square", _BIAS, bias) | {"figures": _comparisons(bias, store, gallery)})
    return found


def _table(title: str, caption: str, table: pd.DataFrame) -> dict[str, Any]:
    rows = table.astype(object).where(table.notna(), None).to_dict("records")
    return {
        "title": title, "caption": caption, "head": [str(name).replace("_", " ") for name in table.columns],
        "rows": [list(row.values()) for row in rows], "figures": [],
    }  # fmt: skip


def _comparisons(table: pd.DataFrame, store: Store, gallery: Gallery) -> list[Any]:
    pictures = store.read_pictures()
    shown = []
    for subject in dict.fromkeys(str(name) for name in table["subject"]):
        about: Mapping[str, str] = {"check": bias_tables.CHECK, "subject": subject}
        own = [p for p in pictures if all(p.meta.get(name) == value for name, value in about.items())]
        for image in sorted({image for picture in own for image in picture.meta["images"]})[:IMAGES]:
            figure = bias_tables.comparison(own, subject, image)
            if figure is not None:
                name = f"square-{subject}-{image}"
                shown.append(gallery.add_pixels(name, f"{subject}: {image}", _COMPARED, figure))
    return shown
