"""Figures, one function each, drawn from tables; every function returns a figure and leaves nothing open.

Colours are those of seaborn's colour-blind palette, and no figure tells by colour alone: curves have markers,
verdicts have words.
"""

from __future__ import annotations

import io
import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Literal

import matplotlib as mpl
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image

Theme = Literal["light", "neutral"]
"""Colours of text and lines; `neutral` is readable on white and on black when the background is clear."""

VERDICT_COLOURS = {
    "PASS": "#0072b2",
    "FAIL": "#d55e00",
    "INCONCLUSIVE": "#b8860b",
    "UNRELIABLE": "#b0508a",
    "UNDEFINED": "#767676",
    "N/A": "#767676",
}
"""Colours of the verdicts, told apart by colour-blind readers too."""

_INK = {"light": ("#1d2430", "#d9dee6"), "neutral": ("#7c8594", "#7c8594")}
_DARK = {
    "#1d2430": "#dfe5ee",
    "#d9dee6": "#3a4352",
    "#0072b2": "#5cb3e8",
    "#d55e00": "#f0884a",
    "#b8860b": "#e0b34a",
    "#b0508a": "#dd8fc0",
    "#767676": "#a3acb9",
    "#0173b2": "#4aa6de",
    "#029e73": "#2fc79b",
}
_MARKERS = ("o", "s", "^", "D", "v", "P", "X", "<", ">", "*", "h", "d")


def similarity_curves(
    table: pd.DataFrame,
    check: str,
    groups: Mapping[str, str],
    *,
    measure: str = "ssim",
    theme: Theme = "light",
) -> Figure:
    """Draw similarity against what was randomised, one panel per group of explainers.

    Curves are means with 95% intervals.  The grey band at the right holds the floors: the similarity of each
    explainer under models that were drawn anew as a whole.

    Args:
        table: `reports.similarity` of one subject.
        check: `cascading` or `independent`.
        groups: group of each explainer; others go to the group `other`.
        measure: measure to draw.
        theme: colours of text and lines.

    Returns:
        A figure; x = layers in the order of the stages, y = similarity (1 = same map).
    """
    chosen = table[(table["measure"] == measure) & table["mean"].notna()]
    curves = chosen[chosen["check"] == check].astype({"stage": "float64"})
    floors = chosen[chosen["check"] == "floor"].drop_duplicates("explainer").set_index("explainer")
    panels: dict[str, list[str]] = {}
    for name in sorted(curves["explainer"].unique()):
        panels.setdefault(groups.get(name, "other"), []).append(name)
    lowest = float(curves["ci_low"].min(skipna=True)) if len(curves) else 0.0
    with style(theme):
        figure, axes = new_panels(len(panels), width=4.6, height=3.9)
        layers = _layers(curves)
        for axis, (group, names) in zip(axes, sorted(panels.items()), strict=False):
            colours = dict(zip(names, itertools.cycle(sns.color_palette("colorblind", n_colors=10))))
            _curves(axis, curves[curves["explainer"].isin(names)], names, colours)
            _floors(axis, floors, names, colours, len(layers))
            axis.set_title(group, loc="left", fontweight="bold")
            axis.set_xticks(range(len(layers) + 1), [*layers, "floor"], rotation=45, ha="right")
            axis.set_xlim(-0.3, len(layers) + 0.5)
            axis.set_ylim(min(-0.1, lowest - 0.03), 1.05)
            axis.set_xlabel("")
            axis.set_ylabel(f"{measure} with the trained model's map")
            axis.legend(fontsize=7, loc="upper center", bbox_to_anchor=(0.5, -0.2), ncols=3, frameon=False)
        return figure


