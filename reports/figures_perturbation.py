"""Figures of pixel perturbation: one table in colours for all replacements, and the curves of each."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from reports import perturbation_tables as tables
from reports import plots
from reports.judge_perturbation import OWN_IMAGE, SUITES, SUMMARY, judge, replacement
from reports.page import Shown
from reports.store import Store

_TABLE = (
    "Area between the curves (ABPC, probability) minus that of a random order of the same image, with its 95% interval "
    "over images: above 0 the map orders pixels better than chance. Bold: the interval lies above 0. The last column "
    "counts the replacements under which the explainer beats random order, the brightness of the image and a blob in "
    "the middle. A column rewards explainers that share its baseline, so none of them ranks anything alone."
)
_CURVES = (
    "Probability of the class while pixels are replaced: the most relevant first (MoRF, solid), the least relevant first "
    "(LeRF, dashed), in random order (dotted), with 95% bands over images. A map that knows what the model looks at has "
    "MoRF below and LeRF above the random order."
)
_LOOKS = {"morf": ("#0173b2", "-", "MoRF"), "lerf": ("#d55e00", "--", "LeRF"), "random": ("#767676", ":", "random")}


class Gallery(Protocol):
    """What keeps the figures of a page."""

    def add(self, name: str, title: str, caption: str, figure: Figure) -> Shown:
        """Keep a figure of lines under a name."""

    def add_pixels(self, name: str, title: str, caption: str, figure: Figure) -> Shown:
        """Keep a figure of so many lines that its pixels weigh less."""


def sections(frame: pd.DataFrame, store: Store, gallery: Gallery) -> list[Shown]:
    """Draw the figures of every subject and perturbation suite in the records.

    Args:
        frame: tidy records of a run.
        store: its folder; the cards of explainers say which stand together.
        gallery: keeps the figures.

    Returns:
        Per subject and suite the table of all replacements, then the curves of each replacement.
    """
    own = frame[frame["suite"].isin(SUITES).to_numpy(dtype=bool)]
    shown: list[Shown] = []
    judged, drawn = judge(frame), tables.curves(own)
    groups = {name: str(card.get("group", "")) for name, card in store.explainers.items()}
    for (subject, suite), part in judged.groupby(["subject", "suite"], sort=True):
        label, unit = f"{subject}-{suite}", "patches" if str(suite).startswith("patch") else "pixels"
        figure = difference_table(part, groups)
        shown.append(gallery.add(f"{label}-abpc", f"All replacements of {unit} side by side", _TABLE, figure))
        here = drawn[(drawn["subject"] == subject) & (drawn["suite"] == suite)]
        for check in here["check"].drop_duplicates().sort_values():
            name = replacement(str(check))
            figure = perturbation_curves(here[here["check"] == check], groups, theme="neutral")
            title = f"Curves, {unit} replaced by {_WORDS.get(name, name)}"
            shown.append(gallery.add_pixels(f"{label}-{name}-curves", title, _CURVES, figure))
    return shown


_WORDS = {
    "uniform": "uniform noise", "mean": "the mean colour", "blur": "the blurred image", "black": "black",
    "road": "noisy linear imputation (ROAD)", OWN_IMAGE: "the counterfactual image",
}  # fmt: skip


def difference_table(verdicts: pd.DataFrame, groups: Mapping[str, str], *, theme: plots.Theme = "light") -> Figure:
    """Draw explainers x replacements in colours with numbers.

    Args:
        verdicts: `reports.judge_perturbation.judge` of one subject and suite.
        groups: group of each explainer; references stand last.
        theme: colours of text and lines.

    Returns:
        A figure; blue = better than random order, orange = worse.
    """
    rows = verdicts[verdicts["check"] != SUMMARY]
    checks = [check for check in dict.fromkeys(rows["check"]) if rows.loc[rows["check"] == check, "n"].gt(0).any()]
    names = _ordered(verdicts["explainer"].unique(), groups)
    cells = {(str(row["explainer"]), str(row["check"])): row for row in verdicts.to_dict("records")}
    known = rows["estimate"].abs().max() if len(rows) else np.nan
    reach = float(known) if np.isfinite(known) and known > 0 else 1.0
    colours = mpl.colors.LinearSegmentedColormap.from_list("difference", ["#e08214", "#f7f7f7", "#4393c3"])
    with plots.style(theme):
        figure = plots.new_figure(2.6 + 1.25 * (len(checks) + 1), 1.0 + 0.36 * max(len(names), 1))
        axis = figure.add_subplot()
        for line, name in enumerate(names):
            for column, check in enumerate(checks):
                _cell(axis, column, line, cells.get((name, check)), colours, reach)
            _share(axis, len(checks), line, cells.get((name, SUMMARY)), checks)
        heads = [*(replacement(check) for check in checks), "beats all\nthree under"]
        axis.set_xticks(range(len(heads)), heads)
        axis.xaxis.tick_top()
        axis.set_yticks(range(len(names)), names)
        axis.set_xlim(-0.5, len(heads) - 0.5)
        axis.set_ylim(len(names) - 0.5, -0.5)
        axis.grid(False)
        axis.tick_params(length=0)
        for spine in axis.spines.values():
            spine.set_visible(False)
        return figure


def _cell(
    axis: Axes, column: int, line: int, row: Mapping[Any, Any] | None, colours: mpl.colors.Colormap, reach: float
) -> None:
    """Fill one cell: colour, difference, interval."""
    if row is None or not np.isfinite(row["estimate"]):
        verdict = "" if row is None else str(row["verdict"])
        axis.text(column, line, verdict or "–", ha="center", va="center", fontsize=6.5)
        return
    value = float(row["estimate"])
    shade = colours(0.5 + 0.5 * value / reach)
    axis.add_patch(mpl.patches.Rectangle((column - 0.5, line - 0.5), 1, 1, facecolor=shade, edgecolor="white"))
    heavy = "bold" if row["ci_low"] > 0 else "normal"
    # Letters in a colour of their own: the cell stays light on a dark page.
    look: dict[str, Any] = {"ha": "center", "va": "center", "color": "#111111"}
    axis.text(column, line - 0.16, f"{value:z.2f}", fontsize=8, fontweight=heavy, **look)
    if np.isfinite(row["ci_low"]):
        axis.text(column, line + 0.24, f"[{row['ci_low']:z.2f}, {row['ci_high']:z.2f}]", fontsize=5.5, **look)


def _share(axis: Axes, column: int, line: int, row: Mapping[Any, Any] | None, checks: list[str]) -> None:
    """Write how many replacements an explainer holds under."""
    if row is None or not np.isfinite(row["estimate"]):
        return
    count = sum(replacement(check) != OWN_IMAGE for check in checks)
    won = round(float(row["estimate"]) * count)
    axis.text(column, line, f"{won} of {count}", ha="center", va="center", fontsize=8)


def perturbation_curves(table: pd.DataFrame, groups: Mapping[str, str], *, theme: plots.Theme = "light") -> Figure:
    """Draw MoRF, LeRF and random order, one panel per explainer.

    Args:
        table: `reports.perturbation_tables.curves` of one subject, suite and check.
        groups: group of each explainer; references stand last.
        theme: colours of text and lines.

    Returns:
        A figure; x = share of replaced pixels, y = probability of the class.
    """
    names = _ordered(table["explainer"].unique(), groups)
    with plots.style(theme):
        figure, axes = plots.new_panels(len(names), width=1.75, height=1.55, across=6)
        for place, (axis, name) in enumerate(zip(axes, names, strict=False)):
            for order, (colour, line, label) in _LOOKS.items():
                part = table[(table["explainer"] == name) & (table["order"] == order)].sort_values("stage")
                x = part["share"].to_numpy(dtype=float)
                axis.plot(x, part["mean"], color=colour, linestyle=line, linewidth=1.3, label=label)
                axis.fill_between(x, part["low"], part["high"], color=colour, alpha=0.18, linewidth=0)
            axis.set_title(_short(name), fontsize=6.5, loc="left")
            axis.set_xlim(0, 1)
            axis.set_ylim(0, 1.02)
            axis.set_xticks([0, 0.5, 1], ["0", "50%", "100%"] if place + 6 >= len(names) else [""] * 3)
            axis.set_yticks([0, 0.5, 1], ["0", "0.5", "1"] if place % 6 == 0 else [""] * 3)
            axis.tick_params(labelsize=6)
            axis.grid(alpha=0.25)
        if names:
            figure.legend(
                *axes[0].get_legend_handles_labels(), fontsize=7, ncols=3, frameon=False, loc="outside upper left"
            )
        return figure


def _ordered(names: Any, groups: Mapping[str, str]) -> list[str]:
    """Explainers by name, references last."""
    return sorted(map(str, names), key=lambda name: (groups.get(name) == "reference", name))


def _short(name: str) -> str:
    """A name that fits over a panel.

    >>> _short("integrated-gradients[baseline=blur]")
    'integrated-gradients\\n[baseline=blur]'
    """
    head, bracket, rest = name.partition("[")
    return f"{head}\n[{rest}" if bracket and len(name) > 26 else name
