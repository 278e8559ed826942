"""A report of half a million records: bounds on processor time and memory that a slip into the quadratic would break."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.performance import report_cost

ROOT = Path(__file__).parents[2]
EXPLAINERS = 7


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="the unit of ru_maxrss is another one elsewhere")
def test_half_a_million_records_have_a_report(tmp_path):
    """Ten million may take 60 s and 4 GB: a twentieth of that, and what figures and imports cost however few records are."""
    chosen = {f"explainer-{number:02d}" for number in range(EXPLAINERS)}
    report_cost.build(tmp_path / "run", [cell for cell in report_cost.planned(1) if cell["explainer"] in chosen])
    done = subprocess.run(
        [sys.executable, ROOT / "tests" / "performance" / "report_cost.py", tmp_path / "run"],
        cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}, capture_output=True,
        text=True, timeout=300, check=True,
    )  # fmt: skip
    records = int(re.search(r"^([\d,]+) records", done.stdout)[1].replace(",", ""))
    seconds = float(re.search(r"report in ([\d.]+) s of one core", done.stdout)[1])
    memory = float(re.search(r"([\d.]+) GB at most", done.stdout)[1])
    assert records == EXPLAINERS * report_cost.PER_SUBJECT // report_cost.EXPLAINERS > 500_000
    assert seconds < 20 and memory < 0.9, done.stdout
