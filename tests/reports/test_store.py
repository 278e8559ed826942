"""The run folder: whole or absent files, whatever happens to the process or the disk."""

from __future__ import annotations

import errno
import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import synthetic

import reports
from reports import files, records, schema
from reports.files import RunFolderError
from reports.schema import SchemaError
from reports.store import Store

ROOT = Path(__file__).resolve().parents[2]
CONFIG = {"suite": ["randomization"], "images": 16, "explainers": ("saliency",)}
PROTOCOL = {"name": "recommended", "hash": "aa", "parameters": {}}
KEY = "ab" * 32
OTHER = "cd" * 32


@pytest.fixture
def store(tmp_path):
    return Store.create(tmp_path / "run", CONFIG, PROTOCOL, {}, {})


def rows(count=4, explainer="e"):
    found = synthetic.cell_rows(explainer, "cascading", 0, count)
    return [{name: value for name, value in row.items() if name != "cell"} for row in found]


def record_file(store, key=KEY):
    return store.path / "records" / key[:2] / f"{key}.parquet"


def test_records_come_back_exactly(store):
    given = rows()
    store.write_records(KEY, given)
    frame = store.records()
    assert frame["value"].tolist() == [row["value"] for row in given]
    assert frame["cell"].unique().tolist() == [KEY]
    assert {name: str(kind) for name, kind in frame.dtypes.items()} == schema.COLUMNS
    store.write_records(OTHER, frame.assign(cell=OTHER))
    again = store.records([OTHER])
    pd.testing.assert_frame_equal(again.drop(columns="cell"), frame.drop(columns="cell"))


def test_an_empty_store_has_the_right_columns(store):
    assert {name: str(kind) for name, kind in store.records().dtypes.items()} == schema.COLUMNS
    assert store.done() == set() and store.failures() == {} and store.plan() == [] and store.damaged() == []


def test_a_cell_without_rows_is_done(store):
    store.write_records(KEY, [])
    assert store.done() == {KEY} and len(store.records()) == 0


def test_cells_come_in_the_order_of_the_plan_then_the_others(store):
    planned = [{"key": key, "images": []} for key in ("ee" * 32, "11" * 32)]
    store.write_plan(planned)
    for key in ("99" * 32, "11" * 32, "ee" * 32, "22" * 32):
        store.write_records(key, rows(1))
    assert store.records()["cell"].unique().tolist() == ["ee" * 32, "11" * 32, "22" * 32, "99" * 32]
    assert store.plan() == planned


def test_a_double_computation_overwrites(store):
    store.write_records(KEY, rows(4))
    store.write_records(KEY, rows(2))
    assert len(store.records()) == len(rows(2))


def test_a_success_forgets_the_failure(store):
    store.write_failure(KEY, {"type": "ValueError", "message": "no"})
    assert store.failures() == {KEY: {"type": "ValueError", "message": "no"}}
    assert store.done() == set()
    store.write_records(KEY, rows())
    assert store.failures() == {} and store.done() == {KEY}
    store.clear_failure(KEY)


def test_provenance_and_side_tables_are_kept(store, tmp_path):
    store.write_provenance("worker-1", {"git": {"dirty": True}})
    again = Store.create(tmp_path / "run", CONFIG, PROTOCOL, {"ssim": {"unit": "none"}}, {"e": {"signed": True}})
    assert again.provenance() == {"worker-1": {"git": {"dirty": True}}}
    opened = Store.open(tmp_path / "run")
    assert opened.measures == {"ssim": {"unit": "none"}} and opened.explainers == {"e": {"signed": True}}
    assert opened.config == {**CONFIG, "explainers": ["saliency"]} and opened.protocol == PROTOCOL


def test_the_same_configuration_opens_the_folder(store, tmp_path):
    store.write_records(KEY, rows())
    assert Store.create(tmp_path / "run", dict(reversed(CONFIG.items())), PROTOCOL, {}, {}).done() == {KEY}


def test_another_configuration_is_refused_naming_the_keys(store, tmp_path):
    other = {**CONFIG, "images": 32, "seed": 1}
    with pytest.raises(RunFolderError) as caught:
        Store.create(tmp_path / "run", other, {**PROTOCOL, "hash": "bb"}, {}, {})
    told = str(caught.value)
    assert "images (16 there, 32 now)" in told and "seed ('absent' there, 1 now)" in told
    assert "protocol" in told and "--out another folder" in told and "suite" not in told