def sensitivity_intervals(verdicts: pd.DataFrame, threshold: float, *, theme: Theme = "light") -> Figure:
    """Draw D with its interval for each explainer at the first cascading stage.

    Args:
        verdicts: `reports.verdicts` of one subject.
        threshold: the limit that D is judged by.
        theme: colours of text and lines.

    Returns:
        A figure; x = D (0 = blind, 1 = as different as a full re-draw), one line per explainer.
    """
    rows = verdicts[verdicts["check"] == "cascading"]
    rows = rows.sort_values(["estimate", "explainer"], na_position="first", kind="stable")
    with style(theme):
        figure, (axis,) = new_panels(1, width=8.4, height=1.2 + 0.26 * max(len(rows), 1))
        axis.axvline(threshold, color=_INK[theme][0], linewidth=1, linestyle="--")
        above = axis.get_xaxis_transform()
        axis.text(threshold, 1.01, f" threshold {threshold:g}", fontsize=8, transform=above)
        bounds = rows[["ci_low", "ci_high", "estimate"]].to_numpy(dtype=np.float64)
        for place, (verdict, (low, high, estimate)) in enumerate(zip(rows["verdict"], bounds, strict=True)):
            colour = VERDICT_COLOURS[str(verdict)]
            axis.plot([low, high], [place, place], color=colour, linewidth=2.5, alpha=0.6)
            axis.plot([estimate], [place], marker="o", color=colour, markersize=5)
            beside = axis.get_yaxis_transform()
            axis.text(1.01, place, str(verdict), color=colour, fontsize=8, va="center", transform=beside)
        axis.set_yticks(range(len(rows)), [str(name) for name in rows["explainer"]])
        axis.set_ylim(-0.7, len(rows) - 0.3)
        known = bounds[np.isfinite(bounds)]
        axis.set_xlim(known.min(initial=-0.05) - 0.05, known.max(initial=1.05) + 0.05)
        axis.set_xlabel("sensitivity D to the output layer: 0 = blind, 1 = as different as a full re-draw")
        return figure


def model_health(table: pd.DataFrame, *, theme: Theme = "light") -> Figure:
    """Draw the health of the randomised models, one panel per measure.

    Args:
        table: `reports.health` of one subject.
        theme: colours of text and lines.

    Returns:
        A figure; x = layers in the order of the stages, y = the measure; the shade spans the seeds.
    """
    measures = sorted(table["measure"].unique())
    with style(theme):
        figure, axes = new_panels(len(measures), width=3.5, height=2.9, across=4)
        palette = sns.color_palette("colorblind")
        for axis, measure in zip(axes, measures, strict=False):
            rows = table[table["measure"] == measure]
            layers = _layers(rows)
            for place, (check, part) in enumerate(rows.groupby("check")):
                x = part["stage"].to_numpy(dtype=float)
                label = str(check).removeprefix("health-")
                look = {
                    "marker": _MARKERS[place],
                    "linestyle": ("-", "--")[place % 2],
                    "color": palette[place],
                }
                axis.plot(x, part["mean"], markersize=4, label=label, **look)
                axis.fill_between(x, part["low"], part["high"], color=palette[place], alpha=0.15, linewidth=0)
            axis.set_title(str(measure), loc="left", fontweight="bold")
            axis.set_xticks(range(len(layers)), layers, rotation=45, ha="right")
            axis.margins(y=0.15)
            axis.legend(fontsize=7, framealpha=0.6)
        return figure


def to_bytes(figure: Figure, form: Literal["png", "svg"], *, dpi: int = 110, solid: bool = True) -> bytes:
    """Write a figure into bytes that depend on nothing but the figure.

    Args:
        figure: a figure of this package.
        form: `png`, or `svg` with letters as outlines, so that no font is needed to show it.
        dpi: pixels per inch of a PNG.
        solid: fill the background, else leave it clear.
    """
    buffer = io.BytesIO()
    metadata: dict[str, Any] = {"Date": None} if form == "svg" else {"Software": None}
    with mpl.rc_context({"svg.fonttype": "path", "svg.hashsalt": "sanity-bench"}):
        figure.savefig(
            buffer, format=form, dpi=dpi, transparent=not solid, metadata=metadata, bbox_inches="tight", pad_inches=0.1
        )
    return buffer.getvalue()


def to_pixels(figure: Figure, *, dpi: int) -> Image.Image:
    """Draw a figure on a clear background; RGBA.

    Args:
        figure: a figure of this package.
        dpi: pixels per inch.
    """
    buffer = io.BytesIO()
    # It is taken apart again at once, so that packing it tightly would be a waste.
    options = {"pil_kwargs": {"compress_level": 0}, "bbox_inches": "tight", "pad_inches": 0.1}
    figure.savefig(buffer, format="png", dpi=dpi, transparent=True, **options)
    with Image.open(buffer) as picture:
        return picture.convert("RGBA")


def on_white(clear: Image.Image) -> bytes:
    """A PNG of a picture on a white background, for a file that is looked at outside the page."""
    buffer = io.BytesIO()
    Image.alpha_composite(Image.new("RGBA", clear.size, "white"), clear).convert("RGB").save(buffer, "PNG")
    return buffer.getvalue()


