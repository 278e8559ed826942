"""A study as Markdown, as CSV tables, as figures and as one page."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from reports import files, html, plots
from reports.gallery import Gallery
from reports.page import Shown
from reports.study.analysis import Study
from reports.study.groups import LARGEST
from reports.study.results import RATINGS
from reports.tables import escaped, to_markdown, write_csv

_MARKERS = ("o", "s", "^", "D", "v", "P", "X")


def to_text(study: Study) -> str:
    """Write a study as Markdown.

    Args:
        study: as `reports.study.analysis` gives it.
    """
    parts = ["# User study\n"]
    parts += [f"## {title}\n\n{to_markdown(table)}" for title, table in shown(study).items()]
    parts.append("## What a reader should know\n\n" + "".join(f"- {escaped(note)}\n" for note in study.notes))
    if study.refused:
        parts.append("## Files refused\n\n" + "".join(f"- {escaped(f'{e.path}: {e.reason}')}\n" for e in study.refused))
    return "\n".join(parts)


def shown(study: Study) -> dict[str, pd.DataFrame]:
    """The tables as a reader sees them, by their titles; those without rows are not among them."""
    groups = pd.DataFrame(
        {
            "group": study.groups["name"], "n": study.groups["n"], f"right of {study.trials}": study.groups["mean"],
            "sd": study.groups["sd"], "95% interval": _spans(study.groups, "ci_low", "ci_high"),
            "p, guessing": _small(study.groups["p_chance"]),
        }
    )  # fmt: skip
    tests = pd.DataFrame(
        {
            "claim": study.tests["better"] + " > " + study.tests["worse"], "difference": study.tests["difference"],
            "95% interval": _spans(study.tests, "low", "high"), "t": study.tests["t"], "df": study.tests["df"],
            "p (one-sided)": _small(study.tests["p"]), "p (Holm)": _small(study.tests["holm"]),
            "Hedges g": study.tests["g"], "95% interval of g": _spans(study.tests, "g_low", "g_high"),
            "per group for 80% power": [f"{value:,}" if value is not pd.NA else "" for value in study.tests["needed"]],
        }
    )  # fmt: skip
    tables = {"Right answers": groups, "Differences (Welch)": tests}
    if len(study.power):
        tables["Participants for a given difference (80% power, one-sided 0.05, deviations of these groups)"] = _given(
            study
        )
    if len(study.agreement):
        table = study.agreement
        tables["Agreement and majority votes"] = pd.DataFrame(
            {
                "group": table["group"], "pictures": table["pictures"], "Fleiss kappa": table["kappa"],
                "95% interval": _spans(table, "low", "high"), "in words": table["words"], "majority right": table["right"],
                "no majority": table["tied"], "majority accuracy": table["accuracy"],
                "95% interval (Wilson)": _spans(table, "accuracy_low", "accuracy_high"),
            }
        )  # fmt: skip
    if len(study.ratings):
        tables["Ratings"] = study.ratings
    if len(study.participants) and (study.participants["left_out"] != "").any():
        left = study.participants[study.participants["left_out"] != ""]
        tables["Participants left out"] = left[["participant", "group", "answered", "left_out"]]
    return tables


def _given(study: Study) -> pd.DataFrame:
    """Participants per group for the differences that were asked for."""
    table = study.power
    known = (table["sd_better"] + table["sd_worse"]) > 0
    needed = [
        f"{value:,}" if value is not pd.NA else f"more than {LARGEST:,}" if fine else ""
        for value, fine in zip(table["needed"], known, strict=True)
    ]
    claims = table["better"] + " > " + table["worse"]
    return pd.DataFrame({"claim": claims, "difference": table["difference"], "per group": needed})


def write(study: Study, folder: Path) -> Path:
    """Write tables, figures and the page.

    Args:
        study: as `reports.study.analysis` gives it.
        folder: where they go.

    Returns:
        The page.
    """
    for name in ("groups", "tests", "curves", "agreement", "ratings", "participants", "power"):
        table: pd.DataFrame = getattr(study, name)
        if len(table):
            write_csv(table, folder / "tables" / f"{name}.csv")
    page = folder / "index.html"
    refused = [{"path": str(each.path), "reason": each.reason} for each in study.refused]
    tables = [
        {
            "title": title,
            "columns": list(table.columns),
            "rows": [[_cell(value) for value in row] for row in table.values],
        }
        for title, table in shown(study).items()
    ]
    text = html.fill(
        "study_report.html",
        tables=tables,
        notes=study.notes,
        refused=refused,
        figures=figures(study, folder / "figures"),
    )
    files.write(page, text.encode())
    return page


def figures(study: Study, folder: Path) -> list[Shown]:
    """Draw the figures and keep them as files.

    Args:
        study: as `reports.study.analysis` gives it.
        folder: where the files go.
    """
    gallery = Gallery(folder)
    drawn = [
        gallery.add(
            "right-answers", "Right answers per group",
            f"Mean and 95% interval of right answers of {study.trials}; the dashed line is what guessing gives.",
            draw_means(study),
        )
    ]  # fmt: skip
    if len(study.curves):
        drawn.append(
            gallery.add(
                "learning", "Right answers as the study goes on",
                "Mean of cumulative right answers after each trial, above what guessing would have given by then; the shade "
                "is the pointwise 95% band of the mean.",
                draw_curves(study),
            )
        )  # fmt: skip
    if len(study.ratings) and study.ratings["n"].sum():
        caption = "Share of the participants who gave each of the five ratings."
        drawn.append(gallery.add("ratings", "How helpful the feedback felt", caption, draw_ratings(study)))
    return drawn


def draw_means(study: Study) -> Figure:
    """Means of the groups with their intervals, beside chance."""
    with plots.style("light"):
        figure = plots.new_figure(5.6, 1.2 + 0.4 * len(study.groups))
        axis = figure.add_subplot()
        colours = sns.color_palette("colorblind")
        for place, row in enumerate(study.groups.iloc[::-1].to_dict("records")):
            colour = colours[(len(study.groups) - 1 - place) % len(colours)]
            axis.plot([row["ci_low"], row["ci_high"]], [place, place], color=colour, linewidth=2.5, alpha=0.6)
            axis.plot([row["mean"]], [place], marker="o", color=colour)
        axis.axvline(study.trials / 2, linestyle="--", color="#767676", linewidth=1)
        axis.set_yticks(range(len(study.groups)), [str(name) for name in study.groups["name"].iloc[::-1]])
        axis.set_ylim(-0.6, len(study.groups) - 0.4)
        axis.set_xlabel(f"right answers of {study.trials}")
        return figure


def draw_curves(study: Study) -> Figure:
    """Cumulative right answers beyond chance per trial."""
    with plots.style("light"):
        figure = plots.new_figure(6.2, 3.6)
        axis = figure.add_subplot()
        colours = sns.color_palette("colorblind")
        for place, (name, part) in enumerate(study.curves.groupby("group", sort=False)):
            x = part["trial"].to_numpy(dtype=float)
            mean, low, high = (part[column].to_numpy(dtype=float) - x / 2 for column in ("mean", "ci_low", "ci_high"))
            colour = colours[place % len(colours)]
            axis.plot(x, mean, marker=_MARKERS[place % len(_MARKERS)], markersize=4, color=colour, label=str(name))
            axis.fill_between(x, low, high, color=colour, alpha=0.15, linewidth=0)
        axis.axhline(0, linestyle="--", color="#767676", linewidth=1)
        axis.xaxis.set_major_locator(MaxNLocator(integer=True))
        axis.set_xlabel("trial")
        axis.set_ylabel("right answers beyond guessing")
        axis.legend(fontsize=8, framealpha=0.6)
        return figure


def draw_ratings(study: Study) -> Figure:
    """Ratings as shares, one bar per group."""
    with plots.style("light"):
        table = study.ratings[study.ratings["n"] > 0].iloc[::-1]
        figure = plots.new_figure(6.6, 1.7 + 0.45 * len(table))
        axis = figure.add_subplot()
        shares = table[list(RATINGS)].to_numpy(dtype=float) / table["n"].to_numpy(dtype=float)[:, None]
        start = np.zeros(len(table))
        for column, (label, colour) in enumerate(zip(RATINGS, sns.color_palette("cividis", len(RATINGS)), strict=True)):
            axis.barh(range(len(table)), shares[:, column], left=start, color=colour, label=label, height=0.6)
            start += shares[:, column]
        axis.set_yticks(range(len(table)), [f"{row['group']} (n = {row['n']})" for row in table.to_dict("records")])
        axis.set_xlim(0, 1)
        axis.set_xlabel("share of participants")
        axis.legend(fontsize=7, ncols=2, loc="lower center", bbox_to_anchor=(0.5, 1.0), framealpha=0.6)
        return figure


def _spans(table: pd.DataFrame, low: str, high: str) -> list[str]:
    """Intervals as text; what is not defined stays empty."""
    return ["" if a != a else f"[{a:z.2f}, {b:z.2f}]" for a, b in zip(table[low], table[high], strict=True)]


def _small(values: pd.Series) -> list[str]:
    """P values with four decimals, as text."""
    return ["" if value != value else "< 0.0001" if value < 0.0001 else f"{value:.4f}" for value in values]


def _cell(value: object) -> str:
    """A cell of the page."""
    return html.number(value, 3) if isinstance(value, float) else str(value)
