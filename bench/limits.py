"""What explainers may not do to the process they run in: hang, come back twice after a fork, or swallow Ctrl-C.

Two clocks watch a call. The first interrupts Python code and raises `Timeout`, which is stored as the failure of the
cell. Where that does not help, since native code does not return, the second one, which needs no interpreter, ends the
process and leaves a note that says who hung; the run goes on in a new process.
"""

from __future__ import annotations

import ctypes
import faulthandler
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from types import FrameType
from typing import IO, Any

from models.settings import settings_kept

GRACE = 5.0
"""Seconds that the first clock has to end a call before the second one ends the process."""
BESIDE = 60.0
"""Seconds for what a shard does beside its explainers, such as loading a model."""
HUNG = "Timeout ("
"""What the note of a process that was ended holds, as the standard library's `faulthandler` writes it."""

_watch: ContextVar[Watch | None] = ContextVar("watch", default=None)
_called: ContextVar[str | None] = ContextVar("called", default=None)
_pressed = threading.Event()


class Timeout(Exception):
    """An explainer took longer for a cell than `--timeout` allows."""


class Quit(Exception):
    """An explainer wanted to end the program."""


class Watch:
    """The limits on one shard.

    Args:
        seconds: for one cell.
        cells: number of cells of each explainer in the shard.
        note: where the second clock leaves its note; None: there is no second clock.
    """

    def __init__(self, seconds: float, cells: Mapping[str, int], note: Path | None) -> None:
        self.seconds = seconds
        self._left = {name: seconds * count for name, count in cells.items()}
        self._whole = seconds * sum(cells.values()) + BESIDE
        self._until = time.monotonic() + self._whole
        self._note = note
        self._file: IO[str] | None = None

    def start(self) -> None:
        """Start the clock of the whole shard."""
        if self._note is not None:
            self._file = self._note.open("w")
            self._arm("", self._whole)

    def stop(self) -> None:
        """Stop all clocks."""
        if self._file is not None and self._note is not None:
            faulthandler.cancel_dump_traceback_later()
            self._file.close()
            self._note.unlink(missing_ok=True)

    @contextmanager
    def call(self, name: str) -> Iterator[None]:
        """Limit one call of an explainer.

        Raises:
            Timeout: it took too long, or did so before in this shard.
        """
        allowed = min(self.seconds, self._left.get(name, self.seconds))
        if allowed <= 0:
            raise self._timeout()
        begun = time.monotonic()
        self._arm(name, allowed + GRACE)
        try:
            with _interrupted(allowed, self._timeout):
                yield
        except Timeout:
            self._left[name] = 0.0
            raise
        finally:
            if name in self._left:
                self._left[name] -= time.monotonic() - begun
            self._arm("", self._until - time.monotonic())

    def _timeout(self) -> Timeout:
        return Timeout(f"it took longer than --timeout {self.seconds:g} seconds for a cell")

    def _arm(self, name: str, seconds: float) -> None:
        if self._file is not None:
            self._file.seek(0)
            self._file.truncate()
            self._file.write(f"{name}\n")
            self._file.flush()
            faulthandler.dump_traceback_later(max(seconds, GRACE), exit=True, file=self._file)


@contextmanager
def watched(seconds: float | None, cells: Mapping[str, int], note: Path | None) -> Iterator[None]:
    """Limit the explainers that are called within; without `seconds` nothing is limited."""
    if seconds is None:
        yield
        return
    watch = Watch(seconds, cells, note)
    watch.start()
    token = _watch.set(watch)
    try:
        yield
    finally:
        _watch.reset(token)
        watch.stop()


@contextmanager
def interruptible() -> Iterator[None]:
    """Let no Ctrl-C get lost in foreign code: destructors and `except:` swallow the exception; `raise_interrupt` raises it again.

    Only in the main thread, and where nobody else handles the signal.
    """
    main = threading.current_thread() is threading.main_thread()
    if not main or signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
        yield
        return

    def press(number: int, frame: FrameType | None) -> None:
        _pressed.set()
        raise KeyboardInterrupt

    signal.signal(signal.SIGINT, press)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)
        _pressed.clear()


def raise_interrupt() -> None:
    """Raise the Ctrl-C that something has swallowed since `interruptible` was entered.

    Raises:
        KeyboardInterrupt: there was one, and this is the main thread.
    """
    if _pressed.is_set() and threading.current_thread() is threading.main_thread():
        raise KeyboardInterrupt


@contextmanager
def explaining(name: str) -> Iterator[None]:
    """Surrounds a call of an explainer, whole or its parts; settings of torch that it changes are put back for the next one.

    Raises:
        Timeout: it took longer than allowed.
        Quit: it called `sys.exit`.
        KeyboardInterrupt: what ran before has swallowed one.
    """
    if _called.get() == name:
        yield
        return
    raise_interrupt()
    process, token = os.getpid(), _called.set(name)
    watch = _watch.get()
    try:
        with settings_kept():
            if watch is None:
                yield
            else:
                with watch.call(name):
                    yield
    except SystemExit as error:
        raise Quit(f"it called sys.exit({error.code!r})") from error
    finally:
        if os.getpid() != process:
            # The explainer forked and the copy came back too: it must not go on with the work of its parent.
            os._exit(0)
        _called.reset(token)


def hung(note: Path) -> tuple[str, str] | None:
    """Who hung when a process was ended by the second clock, and where; None if no process was.

    Returns:
        Name of the explainer, empty if it was none, and the traceback.
    """
    try:
        name, _, traceback = note.read_text(errors="replace").partition("\n")
    except OSError:
        return None
    return (name, traceback) if HUNG in traceback else None


@contextmanager
def _interrupted(seconds: float, error: Callable[[], Timeout]) -> Iterator[None]:
    if threading.current_thread() is threading.main_thread():
        with _by_signal(seconds, error):
            yield
    else:
        with _by_thread(seconds):
            yield


@contextmanager
def _by_signal(seconds: float, error: Callable[[], Timeout]) -> Iterator[None]:
    over = False

    def ring(number: int, frame: FrameType | None) -> None:
        if not over:
            raise error()

    before: Any = signal.signal(signal.SIGALRM, ring)
    # It rings again for explainers that catch everything and go on.
    signal.setitimer(signal.ITIMER_REAL, seconds, 1.0)
    try:
        yield
    finally:
        # First of all, so that a ring at this very moment does not keep the clock from being stopped.
        over = True
        signal.setitimer(signal.ITIMER_REAL, 0.0)
        signal.signal(signal.SIGALRM, before)


@contextmanager
def _by_thread(seconds: float) -> Iterator[None]:
    """The same for a thread that gets no signals: it notices when it runs Python code again."""
    thread = ctypes.c_ulong(threading.get_ident())
    inside = threading.Lock()

    def ring() -> None:
        if inside.acquire(blocking=False):
            ctypes.pythonapi.PyThreadState_SetAsyncExc(thread, ctypes.py_object(Timeout))
            inside.release()

    timer = threading.Timer(seconds, ring)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
        inside.acquire()
