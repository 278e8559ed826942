"""Record files and packs: each cell is found once and whole, whatever happens to the files."""

import hashlib
import json
import os
import random
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import synthetic

import reports
from reports import records, schema
from reports.files import RunFolderError
from reports.schema import SchemaError
from reports.store import Store

ROOT = Path(__file__).resolve().parents[2]
OLD = Path(__file__).parent / "data" / "run-schema-1"
CONFIG = {"suite": ["randomization"]}
PROTOCOL = {"name": "recommended", "hash": "aa", "parameters": {}}


def key_of(number):
    return hashlib.sha256(str(number).encode()).hexdigest()


def rows(count, seed=0):
    found = synthetic.cell_rows("e", "cascading", seed, count)
    return [{name: value for name, value in row.items() if name != "cell"} for row in found]


def filled(path, count=12):
    """A run folder with planned cells of different lengths, one without rows, and one that no plan names."""
    store = Store.create(path, CONFIG, PROTOCOL, {}, {})
    keys = [key_of(number) for number in range(count)]
    random.Random(0).shuffle(keys)
    store.write_plan([{"key": key, "images": ["a/0", "a/1"]} for key in keys])
    for number, key in enumerate(keys):
        store.write_records(key, rows(number % 3, number))
    store.write_records("ee" * 32, rows(1))
    return store, keys


def loose(store):
    return sorted(store.path.glob("records/*/*.parquet"))


def test_packs_hold_what_the_files_held(tmp_path, monkeypatch):
    monkeypatch.setattr(records, "PACK_CELLS", 5)
    store, keys = filled(tmp_path / "run")
    before = store.records()
    assert store.compact(least=2) == 13
    for opened in (store, Store.open(store.path)):
        assert loose(store) == [] and len(list(store.path.glob("packs/*"))) == 3
        pd.testing.assert_frame_equal(opened.records(), before, check_exact=True)
        assert opened.done() == {*keys, "ee" * 32} == opened.glance()
        assert opened.damaged() == [] and opened.done(keys[:2]) == set(keys[:2])
        part = opened.records(keys[3:5])
        expected = before[before["cell"].isin(keys[3:5])].reset_index(drop=True)
        pd.testing.assert_frame_equal(part, expected, check_exact=True)


def test_packs_hold_no_more_rows_than_memory_was_given_for(tmp_path, monkeypatch):
    store, _ = filled(tmp_path / "run")
    before = store.records()
    largest = max(pq.read_table(path).nbytes for path in loose(store))
    monkeypatch.setattr(records, "PACK_BYTES", 3 * largest)
    assert store.compact(least=1) == 13
    packs = list(store.path.glob("packs/*"))
    assert len(packs) > 1 and all(pq.read_table(pack).nbytes < 4 * largest for pack in packs)
    pd.testing.assert_frame_equal(Store.open(store.path).records(), before, check_exact=True)


def test_few_files_are_left_alone(tmp_path):
    store, _ = filled(tmp_path / "run")
    assert store.compact() == 0 and len(loose(store)) == 13


def test_a_cell_in_a_pack_and_in_a_file_is_read_once(tmp_path):
    store, keys = filled(tmp_path / "run")
    before = store.records()
    store.compact(least=1)
    store.write_records(keys[2], before[before["cell"] == keys[2]])
    pd.testing.assert_frame_equal(store.records(), before, check_exact=True)
    store.compact(least=1)
    assert loose(store) == [] and store.done() == {*keys, "ee" * 32}
    pd.testing.assert_frame_equal(Store.open(store.path).records(), before, check_exact=True)


def test_the_order_of_the_plan_holds_over_packs_and_files(tmp_path, monkeypatch):
    monkeypatch.setattr(records, "PACK_CELLS", 3)
    store, keys = filled(tmp_path / "run")
    before = store.records()
    store.compact(least=1)
    for key in random.Random(1).sample(keys, 5):
        store.write_records(key, before[before["cell"] == key])
    order = [key for key in keys if (before["cell"] == key).any()]
    assert store.records()["cell"].unique().tolist() == [*order, "ee" * 32]
    pd.testing.assert_frame_equal(store.records(), before, check_exact=True)


