"""`bench study`: what people learn from explanations."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from .guard import guarded

GROUPS = "control,gradcam,cdeepex"
Verbose = Annotated[bool, typer.Option("--verbose", help="Print tracebacks.")]


def add_to(app: typer.Typer) -> None:
    """Add the commands of this module."""
    study = typer.Typer(
        help="User study: what people learn from explanations.", no_args_is_help=True, rich_markup_mode=None
    )
    study.command("build")(build)
    study.command("analyse")(analyse)
    app.add_typer(study, name="study")


def build(
    run: Annotated[Path | None, typer.Argument(metavar="RUN", help="Run folder; none with --tasks.")] = None,
    explainers: Annotated[
        str, typer.Option("--explainers", help="Groups: control and explainers, the one that should teach least first.")
    ] = GROUPS,
    tasks: Annotated[
        str | None,
        typer.Option("--tasks", help="Ask order, change, bias (Progressive Exaggeration's) in place of teaching."),
    ] = None,
    series: Annotated[
        list[str] | None,
        typer.Option("--series", metavar="NAME=MODEL", help="For --tasks, repeatable; NAME+OTHER=MODEL: a biased one."),
    ] = None,
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="Where the page goes.")] = Path("study"),
    subject: Annotated[str | None, typer.Option("--subject", help="The model, where the run has several.")] = None,
    classes: Annotated[str | None, typer.Option("--classes", metavar="A,B", help="Two look-alike classes.")] = None,
    names: Annotated[str, typer.Option("--names", metavar="A,B", help="What participants call them.")] = "Ternal,Peat",
    trials: Annotated[
        int, typer.Option("--trials", help="Pictures per participant; with --tasks images per model.")
    ] = 20,
    explain: Annotated[
        bool, typer.Option("--explain", help="Explain images now, even if the run has kept enough of them.")
    ] = False,
    seed: Annotated[int, typer.Option("--seed", help="Which images are taken.")] = 0,
    verbose: Verbose = False,
) -> None:
    """Make a study page: one file without server and network, and study.json, which declares the rules beforehand."""
    with guarded(verbose):
        from models.naming import UsageError, split_list

        if tasks is not None:
            from bench.study_tasks import design_tasks
            from reports.study.tasks import write_tasks

            maker = "progressive-exaggeration" if explainers == GROUPS else explainers
            asked = design_tasks(split_list(tasks), series or [], explainer=maker, images=trials, seed=seed)
            page, declaration = write_tasks(asked, out)
            print(f"page: {page}\ndeclaration: {declaration} (not for participants)")
            return
        if run is None:
            raise UsageError("give a run folder, or --tasks with --series NAME=MODEL")
        from bench.study import design
        from reports.study.page import empty, write_study

        pair = split_list(classes) if classes is not None else None
        made = design(
            run, split_list(explainers), subject=subject, classes=pair, names=split_list(names), trials=trials,
            explain=explain, seed=seed,
        )  # fmt: skip
        page, declaration = write_study(made, out)
        print(f"pictures: {made.origin['pictures']}")
        for name, number in empty(made).items():
            if number:
                print(
                    f"{name}: nothing to see in {number} of {len(made.trials)} pictures; people are told right or wrong there"
                )
        print(f"page: {page}\ndeclaration: {declaration} (not for participants)")


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
    difference: Annotated[
        list[float] | None,
        typer.Option("--difference", metavar="D", help="Right answers: participants that find this. Repeatable."),
    ] = None,
    verbose: Verbose = False,
) -> None:
    """Analyse the results of a user study; Markdown on standard output.

    Files that are malformed, truncated or there twice are refused one by one, and the rest is analysed.
    """
    with guarded(verbose):
        from models.naming import UsageError
        from reports.study import analysis, output, task_analysis
        from reports.study.results import read_results
        from reports.study.rules import read_declaration

        if bool(results) == (summary is not None):
            raise UsageError("give result files, or --summary FILE.json, and not both")
        wanted = difference or []
        if not all(0 < each < float("inf") for each in wanted):
            raise UsageError(f"--difference {', '.join(f'{each:g}' for each in wanted)}: give right answers, above 0")
        if summary is not None:
            found = analysis.analyse_summary(summary, wanted)
        else:
            digest, rules = read_declaration(study) if study else (None, None)
            read, refused = read_results(results or [], digest)
            if task_analysis.has_tasks(read):
                if wanted:
                    raise UsageError("--difference is for groups that are compared; tasks have one group")
                asked = task_analysis.analyse_tasks(read, refused, rules)
                print(task_analysis.to_text(asked), end="")
                if out is not None:
                    print(f"\npage: {task_analysis.write(asked, out)}")
                return
            found = analysis.analyse(read, refused, rules, wanted)
        print(output.to_text(found), end="")
        if out is not None:
            print(f"\npage: {output.write(found, out)}")
