"""Exit codes, and errors that a user can mend: one message, no traceback unless asked for."""

from __future__ import annotations

import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import typer

COMPUTING = ("torch", "torchvision", "captum", "skimage", "joblib", "safetensors")
"""Packages that may be missing where results are only read."""

DONE, REGRESSION, USAGE, INCOMPLETE, NOT_COMPARABLE, INTERRUPTED = 0, 1, 2, 3, 4, 130


@contextmanager
def guarded(verbose: bool = False, resume: str = "") -> Iterator[None]:
    """Turn errors that a user can mend into one message and exit code 2, Ctrl-C into 130.

    Args:
        verbose: print the traceback too.
        resume: how to go on after Ctrl-C.
    """
    from models.naming import UsageError

    try:
        yield
    except KeyboardInterrupt:
        # CPython remembers an interrupt that left an exec() (dataclasses make their methods with it while they are imported)
        # and then ends the process by signal, whatever the exit code; the next exec() makes it forget.
        exec("")
        say(f"\nstopped; {resume}" if resume else "\nstopped")
        raise typer.Exit(INTERRUPTED) from None
    except UsageError as error:
        _report(error, verbose)
    except ModuleNotFoundError as error:
        missing = (error.name or "").partition(".")[0]
        if missing not in COMPUTING:
            raise
        say(
            f"error: this command needs {missing}, which is not installed here: pip install sanity-bench installs everything"
        )
        raise typer.Exit(USAGE) from None
    except ValueError as error:
        # The errors of `reports` are plain ValueErrors of their own, since it imports none of the other packages.
        import reports

        if not isinstance(error, reports.RunFolderError | reports.SchemaError):
            raise
        _report(error, verbose)


@contextmanager
def writing(out: Path) -> Iterator[None]:
    """Turn what keeps a file from being written into one message that names it."""
    from models.naming import UsageError

    try:
        yield
    except OSError as error:
        raise UsageError(f"--out {out}: cannot be written ({error.strerror or error}); give another file") from error


def say(text: str) -> None:
    """Print on standard error."""
    print(text, file=sys.stderr, flush=True)


def _report(error: Exception, verbose: bool) -> None:
    if verbose:
        say("".join(traceback.format_exception(error)))
    say(f"error: {error}")
    raise typer.Exit(USAGE) from None
