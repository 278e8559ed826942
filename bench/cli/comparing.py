"""`bench compare`, `bench leaderboard`, `bench merge`: several runs at once, from stored results alone."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from .guard import DONE, INCOMPLETE, NOT_COMPARABLE, REGRESSION, guarded, say

Verbose = Annotated[bool, typer.Option("--verbose", help="Print tracebacks.")]


def add_to(app: typer.Typer) -> None:
    """Add the commands of this module."""
    app.command("compare")(compare)
    app.command("leaderboard")(leaderboard)
    app.command("merge")(merge)


def compare(
    baseline: Annotated[Path, typer.Argument(metavar="BASELINE", help="Run folder to compare with.")],
    current: Annotated[Path, typer.Argument(metavar="CURRENT", help="Run folder to judge.")],
    junit: Annotated[Path | None, typer.Option("--junit", metavar="FILE", help="Write JUnit XML there.")] = None,
    html: Annotated[Path | None, typer.Option("--html", metavar="FILE", help="Write a page there.")] = None,
    thresholds: Annotated[
        Path | None,
        typer.Option(
            "--thresholds", metavar="FILE.toml", help='Differences that count: "CHECK/MEASURE/EXPLAINER" = 0.1.'
        ),
    ] = None,
    verbose: Verbose = False,
) -> None:
    """Compare a run with a baseline; Markdown on standard output.

    Exit code: 0 no regression, 1 regression, 2 usage, 3 something of the baseline or of the plan was not measured,
    4 not comparable or no baseline. A regression is a verdict that turned from PASS to FAIL, values that were lost, or
    a paired difference for the worse that is larger than its threshold and has a Holm-adjusted p below 0.05.
    """
    with guarded(verbose):
        from reports import compare_output, files
        from reports.compare import compare_runs
        from reports.thresholds import read_thresholds

        if not (baseline / "config.json").exists():
            say(f"no baseline: {baseline} is not a run folder; `bench run --out {baseline}` would make one")
            raise typer.Exit(NOT_COMPARABLE)
        found = compare_runs(baseline, current, read_thresholds(thresholds) if thresholds else None)
        print(compare_output.to_text(found), end="")
        for path, write in ((junit, compare_output.to_junit), (html, compare_output.to_page)):
            if path is not None:
                files.write(path, write(found).encode())
    raise typer.Exit(found.exit_code)


def leaderboard(
    runs: Annotated[list[Path], typer.Argument(metavar="RUN...", help="Run folders of one or more suites and models.")],
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            metavar="FILE",
            help="Ends in .md, .csv or .html. In an .md file that holds the lines <!-- leaderboard --> and "
            "<!-- end of leaderboard --> only what is between them is written.",
        ),
    ] = None,
    keep: Annotated[
        Path | None,
        typer.Option("--keep", metavar="DIR", help="Keep what the leaderboard rests on there, small enough for git."),
    ] = None,
    check: Annotated[
        bool, typer.Option("--check", help="Write nothing; exit 1 if the file of --out is not what would be written.")
    ] = False,
    verbose: Verbose = False,
) -> None:
    """Rank explainers that pass the gates; Markdown on standard output, or a file by its suffix."""
    with guarded(verbose):
        from reports import files, leaderboard_output
        from reports.keeping import keep_parts
        from reports.leaderboard import rank_explainers

        write = leaderboard_output.to_text if out is None else leaderboard_output.writer(out)
        text = write(rank_explainers(runs if keep is None or check else keep_parts(runs, keep)))
        if out is None:
            print(text, end="")
            return
        whole = leaderboard_output.between_marks(out, text)
        if not check:
            files.write(out, whole.encode())
            print(f"leaderboard: {out}")
        elif not out.exists() or out.read_text(encoding="utf-8") != whole:
            say(f"{out} is not the leaderboard of {', '.join(map(str, runs))}: write it again without --check")
            raise typer.Exit(REGRESSION)
        else:
            print(f"{out} is current")


def merge(
    runs: Annotated[list[Path], typer.Argument(metavar="RUN...", help="Run folders of one configuration.")],
    out: Annotated[Path, typer.Option("--out", metavar="RUN", help="The joined run folder.")],
    verbose: Verbose = False,
) -> None:
    """Join runs made on several machines (--part I/N) and say which cells disagree. Exit 3 when cells are missing."""
    with guarded(verbose):
        from reports.merge import merge_runs, to_words

        merged = merge_runs(runs, out)
        print(to_words(merged))
    raise typer.Exit(INCOMPLETE if merged.missing else DONE)