@pytest.mark.parametrize("harm", ["cut", "flip", "empty"])
def test_a_damaged_pack_counts_as_missing_and_goes_when_its_cells_were_computed_again(harm, tmp_path, monkeypatch):
    monkeypatch.setattr(records, "PACK_CELLS", 7)
    store, keys = filled(tmp_path / "run")
    before = store.records()
    store.compact(least=1)
    pack = sorted(store.path.glob("packs/*"))[0]
    data = bytearray(pack.read_bytes())
    data[len(data) // 2] ^= 8
    pack.write_bytes({"cut": data[:-9], "flip": data, "empty": b""}[harm])
    opened = Store.open(store.path)
    missing = {*keys, "ee" * 32} - opened.done()
    assert missing and opened.damaged() == [pack] and store.done() == opened.done()
    assert set(opened.records()["cell"]).isdisjoint(missing)
    for key in missing:
        opened.write_records(key, before[before["cell"] == key])
    pd.testing.assert_frame_equal(opened.records(), before, check_exact=True)
    opened.compact(least=1)
    assert opened.damaged() == [] and len(opened.done()) == 13


def test_swapped_files_are_noticed_even_though_each_is_whole(tmp_path):
    store, keys = filled(tmp_path / "run")
    long = [key for number, key in enumerate(keys) if number % 3]
    one, other = (store.path / "records" / key[:2] / f"{key}.parquet" for key in long[:2])
    swapped = one.read_bytes(), other.read_bytes()
    other.write_bytes(swapped[0])
    one.write_bytes(swapped[1])
    opened = Store.open(store.path)
    assert opened.done() == store.done() == {*keys, "ee" * 32} - set(long[:2])
    assert opened.damaged() == sorted([one, other])
    assert set(opened.records()["cell"]).isdisjoint(long[:2])


def test_a_copied_file_of_a_cell_without_rows_is_noticed(tmp_path):
    store, keys = filled(tmp_path / "run")
    target = store.path / "records" / keys[1][:2] / f"{keys[1]}.parquet"
    shutil.copy(store.path / "records" / keys[0][:2] / f"{keys[0]}.parquet", target)
    assert keys[1] not in Store.open(store.path).done()


def test_rows_of_another_cell_are_refused(tmp_path):
    store, keys = filled(tmp_path / "run", 2)
    with pytest.raises(SchemaError, match="belong to cell"):
        store.write_records(keys[0], [{**rows(1)[0], "cell": keys[1]}])


def test_a_file_replaced_within_one_tick_of_a_clock_that_stands_still_is_noticed(tmp_path):
    store, keys = filled(tmp_path / "run")
    path = store.path / "records" / keys[1][:2] / f"{keys[1]}.parquet"
    assert keys[1] in store.done()
    before = path.stat()
    data = bytearray(path.read_bytes())
    data[50] ^= 1
    other = path.with_suffix(".new")
    other.write_bytes(data)
    os.replace(other, path)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert keys[1] not in store.done()


def within_one_tick(path, change):
    """Change a place and leave it the time of its last change."""
    before = path.stat()
    change()
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


@pytest.mark.parametrize("packed", [False, True])
def test_what_changes_in_place_within_one_tick_of_the_disk_is_noticed(packed, tmp_path):
    store, keys = filled(tmp_path / "run")
    store.compact(least=1 if packed else 1000)
    assert keys[1] in store.done()
    path = next(store.path.glob("packs/*" if packed else f"records/*/{keys[1]}*"))
    data = bytearray(path.read_bytes())
    data[50] ^= 1
    within_one_tick(path, lambda: path.write_bytes(data))
    assert keys[1] not in store.done() and store.damaged() == [path]


def test_a_cell_finished_within_one_tick_of_a_glance_is_seen_by_the_next(tmp_path):
    store, _ = filled(tmp_path / "run", 2)
    folder = store.path / "records" / ("ee" * 32)[:2]
    assert len(store.glance()) == 3
    within_one_tick(folder, lambda: store.write_records("ee" * 31 + "00", rows(1)))
    assert len(store.glance()) == 4


def test_what_is_old_and_did_not_change_is_not_read_again(tmp_path, monkeypatch):
    store, keys = filled(tmp_path / "run")
    for path in store.path.rglob("*"):
        os.utime(path, (1.0, 1.0))
    assert len(store.done()) == len(store.glance()) == 13
    monkeypatch.setattr(records, "named", lambda folder, *_: [] if folder.name == "packs" else pytest.fail("listed"))
    assert len(store.glance()) == 13
    monkeypatch.setattr(records.files, "is_record_of", lambda *_: pytest.fail("read again"))
    assert store.done(keys) == set(keys)


def test_a_pack_that_cannot_be_read_at_the_moment_is_not_removed(tmp_path, monkeypatch):
    store, keys = filled(tmp_path / "run")
    store.compact(least=1)
    store.write_records(keys[0], rows(1))

    def refused(path):
        raise OSError(5, "input/output error")

    monkeypatch.setattr(records.files, "read_contents", refused)
    store.compact(least=1)
    monkeypatch.undo()
    assert Store.open(store.path).done() == {*keys, "ee" * 32}


FOLDER = """
import sys
sys.path[:0] = [{root!r}]
from reports import records
from reports.store import Store
records.PACK_CELLS = 4
store = Store.open({run!r})
print("ready", flush=True)
while True:
    frame = store.records()
    assert len(frame) == {rows}, len(frame)
    store.compact(least=1)
"""


def test_readers_and_folders_beside_each_other_lose_nothing(tmp_path):
    store, keys = filled(tmp_path / "run", 30)
    before = store.records()
    code = FOLDER.format(root=str(ROOT), run=str(store.path), rows=len(before))
    others = [
        subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE) for _ in range(2)
    ]
    try:
        for process in others:
            assert process.stdout.readline() == b"ready\n"
        end = time.monotonic() + 1.5
        number = 0
        while number < 3 or time.monotonic() < end:
            key = keys[number % len(keys)]
            store.write_records(key, before[before["cell"] == key])
            opened = Store.open(store.path)
            assert opened.done() == {*keys, "ee" * 32} and opened.damaged() == []
            pd.testing.assert_frame_equal(opened.records(), before, check_exact=True)
            number += 1
        for process in others:
            assert process.poll() is None, process.stderr.read()
    finally:
        for process in others:
            process.kill()
            process.communicate()