def test_a_folder_of_somebody_is_not_touched(tmp_path):
    (tmp_path / "thesis.tex").write_text("x")
    with pytest.raises(RunFolderError, match=r"not empty \(it holds 'thesis.tex'\)"):
        Store.create(tmp_path, CONFIG, PROTOCOL, {}, {})
    assert [item.name for item in tmp_path.iterdir()] == ["thesis.tex"]


def test_opening_what_is_no_run_folder_says_so(tmp_path):
    with pytest.raises(RunFolderError, match="no run folder at"):
        Store.open(tmp_path / "absent")
    with pytest.raises(RunFolderError, match="has no config.json"):
        Store.open(tmp_path)
    (tmp_path / "page.html").write_text("x")
    with pytest.raises(RunFolderError, match="is a file and no run folder"):
        Store.open(tmp_path / "page.html")


def test_damaged_settings_and_newer_settings_are_refused(store):
    (store.path / "config.json").write_text('{"schema": 1, "ima')
    with pytest.raises(RunFolderError, match="not whole JSON. Delete the file"):
        Store.open(store.path)
    (store.path / "config.json").write_text('{"schema": 3}')
    with pytest.raises(SchemaError, match="reads versions up to 2"):
        Store.open(store.path)


def test_a_lost_configuration_can_be_made_again(store):
    store.write_records(KEY, rows())
    (store.path / "claims").mkdir()
    (store.path / "config.json").unlink()
    assert Store.create(store.path, CONFIG, PROTOCOL, {}, {}).done() == {KEY}


@pytest.mark.parametrize("key", ["", "ab", "../../../etc/passwd", "ABCDEF0123", "ab" * 40, "abcdefg0", "abcdef01/", 7])
def test_a_key_that_is_not_hexadecimal_is_refused_everywhere(store, key):
    calls = [
        lambda: store.write_records(key, rows(1)),
        lambda: store.write_failure(key, {}),
        lambda: store.clear_failure(key),
        lambda: store.write_picture(key, {}, {}),
        lambda: store.write_plan([{"key": key}]),
    ]
    for call in calls:
        with pytest.raises(RunFolderError, match="not a cell key"):
            call()


def test_a_provenance_name_cannot_leave_the_folder(store):
    with pytest.raises(RunFolderError, match="cannot name a provenance file"):
        store.write_provenance("../config", {})


@pytest.mark.parametrize("left", [0, 1, 4, 100, 0.5, -1])
def test_a_cut_file_counts_as_missing_and_is_reported(store, left):
    store.write_records(KEY, rows())
    store.write_records(OTHER, rows())
    path = record_file(store)
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * left) if isinstance(left, float) else left])
    for opened in (store, Store.open(store.path)):
        assert opened.done() == {OTHER}
        assert opened.damaged() == [path]
        assert opened.records()["cell"].unique().tolist() == [OTHER]


def test_every_flipped_bit_is_noticed():
    data = files.encode_records(schema.to_arrow([{**row, "cell": KEY} for row in rows(2)], KEY))
    assert files.is_whole(data)
    for place in range(0, len(data), 3):
        altered = bytearray(data)
        altered[place] ^= 1 << (place % 8)
        assert not files.is_whole(bytes(altered)), place


