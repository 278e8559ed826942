"""What reading the records of a run costs: `python tests/performance/store_cost.py RUN [--coded]`.

Prints processor seconds and the largest amount of memory of a process that reads them and does nothing else, with plain texts
or, with `--coded`, as reports read them.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "tests" / "performance")]

from harness_cost import most  # noqa: E402

import reports  # noqa: E402


def main() -> None:
    """Read, and print the line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", type=Path)
    parser.add_argument("--coded", action="store_true")
    given = parser.parse_args()
    before, begun = most(), time.process_time()
    count = len(reports.Store.open(given.run).records(coded=given.coded))
    seconds = time.process_time() - begun
    print(f"{count} records read: {seconds:.2f} s, {most():.2f} GB at most, {before:.2f} GB before")


if __name__ == "__main__":
    main()
