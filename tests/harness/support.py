"""Helpers of the harness tests: the toy's paths, running the command, comparing runs."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pandas as pd

import reports

HERE = Path(__file__).parent
ROOT = HERE.parent.parent
TOY = str(HERE / "toy.py")
MODEL = f"{TOY}:model"
SMALL = {"suite": "smoke", "model": MODEL, "plugin": TOY, "images": 3, "seeds": 2, "jobs": 1}


def command(*words: object) -> list[str]:
    """The command line of `bench` with these words."""
    return [sys.executable, "-m", "bench", *(str(word) for word in words)]


def environment(**extra: str) -> dict[str, str]:
    """The environment for a process of its own."""
    return {**os.environ, "OMP_NUM_THREADS": "1", "COLUMNS": "200", **extra}


def jumping_clock(log: Path) -> dict[str, str]:
    """Variables for processes whose time of day jumps by years at every look; the log gets a line for each of them."""
    paths = [str(HERE / "jumping"), os.environ.get("PYTHONPATH", "")]
    return {"PYTHONPATH": os.pathsep.join(path for path in paths if path), "CLOCK_LOG": str(log)}


def bench(*words: object, timeout: float = 240, **extra: str) -> subprocess.CompletedProcess[str]:
    """Run `bench` in a process of its own."""
    return subprocess.run(
        command(*words),
        cwd=ROOT,
        env=environment(**extra),
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )


def toy_run(out: Path, *words: object, explainers: str = "toy-gradient", jobs: int = 1) -> list[object]:
    """Words of a small run of the toy."""
    return [
        "run", "--suite", "smoke", "--model", MODEL, "--plugin", TOY, "--explainers", explainers, "--images", 3,
        "--seeds", 2, "--jobs", jobs, "--out", out, *words,
    ]  # fmt: skip


def values(path: Path) -> pd.DataFrame:
    """All records of a run but the times, in a fixed order."""
    frame = reports.load(path).drop(columns="seconds")
    order = ["cell", "stage", "image", "measure"]
    return frame.sort_values(order, ignore_index=True)


def same(one: Path, other: Path) -> None:
    """Fail unless two runs hold bit-identical records."""
    pd.testing.assert_frame_equal(values(one), values(other), check_exact=True)
