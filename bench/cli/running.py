"""`bench run`, `bench plan`, `bench verify`."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

import typer

from .guard import DONE, INCOMPLETE, REGRESSION, guarded, say
from .options import CONFIG, with_options

if TYPE_CHECKING:
    from bench.config import Config
    from bench.runner import Prepared, Run

VERIFY_IMAGES, VERIFY_SEEDS = 16, 3


def add_to(app: typer.Typer) -> None:
    """Add the commands of this module."""
    app.command("run")(run)
    app.command("plan")(plan)
    app.command("verify")(verify)


@with_options(CONFIG)
def run(**options: Any) -> None:
    """Run what is missing of a suite, print the verdicts, leave a run folder. Safe to repeat: finished cells are kept."""
    verbose = bool(options["verbose"])
    with guarded(verbose, "finished cells are kept; the same command goes on where this one stopped"):
        from bench.runner import execute

        config = _config(options)
        finished = execute(config)
        code = _conclude(finished, quiet=config.quiet)
    raise typer.Exit(code)


@with_options(CONFIG)
def plan(**options: Any) -> None:
    """Show the cells of a run, which are done, missing or failed, and an estimate of the work. Computes nothing."""
    with guarded(bool(options["verbose"])):
        from bench.runner import prepare

        prepared = prepare(_config(options))
        _show_plan(prepared)


@with_options(only=("model", "data", "images", "seeds", "device", "jobs", "out", "seed", "quiet", "verbose"))
def verify(**options: Any) -> None:
    """Test the suite itself: run the reference explainers, whose verdicts are known. Exit code 1 if one differs."""
    with guarded(bool(options["verbose"]), "the same command goes on where this one stopped"):
        from bench import suites
        from bench.runner import execute, reference_faults

        given = {
            **options,
            "images": options["images"] or VERIFY_IMAGES,
            "seeds": options["seeds"] or VERIFY_SEEDS,
        }
        finished = execute(
            _config({**given, "suite": "randomization", "explainers": ",".join(suites.REFERENCES)})
        )
        table = finished.verdicts()
        show_verdicts(table)
        faults = reference_faults(table)
        for fault in faults:
            say(f"reference: {fault}")
        print(
            "every reference explainer has its known verdict"
            if not faults
            else "the suite does not work here"
        )
        code = REGRESSION if faults else DONE if finished.complete else INCOMPLETE
    raise typer.Exit(code)


def _config(options: dict[str, Any]) -> Config:
    """The configuration of a command; a flag that was not given leaves the choice to the file."""
    from bench.config import resolve

    given = {key: value for key, value in options.items() if key != "config" and value is not False}
    return resolve(given, options.get("config"))


def _conclude(finished: Run, quiet: bool) -> int:
    """Print what a run found; returns the exit code."""
    from bench.runner import reference_faults

    table = finished.verdicts()
    show_verdicts(table)
    faults = reference_faults(table)
    for fault in faults:
        say(f"This run is invalid, do not use its verdicts: the reference explainer {fault}.")
    counts = f"{finished.expected - len(finished.missing)} of {finished.expected} cells, {finished.computed} computed now"
    print(f"run folder: {finished.path} ({counts})")
    _write_page(finished)
    for message, count in Counter(finished.failed.values()).most_common(8):
        say(f"failed: {count} {'cell' if count == 1 else 'cells'}: {message}")
    if finished.missing:
        say(f"{len(finished.missing)} cells are missing; the same command tries them again")
    return INCOMPLETE if finished.missing or faults else DONE


def _write_page(finished: Run) -> None:
    import reports

    if finished.computed or not (finished.path / "report" / "index.html").exists():
        print(f"page: {reports.write_report(finished.path)}")
    else:
        print(f"page: {finished.path / 'report' / 'index.html'}")


def show_verdicts(table: Any) -> None:
    """Print the verdict table: one line per explainer, the whole cascade and single layers beside the verdict.

    Args:
        table: data frame as `reports.verdicts` gives it.
    """
    from rich.console import Console
    from rich.table import Table

    colours = {"PASS": "green", "FAIL": "red", "INCONCLUSIVE": "yellow"}
    for subject, rows in table.groupby("subject", sort=False):
        view = Table(title=f"randomization of {subject}", title_justify="left", box=None, pad_edge=False)
        for name in ("explainer", "verdict", "D, head random", "D, cascade", "D, one layer", "n", "why"):
            view.add_column(name, no_wrap=name in ("explainer", "verdict"))
        for (_, explainer), group in rows.groupby(["suite", "explainer"], sort=False):
            checks = {row["check"]: row for row in group.to_dict("records")}
            first = checks.get("cascading") or next(iter(checks.values()))
            verdict = str(first["verdict"])
            view.add_row(
                str(explainer), f"[{colours.get(verdict, 'magenta')}]{verdict}[/]",
                *(_interval(checks.get(name)) for name in ("cascading", "cascading-all", "independent")),
                f"{first['n']}/{first['expected']}", str(first["reason"]),
            )  # fmt: skip
        Console(width=None if Console().is_terminal else 160).print(view)


def _interval(row: dict[str, Any] | None) -> str:
    if row is None or row["estimate"] != row["estimate"]:
        return "-"
    return f"{row['estimate']:.2f} ({row['ci_low']:.2f}, {row['ci_high']:.2f})"


def _show_plan(prepared: Prepared) -> None:
    from rich.console import Console
    from rich.table import Table

    state = dict.fromkeys(prepared.failures, "failed") | dict.fromkeys(prepared.done, "done")
    counts: dict[tuple[str, str, str], Counter[str]] = {}
    for task in prepared.plan.tasks:
        cell = task.cell
        counter = counts.setdefault((cell.subject, cell.check, cell.explainer), Counter())
        counter[state.get(cell.key, "missing")] += 1
    view = Table(box=None, pad_edge=False)
    for name in ("subject", "check", "explainer"):
        view.add_column(name)
    for name in ("cells", "done", "missing", "failed"):
        view.add_column(name, justify="right")
    for group, counter in counts.items():
        view.add_row(
            *group,
            *(
                str(number)
                for number in (counter.total(), *(counter[s] for s in ("done", "missing", "failed")))
            ),
        )
    Console(width=None if Console().is_terminal else 160).print(view)
    left = prepared.plan.missing(prepared.done)
    passes = sum(task.cost for task in left)
    print(
        f"{len(prepared.plan.tasks)} cells, {len(left)} to compute in {len(prepared.plan.shards(left))} shards with "
        f"{prepared.jobs} {'process' if prepared.jobs == 1 else 'processes'} on {', '.join(prepared.facts.devices)}: about "
        f"{passes:,.0f} forward-backward passes of one image\nrun folder: {prepared.config.folder()}"
    )
