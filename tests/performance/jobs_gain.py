"""What more processes gain: `python tests/performance/jobs_gain.py [--explainers LIST] [--really]`.

A run of the randomisation suite with one process is timed shard by shard (processor time, so that others on the machine
hardly matter). From that follows how long several workers take, which share the shards the longest first and each load
their packages and the model before: the gain that the plan allows. `--really` runs the command with one and with two processes
by the clock instead, on a machine that is otherwise idle.
"""

from __future__ import annotations

import argparse
import heapq
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from unittest import mock

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))
LOAD = (
    "import json, time; from bench import subjects; "
    "print(subjects.describe(json.dumps({'models': {'fmnist-vgg': [[16, 16]]}, 'data': None, 'base': 0, 'plugins': [], "
    "'device': 'cpu', 'own_process': False}))[:0]); import explainers; explainers.get('gradient'); print(time.process_time())"
)


def makespan(shards: list[float], workers: int, start: float) -> float:
    """Seconds until the last of some workers is done with shards that are handed out in this order.

    Example:
        >>> makespan([3.0, 2.0, 1.0], 2, 1.0)
        4.0
    """
    busy = [start] * workers
    for seconds in shards:
        heapq.heapreplace(busy, busy[0] + seconds)
    return max(busy)


def shard_seconds(options: dict[str, object]) -> tuple[list[float], float]:
    """Processor seconds of every shard of a run in this process, in the order of the plan, and of everything else."""
    import bench
    from bench import pool

    shards: list[float] = []
    real = pool.worker.run_shard

    def timed(*given: str) -> str:
        begun = time.process_time()
        text = real(*given)
        shards.append(time.process_time() - begun)
        return text

    begun = time.process_time()
    with tempfile.TemporaryDirectory() as place, mock.patch.object(pool.worker, "run_shard", timed):
        done = bench.run(**options, jobs=1, out=place)
        assert done.complete, done.failed
    return shards, time.process_time() - begun - sum(shards)


def by_the_clock(options: dict[str, object], jobs: int) -> tuple[float, float]:
    """Seconds by the clock and processor seconds of the command with some processes."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    with tempfile.TemporaryDirectory() as place:
        words = [part for name, value in options.items() for part in (f"--{name}", str(value))]
        begun = time.perf_counter()
        subprocess.run(
            [sys.executable, "-m", "bench", "run", "--quiet", "--jobs", str(jobs), "--out", place, *words],
            cwd=ROOT, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        seconds = time.perf_counter() - begun
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return seconds, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--explainers")
    parser.add_argument("--really", action="store_true")
    given = parser.parse_args()
    options: dict[str, object] = {"suite": "randomization", "model": "fmnist-vgg"}
    if given.explainers:
        options["explainers"] = given.explainers
    if given.really:
        found = {jobs: by_the_clock(options, jobs) for jobs in (2, 1)}
        for jobs, (seconds, used) in found.items():
            print(f"--jobs {jobs}: {seconds:.1f} s by the clock, {used:.1f} s of processor time")
        print(f"gain {found[1][0] / found[2][0]:.2f}")
        return
    # A process of its own loads packages and model: what every worker does before its first shard.
    said = subprocess.run([sys.executable, "-c", LOAD], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    start = float(json.loads(said.split()[-1]))
    shards, rest = shard_seconds(options)
    alone = start + sum(shards)
    print(
        f"{len(shards)} shards, {sum(shards):.1f} s; longest {max(shards):.1f} s; loading {start:.1f} s; rest {rest:.1f} s"
    )
    for workers in (2, 4, 8):
        print(f"{workers} workers: {alone / makespan(shards, workers, start):.2f} times as fast")


if __name__ == "__main__":
    main()
