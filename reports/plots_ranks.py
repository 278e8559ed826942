"""Figures about ranks: which explainers can be told apart, and what a faithful explanation costs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

from reports import plots
from reports.ranks import Friedman
from reports.stats import Interval
from reports.verdict import MEANINGS

_INK = "#767676"
_ACCENT = "#0173b2"
_AROUND = [(dx, dy) for dy in (-5, 5, -15, 15, -26, 26, 38, -38) for dx in (7, -7)]


def critical_difference(names: Sequence[str], found: Friedman, *, theme: plots.Theme = "light") -> Figure:
    """Draw mean ranks, and a bar over every group whose members cannot be told apart.

    Args:
        names: explainers in the order of `found.mean_ranks`.
        found: as `reports.ranks.friedman` gives it.
        theme: colours of text and lines.

    Returns:
        A figure; x = mean rank over images (1 = best).

    Source:
        Demšar, Statistical comparisons of classifiers over multiple data sets, 2006, figure 1.
    """
    order = np.argsort(found.mean_ranks, kind="stable")
    ranks = found.mean_ranks[order]
    bars = cliques(ranks, found.critical_difference)
    with plots.style(theme):
        figure = plots.new_figure(8.4, 1.0 + 0.24 * len(order) + 0.12 * len(bars))
        axis = figure.add_subplot()
        for line, (place, rank) in enumerate(zip(order, ranks, strict=True)):
            axis.plot([rank, rank], [-0.4, line + 0.5], color=_INK, linewidth=0.8)
            axis.plot([rank], [line + 0.5], marker="o", color=_ACCENT, markersize=5)
            axis.text(
                rank - 0.012 * len(order),
                line + 0.5,
                f"{names[place]}  {rank:.1f} ",
                va="center",
                ha="right",
                fontsize=8,
            )
        for number, (first, last) in enumerate(bars):
            height = -0.8 - 0.5 * number
            axis.plot(
                [ranks[first] - 0.03, ranks[last] + 0.03], [height, height], color=_ACCENT, linewidth=4, alpha=0.7
            )
        axis.set_ylim(len(order) + 0.3, -1.2 - 0.5 * len(bars))
        axis.set_xlim(1 - 0.4 * len(order), len(order) + 0.5)
        axis.set_xticks(np.unique(np.linspace(1, len(order), min(len(order), 8)).round()))
        axis.set_yticks([])
        axis.grid(False)
        axis.set_xlabel(
            f"mean rank over {found.blocks} images (1 = best); critical difference {found.critical_difference:.2f}, "
            f"Friedman p = {found.p:.2g}"
        )
        return figure


def cliques(ranks: Sequence[float] | np.ndarray, reach: float) -> list[tuple[int, int]]:
    """Longest runs of sorted mean ranks that lie within a critical difference, as first and last position.

    Example:
        >>> cliques([1.0, 1.5, 3.0, 3.2], 1.6)
        [(0, 1), (1, 2), (2, 3)]
    """
    found: list[tuple[int, int]] = []
    for first in range(len(ranks)):
        last = max(place for place in range(first, len(ranks)) if ranks[place] - ranks[first] <= reach)
        if last > first and (not found or last > found[-1][1]):
            found.append((first, last))
    return found


def cost_and_faithfulness(
    values: Mapping[str, Interval],
    seconds: Mapping[str, float],
    verdicts: Mapping[str, str],
    *,
    theme: plots.Theme = "light",
) -> Figure:
    """Draw what one explanation costs against how faithful it is.

    Args:
        values: faithfulness of each explainer with its interval, larger = better.
        seconds: seconds per explanation.
        verdicts: verdict of each explainer on randomisation; it decides colour and marker.
        theme: colours of text and lines.

    Returns:
        A figure; x = seconds (logarithmic), y = faithfulness.  Explainers without a time are left out.
    """
    markers = dict(zip(MEANINGS, ("o", "X", "s", "v", "P", "d"), strict=False))
    names = [name for name in sorted(values) if seconds.get(name, 0.0) > 0 and np.isfinite(values[name].estimate)]
    with plots.style(theme):
        figure = plots.new_figure(8.4, 5.0)
        axis = figure.add_subplot()
        seen: set[str] = set()
        for name in names:
            verdict, found, x = verdicts.get(name, ""), values[name], seconds[name]
            colour = plots.VERDICT_COLOURS.get(verdict, _INK)
            label = (verdict or "randomisation not run") if verdict not in seen else None
            seen.add(verdict)
            axis.plot([x, x], [found.low, found.high], color=colour, linewidth=1.2, alpha=0.6)
            marker = markers.get(verdict, ".")
            axis.plot([x], [found.estimate], marker=marker, linestyle="", color=colour, markersize=6, label=label)
        axis.set_xscale("log")
        axis.margins(x=0.12)
        # Without mathematical text a logarithmic axis writes its source.
        axis.xaxis.set_major_formatter(FuncFormatter(_plain))
        axis.xaxis.set_minor_formatter(FuncFormatter(_plain))
        axis.set_xlabel("seconds per explanation")
        axis.set_ylabel("area between LeRF and MoRF, mean of the replacements")
        figure.draw_without_rendering()
        _label(axis, {name: (seconds[name], values[name].estimate) for name in names})
        if names:
            axis.legend(fontsize=7, title="randomisation", title_fontsize=7)
        return figure


def _plain(value: float, _: int) -> str:
    """A tick with at most one digit: 0.02, 0.1, 3; others stay empty.

    >>> _plain(0.02, 0), _plain(3.0, 0), _plain(4.0, 0)
    ('0.02', '3', '')
    """
    text = f"{value:.0e}"
    return f"{value:g}" if text[0] in "1235" else ""


def _label(axis: Axes, points: Mapping[str, tuple[float, float]]) -> None:
    """Write names beside points, each at the first place around its point that is still free."""
    taken: list[tuple[float, float, float, float]] = []
    pixels = {name: axis.transData.transform(point) for name, point in points.items()}
    marks = [(x - 4, y - 4, x + 4, y + 4) for x, y in pixels.values()]
    for name, (x, y) in sorted(pixels.items(), key=lambda item: -item[1][1]):
        width, height = 5.4 * len(name), 11.0
        best, fewest = (7.0, 3.0), len(points) + 1
        for dx, dy in _AROUND:
            left = x + dx if dx > 0 else x + dx - width
            box = (left, y + dy, left + width, y + dy + height)
            hits = sum(_overlap(box, other) for other in (*taken, *marks))
            if hits < fewest:
                best, fewest, chosen = (dx, dy), hits, box
        taken.append(chosen)
        scale = 72 / axis.figure.dpi
        where = {"xytext": (best[0] * scale, best[1] * scale), "ha": "left" if best[0] > 0 else "right", "va": "bottom"}
        axis.annotate(name, points[name], textcoords="offset points", fontsize=6.5, **where)


def _overlap(one: tuple[float, float, float, float], other: tuple[float, float, float, float]) -> bool:
    """Whether two boxes (left, bottom, right, top) share a point."""
    return one[0] < other[2] and other[0] < one[2] and one[1] < other[3] and other[1] < one[3]
