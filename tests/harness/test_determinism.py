"""The same numbers however a run is cut up: processes, backends, order, parts, batches, memory, and in several sittings."""

import pandas as pd
import pytest

import bench as package
import reports
from tests.harness.support import SMALL, same, values

CHOSEN = ("gradient", "toy-noisy", "lrp-a2b1", "smoothgrad[samples=2]")
BASE = {**SMALL, "explainers": ",".join(CHOSEN)}
EXACT = {
    "explainers in another order": {"explainers": ",".join(reversed(CHOSEN))},
    "threads": {"jobs": 2, "backend": "threading"},
    "a little memory": {"memory": "20MB"},
}
PROCESSES = {"two processes": {"jobs": 2}, "a process that may be ended": {"timeout": 500.0}}
"""Surroundings that must change no bit."""


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    """The run that the others are compared with: one process, one sitting."""
    return package.run(**BASE, out=tmp_path_factory.mktemp("runs") / "alone").path


def variant(place, change):
    """A run in other surroundings."""
    done = package.run(**{**BASE, **change}, out=place)
    assert done.complete
    return done.path


def computed(place):
    """What the processes that computed a run wrote about themselves."""
    return [record for record in reports.Store.open(place).provenance().values() if "numerics" in record]


@pytest.mark.parametrize("what", EXACT)
def test_no_bit_changes(what, alone, tmp_path):
    same(variant(tmp_path / "run", EXACT[what]), alone)


@pytest.mark.slow
def test_no_bit_changes_beside_another_model(alone, tmp_path):
    frame = values(variant(tmp_path / "run", {"model": [SMALL["model"], "fmnist-lenet"]}))
    own = frame[frame["subject"] == "toy.py:model"].reset_index(drop=True)
    assert len(own) < len(frame)
    pd.testing.assert_frame_equal(own, values(alone), check_exact=True)


@pytest.mark.slow
@pytest.mark.parametrize("what", PROCESSES)
def test_no_bit_changes_in_processes(what, alone, tmp_path, monkeypatch):
    # As on a machine where nobody limits the threads.
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    place = variant(tmp_path / "run", PROCESSES[what])
    same(place, alone)
    assert {record["numerics"]["threads"] for record in computed(place)} == {1}


@pytest.mark.slow
def test_no_bit_changes_in_processes_on_a_shipped_classifier(tmp_path):
    names = ("saliency", "guided-backprop", "gradcam", "lrp-a2b1", "lrp-a9b8", "integrated-gradients")
    options = {"suite": "smoke", "model": "fmnist-vgg", "explainers": ",".join(names), "images": 2, "seeds": 2}
    one, two = (package.run(**options, jobs=jobs, out=tmp_path / str(jobs)) for jobs in (1, 2))
    assert one.complete and two.complete and one.computed == two.computed == one.expected
    frame = values(one.path)
    assert set(names) <= set(frame["explainer"]) and frame["value"].notna().mean() > 0.9
    same(two.path, one.path)


def test_an_explainer_is_the_same_with_and_without_others(alone, tmp_path):
    few = values(variant(tmp_path / "run", {"explainers": "toy-noisy"}))
    whole = values(alone)
    expected = whole[whole["cell"].isin(set(few["cell"]))].reset_index(drop=True)
    assert {"toy-noisy", "(model)", "random"} <= set(few["explainer"])
    pd.testing.assert_frame_equal(few, expected, check_exact=True)


def test_in_several_sittings(alone, tmp_path):
    for change in ({"explainers": CHOSEN[2]}, {"seeds": 1}, {"explainers": ",".join(CHOSEN[:2])}, {}):
        place = variant(tmp_path / "run", change)
    same(place, alone)


@pytest.mark.parametrize("count", [2, 3])
def test_parts_on_their_own_and_then_merged(count, alone, tmp_path):
    parts = [
        package.run(**BASE, part=f"{index}/{count}", out=tmp_path / f"part{index}") for index in range(1, count + 1)
    ]
    merged = reports.merge_runs([part.path for part in parts], tmp_path / "all")
    assert (merged.missing, merged.shared, len(merged.disagreements)) == (0, 0, 0)
    assert sum(part.computed for part in parts) == merged.planned
    same(merged.path, alone)


@pytest.mark.parametrize("size", [1, 2])
def test_the_size_of_a_batch_changes_keys_never_and_numbers_by_rounding_only(size, alone, tmp_path):
    # The toy's noise depends on the place in the batch, which the rules for explainers forbid.
    steady = ",".join(name for name in CHOSEN if name != "toy-noisy")
    frame, whole = values(variant(tmp_path / "run", {"batch_size": size, "explainers": steady})), values(alone)
    expected = whole[whole["explainer"] != "toy-noisy"].reset_index(drop=True)
    smooth = expected["measure"] != "hog"  # counts of quantised directions jump
    pd.testing.assert_frame_equal(frame.drop(columns="value"), expected.drop(columns="value"))
    pd.testing.assert_frame_equal(frame[smooth], expected[smooth], check_exact=False, atol=1e-4, rtol=0)


def test_another_base_seed_gives_other_numbers(alone, tmp_path):
    other, expected = values(variant(tmp_path / "run", {"seed": 1})), values(alone)
    assert not set(other["cell"]) & set(expected["cell"])
    assert other["value"].dropna().mean() != expected["value"].dropna().mean()


def test_what_could_break_it_is_on_record(alone):
    records = computed(alone)
    for record in records:
        assert {"torch", "numpy", "scikit-image"} <= set(record["packages"])
        assert {"dtype", "device", "threads", "matmul", "capability", "mkldnn", "blas"} <= set(record["numerics"])
        assert record["hardware"]["processor"] and record["python"]
    assert records
