"""What the harness adds to the work itself: `python tests/performance/harness_cost.py [--seeds N] [--run FOLDER] [--plan N]`.

A run of about 10,000 cells of the randomisation suite whose explanations are left out: rows of the right number and size
come from nowhere. What is left is planning, marks, records, progress and the packs at the end. Processor time of this
process and its children (system time included), less that of making the rows; per cell, and as a share of what a cell of a
real run takes (`--run` names its folder; else the share is not printed).

`--plan N` plans about N cells instead, groups them into shards and makes their `plan.json`, and prints time and memory.
"""

from __future__ import annotations

import argparse
import cProfile
import pstats
import re
import resource
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest import mock

ROOT = Path(__file__).resolve().parents[2]
# Not as `tests.harness`: another project may have installed a package called `tests`.
sys.path[:0] = [str(ROOT), str(ROOT / "tests" / "harness")]

import bench  # noqa: E402
import reports  # noqa: E402
from bench.checks import CHECKS  # noqa: E402
from bench.checks.base import CellResult  # noqa: E402

STAGES, IMAGES = 8, 64


def seconds() -> float:
    """Processor time of this process and of its children that have ended."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(each.ru_utime + each.ru_stime for each in used)


def rows(check: str, ids: list[str], seed: int) -> list[dict[str, Any]]:
    """As many rows as a cell of the check has, with values of full length."""
    info = CHECKS[check]
    found = []
    for stage in range(STAGES + 1 if info.staged else 1):
        for number, measure in enumerate(info.measures):
            if measure.per == "search":
                continue
            for image in ids if measure.per == "image" else [None]:
                found.append(
                    {"suite": "", "check": check, "subject": "", "explainer": "", "seed": seed, "stage": stage,
                     "layer": f"conv{stage}", "image": image, "target": 3, "measure": measure.name,
                     "value": 0.1 + 1e-7 * (stage + number + seed) ** 3, "status": "ok", "seconds": 0.0123}
                )  # fmt: skip
    return found


def nothing(
    subject: Any, explainers: Any, indices: list[int], seed: int, *, wanted: set[tuple[str, str]], **_: Any
) -> Iterator[CellResult]:
    """Stands in for `run_block`: rows without explanations."""
    ids = [subject.data.ids[index] for index in indices]
    for check, name in sorted(wanted):
        yield CellResult(name, check, rows(check, ids, seed), seed=seed, seconds=0.1)


def of_a_real_run(folder: Path) -> float:
    """Mean seconds by the clock that a cell of a finished run took: its explanations and comparisons."""
    frame = reports.load(folder)
    return float(frame[frame["explainer"] != "(model)"].groupby("cell")["seconds"].first().mean())


def planned(cells: int) -> None:
    """Plan about so many cells of a hundred explainers."""
    from test_plan import made

    from bench.traits import ExplainerFacts
    from reports import planned as files

    names = [ExplainerFacts(f"e{number}", {"name": f"e{number}"}, 1, {"cost": 1.0}) for number in range(100)]
    begun = seconds()
    grid = made(16 * max(1, cells // 9_900), 46, chosen=names)
    cut = grid.shards(grid.tasks)
    print(f"{len(grid.tasks)} cells in {len(cut)} shards: {seconds() - begun:.1f} s, {most():.2f} GB at most")
    begun = seconds()
    made_of = files.encode(grid.entries(), "2026-01-01")
    print(f"plan.json of {len(made_of) / 1e6:.0f} MB: {seconds() - begun:.1f} s, {most():.2f} GB at most")


def most() -> float:
    """Most memory that this process had, in GB; `ru_maxrss` would count what started it too."""
    try:
        found = re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())
    except OSError:
        found = None
    return (int(found[1]) if found else resource.getrusage(resource.RUSAGE_SELF).ru_maxrss) * 1024 / 1e9


def looked_at(folder: Path) -> None:
    """How long it takes to see what of a run is done: with all digests compared, and for the line of progress."""
    for what, ask in (("digests compared", reports.Store.done), ("for progress", reports.Store.glance)):
        store = reports.Store.open(folder)
        begun = seconds()
        found = ask(store)
        print(f"{len(found)} finished cells listed, {what}: {seconds() - begun:.2f} s")


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=46)
    parser.add_argument("--run", type=Path)
    parser.add_argument("--plan", type=int)
    parser.add_argument("--profile", action="store_true")
    given = parser.parse_args()
    if given.plan:
        planned(given.plan)
        return
    measured(given)


def measured(given: argparse.Namespace) -> None:
    """Run about 10,000 cells without explanations, and print what they cost."""
    families = ("bench.checks.randomization.run_block", "bench.checks.calibration.run_block")
    profiler = cProfile.Profile()
    with tempfile.TemporaryDirectory() as place, mock.patch(families[0], nothing), mock.patch(families[1], nothing):
        options = {"suite": "randomization", "model": "fmnist-vgg", "images": IMAGES, "jobs": 1}
        bench.run(**options, seeds=1, explainers="saliency", out=Path(place) / "warm")
        begun = seconds()
        if given.profile:
            profiler.enable()
        done = bench.run(**options, seeds=given.seeds, out=Path(place) / "run")
        profiler.disable()
        whole = seconds() - begun
        cells = [cell for cell in reports.Store.open(done.path).plan() if cell["check"] in CHECKS]
        looked_at(done.path)
    begun = seconds()
    for cell in cells:
        rows(cell["check"], list(cell["images"]), cell["seed"])
    bare = seconds() - begun
    each = (whole - bare) / len(cells)
    print(f"{len(cells)} cells: {whole:.1f} s, of it {bare:.1f} s for the rows: {1e3 * each:.2f} ms per cell")
    if given.run:
        real = of_a_real_run(given.run)
        print(f"a cell of {given.run} takes {1e3 * real:.0f} ms: the harness adds {100 * each / real:.2f}%")
    if given.profile:
        pstats.Stats(profiler).sort_stats("cumulative").print_stats(45)


if __name__ == "__main__":
    main()