def test_a_flipped_file_is_missing_until_it_is_computed_again(store):
    store.write_records(KEY, rows())
    path = record_file(store)
    data = bytearray(path.read_bytes())
    data[len(data) // 3] ^= 4
    path.write_bytes(data)
    assert store.done() == set() and store.damaged() == [path]
    store.write_records(KEY, rows())
    assert store.done() == {KEY} and store.damaged() == []


def test_plain_parquet_readers_can_read_a_record_file(store):
    store.write_records(KEY, rows())
    assert len(pd.read_parquet(record_file(store))) == len(rows())


def test_a_failure_beside_damaged_records_is_still_told(store):
    store.write_records(KEY, rows())
    store.write_failure(KEY, {"type": "E", "message": "m"})
    assert store.failures() == {}
    record_file(store).write_bytes(b"")
    assert set(store.failures()) == {KEY}


def test_torn_json_and_pictures_are_reported(store):
    (store.path / "failures").mkdir()
    (store.path / "pictures").mkdir()
    torn = [store.path / "failures" / f"{KEY}.json", store.path / "pictures" / f"{KEY}.npz"]
    torn[0].write_text('{"type": "Val')
    torn[1].write_bytes(b"PK\x03\x04 torn")
    assert store.failures() == {} and store.read_pictures() == []
    assert store.damaged() == torn


def test_temporary_and_foreign_files_are_not_looked_at(store):
    store.write_records(KEY, rows())
    folder = record_file(store).parent
    (folder / f".{KEY}.parquet.host.1.uuid.tmp").write_bytes(b"half")
    (folder / "notes.txt").write_text("x")
    (folder / "UPPER.parquet").write_text("x")
    (store.path / "records" / "readme").write_text("x")
    assert store.done() == {KEY} and store.damaged() == [] and len(store.records()) == len(rows())


def test_records_of_a_newer_release_are_refused(store, monkeypatch):
    monkeypatch.setattr(files, "SCHEMA_VERSION", 7)
    store.write_records(KEY, rows())
    with pytest.raises(SchemaError, match="has schema version 7"):
        store.records()


def test_records_of_an_older_release_are_migrated(store, monkeypatch):
    monkeypatch.setattr(files, "SCHEMA_VERSION", 0)
    store.write_records(KEY, rows())
    monkeypatch.undo()
    store.write_records(OTHER, rows())
    monkeypatch.setitem(schema.MIGRATIONS, 0, lambda frame: frame.assign(suite="migrated"))
    assert set(store.records()["suite"]) == {"migrated", "randomization"}


@pytest.mark.parametrize(
    ("code", "words"), [(errno.ENOSPC, "disk is full"), (errno.EROFS, "read-only"), (errno.EIO, "--out")]
)
def test_a_disk_that_refuses_is_told_and_leaves_nothing(store, monkeypatch, code, words):
    def refuse(handle):
        raise OSError(code, os.strerror(code))

    (store.path / "records" / KEY[:2]).mkdir(parents=True)
    monkeypatch.setattr(os, "fsync", refuse)
    with pytest.raises(RunFolderError, match=words):
        store.write_records(KEY, rows())
    monkeypatch.undo()
    assert list((store.path / "records" / KEY[:2]).iterdir()) == [] and store.done() == set()


def test_a_really_full_disk_is_told():
    if not Path("/dev/full").exists():
        pytest.skip("no /dev/full here")
    with pytest.raises(OSError) as caught, open("/dev/full", "wb", buffering=0) as file:
        file.write(b"x")
    assert "disk is full" in str(files.unwritable(Path("runs/a"), caught.value))


def test_a_folder_below_a_file_cannot_be_made(tmp_path):
    (tmp_path / "file").write_text("x")
    with pytest.raises(RunFolderError, match="is a file and not a folder"):
        Store.create(tmp_path / "file" / "run", CONFIG, PROTOCOL, {}, {})
    with pytest.raises(RunFolderError, match="is a file and not a folder"):
        Store.create(tmp_path / "file", CONFIG, PROTOCOL, {}, {})


def test_wrong_rows_leave_no_file(store):
    with pytest.raises(SchemaError):
        store.write_records(KEY, [{**rows(1)[0], "status": "odd"}])
    with pytest.raises(RunFolderError, match="only JSON values"):
        store.write_failure(KEY, {"message": float("nan")})
    assert store.done() == set() and store.failures() == {}


def test_pictures_come_back_scaled(store):
    maps = np.zeros((2, 3, 8, 8))
    maps[0, 1] = np.linspace(-1e-9, 2e-9, 64).reshape(8, 8)
    maps[1, 2] = 1e9
    meta = {"explainer": "e", "layers": ["fc2", "fc1"], "signed": True}
    store.write_picture(KEY, {"maps": maps, "images": np.ones((2, 1, 8, 8), np.float32)}, meta)
    (picture,) = store.read_pictures()
    assert picture.key == KEY and picture.meta == meta
    assert picture.arrays["maps"].dtype == np.float16 and np.abs(picture.arrays["maps"]).max() == 1
    back = picture.arrays["maps"].astype(float) * picture.arrays["scales"][..., None, None]
    np.testing.assert_allclose(back, maps, rtol=2e-3, atol=1e-12)


def test_nothing_is_ever_pickled(store):
    with pytest.raises(RunFolderError, match="only numbers"):
        store.write_picture(KEY, {"maps": np.array([{"a": 1}], dtype=object)}, {})
    np.savez(store.path / "evil.npz", a=np.array([{"a": 1}], dtype=object))
    (store.path / "pictures").mkdir()
    os.replace(store.path / "evil.npz", store.path / "pictures" / f"{KEY}.npz")
    assert store.read_pictures() == []
    store.write_records(OTHER, rows())
    for path in store.path.rglob("*"):
        if path.is_file() and path.parent.name != "pictures":
            assert not path.read_bytes().startswith(b"\x80"), path


WRITER = """
import sys
sys.path[:0] = [{root!r}, {here!r}]
import synthetic
from reports.store import Store
store = Store.open({run!r})
rows = [{{**row, "cell": None}} for row in synthetic.cell_rows("e", "cascading", 0, 16)]
for row in rows:
    del row["cell"]
print("ready", flush=True)
number = 0
while True:
    store.write_records(f"{{number % 40:02x}}" + "0" * 62, rows)
    store.write_failure(f"{{number % 40:02x}}" + "f" * 62, {{"type": "E", "message": "m" * 5000}})
    number += 1
"""


def writer(store):
    code = WRITER.format(root=str(ROOT), here=str(Path(__file__).parent), run=str(store.path))
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE)
    assert process.stdout is not None and process.stdout.readline() == b"ready\n"
    return process


