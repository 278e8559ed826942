import io
import json
import os

import pytest
from rich.console import Console

from bench.progress import Progress, clock
from bench.worker import Status
from reports.store import Store

ROW = {
    "suite": "s", "check": "c", "subject": "m", "explainer": "e", "seed": 0, "stage": 1, "layer": "fc", "image": "i",
    "target": 3, "measure": "ssim", "value": 0.5, "status": "ok", "seconds": 0.1,
}  # fmt: skip
KEYS = ["a" * 8, "b" * 8, "c" * 8, "d" * 8]


@pytest.fixture
def store(tmp_path):
    """An empty run folder."""
    return Store.create(tmp_path / "run", {}, {"name": "p", "hash": "h"}, {}, {})


def progress(store, quiet=False, terminal=False):
    """Progress over four cells of which the first was done before, and what it wrote."""
    text = io.StringIO()
    console = Console(file=text, force_terminal=terminal, width=120)
    return Progress(store, dict.fromkeys(KEYS, 2.0), KEYS[:1], quiet=quiet, console=console), text


def test_the_line_counts_from_the_folder(store):
    store.write_records(KEYS[0], [ROW])
    shown, _ = progress(store)
    assert shown.line().startswith("1/4 cells, starting, 0 failed")
    store.write_records(KEYS[1], [ROW])
    shown.look()
    assert shown.line().startswith("2/4 cells, ") and "left" in shown.line()


def test_the_line_says_what_runs_now(store):
    claims = store.path / "claims"
    claims.mkdir()
    (claims / "x").write_text(json.dumps({"label": "m, images 0-15", "host": "elsewhere", "process": 1}))
    (claims / "torn").write_text("{")
    assert progress(store)[0].line().endswith("now: m, images 0-15")


def test_a_failure_is_said_once_and_counted(store):
    shown, text = progress(store)
    shown.listen(Status("x", failed={KEYS[0]: "e: ValueError: no", KEYS[1]: "e: ValueError: no"}))
    assert text.getvalue().count("ValueError") == 1 and "2 failed" in shown.line()


def test_quiet_says_nothing(store):
    shown, text = progress(store, quiet=True)
    with shown:
        shown.note(["careful"])
        shown.listen(Status("x", failed={KEYS[0]: "e: ValueError: no"}))
    assert text.getvalue() == ""


def test_a_terminal_gets_a_bar_and_a_file_gets_lines(store):
    shown, text = progress(store, terminal=True)
    with shown:
        pass
    assert "\x1b[" in text.getvalue()
    shown, text = progress(store)
    with shown:
        shown.look()
    assert "\x1b[" not in text.getvalue()


def test_durations_are_rounded_to_seconds():
    assert clock(59.6) == "1:00" and os.linesep not in clock(3600)
