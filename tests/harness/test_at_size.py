"""Many records and many cells: bounds on processor time and memory that a slip into the quadratic would break."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.harness.support import ROOT, environment
from tests.performance import report_cost

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform != "linux", reason="the memory of a process is read from /proc"),
]


def figures(script: str, *words: object) -> list[float]:
    """Every number that a script of `tests/performance` prints, in a process of its own."""
    done = subprocess.run(
        [sys.executable, ROOT / "tests" / "performance" / script, *map(str, words)],
        cwd=ROOT, env=environment(), capture_output=True, text=True, timeout=240, check=True,
    )  # fmt: skip
    return [float(number) for number in re.findall(r"\d+(?:\.\d+)?", done.stdout)]


def test_half_a_million_records_are_read(tmp_path: Path):
    report_cost.build(tmp_path / "run", report_cost.planned(1)[:261])
    for words in ((), ("--coded",)):
        count, seconds, most, _ = figures("store_cost.py", tmp_path / "run", *words)
        assert count == 501_120
        assert seconds < 4.0 and most < 0.6


def test_fifty_thousand_cells_are_planned():
    cells, shards, seconds, most, megabytes, writing, _ = figures("harness_cost.py", "--plan", 50_000)
    assert 45_000 < cells < 55_000 and shards > 100
    assert seconds < 3.0 and writing < 2.0 and most < 0.6 and megabytes < 20
