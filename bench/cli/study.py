"""`bench study`: what people learn from explanations."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from .guard import guarded

Verbose = Annotated[bool, typer.Option("--verbose", help="Print tracebacks.")]


def add_to(app: typer.Typer) -> None:
    """Add the commands of this module."""
    study = typer.Typer(
        help="User study: what people learn from explanations.", no_args_is_help=True, rich_markup_mode=None
    )
    study.command("analyse")(analyse)
    app.add_typer(study, name="study")


def analyse(
    results: Annotated[
        list[Path] | None,
        typer.Argument(metavar="RESULTS...", help="Result files, or folders of them.", show_default=False),
    ] = None,
    out: Annotated[
        Path | None, typer.Option("--out", metavar="DIR", help="Write tables, figures and a page there.")
    ] = None,
    summary: Annotated[
        Path | None,
        typer.Option("--summary", metavar="FILE.json", help="Published means, deviations and n instead of files."),
    ] = None,
    study: Annotated[
        Path | None,
        typer.Option(
            "--study", metavar="study.json", help="Declaration from beside the page: its rules of exclusion count."
        ),
    ] = None,
    verbose: Verbose = False,
) -> None:
    """Analyse the results of a user study; Markdown on standard output.

    Files that are malformed, truncated or there twice are refused one by one, and the rest is analysed.
    """
    with guarded(verbose):
        from models.naming import UsageError
        from reports.study import analysis, output
        from reports.study.results import read_results
        from reports.study.rules import read_declaration

        if bool(results) == (summary is not None):
            raise UsageError("give result files, or --summary FILE.json, and not both")
        if summary is not None:
            found = analysis.analyse_summary(summary)
        else:
            digest, rules = read_declaration(study) if study else (None, None)
            found = analysis.analyse(*read_results(results or [], digest), rules)
        print(output.to_text(found), end="")
        if out is not None:
            print(f"\npage: {output.write(found, out)}")
