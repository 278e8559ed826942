"""`bench run`, `bench plan`, `bench verify`."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

import typer

from reports.thesis_said import THESIS_PROTOCOL

from .guard import DONE, INCOMPLETE, REGRESSION, guarded, say
from .options import CONFIG, with_options
from .tables import show_claims, show_plan, show_verdicts

if TYPE_CHECKING:
    from bench.config import Config
    from bench.runner import Run

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
        from bench import memory
        from bench.runner import execute

        memory.reuse_freed()
        config = _config(options)
        finished = execute(config)
        if config.protocol == THESIS_PROTOCOL and "randomization" in config.suite:
            from reports import thesis

            print(thesis.text(finished.frame()))
        code = _conclude(finished, quiet=config.quiet)
    raise typer.Exit(code)


@with_options(CONFIG)
def plan(**options: Any) -> None:
    """Show the cells of a run, which are done, missing or failed, and an estimate of the work. Computes nothing."""
    with guarded(bool(options["verbose"])):
        from bench.runner import prepare

        prepared = prepare(_config(options))
        show_plan(prepared)


@with_options(only=("model", "data", "images", "seeds", "device", "jobs", "out", "seed", "quiet", "verbose"))
def verify(**options: Any) -> None:
    """Test the suite itself: run the reference explainers, whose verdicts are known. Exit code 1 if one differs."""
    with guarded(bool(options["verbose"]), "the same command goes on where this one stopped"):
        from bench import memory, suites
        from bench.runner import execute, reference_faults

        memory.reuse_freed()
        given = {
            **options,
            "images": options["images"] or VERIFY_IMAGES,
            "seeds": options["seeds"] or VERIFY_SEEDS,
        }
        finished = execute(_config({**given, "suite": "randomization", "explainers": ",".join(suites.REFERENCES)}))
        table = finished.verdicts()
        show_verdicts(table)
        faults = reference_faults(table)
        for fault in faults:
            say(f"reference: {fault}")
        print("every reference explainer has its known verdict" if not faults else "the suite does not work here")
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
    show_claims(finished.claims(table))
    elsewhere = len(_waiting(finished) - set(finished.missing))
    # What a reference explainer is known to give, it gives once all of it was computed.
    faults = [] if elsewhere else reference_faults(table)
    for fault in faults:
        say(f"This run is invalid, do not use its verdicts: the reference explainer {fault}.")
    counts = (
        f"{finished.expected - len(finished.missing)} of {finished.expected} cells, {finished.computed} computed now"
    )
    print(f"run folder: {finished.path} ({counts})")
    _write_page(finished)
    for message, count in Counter(finished.failed.values()).most_common(8):
        say(f"failed: {count} {'cell' if count == 1 else 'cells'}: {message}")
    if elsewhere:
        say(
            f"{elsewhere} cells of the plan are left to other parts; judge the whole run when they are there (bench merge)"
        )
    if finished.missing:
        say(f"{len(finished.missing)} cells are missing; the same command tries them again")
    return INCOMPLETE if finished.missing or faults else DONE


def _waiting(finished: Run) -> set[str]:
    """Keys of the cells in the folder's plan that have neither records nor a failure."""
    from reports import Store

    store = Store.open(finished.path)
    return {str(cell["key"]) for cell in store.plan()} - store.done() - set(store.failures())


def _write_page(finished: Run) -> None:
    import reports

    page = finished.path / "report" / "index.html"
    if finished.computed or not page.exists():
        page = reports.write_report(finished.path)[0]
    print(f"page: {page}")
