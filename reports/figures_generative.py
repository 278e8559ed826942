"""Figures of the suite on counterfactuals: what each explainer makes of an image, and what its set is like."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import pandas as pd
import seaborn as sns
from matplotlib.figure import Figure

from reports import flip_tables, plots, request_tables, set_tables
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
_CURVE = (
    "What the model answers (mean over images, band: 95% interval) where each probability of the target was requested. On the "
    "diagonal it answers what was requested. The dashed line is an explainer that shows the image itself. Explainers that are "
    "asked for one probability per image have fewer images for each tenth."
)
_SERIES = (
    "One row per explainer: frames on the way from the image to its counterfactual, each with the probability of the target that "
    "the model gives it, and above it what was requested, where something was."
)
_PLANTED = "fmnist-planted"


def sections(frame: pd.DataFrame, store: Store, gallery: Gallery) -> list[Shown]:
    """Draw the strips and series of the stored images, what was achieved of requests, and the map of the sets.

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
        frames = series(own, image)
        if frames is not None:
            shown.append(
                gallery.add_pixels(f"series-{image}", f"On the way to counterfactuals of {image}", _SERIES, frames)
            )
    answered = request_tables.achieved(frame)
    for subject in sorted(subjects):
        drawn = curve(answered, subject)
        if drawn is not None:
            title = "Requested and achieved probability"
            shown.append(gallery.add(f"{subject}-requested", title, _CURVE, drawn))
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


def series(pictures: list[Picture], image: str) -> Figure | None:
    """One row per explainer: the frames on the way to the counterfactual, what was requested of each and what was achieved.

    Args:
        pictures: stored by the check `counterfactual`.
        image: id of the image; pictures without it or without frames are left out.

    Returns:
        A figure; None where no picture has two frames or more of the image.
    """
    rows = [
        (picture, picture.meta["images"].index(image)) for picture in pictures
        if image in picture.meta["images"] and "frames" in picture.arrays and picture.arrays["frames"].shape[1] > 1
    ]  # fmt: skip
    if not rows:
        return None
    columns = max(picture.arrays["frames"].shape[1] for picture, _ in rows)
    figure = Figure(figsize=(1.6 + 0.78 * columns, 1.2 * len(rows) + 0.2), layout="constrained")
    axes = figure.subplots(len(rows), columns, squeeze=False)
    for line, (picture, place) in zip(axes, rows, strict=True):
        frames, said = picture.arrays["frames"][place], picture.arrays["frame-probabilities"][place]
        asked = picture.arrays.get("frame-requests")
        for axis in line:
            axis.set_xticks([])
            axis.set_yticks([])
            axis.axis("off")
        for number, axis in enumerate(line[: len(frames)]):
            axis.axis("on")
            axis.imshow(_pixels(frames[number]), cmap="gray", vmin=0, vmax=1)
            axis.set_xlabel(f"{float(said[number]):.2f}", fontsize=7, labelpad=1)
            if asked is not None:
                axis.set_title(f"asked {float(asked[place][number]):.2f}", fontsize=6, pad=2)
        meta = picture.meta
        words = f"{meta['explainer']}\np({meta['toward'][place]})"
        line[0].set_ylabel(words, rotation=0, ha="right", va="center", fontsize=7)
    return figure


def curve(table: pd.DataFrame, subject: str, *, theme: plots.Theme = "light") -> Figure | None:
    """Draw achieved against requested probability, a line with its 95% band per explainer; None without such values.

    Args:
        table: as `reports.request_tables.achieved` gives it.
        subject: name of the model.
        theme: `light` or `neutral`.

    Returns:
        A figure; x = requested, y = achieved, both probabilities of the target in [0, 1]; on the dotted diagonal the model
        answers what was requested. The dashed line is the unchanged image.

    Source: Singla et al. 2020, figure 3.
    """
    own = table[(table["subject"] == subject).to_numpy(dtype=bool)]
    names = sorted(str(name) for name in own["explainer"].unique() if name != request_tables.UNCHANGED)
    if not names:
        return None
    colours = sns.color_palette("colorblind", n_colors=10)
    with plots.style(theme):
        figure = plots.new_figure(6.4, 4.6 + 0.17 * len(names))
        axis = figure.subplots()
        axis.plot([0, 1], [0, 1], ":", color="#767676", linewidth=1, label="as requested")
        for place, name in enumerate([*names, request_tables.UNCHANGED]):
            rows = own[(own["explainer"] == name).to_numpy(dtype=bool)].sort_values("requested")
            still = name == request_tables.UNCHANGED
            colour = "#767676" if still else colours[place % len(colours)]
            marker = "" if still else "osD^v"[place % 5]
            count = sorted({int(rows["n"].min()), int(rows["n"].max())})
            label = f"{name} ({' to '.join(map(str, count))} images a point)"
            x, y = rows["requested"].to_numpy(), rows["achieved"].to_numpy()
            axis.plot(x, y, marker=marker, markersize=4, linestyle="--" if still else "-", color=colour, label=label)
            low, high = rows["ci_low"].to_numpy(dtype=np.float64), rows["ci_high"].to_numpy(dtype=np.float64)
            axis.fill_between(x, low, high, color=colour, alpha=0.2, linewidth=0)
        axis.set_xlim(0, 1)
        axis.set_ylim(0, 1)
        axis.set_xlabel("requested probability of the target")
        axis.set_ylabel("achieved probability")
        axis.legend(fontsize=7, loc="upper center", bbox_to_anchor=(0.5, -0.14), frameon=False)
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
