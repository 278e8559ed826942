"""The command `bench`. Each command imports what it computes with when it is called, so that `--help` is instant."""

from __future__ import annotations

import typer

from . import comparing, conformance, listing, questions, results, running

app = typer.Typer(
    name="bench",
    help="Do explanations of a neural network notice what they should? Sanity checks with verdicts and intervals.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
running.add_to(app)
listing.add_to(app)
questions.add_to(app)
results.add_to(app)
comparing.add_to(app)
conformance.add_to(app)


def main() -> None:
    """Entry point of the console script."""
    app(prog_name="bench")


__all__ = ["app", "main"]
