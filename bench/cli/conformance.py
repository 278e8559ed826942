"""`bench check-plugin`: does an explainer keep the rules that every explainer must keep?"""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .guard import REGRESSION, guarded, say

if TYPE_CHECKING:
    from explainers.conformance import Finding

WIDTH = 150


def add_to(app: typer.Typer) -> None:
    """Add the command of this module."""
    app.command("check-plugin")(check_plugin)


def check_plugin(
    plugin: Annotated[
        str,
        typer.Argument(
            metavar="FILE[:NAME]",
            help="File or module with explainers, and one of them (all). NAME may be smoothgrad(NAME), NAME[param=value].",
        ),
    ],
    model: Annotated[
        str | None, typer.Option("--model", help="Explain this model instead of a tiny built-in one.")
    ] = None,
    data: Annotated[str | None, typer.Option("--data", help="Images for --model. Default: its own.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="For machines.")] = False,
    verbose: Annotated[bool, typer.Option("--verbose", help="Print tracebacks.")] = False,
) -> None:
    """Check explainers of your own: shape, randomness, side effects, batches, declarations. Exit 1 when a rule is broken."""
    with guarded(verbose):
        names = _registered(plugin, verbose)
        from bench import subjects
        from explainers import conformance

        subject = subjects.subject_of(model, data, "cpu", "float32") if model is not None else None
        found = {name: conformance.check(name, subject) for name in names}
    if as_json:
        print(json.dumps({name: [asdict(each) for each in rows] for name, rows in found.items()}, indent=1))
    else:
        for name, rows in found.items():
            _show(name, rows)
    if any(not finding.passed for rows in found.values() for finding in rows):
        raise typer.Exit(REGRESSION)


def _registered(text: str, verbose: bool) -> list[str]:
    """The explainers that a plug-in registers, or the one named behind the colon.

    Raises:
        UsageError: the plug-in cannot be loaded, registers nothing, or has no explainer of that name.
    """
    import explainers
    from bench import plugins
    from models.naming import UsageError, near

    place, name = _split(text)
    plugins.load([])
    before = set(explainers.names())
    loaded = next(each for each in plugins.load([place]) if each.name == place)
    if loaded.error:
        if verbose:
            say(loaded.trace)
        raise UsageError(f"{place} cannot be loaded: {loaded.error}")
    own = [
        each
        for each in explainers.names()
        if each not in before or explainers.card(each).origin.rpartition(":")[0] == loaded.origin
    ]
    if not own:
        raise UsageError(
            f"{place} registers no explainer; decorate a function with @explainers.register(name, signed=...)"
        )
    if not name:
        return own
    if not any(each in name for each in own):
        raise UsageError(f"{place} has no explainer {name!r}; it registers {', '.join(own)}{near(name, own)}")
    return explainers.expand(name)


def _split(text: str) -> tuple[str, str]:
    """The file or module, and the name behind it; `a.py:smoothgrad(b)` is `a.py` and `smoothgrad(b)`."""
    place, colon, name = text.partition(".py:")
    if colon:
        return place + ".py", name
    place, _, name = text.partition(":")
    return place, name


def _show(name: str, rows: list[Finding]) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from explainers.conformance import RULES

    view = Table(box=None, pad_edge=False, title=name, title_justify="left")
    for column in ("rule", "result", "what was seen"):
        view.add_column(column, no_wrap=column != "what was seen")
    known: dict[str, Any] = {rule.name: rule for rule in RULES}
    for finding in rows:
        word, colour = ("holds", "green") if finding.passed else ("BROKEN", "red")
        view.add_row(finding.rule, Text(word, style=colour), Text(finding.detail))
        if not finding.passed:
            view.add_row("", "", Text(f"rule: {known[finding.rule].summary}"))
            view.add_row("", "", Text(f"to mend: {known[finding.rule].mend}"))
    console = Console()
    (console if console.is_terminal else Console(width=WIDTH)).print(view)
    broken = sum(not finding.passed for finding in rows)
    untried = len(RULES) - len(rows)
    rest = f"; {untried} rules not tried, as there is no map" if untried else ""
    print(f"{name}: {f'{broken} of {len(rows)} rules broken' if broken else f'all {len(rows)} rules hold'}{rest}\n")