def fewer_colours(clear: Image.Image) -> bytes:
    """A PNG of a picture with a palette of 256 colours: a third of the size, for what is embedded in the page."""
    buffer = io.BytesIO()
    clear.quantize(256, method=Image.Quantize.FASTOCTREE).save(buffer, "PNG")
    return buffer.getvalue()


def to_dark(svg: bytes) -> bytes:
    """Recolour the text and the lines of a light SVG with a clear background for a dark page."""
    text = svg.decode()
    for light, dark in _DARK.items():
        text = text.replace(light, dark)
    return text.encode()


@contextmanager
def style(theme: Theme) -> Iterator[None]:
    """Look of all figures; texts are taken literally, so that `$` in a name is a `$`."""
    ink, faint = _INK[theme]
    look: dict[Any, Any] = {
        **sns.axes_style("whitegrid"),
        "text.parse_math": False,
        "text.color": ink,
        "axes.labelcolor": ink,
        "axes.edgecolor": faint,
        "axes.facecolor": "none",
        "axes.titlesize": 10,
        "axes.labelsize": 8,
        "xtick.color": ink,
        "ytick.color": ink,
        "xtick.labelsize": 7.5,
        "ytick.labelsize": 8,
        "grid.color": faint,
        "legend.facecolor": "none",
        "legend.edgecolor": faint,
        "legend.labelcolor": ink,
        "figure.facecolor": "white",
        "font.family": ["DejaVu Sans"],
    }
    with mpl.rc_context(look):
        yield


class _NotebookFigure(Figure):
    """A figure that a notebook shows as it is, without a plotting backend of its own."""

    def _repr_png_(self) -> bytes:
        """What a notebook shows."""
        return to_bytes(self, "png", dpi=90)


def new_figure(width: float, height: float) -> Figure:
    """Make a figure that no global state knows of, and that notebooks show; sizes in inches."""
    figure = _NotebookFigure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def new_panels(count: int, width: float, height: float, across: int = 3) -> tuple[Figure, list[Axes]]:
    """Make a figure with a number of equal panels, at most `across` in a row; unused places stay empty."""
    columns = max(1, min(across, count))
    lines = max(1, math.ceil(count / columns))
    figure = new_figure(width * columns, height * lines)
    axes = [figure.add_subplot(lines, columns, place + 1) for place in range(max(count, 1))]
    if count == 0:
        axes[0].set_axis_off()
        axes[0].text(0.5, 0.5, "no values", ha="center", va="center")
    return figure, axes


def _curves(axis: Axes, rows: pd.DataFrame, names: Sequence[str], colours: Mapping[str, Any]) -> None:
    """Draw the curves of one panel with their intervals."""
    sns.lineplot(
        rows,
        x="stage",
        y="mean",
        hue="explainer",
        style="explainer",
        hue_order=list(names),
        style_order=list(names),
        palette=dict(colours),
        markers=dict(zip(names, itertools.cycle(_MARKERS))),
        dashes=False,
        errorbar=None,
        markersize=5,
        ax=axis,
    )
    for name, part in rows.groupby("explainer"):
        here = part.sort_values("stage")
        colour = colours[str(name)]
        axis.fill_between(here["stage"], here["ci_low"], here["ci_high"], color=colour, alpha=0.15, linewidth=0)


def _floors(axis: Axes, floors: pd.DataFrame, names: Sequence[str], colours: Mapping[str, Any], place: int) -> None:
    """Draw the floor of each explainer with its interval in a band at the right, side by side."""
    axis.axvspan(place - 0.5, place + 0.5, color="#888888", alpha=0.18, linewidth=0, zorder=0)
    offsets = np.linspace(-0.3, 0.3, len(names)) if len(names) > 1 else [0.0]
    for name, offset in zip(names, offsets, strict=True):
        if name in floors.index:
            low, high, mean = (float(floors[column][name]) for column in ("ci_low", "ci_high", "mean"))
            x = place + float(offset)
            axis.plot([x, x], [low, high], color=colours[name], linewidth=1.5)
            axis.plot([x], [mean], marker="_", color=colours[name], markersize=6)


def _layers(rows: pd.DataFrame) -> list[str]:
    """Names of the stages from 0 on; the trained model is stage 0."""
    if not len(rows):
        return []
    names = rows.dropna(subset=["layer"]).groupby("stage")["layer"].first().to_dict()
    last = int(rows["stage"].max())
    return ["trained", *(str(names.get(stage, stage)) for stage in range(1, last + 1))]
