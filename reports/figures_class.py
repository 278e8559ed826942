"""Figures of class discrimination: where the relevance lies, how alike two classes look, the maps and cells themselves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from reports import plots, stats
from reports.class_pictures import mosaic_examples, two_classes
from reports.class_values import ALIKE, LOCATED, Values
from reports.frame import Group
from reports.judge_class import judge
from reports.page import Shown
from reports.store import Store
from reports.verdict import threshold_of

_LOCALISED = (
    "Share of the positive relevance that lies on the evidence of the class, mean and 95% interval over images. Filled: "
    "pairs of image and class that the model is certified to answer from this evidence; hollow: all pairs. Dashed: "
    "chance, the share of the pixels. Below the line stand references that know nothing of the class, and the oracle."
)
_ALIKE = (
    "Sensitivity D to the class that is asked about, with 95% intervals: 0 = the maps of two classes are as alike as two "
    "maps of one, 1 = as different as the map of a fully re-drawn model. Without a dot D is not defined; the table says why."
)
_TWO = (
    "Maps of one image for two classes, each scaled by its own 99th percentile, and their difference. Red speaks for the "
    "class, blue against it. Where the evidence is known it is outlined, solid for the first class, dashed for the second. An "
    "explainer that answers for the class has its relevance in the outlined place and a difference that separates the two."
)
_CELLS = (
    "Images whose evidence is known; solid outlines hold the first class asked about, dashed ones the second, thin gray ones "
    "the other cells."
)
_NAMES = {"grid-localisation": "mosaics", "planted-cue": "planted cues"}
_MARKERS = {
    "class-similarity": "o", "class-similarity-probes": "D", "class-similarity-top2": "s", "class-similarity-least": "^",
}  # fmt: skip
_SHORT = {
    "class-similarity": "two classes shown",
    "class-similarity-probes": "one class towards two probes",
    "class-similarity-top2": "most and second most likely",
    "class-similarity-least": "most and least likely",
}


class Gallery(Protocol):
    """What keeps the figures of a page."""

    def add(self, name: str, title: str, caption: str, figure: Figure) -> Shown:
        """Keep a figure of lines under a name."""

    def add_pixels(self, name: str, title: str, caption: str, figure: Figure) -> Shown:
        """Keep a figure of pixels under a name."""


def sections(frame: pd.DataFrame, store: Store, gallery: Gallery) -> list[Shown]:
    """Draw the figures of every subject of the suite in the records.

    Args:
        frame: tidy records of a run.
        store: its folder, with the stored maps and the cards of the explainers.
        gallery: keeps the figures.

    Returns:
        Per subject where the relevance lies, how sensitive explainers are to the class, examples of images with known
        evidence, and per image the maps for two classes.
    """
    values, judged = Values(frame), judge(frame)
    references = {name for name, card in store.explainers.items() if card.get("group") == "reference"}
    pictures = [each for each in store.read_pictures() if each.meta.get("check") in (*ALIKE, *LOCATED)]
    shown: list[Shown] = []
    for subject in sorted(judged["subject"].unique()):
        part = judged[judged["subject"] == subject]
        for check in LOCATED:
            groups = [group for group in values.groups([check]) if group[0] == subject and values.masses(group)]
            if groups:
                figure = localisation_intervals(values, groups, references)
                title = f"Relevance on the evidence: {_NAMES[check]}"
                shown.append(gallery.add(f"{subject}-{check}", title, _LOCALISED, figure))
        if part["check"].isin(ALIKE).any():
            figure = class_intervals(part, threshold_of(frame), references)
            shown.append(gallery.add(f"{subject}-class-similarity", "Sensitivity to the class", _ALIKE, figure))
        own = [each for each in pictures if each.meta.get("subject") == subject]
        own.sort(key=lambda each: (each.meta["explainer"] in references, each.meta["explainer"]))
        shown += _drawn(subject, own, gallery)
    return shown


def _drawn(subject: str, pictures: Sequence[Any], gallery: Gallery) -> list[Shown]:
    """The pictures of one subject: examples with outlines, then the maps for two classes."""
    shown: list[Shown] = []
    for check in dict.fromkeys(each.meta["check"] for each in pictures):
        own = [each for each in pictures if each.meta["check"] == check]
        if "masks" in own[0].arrays:
            figure = mosaic_examples(own[0], theme="neutral")
            shown.append(gallery.add_pixels(f"{subject}-{check}-examples", "Where the evidence is", _CELLS, figure))
        for image in sorted({image for each in own for image in each.meta["images"]}):
            figure = two_classes(own, image, theme="neutral")
            shown.append(gallery.add_pixels(f"{subject}-{check}-{image}", f"Two classes of {image}", _TWO, figure))
    return shown


def localisation_intervals(
    values: Values, groups: Sequence[Group], references: set[str], *, theme: plots.Theme = "light"
) -> Figure:
    """Draw the share of relevance on the evidence, certified and not, one line per explainer.

    Args:
        values: the records.
        groups: explainers of one subject under one check.
        references: explainers that stand below the others.
        theme: colours of text and lines.

    Returns:
        A figure; x = share of positive relevance in [0, 1], higher = better.
    """
    means = {group: float(np.mean(list(values.masses(group).values()))) for group in groups}
    lines = sorted(groups, key=lambda group: (group[1] not in references, means[group]))
    with plots.style(theme):
        figure = plots.new_figure(8.4, 1.3 + 0.27 * len(lines))
        axis = figure.add_subplot()
        for place, group in enumerate(lines):
            mass, flags = values.masses(group), values.certified(group)
            kept = [value for image, value in mass.items() if flags.get(image) == 1]
            _interval(axis, place - 0.14, kept, "#0072b2", filled=True)
            _interval(axis, place + 0.14, list(mass.values()), "#767676", filled=False)
        chance = [value for group in lines for value in values.of(group, "chance").values()]
        if chance:
            axis.axvline(float(np.mean(chance)), color="#d55e00", linestyle="--", linewidth=1)
            axis.text(float(np.mean(chance)), 1.01, " chance", fontsize=8, transform=axis.get_xaxis_transform())
        beside = sum(group[1] in references for group in lines)
        if 0 < beside < len(lines):
            axis.axhline(beside - 0.5, color="#767676", linewidth=0.8)
        axis.set_yticks(range(len(lines)), [group[1] for group in lines])
        axis.set_ylim(-0.7, len(lines) - 0.3)
        axis.set_xlim(-0.02, 1.02)
        axis.set_xlabel("share of the positive relevance on the evidence of the class")
        return figure


def class_intervals(
    verdicts: pd.DataFrame, threshold: float, references: set[str], *, theme: plots.Theme = "light"
) -> Figure:
    """Draw D for every pair of classes that is compared, one line per explainer.

    Args:
        verdicts: `reports.judge_class.judge` of one subject.
        threshold: the limit that D is judged by.
        references: explainers that stand below the others.
        theme: colours of text and lines.

    Returns:
        A figure; x = D (0 = blind to the class), a marker per check.
    """
    rows = verdicts[verdicts["check"].isin(ALIKE)]
    checks = [check for check in ALIKE if (rows["check"] == check).any()]
    first = rows[rows["check"] == checks[0]].set_index("explainer")["estimate"].to_dict()
    names = sorted(
        {str(name) for name in rows["explainer"]},
        key=lambda name: (name not in references, _number(first, name), name),
    )
    offsets = np.linspace(-0.2, 0.2, len(checks)) if len(checks) > 1 else [0.0]
    with plots.style(theme):
        figure = plots.new_figure(8.4, 1.6 + 0.3 * len(names))
        axis = figure.add_subplot()
        axis.axvline(threshold, color="#767676", linewidth=1, linestyle="--")
        axis.text(threshold, 1.01, f" threshold {threshold:g}", fontsize=8, transform=axis.get_xaxis_transform())
        for check, offset in zip(checks, offsets, strict=True):
            for row in rows[rows["check"] == check].to_dict("records"):
                place = names.index(str(row["explainer"])) - float(offset)
                colour = plots.VERDICT_COLOURS[str(row["verdict"])]
                axis.plot([row["ci_low"], row["ci_high"]], [place] * 2, color=colour, linewidth=2, alpha=0.6)
                axis.plot(
                    [row["estimate"]], [place], marker=_MARKERS[check], color=colour, markersize=4.5, linestyle=""
                )
            axis.plot([], [], marker=_MARKERS[check], color="#767676", linestyle="", label=_SHORT[check])
        bounds = rows[["ci_low", "ci_high", "estimate"]].to_numpy(dtype=np.float64)
        known = bounds[np.isfinite(bounds)]
        axis.set_xlim(known.min(initial=-0.05) - 0.05, known.max(initial=1.05) + 0.05)
        axis.set_yticks(range(len(names)), names)
        axis.set_ylim(-0.7, len(names) - 0.3)
        axis.set_xlabel("sensitivity D to the class: 0 = blind, 1 = as different as a full re-draw")
        words = rows[rows["check"] == checks[0]].set_index("explainer")["verdict"].to_dict()
        beside = axis.get_yaxis_transform()
        for place, name in enumerate(names):
            word = str(words.get(name, ""))
            colour = plots.VERDICT_COLOURS.get(word, "#767676")
            axis.text(1.01, place, word, color=colour, fontsize=8, va="center", transform=beside)
        axis.legend(fontsize=7, loc="lower right")
        return figure


def _number(known: Mapping[Any, Any], name: str) -> float:
    value = float(known.get(name, float("nan")))
    return value if np.isfinite(value) else -np.inf


def _interval(axis: Axes, place: float, values: Sequence[float], colour: str, filled: bool) -> None:
    """A mean over images with its interval; nothing where there are no values."""
    if not values:
        return
    (found,) = stats.mean_over_images(np.array([values], dtype=np.float64))
    axis.plot([found.low, found.high], [place, place], color=colour, linewidth=2, alpha=0.6)
    face = colour if filled else "none"
    axis.plot([found.estimate], [place], marker="o", color=colour, markerfacecolor=face, markersize=4.5)
