"""Clusters of dask and ray with two workers give the records of this process, and survive the death of a worker."""

import base64
import dataclasses
import json
import shutil
from pathlib import Path

import pandas as pd
import pytest

import bench as package
import reports
from bench import backends, parcels, pool, runner, worker
from bench.config import resolve
from bench.plan import Plan
from bench.runner import context, open_folder, prepare
from models.naming import UsageError
from reports.files import RunFolderError
from tests.harness.support import SMALL, bench, same, toy_run, values

CHOSEN = "toy-gradient,toy-noisy"


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    """A run in this process alone."""
    return package.run(**SMALL, explainers=CHOSEN, out=tmp_path_factory.mktemp("runs") / "here").path


@pytest.fixture
def far(tmp_path):
    """A planned run of one seed whose worker is told another path than the folder's: (prepared, store, context)."""
    options = {**SMALL, "explainers": "toy-gradient,toy-broken", "images": 1, "seeds": 1, "out": str(tmp_path / "a")}
    prepared = prepare(resolve(options))
    store = open_folder(prepared)
    with parcels.home(store.path) as mark:
        held = context(prepared, pool.Pool(1, "dask"), store, "token", mark)
        values = json.loads(held.to_json()) | {"store": str(tmp_path / "not" / "here"), "own_process": False}
        yield prepared, store, json.dumps(values)


def needs(name):
    """Skip where an extra is not installed."""
    pytest.importorskip("distributed" if name == "dask" else name)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["dask", "ray"])
def test_two_workers_of_a_cluster_give_the_same_bits(name, undisturbed, tmp_path):
    needs(name)
    done = bench(*toy_run(tmp_path / "a", "--backend", name, "--quiet", explainers=CHOSEN, jobs=2))
    assert done.returncode == 0, done.stderr
    same(tmp_path / "a", undisturbed)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["dask", "ray"])
def test_a_cluster_survives_an_explainer_that_kills_its_worker_once(name, undisturbed, tmp_path):
    needs(name)
    words = toy_run(tmp_path / "a", "--backend", name, explainers=f"{CHOSEN},toy-once", jobs=2)
    done = bench(*words, TOY_MARK=str(tmp_path / "mark"))
    assert (tmp_path / "mark").exists()
    assert done.returncode == 0, done.stderr
    assert not reports.Store.open(tmp_path / "a").failures()
    frame = values(tmp_path / "a")
    beside = frame[frame["explainer"] != "toy-once"].reset_index(drop=True)
    # `toy-once` is a gradient where it lets its process live.
    once, gradient = (frame[frame["explainer"] == name] for name in ("toy-once", "toy-gradient"))
    numbers = [each[["check", "measure", "value"]].fillna(9.0).to_numpy().tolist() for each in (once, gradient)]
    assert sorted(numbers[0]) == sorted(numbers[1])
    pd.testing.assert_frame_equal(beside, values(undisturbed), check_exact=True)


@pytest.mark.slow
def test_a_scheduler_that_runs_already_is_used_and_left_running(undisturbed, tmp_path):
    needs("dask")
    from distributed import Client, LocalCluster

    with LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as cluster:
        words = toy_run(
            tmp_path / "a", "--backend", "dask", "--scheduler", cluster.scheduler_address, explainers=CHOSEN, jobs=2
        )
        done = bench(*words)
        assert done.returncode == 0, done.stderr
        with Client(cluster) as client:
            assert len(client.scheduler_info()["workers"]) == 2
    same(tmp_path / "a", undisturbed)


def test_no_cluster_at_the_address_is_one_sentence(monkeypatch):
    needs("dask")
    monkeypatch.setattr(backends, "WAIT", 1)
    with pytest.raises(UsageError, match=r"--scheduler 'tcp://127.0.0.1:9': no cluster answers"):
        backends.Backend("dask", 2, "tcp://127.0.0.1:9").options()


@pytest.mark.parametrize("name", ["dask", "ray"])
def test_a_backend_that_is_not_installed_says_what_to_install(name, monkeypatch):
    import builtins

    real = builtins.__import__

    def absent(module, *given, **named):
        if module.partition(".")[0] in ("dask", "distributed", "ray"):
            raise ImportError(f"No module named {module!r}")
        return real(module, *given, **named)

    monkeypatch.setattr(builtins, "__import__", absent)
    with pytest.raises(UsageError, match=rf"pip install 'sanity-bench\[{name}\]'"):
        backends.Backend(name, 2).options()


