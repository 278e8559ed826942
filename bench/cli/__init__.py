"""The command `bench`. Each command imports what it computes with when it is called, so that `--help` is instant."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time

import typer

from . import comparing, conformance, listing, questions, results, running, study
from .guard import INTERRUPTED

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
study.add_to(app)


def main() -> None:
    """Entry point of the console script."""
    try:
        app(prog_name="bench")
    except SystemExit as done:
        _leave(done.code if isinstance(done.code, int) else int(done.code is not None))
        raise


def _leave(code: int) -> None:
    """End the process now if threads that some explainer has left behind would keep it from ending."""
    if code == INTERRUPTED:
        # What is still to be tidied up takes a moment; impatience must not turn it into a traceback.
        signal.signal(signal.SIGINT, signal.SIG_IGN)
    patience = time.monotonic() + 2.0
    for thread in threading.enumerate():
        if thread is not threading.main_thread() and not thread.daemon:
            thread.join(max(0.0, patience - time.monotonic()))
            if thread.is_alive():
                sys.stdout.flush()
                sys.stderr.flush()
                os._exit(code)


__all__ = ["app", "main"]