def test_a_killed_writer_leaves_whole_files_only(store):
    for round_ in range(3):
        process = writer(store)
        while not any(store.path.glob("records/*/*.parquet")):
            assert process.poll() is None
        time.sleep(0.15 + 0.037 * round_)
        process.send_signal(signal.SIGKILL)
        process.wait()
        process.stdout.close()
        opened = Store.open(store.path)
        assert opened.damaged() == []
        names = {path.stem for path in opened.path.rglob("*.parquet")}
        assert opened.done() == names and names
        assert len(opened.records()) == len(names) * len(synthetic.cell_rows("e", "cascading", 0, 16))


def test_a_reader_beside_writers_never_sees_half_a_file(store):
    writers = [writer(store), writer(store)]
    try:
        deadline = time.monotonic() + 0.7
        while time.monotonic() < deadline:
            assert store.damaged() == []
            store.records()
    finally:
        for process in writers:
            process.kill()
            process.wait()
            process.stdout.close()


def test_files_that_come_and_go_while_they_are_looked_at_are_not_damaged(store, monkeypatch):
    """Between listing a folder and opening what stands there, another process may write or remove files."""
    store.write_records(KEY, rows())
    store.write_failure(OTHER, {"type": "E", "message": "m"})
    store.write_picture(KEY, {"maps": np.ones((1, 1, 2, 2)), "images": np.ones((1, 1, 2, 2))}, {})
    listed = records.named

    def busy(folder, pattern, ending):
        """List a folder, then add a file to it and take one away."""
        found = listed(folder, pattern, ending)
        if folder.name == "failures":
            store.write_failure("ab" * 32, {"type": "E", "message": "new"})
        for path in found:
            path.unlink()
        return found

    monkeypatch.setattr("reports.store.named", busy)
    monkeypatch.setattr(records, "named", busy)
    assert store.damaged() == []
    monkeypatch.undo()
    (store.path / "failures" / f"{OTHER}.json").write_text('{"type": ')
    assert store.damaged() == [store.path / "failures" / f"{OTHER}.json"]


def test_threads_may_write_the_same_cell(store):
    threads = [threading.Thread(target=store.write_records, args=(KEY, rows())) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert store.done() == {KEY} and store.damaged() == []
    assert [path.name for path in record_file(store).parent.iterdir()] == [f"{KEY}.parquet"]


def test_load_knows_what_was_expected_and_what_failed(tmp_path):
    synthetic.build(tmp_path / "run", ("sensitive", "failing"), images=2, seeds=2)
    frame = reports.load(tmp_path / "run")
    failed = frame[frame["status"] == "failed"]
    assert len(failed) == 2 + 2 + 3 + 5 and set(failed["explainer"]) == {"failing"}
    assert failed[["stage", "image", "measure", "value"]].isna().all(axis=None)
    assert json.loads(json.dumps(frame.attrs)) == frame.attrs
    # What a frame carries along is not copied with every selection of its rows.
    assert all(failed.attrs[name] is frame.attrs[name] for name in ("expected", "failures", "protocol", "measures"))
    planned = {(entry["explainer"], entry["check"]): entry["values"] for entry in frame.attrs["expected"]}
    assert planned["sensitive", "cascading"] == 4 and planned["failing", "floor"] == 10
    assert {str(kind) for kind in frame.dtypes} == {"str", "Int64", "float64"}
    pd.testing.assert_frame_equal(schema.check(frame), frame)


def test_import_is_light():
    heavy = ("torch", "pandas", "numpy", "matplotlib")
    code = f"import sys, reports; print([m for m in {heavy} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_every_public_name_is_a_function_or_class_after_all_modules_are_loaded():
    code = (
        "import pkgutil, importlib, reports, sys\n"
        "for m in pkgutil.iter_modules(reports.__path__): importlib.import_module('reports.' + m.name)\n"
        "assert all(callable(getattr(reports, name)) for name in reports.__all__)\n"
        "assert 'torch' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)


def test_an_unknown_name_says_what_there_is():
    with pytest.raises(AttributeError, match="it has: RunFolderError"):
        reports.nothing  # noqa: B018
