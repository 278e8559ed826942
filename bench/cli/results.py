"""`bench report` and `bench export`: from stored results alone, without torch."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from .guard import guarded, say, writing

Folder = Annotated[Path, typer.Argument(metavar="RUN", help="Run folder, as bench run printed it.")]
Verbose = Annotated[bool, typer.Option("--verbose", help="Print tracebacks.")]


def add_to(app: typer.Typer) -> None:
    """Add the commands of this module."""
    app.command("report")(report)
    app.command("export")(export)


def report(
    folder: Folder,
    out: Annotated[Path | None, typer.Option("--out", metavar="DIR", help="Default: RUN/report.")] = None,
    verbose: Verbose = False,
) -> None:
    """Write tables, figures and one self-contained HTML page of a run."""
    with guarded(verbose):
        import reports

        print(f"page: {reports.write_report(folder, out)[0]}")
        _say_missing(folder)


def export(
    folder: Folder,
    out: Annotated[Path, typer.Option("--out", metavar="FILE", help="Ends in .parquet, .csv or .json.")],
    verbose: Verbose = False,
) -> None:
    """Write the tidy records of a run as one file, one row per measured value."""
    with guarded(verbose):
        import reports
        from models.naming import UsageError

        if out.suffix not in (".parquet", ".csv", ".json"):
            raise UsageError(f"--out {out}: the name must end in .parquet, .csv or .json")
        frame = reports.load(folder)
        frame.attrs = {}
        with writing(out):
            if out.suffix == ".json":
                frame.to_json(out, orient="records", indent=1)
            elif out.suffix == ".csv":
                frame.to_csv(out, index=False)
            else:
                frame.to_parquet(out, index=False)
        print(f"{len(frame):,} rows: {out}")
        _say_missing(folder)


def _say_missing(folder: Path) -> None:
    """Say on standard error that a run is not whole; its tables and records are what there is."""
    import reports

    store = reports.Store.open(folder)
    planned = {str(cell["key"]) for cell in store.plan()}
    missing = planned - store.done()
    failed = missing & set(store.failures())
    if missing:
        say(
            f"{len(missing)} of {len(planned)} cells have no records ({len(failed)} failed); the command that made the run "
            "tries them again"
        )
    for path in store.damaged()[:8]:
        say(f"damaged, and left out: {path}")
