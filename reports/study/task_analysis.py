"""Tasks of Progressive Exaggeration's study: accuracy of the majority and agreement, per task and category."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import pandas as pd
import seaborn as sns
from matplotlib.figure import Figure

from reports import files, html, plots
from reports.files import RunFolderError
from reports.gallery import Gallery
from reports.study.agreement import agreement, words
from reports.study.results import Refusal, Result
from reports.study.rules import Rules
from reports.tables import escaped, to_markdown, write_csv

VOTES = 8
"""Votes per question in the paper."""


@dataclass(frozen=True)
class TaskStudy:
    """What came out.

    Attributes:
        table: one row per task (category `all`) and per category: `pictures` that two or more answered, `votes`, `single`
            (share of right votes), `chance`, and what `reports.study.agreement.Agreement` has.
        notes: what a reader should know, in sentences.
        participants: one row per participant that was read: right answers, why left out.
        refused: files that were not used.
    """

    table: pd.DataFrame
    notes: list[str]
    participants: pd.DataFrame
    refused: tuple[Refusal, ...] = ()


def has_tasks(results: Sequence[Result]) -> bool:
    """Whether results come from a study of tasks."""
    return any(answer.task for result in results for answer in result.trials)


def analyse_tasks(results: Sequence[Result], refused: Sequence[Refusal] = (), rules: Rules | None = None) -> TaskStudy:
    """Analyse the results of one study of tasks.

    Args:
        results: participants, as `reports.study.results.read_results` gives them.
        refused: files that were not used.
        rules: rules of exclusion; None takes the defaults.

    Raises:
        RunFolderError: nobody is left.

    Source: Singla et al. 2020, section 4.6, table 4.
    """
    by = "default rules" if rules is None else "rules declared beforehand"
    rules = rules or Rules()
    reasons = [rules.reason(result) for result in results]
    kept = [result for result, reason in zip(results, reasons, strict=True) if not reason]
    if not kept:
        raise RunFolderError(f"no participant is left of {len(results)}: {'; '.join(sorted(set(reasons)))}.")
    parts = dict.fromkeys(
        (answer.task, part) for each in kept for answer in each.trials for part in ("all", answer.category)
    )
    table = pd.DataFrame([_row(kept, task, category) for task, category in sorted(parts, key=_place)])
    people = [
        {"participant": each.participant, "answered": len(each.trials), "right": each.correct, "left_out": reason,
         "file": str(each.path)}
        for each, reason in zip(results, reasons, strict=True)
    ]  # fmt: skip
    notes = [
        f"{len(kept)} of {len(results)} participants count; the others are left out by the {by} "
        f"({'; '.join(rules.words())}); {len(refused)} {'file' if len(refused) == 1 else 'files'} refused.",
        f"The paper had {VOTES} votes per question; here there are {len(kept)} at most. A tie is no majority and not right.",
        "In task bias the right answer is what was planted; the paper counts the target class alone as right for both "
        "classifiers, so that its accuracy on the biased one is one less the share given here.",
        *_doubts(table),
    ]
    return TaskStudy(table, notes, pd.DataFrame(people), tuple(refused))


def _place(part: tuple[str, str]) -> tuple[str, bool, str]:
    return part[0], part[1] != "all", part[1]


def _row(kept: Sequence[Result], task: str, category: str) -> dict[str, object]:
    chosen = [
        replace(each, trials=tuple(a for a in each.trials if a.task == task and category in ("all", a.category)))
        for each in kept
    ]
    answers = [answer for each in chosen for answer in each.trials]
    found = agreement(chosen)
    return {
        "task": task, "category": category, "votes": len(answers), "single": sum(a.right for a in answers) / len(answers),
        "chance": sum(1 / a.options for a in answers) / len(answers), **asdict(found), "words": words(found.kappa),
    }  # fmt: skip


def _doubts(table: pd.DataFrame) -> list[str]:
    """Which rows are no better than guessing."""
    rows = [row for row in table.to_dict("records") if not row["accuracy_low"] > row["chance"]]
    names = ", ".join(f"{row['task']} ({row['category']})" for row in rows)
    return [f"The majority is not shown to be better than guessing in: {names}."] if rows else []


def shown(study: TaskStudy) -> pd.DataFrame:
    """The table as a reader sees it."""
    table = study.table

    def span(low: str, high: str) -> list[str]:
        return ["" if a != a else f"[{a:z.2f}, {b:z.2f}]" for a, b in zip(table[low], table[high], strict=True)]

    return pd.DataFrame(
        {
            "task": table["task"], "category": table["category"], "pictures": table["pictures"], "votes": table["votes"],
            "majority accuracy": table["accuracy"], "95% interval (Wilson)": span("accuracy_low", "accuracy_high"),
            "no majority": table["tied"], "single votes right": table["single"], "guessing": table["chance"],
            "Fleiss kappa": table["kappa"], "95% interval": span("low", "high"), "in words": table["words"],
        }
    )  # fmt: skip


def to_text(study: TaskStudy) -> str:
    """The study as Markdown."""
    notes = "".join(f"- {escaped(note)}\n" for note in study.notes)
    parts = ["# User study\n", f"## Tasks\n\n{to_markdown(shown(study))}", f"## What a reader should know\n\n{notes}"]
    if study.refused:
        parts.append("## Files refused\n\n" + "".join(f"- {escaped(f'{e.path}: {e.reason}')}\n" for e in study.refused))
    return "\n".join(parts)


def write(study: TaskStudy, folder: Path) -> Path:
    """Write tables, the figure and the page, and return the page."""
    write_csv(study.table, folder / "tables" / "tasks.csv")
    write_csv(study.participants, folder / "tables" / "participants.csv")
    table = shown(study)
    rows = [[html.number(v, 3) if isinstance(v, float) else str(v) for v in row] for row in table.values]
    refused = [{"path": str(each.path), "reason": each.reason} for each in study.refused]
    tables = [{"title": "Tasks", "columns": list(table.columns), "rows": rows}]
    caption = (
        "Accuracy of the majority with its 95% Wilson interval (dot), and what guessing gives a single vote (bar)."
    )
    figures = [
        Gallery(folder / "figures").add("tasks", "Majority accuracy per task and category", caption, draw_tasks(study))
    ]
    page = folder / "index.html"
    text = html.fill("study_report.html", tables=tables, notes=study.notes, refused=refused, figures=figures)
    files.write(page, text.encode())
    return page


def draw_tasks(study: TaskStudy) -> Figure:
    """Accuracy of the majority per row of the table, with its interval, beside guessing."""
    rows = study.table.iloc[::-1].to_dict("records")
    names = list(dict.fromkeys(study.table["task"]))
    with plots.style("light"):
        figure = plots.new_figure(6.0, 1.2 + 0.36 * len(rows))
        axis = figure.add_subplot()
        colours = sns.color_palette("colorblind")
        for place, row in enumerate(rows):
            colour = colours[names.index(row["task"]) % len(colours)]
            axis.plot(
                [row["accuracy_low"], row["accuracy_high"]], [place, place], color=colour, linewidth=2.5, alpha=0.6
            )
            axis.plot([row["accuracy"]], [place], marker="o", color=colour)
            axis.plot([row["chance"]] * 2, [place - 0.35, place + 0.35], color="#767676", linewidth=1.5)
        axis.set_yticks(range(len(rows)), [f"{row['task']}: {row['category']}" for row in rows])
        axis.set_ylim(-0.6, len(rows) - 0.4)
        axis.set_xlim(-0.02, 1.02)
        axis.set_xlabel("share of pictures that the majority gets right")
        return figure
