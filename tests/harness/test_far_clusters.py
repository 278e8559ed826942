"""Clusters whose workers cannot reach the run folder: who brings them down is found all the same."""

import dataclasses

import pytest

import bench as package
import reports
from bench import parcels, pool, runner
from bench.backends import WorkerDied
from bench.config import resolve
from bench.runner import context, open_folder, prepare
from models.naming import UsageError
from tests.harness.support import SMALL, values

OPTIONS = {**SMALL, "images": 1, "seeds": 2}


class Cluster(pool.Pool):
    """Two workers far away; a shard with a word in it ends the worker that has it."""

    def __init__(self, word, at_the_end):
        super().__init__(2)
        self.word, self.at_the_end, self.rounds = word, at_the_end, []

    clustered = own_processes = True

    def map(self, function, arguments):
        """Results as they come, or all of them when the last one is there."""
        results = []
        self.rounds.append(0)
        for given in arguments:
            self.rounds[-1] += 1
            if self.word in given[1]:
                raise WorkerDied("connection lost")
            results.append(function(*given))
            if not self.at_the_end:
                yield results.pop()
        yield from results


class Here:
    """In the place of a process apart: what ends a process ends it."""

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass

    def run(self, function, *given):
        return None if "toy-deadly" in given[1] else function(*given)


def computed(place, cluster, monkeypatch, explainers):
    """A run by such a cluster: the store, and what was said."""
    monkeypatch.setattr(pool, "Apart", Here)
    prepared = prepare(resolve({**OPTIONS, "explainers": explainers, "out": str(place)}))
    store, said = open_folder(prepared), []
    with parcels.home(store.path) as mark:
        held = context(prepared, cluster, store, "token", mark)
        held = dataclasses.replace(held, store=str(place.parent / "elsewhere"), own_process=False)
        pool.compute(prepared.plan, held, cluster, store, lambda status: said.extend(status.notices))
    return store, said


@pytest.mark.parametrize("at_the_end", [False, True])
def test_the_guilty_explainer_is_found_and_nothing_else_is_lost(at_the_end, tmp_path, monkeypatch):
    monkeypatch.setattr(pool, "AHEAD", 1)
    cluster = Cluster("toy-deadly", at_the_end)
    store, said = computed(tmp_path / "a", cluster, monkeypatch, "toy-gradient,toy-deadly")
    failures = store.failures().values()
    assert {(failure["explainer"], failure["type"]) for failure in failures} == {("toy-deadly", "WorkerDied")}
    assert len(failures) == sum(cell["explainer"] == "toy-deadly" for cell in store.plan())
    alone = package.run(**OPTIONS, explainers="toy-gradient", out=tmp_path / "b")
    others = values(store.path).query("explainer != 'toy-deadly'").reset_index(drop=True)
    assert others.equals(values(alone.path))
    assert any("a worker of the cluster died" in notice and "connection lost" in notice for notice in said)
    # What was not near the death came from the cluster.
    assert cluster.rounds[-1] > 0 and max(cluster.rounds[1:]) > cluster.jobs


def test_a_cluster_whose_workers_die_whatever_they_are_given_is_given_up(tmp_path, monkeypatch):
    with pytest.raises(UsageError, match=r"die before they begin to work \(connection lost\)"):
        computed(tmp_path / "a", Cluster("", False), monkeypatch, "toy-gradient")


@pytest.mark.slow
def test_an_explainer_that_kills_its_worker_of_dask_every_time_fails_alone(tmp_path, monkeypatch):
    pytest.importorskip("distributed")
    other = tmp_path / "other"
    alone = package.run(**OPTIONS, explainers="toy-gradient", out=tmp_path / "b")
    monkeypatch.setattr(runner, "context", lambda *given: dataclasses.replace(context(*given), store=str(other)))
    options = {**OPTIONS, "jobs": 2, "backend": "dask"}
    done = package.run(**options, explainers="toy-gradient,toy-deadly", out=tmp_path / "a")
    failures = reports.Store.open(done.path).failures()
    assert {failure["explainer"] for failure in failures.values()} == {"toy-deadly"} and set(done.missing) == set(
        failures
    )
    assert values(done.path).query("explainer != 'toy-deadly'").reset_index(drop=True).equals(values(alone.path))
    assert any("a worker of the cluster died" in notice for notice in done.notices) and not other.exists()