def files_of(folder):
    """Every file below a folder, with its content."""
    return {str(path): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def shards(prepared):
    """The shards of a plan, as texts."""
    plan: Plan = prepared.plan
    return [shard.to_json() for shard in plan.shards(plan.tasks)]


def test_a_worker_that_cannot_reach_the_folder_hands_its_files_back(far, tmp_path):
    prepared, store, text = far
    statuses = [json.loads(worker.run_shard(text, shard)) for shard in shards(prepared)]
    assert store.done() == set() and not (tmp_path / "not").exists()
    for status in statuses:
        assert not status["usage"], status["usage"]
        parcels.unpack(store, status["files"])
    assert len(store.done()) + len(store.failures()) == len(prepared.plan.tasks) and store.damaged() == []
    assert {failure["explainer"] for failure in store.failures().values()} == {"toy-broken"}
    assert store.provenance() and store.read_pictures()
    options = {**SMALL, "images": 1, "seeds": 1, "explainers": "toy-gradient"}
    here = package.run(**options, out=tmp_path / "b").frame().drop(columns="seconds")
    there = reports.load(store.path).drop(columns="seconds").query("status != 'failed' and explainer != 'toy-broken'")
    order = ["cell", "stage", "image", "measure"]
    assert here.sort_values(order, ignore_index=True).equals(there.sort_values(order, ignore_index=True))


def test_another_folder_at_the_same_path_is_not_taken_for_the_runs_own(far, tmp_path):
    prepared, store, text = far
    # The other machine made the same run itself, and finished half of it.
    other = package.run(**{**SMALL, "explainers": "toy-gradient", "images": 1, "seeds": 1}, out=tmp_path / "other").path
    assert (other / "config.json").read_bytes() == (store.path / "config.json").read_bytes()
    before = files_of(other)
    moved = json.dumps({**json.loads(text), "store": str(other)})
    for shard in shards(prepared):
        parcels.unpack(store, json.loads(worker.run_shard(moved, shard))["files"])
    assert files_of(other) == before
    assert len(store.done()) + len(store.failures()) == len(prepared.plan.tasks)


def test_the_runs_own_folder_is_written_to_and_its_mark_is_gone_with_the_run(far):
    prepared, store, text = far
    here = json.dumps({**json.loads(text), "store": str(store.path)})
    statuses = [json.loads(worker.run_shard(here, shard)) for shard in shards(prepared)]
    assert not any(status["files"] for status in statuses) and len(store.done()) > 0
    with parcels.home(store.path) as mark:
        assert (store.path / "claims" / f"{mark}.home").read_text() == mark
    assert not (store.path / "claims" / f"{mark}.home").exists()


@pytest.mark.slow
def test_workers_of_a_cluster_that_see_another_folder_at_the_path_send_what_they_compute(
    undisturbed, tmp_path, monkeypatch
):
    needs("dask")
    shutil.copytree(undisturbed, other := tmp_path / "other")
    before = files_of(other)
    real, sent = parcels.unpack, []
    monkeypatch.setattr(runner, "context", lambda *given: dataclasses.replace(context(*given), store=str(other)))
    monkeypatch.setattr(parcels, "unpack", lambda store, files: (sent.extend(files), real(store, files)))
    options = {**SMALL, "jobs": 2, "backend": "dask", "explainers": CHOSEN}
    done = package.run(**options, out=tmp_path / "a")
    assert done.complete and done.computed == done.expected and not done.failed
    assert len([name for name in sent if name.startswith("records/")]) == done.expected
    assert files_of(other) == before and not list((done.path / "claims").iterdir())
    same(done.path, undisturbed)


KEY = "ab" * 32


@pytest.mark.parametrize(
    "name",
    [
        "../../etc/passwd",
        "/etc/passwd",
        f"records/{KEY}.parquet",
        f"records/ab/../{KEY}.parquet",
        f"records/cd/{KEY}.parquet",
        f"failures/../{KEY}.json",
        f"failures/{KEY}.json/x",
        f"failures/{KEY}.sh",
        "config.json",
        "plan.json",
        f"claims/{KEY}",
        f"pictures/{KEY}.npz.json",
        "provenance/../config.json",
        "provenance/.json",
        "",
        f"report/{KEY}.html",
        f"failures/{KEY}\n.json",
    ],
)
def test_a_worker_can_only_send_what_workers_write(name, tmp_path):
    store = reports.Store.create(tmp_path / "run", {"a": 1}, {"name": "p", "hash": "1"}, {}, {})
    before = sorted(str(path) for path in tmp_path.rglob("*"))
    with pytest.raises(RunFolderError, match="is no file that a worker writes"):
        parcels.unpack(store, {name: base64.b64encode(b"x").decode()})
    assert sorted(str(path) for path in tmp_path.rglob("*")) == before


def test_records_that_were_damaged_on_the_way_are_refused(tmp_path):
    store = reports.Store.create(tmp_path / "run", {"a": 1}, {"name": "p", "hash": "1"}, {}, {})
    with pytest.raises(RunFolderError, match="is damaged"):
        parcels.unpack(store, {f"records/ab/{KEY}.parquet": base64.b64encode(b"PAR1").decode()})
    assert not list(Path(store.path).rglob("*.parquet"))