def test_a_reader_that_is_overtaken_many_times_still_reads_everything(tmp_path, monkeypatch):
    store, _ = filled(tmp_path / "run", 4)
    before, table, overtaken = store.records(), records.Records._table, []

    def folded_meanwhile(self, key, path, strict=False):
        if strict and len(overtaken) < 12:
            overtaken.append(key)
            raise FileNotFoundError(path)
        return table(self, key, path, strict)

    monkeypatch.setattr(records.Records, "_table", folded_meanwhile)
    pd.testing.assert_frame_equal(Store.open(store.path).records(), before, check_exact=True)
    assert len(overtaken) == 12


def test_an_older_folder_is_read_and_brought_to_the_present_when_it_is_written_again(tmp_path):
    path = shutil.copytree(OLD, tmp_path / "run")
    old = Store.open(path)
    before, plan, done = old.records(), old.plan(), old.done()
    assert len(done) == 3 and len(plan) == 10 and len(old.failures()) == 1 and old.damaged() == []
    assert {json.loads((path / name).read_text())["schema"] for name in ("config.json", "plan.json")} == {1}
    new = Store.create(path, old.config, old.protocol, old.measures, old.explainers)
    new.write_plan(plan)
    assert json.loads((path / "config.json").read_text())["schema"] == schema.SCHEMA_VERSION
    pd.testing.assert_frame_equal(new.records(), before, check_exact=True)
    assert new.plan() == plan and new.compact(least=1) == 3
    pd.testing.assert_frame_equal(Store.open(path).records(), before, check_exact=True)
    assert len(reports.load(path)) == len(before) + 1


def test_swapped_files_of_an_older_folder_are_noticed(tmp_path):
    path = shutil.copytree(OLD, tmp_path / "run")
    one, other, _ = sorted(path.glob("records/*/*"))
    shutil.copy(one, other)
    assert other.stem not in Store.open(path).done()


def test_a_newer_folder_is_refused_and_left_as_it_is(tmp_path):
    path = shutil.copytree(OLD, tmp_path / "run")
    newer = (path / "plan.json").read_text().replace('"schema": 1', '"schema": 3')
    (path / "plan.json").write_text(newer)
    with pytest.raises(SchemaError, match="Install a newer release"):
        Store.open(path).records()
    assert (path / "plan.json").read_text() == newer


def test_a_plan_lists_the_images_of_a_block_once(tmp_path):
    store = Store.create(tmp_path / "run", CONFIG, PROTOCOL, {}, {})
    images = [f"an-image-with-a-long-name/{number}" for number in range(50)]
    cells = [{"key": key_of(number), "suite": "s", "check": "c", "subject": "m", "explainer": "e", "seed": number,
              "images": images, "rows": None} for number in range(100)]  # fmt: skip
    store.write_plan(cells)
    assert store.plan() == cells
    assert (store.path / "plan.json").stat().st_size < 30_000


def test_a_plan_that_is_none_is_refused_with_its_name(tmp_path):
    store = Store.create(tmp_path / "run", CONFIG, PROTOCOL, {}, {})
    (store.path / "plan.json").write_text('{"schema": 2, "blocks": [], "cells": [{"key": "00c0ffee", "images": 3}]}')
    with pytest.raises(RunFolderError, match=r"plan\.json is no plan"):
        store.plan()


def test_five_thousand_cells_are_folded_and_read_quickly(tmp_path):
    store = Store.create(tmp_path / "run", CONFIG, PROTOCOL, {}, {})
    made = synthetic.cell_rows("e", "cascading", 0, 4)
    frame = pd.DataFrame(made)
    from reports import files

    for start in range(0, 5000, 1000):
        keys = [key_of(number) for number in range(start, start + 1000)]
        whole = pd.concat([frame.assign(cell=key) for key in keys], ignore_index=True)

        table = pa.Table.from_pandas(schema.check(whole), schema=schema.ARROW_SCHEMA, preserve_index=False)
        data = files.encode_records(table.replace_schema_metadata(None), [(key, len(frame)) for key in keys])
        files.write(store.path / "packs" / f"{files.sha256(data)[:16]}.parquet", data)
    begun = time.process_time()
    assert len(Store.open(store.path).records()) == 5000 * len(frame)
    assert time.process_time() - begun < 10
