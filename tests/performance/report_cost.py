"""What a report of many records costs: seconds of one core, and the largest amount of memory.

    python tests/performance/report_cost.py RUN [MILLIONS]

writes a run folder of planted records (default: 10 million) unless it is there, then its report, and prints both costs.
"""

from __future__ import annotations

import hashlib
import resource
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pyarrow as pa

import reports
from reports import files, schema
from reports.store import Store

EXPLAINERS, SEEDS, BLOCKS, STAGES, PACK = 34, 10, 2, 10, 512
IMAGES = [[f"fashion-mnist/test/{32 * block + image:04d}" for image in range(32)] for block in range(BLOCKS)]
MEASURES = ("ssim", "ssim-7", "spearman", "spearman-abs", "hog", "cosine")
CHECKS = {"cascading": SEEDS, "independent": SEEDS, "ceiling": 3, "floor": 5}
GROUPS = ("gradient", "modified-backprop", "relevance")
PER_SUBJECT = EXPLAINERS * BLOCKS * 32 * len(MEASURES) * (2 * SEEDS * STAGES + 8)


def planned(subjects):
    """The cells, as `bench run` would plan them at twice the images of the standard profile."""
    return [
        {
            "key": hashlib.sha256(repr((subject, check, explainer, seed, block)).encode()).hexdigest(),
            "suite": "randomization", "check": check, "subject": f"network-{subject}",
            "explainer": f"explainer-{explainer:02d}", "seed": seed, "images": IMAGES[block], "rows": None,
        }
        for subject in range(subjects)
        for check, seeds in CHECKS.items()
        for explainer in range(EXPLAINERS)
        for seed in range(seeds)
        for block in range(BLOCKS)
    ]  # fmt: skip


def texts(values, codes):
    """A column of texts from their codes."""
    return pa.DictionaryArray.from_arrays(pa.array(codes.astype(np.int32)), pa.array(values, pa.string())).cast(
        pa.string()
    )


def table_of(cell, draw):
    """The records of one cell: similarities that fall from explainer to explainer."""
    check = cell["check"]
    stages = (
        np.arange(STAGES)
        if check in ("cascading", "independent")
        else np.array([0 if check == "ceiling" else STAGES - 1])
    )
    grid = np.meshgrid(stages, np.arange(32), np.arange(len(MEASURES)), indexing="ij")
    stage, image, measure = (each.ravel() for each in grid)
    none = np.zeros(len(stage), dtype=np.int32)
    centre = {"ceiling": 1.0, "floor": 0.05}.get(check, 0.9 - 0.8 * int(cell["explainer"][-2:]) / EXPLAINERS)
    value = np.clip(centre + draw.normal(0, 0.05, len(stage)), -1, 1)
    value[(stage == 0) | (check == "ceiling")] = 1.0
    same = {name: texts([cell[name]], none) for name in ("suite", "check", "subject", "explainer")}
    columns = {
        **same, "seed": none + cell["seed"], "stage": stage,
        "layer": pa.array([f"features.{10 - number}" if number else None for number in stage], pa.string()),
        "image": texts(cell["images"], image), "target": image % 10, "measure": texts(list(MEASURES), measure),
        "value": value, "status": texts(["ok"], none), "seconds": np.full(len(stage), draw.random()),
        "cell": texts([cell["key"]], none),
    }  # fmt: skip
    return pa.table(columns, schema=schema.ARROW_SCHEMA)


def build(folder, cells):
    """Write the run folder of some of the cells that `planned` gives."""
    cards = {f"explainer-{number:02d}": {"group": GROUPS[number % 3], "signed": True} for number in range(EXPLAINERS)}
    store = Store.create(folder, {"suite": ["randomization"]}, {"name": "recommended", "hash": "0"}, {}, cards)
    draw = np.random.default_rng(0)
    for start in range(0, len(cells), PACK):
        part = cells[start : start + PACK]
        tables = [table_of(cell, draw) for cell in part]
        data = files.encode_records(
            pa.concat_tables(tables), [(cell["key"], len(table)) for cell, table in zip(part, tables, strict=True)]
        )
        files.write(folder / "packs" / f"{files.sha256(data)[:16]}.parquet", data)
    store.write_plan(cells)


def main():
    """Build what is missing, then write and time the report."""
    folder = Path(sys.argv[1])
    millions = float(sys.argv[2]) if len(sys.argv) > 2 else 10.0
    if not (folder / "plan.json").exists():
        build(folder, planned(max(1, round(millions * 1e6 / PER_SUBJECT))))
    # What building took is no part of it, so it is measured in a process of its own.
    if "--here" not in sys.argv:
        raise SystemExit(subprocess.run([sys.executable, __file__, str(folder), str(millions), "--here"]).returncode)
    begun, wall = time.process_time(), time.monotonic()
    written = reports.write_report(folder, folder.with_name(f"{folder.name}-report"))
    seconds, clock = time.process_time() - begun, time.monotonic() - wall
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    records = reports.Store.open(folder).records(coded=True)
    page = written[0].stat().st_size / 1e6
    print(f"{len(records):,} records: report in {seconds:.1f} s of one core ({clock:.1f} s on the clock),")
    print(f"{memory:.2f} GB at most; page {page:.1f} MB")


if __name__ == "__main__":
    main()
