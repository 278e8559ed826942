import ctypes
import os
import subprocess
import sys

import numpy as np
import pytest

import bench
import reports
from bench import memory
from models.naming import UsageError
from tests.harness.support import ROOT, SMALL, values


@pytest.mark.parametrize("text", ["", "2", "GB", "-1GB", "0MB", "2XB", "1e9", "2GB of it"])
def test_texts_that_are_no_size_are_refused(text):
    with pytest.raises(UsageError, match="write a size such as 500MB"):
        memory.size(text)


def test_the_share_of_a_worker():
    assert memory.share("3GB", 2, None) == 1_500_000_000
    assert memory.share("1KB", 4, None) == 250
    assert memory.share(None, 1, 33 << 30) == memory.share(None, 1, 60 << 30) == 16 << 30
    assert memory.share(None, 2, 33 << 30) == 8 << 30
    assert memory.share(None, 2, 1 << 20) == memory.share(None, 2, None) == memory.LEAST


def test_free_memory_is_that_of_the_container_where_that_is_less(tmp_path):
    (tmp_path / "meminfo").write_text("MemTotal: 900 kB\nMemAvailable:     500 kB\n")
    assert memory.free("cpu", tmp_path, tmp_path) == 500 * 1024
    (tmp_path / "memory.max").write_text("max\n")
    (tmp_path / "memory.current").write_text("5\n")
    assert memory.free("cpu", tmp_path, tmp_path) == 500 * 1024
    (tmp_path / "memory.max").write_text("1000\n")
    assert memory.free("cpu", tmp_path, tmp_path) == 995
    assert memory.free() > 0


FAULTS = """
import resource, sys
sys.path.insert(0, {root!r})
from bench import memory
used = {call}
def passes():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(20):
        blocks = [bytearray(40_000_000), bytearray(3_000_000)]
        del blocks
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
def resident():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * resource.getpagesize()
passes()
faults = passes()
blocks = [bytearray(1_000_000) for _ in range(300)]
last = bytearray(1_000_000)
del blocks
before = resident()
memory.give_back()
print(used, faults, (before - resident()) // 1_000_000)
"""


def pages(call="memory.reuse_freed()", **env):
    """Of a fresh process: whether freed memory is used again, pages cleared for 20 passes, megabytes given back after."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith("MALLOC_")}
    done = subprocess.run(
        [sys.executable, "-c", FAULTS.format(root=str(ROOT), call=call)], env={**clean, **env}, capture_output=True,
        text=True, check=True,
    )  # fmt: skip
    used, count, given = done.stdout.split()
    return used == "True", int(count), int(given)


@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "mallopt"), reason="another allocator")
def test_freed_memory_is_used_again_unless_the_user_has_chosen():
    used, few, given = pages()
    _, many, _ = pages("False")
    assert used and many > 20 * 9_000 and few < many / 20
    # What is free below a block that is still used goes back between two shards.
    assert given > 250
    assert pages(MALLOC_ARENA_MAX="2")[:2] == (False, pytest.approx(many, rel=0.2))


def test_the_budget_changes_nothing_of_the_shipped_classifier(tmp_path):
    options = {"suite": "smoke", "explainers": "saliency,lrp-a2b1", "images": 2, "seeds": 1, "jobs": 1}
    runs = [bench.run(**options, memory=size, out=tmp_path / str(size)) for size in (None, "100MB", "30MB")]
    one, other, tight = (values(run.path) for run in runs)
    assert one.equals(other)
    assert list(one["cell"]) == list(tight["cell"])
    smooth = one["measure"] != "hog"
    np.testing.assert_allclose(one[smooth]["value"].to_numpy(float), tight[smooth]["value"].to_numpy(float), atol=1e-4)


def test_when_memory_runs_out_the_batch_is_halved_and_that_is_on_record(tmp_path):
    done = bench.run(**{**SMALL, "images": 5, "seeds": 1}, explainers="toy-greedy,toy-gradient", out=tmp_path / "a")
    assert done.complete
    assert [notice for notice in done.notices if "toy-greedy" in notice and "2 at once" in notice]
    store = reports.Store.open(done.path)
    records = [record["memory-ran-out"] for name, record in store.provenance().items() if name.startswith("memory-")]
    cells = {key: note for record in records for key, note in record.items()}
    planned = {cell["key"] for cell in store.plan() if cell["explainer"] == "toy-greedy"}
    assert set(cells) == planned
    assert {(note["explainer"], note["images-at-once"]) for note in cells.values()} == {("toy-greedy", 2)}
    assert all("out of memory" in note["error"] for note in cells.values())
    assert reports.write_report(done.path)


@pytest.mark.parametrize("error", ["MemoryError", "RuntimeError"])
def test_one_image_that_is_too_much_is_a_failure(tmp_path, monkeypatch, error):
    monkeypatch.setenv("TOY_ERROR", error)
    done = bench.run(**{**SMALL, "seeds": 1}, explainers="toy-gradient,toy-glutton", out=tmp_path / "a")
    assert "memory ran out for toy-glutton; went on with 1 at once" in done.notices
    failures = reports.Store.open(done.path).failures().values()
    assert {(failure["explainer"], failure["type"]) for failure in failures} == {("toy-glutton", error)}
    assert len(failures) == len(done.missing)


@pytest.mark.parametrize(("rows", "complete"), [(1, True), (0, False)])
def test_the_batch_is_halved_down_to_one_image_and_no_further(rows, complete, tmp_path, monkeypatch):
    monkeypatch.setenv("TOY_ROWS", str(rows))
    done = bench.run(**{**SMALL, "images": 9, "seeds": 1}, explainers="toy-greedy,toy-gradient", out=tmp_path / "a")
    tried = [int(notice.split("went on with ")[1].split()[0]) for notice in done.notices if "toy-greedy" in notice]
    assert tried == sorted(tried, reverse=True) and tried[-1] == 1
    assert done.complete == complete
    assert {message.partition(":")[0] for message in done.failed.values()} == (set() if complete else {"toy-greedy"})
