"""`bench list`: what there is, without loading torch."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .guard import guarded, say

if TYPE_CHECKING:
    from bench.sized import Suite

KINDS = ("explainers", "suites", "checks", "models", "generators", "embeddings", "texts", "datasets")
Card = dict[str, Any]


def add_to(app: typer.Typer) -> None:
    """Add the command of this module."""
    app.command("list")(show)


def show(
    what: Annotated[str, typer.Argument(metavar="|".join(KINDS), help="What to list.")],
    name: Annotated[str | None, typer.Argument(help="Show everything about this one.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="For machines.")] = False,
    plugin: Annotated[
        list[str] | None, typer.Option("--plugin", help="File or module with explainers or checks of your own.")
    ] = None,
) -> None:
    """List explainers, suites, checks, models, generators, embeddings, texts or data sets, and where they come from."""
    with guarded():
        from models.naming import UsageError, near

        if what not in KINDS:
            raise UsageError(f"cannot list {what!r}; allowed are {', '.join(KINDS)}{near(what, KINDS)}")
        cards = _CARDS[what](plugin or [])
        if name is not None:
            known = [str(card["name"]) for card in cards]
            cards = [card for card in cards if card["name"] == name]
            if not cards:
                raise UsageError(f"there is no {what[:-1]} {name!r}{near(name, known)}; bench list {what} shows all")
        if as_json:
            print(json.dumps(cards if name is None else cards[0], indent=1, default=str))
        elif name is not None:
            _print_one(cards[0])
        else:
            _print_table(cards, _COLUMNS[what])


def _explainers(given: list[str]) -> list[Card]:
    import explainers
    from bench import plugins

    loaded = plugins.load(given)
    cards = [{**asdict(info), "status": "available"} for info in explainers.cards()]
    for plugin in loaded:
        if plugin.error:
            say(plugin.notice)
            broken = {
                "name": plugin.name,
                "group": "plugin",
                "origin": plugin.origin,
                "summary": plugin.error,
            }
            cards.append({**broken, "status": "unavailable"})
    return cards


def _suites(given: list[str]) -> list[Card]:
    from bench import plugins, suites

    plugins.load(given)
    return [
        {
            "name": suite.name, "summary": suite.summary,
            "checks": _each(suite, "checks"), "explainers": _each(suite, "explainers"),
            "references": _each(suite, "references"),
            "profiles": {
                f"{profile}{'' if part is suite else part.name.removeprefix(suite.name)}": size.record()
                for part in suite.runs for profile, size in part.sizes.items()
            },
            "claims": [] if suite.paper is None else [claim.statement for claim in suite.paper.claims],
        }
        for suite in suites.suites()
    ]  # fmt: skip


def _each(suite: Suite, name: str) -> list[str]:
    """The texts of all parts of a suite, each once."""
    return list(dict.fromkeys(text for part in suite.runs for text in getattr(part, name)))


def _checks(given: list[str]) -> list[Card]:
    from bench import plugins
    from bench.checks import CHECKS, own

    loaded = plugins.load(given)
    cards: list[Card] = [
        {
            "name": info.name, "version": info.version, "suite": info.suite, "origin": "built-in", "status": "available",
            "summary": info.summary, "measures": {measure.name: measure.record() for measure in info.measures},
            **own.declared(info.name),
        }
        for info in CHECKS.values()
    ]  # fmt: skip
    for name, origin in plugins.check_names().items():
        if name not in CHECKS:
            said = f"not loaded; --suite {name} or --plugin {name} loads it"
            cards.append({"name": name, "suite": name, "origin": origin, "status": "installed", "summary": said})
    for plugin in loaded:
        if plugin.error:
            say(plugin.notice)
            cards.append(
                {"name": plugin.name, "origin": plugin.origin, "status": "unavailable", "summary": plugin.error}
            )
    return cards


def _models(_: list[str]) -> list[Card]:
    import models
    from bench import plugins

    found = [asdict(card) for card in models.names()]
    extra = [{"name": name, "summary": value, "origin": "entry point"} for name, value in plugins.model_names().items()]
    return found + extra


def _generators(_: list[str]) -> list[Card]:
    import models

    return [asdict(card) for card in models.names("generator")]


def _embeddings(_: list[str]) -> list[Card]:
    import models

    return [asdict(card) for card in models.names("embedding")]


def _texts(_: list[str]) -> list[Card]:
    from models.text import shipped

    return shipped.cards()


def _datasets(_: list[str]) -> list[Card]:
    import models

    return [asdict(card) for card in models.datasets()]


_CARDS: dict[str, Callable[[list[str]], list[Card]]] = {
    "explainers": _explainers,
    "suites": _suites,
    "checks": _checks,
    "models": _models,
    "generators": _generators,
    "embeddings": _embeddings,
    "texts": _texts,
    "datasets": _datasets,
}
_COLUMNS = {
    "explainers": ("name", "group", "signed", "stochastic", "status", "origin", "summary"),
    "suites": ("name", "checks", "summary"),
    "checks": ("name", "suite", "version", "origin", "measures", "summary"),
    "models": ("name", "accuracy", "origin", "summary"),
    "generators": ("name", "origin", "summary"),
    "embeddings": ("name", "origin", "summary"),
    "texts": ("name", "kind", "accuracy", "words", "summary"),
    "datasets": ("name", "count", "origin", "summary"),
}


def _print_table(cards: list[Card], columns: tuple[str, ...]) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    view = Table(box=None, pad_edge=False)
    for column in columns:
        view.add_column(column, no_wrap=column == "name")
    for card in cards:
        view.add_row(*(Text(_text(card.get(column))) for column in columns))
    Console(width=None if Console().is_terminal else 180).print(view)


def _print_one(card: Card) -> None:
    for key, value in card.items():
        if key == "measures":
            print("measures:")
            for name, facts in value.items():
                print(f"  {name}: {'; '.join(f'{fact} {_text(given)}' for fact, given in facts.items())}")
        elif value not in ("", None):
            print(f"{key}: {_text(value)}")


def _text(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, dict):
        return ", ".join(f"{key}" if isinstance(given, dict) else f"{key}={given}" for key, given in value.items())
    if isinstance(value, list | tuple):
        return ", ".join("" if item is None else str(item) for item in value)
    return f"{value:.4f}" if isinstance(value, float) and not value.is_integer() else str(value)
