"""Progress of a run, read from the run folder: a live bar on a terminal, plain lines elsewhere."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Collection, Iterable, Mapping
from types import TracebackType

from rich.console import Console
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from reports.store import Store

from . import worker
from .claims import Claims

POLL = 0.5
LINES = 10.0


class Progress:
    """Shows cells done and total, rate, time left, what runs now and failures so far.

    What is done is counted in the run folder, so work of another machine in the same folder shows too.

    Args:
        store: the run folder.
        costs: estimated work of every cell of the run, by key.
        done: keys of the cells that were done before.
        quiet: show nothing.
        console: where to write; default: standard error.
    """

    def __init__(
        self,
        store: Store,
        costs: Mapping[str, float],
        done: Collection[str],
        *,
        quiet: bool = False,
        console: Console | None = None,
    ) -> None:
        # A reader of its own: the thread here and the run look at the folder at the same time.
        self.store = Store.open(store.path)
        self.claims = Claims(store.path)
        self.costs = costs
        self.before = self.done = frozenset(done).intersection(costs)
        self.failed: dict[str, str] = {}
        self.notices: list[str] = []
        self.quiet = quiet
        self.console = console or Console(file=sys.stderr)
        self.started = time.monotonic()
        self._live: Live | None = None
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._printed = ("", 0.0)

    def __enter__(self) -> Progress:
        if not self.quiet:
            if self.console.is_terminal:
                self._live = Live(self._view(), console=self.console, auto_refresh=False, transient=True)
                self._live.start()
            self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        if self._thread.is_alive():
            self._thread.join()
        if self._live is not None:
            self._live.stop()

    def note(self, notices: Iterable[str]) -> None:
        """Show remarks for the user."""
        for notice in () if self.quiet else notices:
            self.console.print(f"note: {notice}", style="yellow", markup=False, highlight=False)

    def listen(self, status: worker.Status) -> None:
        """Take the status of a finished shard."""
        new = [notice for notice in status.notices if notice not in self.notices]
        self.notices += new
        self.note(new)
        for key, message in status.failed.items():
            if key not in self.failed and message not in self.failed.values() and not self.quiet:
                self.console.print(f"failed: {message}", style="red", markup=False, highlight=False)
            self.failed[key] = message

    def look(self) -> None:
        """Count again what is done."""
        self.done = frozenset(self.store.glance()).intersection(self.costs)

    def line(self) -> str:
        """Progress in one line, for example `12/40 cells, 3.1/s, 0:09 left, 0 failed; now: saliency ...`."""
        new = self.done - self.before
        seconds = max(time.monotonic() - self.started, 1e-9)
        rate = "starting"
        if new:
            # Cells differ much in their work, so the time left follows the work and not the number of cells.
            left = self._work(self.costs.keys() - self.done) / max(self._work(new), 1e-9)
            rate = f"{len(new) / seconds:.1f}/s, {clock(left * seconds)} left"
        labels = [str(mark.get("label", "")) for mark in self.claims.live().values()]
        now = f"; now: {' | '.join(labels[:4])}" if labels else ""
        return f"{len(self.done)}/{len(self.costs)} cells, {rate}, {len(self.failed)} failed{now}"

    def _work(self, keys: Collection[str]) -> float:
        return sum(self.costs[key] for key in keys)

    def _watch(self) -> None:
        while not self._over.wait(POLL):
            self.look()
            if self._live is not None:
                self._live.update(self._view(), refresh=True)
                continue
            text, printed = self._printed
            line = self.line()
            if line != text and time.monotonic() - printed >= LINES:
                self._printed = (line, time.monotonic())
                self.console.print(line, markup=False, highlight=False, soft_wrap=True)

    def _view(self) -> Table:
        grid = Table.grid(expand=True)
        grid.add_row(ProgressBar(total=max(self._work(self.costs), 1e-9), completed=self._work(self.done)))
        grid.add_row(Text(self.line(), no_wrap=True, overflow="ellipsis"))
        return grid


def clock(seconds: float) -> str:
    """A duration as people write it.

    Example:
        >>> clock(9), clock(125), clock(7384)
        ('0:09', '2:05', '2:03:04')
    """
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"
