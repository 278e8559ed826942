import json

import numpy as np
import pandas as pd
import pytest

import bench
import explainers
import reports
from bench import runner, suites
from bench.config import resolve
from models.naming import UsageError
from tests.harness.support import MODEL, SMALL, TOY, same, toy_run, values
from tests.harness.support import bench as command_line


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """One small run of the toy, computed once."""
    out = tmp_path_factory.mktemp("runs") / "toy"
    return bench.run(**SMALL, explainers="toy-gradient,toy-noisy", out=out)


def test_a_run_is_complete_and_counts_its_cells(finished):
    assert finished.complete and not finished.failed
    assert finished.expected == finished.computed == len(json.loads((finished.path / "plan.json").read_text())["cells"])


def test_every_cell_has_the_rows_that_the_plan_expects(finished):
    rows = finished.frame().groupby("cell").size()
    for cell in json.loads((finished.path / "plan.json").read_text())["cells"]:
        assert rows[cell["key"]] == cell["rows"], cell


def test_the_records_are_tidy(finished):
    frame = finished.frame()
    assert list(frame.columns) == [
        "suite", "check", "subject", "explainer", "seed", "stage", "layer", "image", "target", "measure", "value",
        "status", "seconds", "cell",
    ]  # fmt: skip
    assert set(frame["suite"]) == {"smoke"} and (frame["seconds"] >= 0).all()
    assert set(frame["explainer"]) == {"toy-gradient", "toy-noisy", *suites.REFERENCES, "(model)"}


def test_a_second_run_computes_nothing(finished, monkeypatch):
    monkeypatch.setattr("bench.worker.run_shard", None)
    again = bench.run(**SMALL, explainers="toy-gradient,toy-noisy", out=finished.path)
    assert again.computed == 0 and again.complete


def test_the_reference_explainers_run_beside_the_others_and_are_judged(finished):
    assert runner.reference_faults(finished.verdicts()) == []


def test_a_reference_explainer_without_its_verdict_is_found(finished):
    table = finished.verdicts()
    table.loc[table["explainer"] == "constant", "verdict"] = "PASS"
    faults = runner.reference_faults(table)
    assert len(faults) == 1 and "constant" in faults[0] and "known is UNDEFINED" in faults[0]


def test_the_folder_says_where_the_results_come_from(finished):
    records = reports.Store.open(finished.path).provenance()
    run = next(record for name, record in records.items() if name.startswith("run-"))
    assert run["configuration"]["sizes"] == {"smoke": {"images": 3, "seeds": 2}}
    worker = next(record for name, record in records.items() if not name.startswith("run-"))
    assert worker["packages"]["torch"] and worker["numerics"]["threads"] == 1 and worker["subjects"]
    assert [plugin["name"] for plugin in worker["plugins"]] == [TOY]
    assert {"config.json", "protocol.json", "measures.json", "explainers.json", "plan.json"} <= {
        path.name for path in finished.path.iterdir()
    }
    assert not list((finished.path / "claims").iterdir())


def test_widening_a_run_reuses_its_cells(finished, tmp_path):
    first = bench.run(**SMALL, explainers="toy-gradient", out=tmp_path / "a")
    wider = bench.run(**{**SMALL, "seeds": 3}, explainers="toy-gradient,toy-noisy", out=tmp_path / "a")
    assert wider.complete and wider.computed < wider.expected
    assert first.expected + wider.computed == wider.expected
    shared = values(finished.path)
    # A cell does not depend on what was computed beside it.
    part = values(tmp_path / "a").merge(shared, how="inner")
    assert len(part) == len(shared)


@pytest.mark.parametrize(
    "change", [{"seed": 1}, {"protocol": "nuzzo2020"}, {"images": 2}, {"data": "fashion-mnist-train"}]
)
def test_a_folder_of_another_configuration_is_refused(finished, change):
    before = values(finished.path)
    with pytest.raises(ValueError, match="another configuration"):
        bench.run(**{**SMALL, "explainers": "toy-gradient", "out": finished.path, **change})
    pd.testing.assert_frame_equal(values(finished.path), before)


def test_a_folder_of_a_newer_schema_is_refused(tmp_path):
    done = bench.run(**SMALL, explainers="toy-gradient", out=tmp_path / "a")
    file = done.path / "config.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), "schema": 99}))
    with pytest.raises(reports.SchemaError, match="newer"):
        bench.run(**SMALL, explainers="toy-gradient", out=done.path)


def test_a_folder_with_other_files_is_refused(tmp_path):
    (tmp_path / "thesis.tex").write_text("dear reader")
    with pytest.raises(reports.RunFolderError, match="not a run folder"):
        bench.run(**SMALL, explainers="toy-gradient", out=tmp_path)


def test_a_path_that_cannot_be_a_folder_is_refused(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(reports.RunFolderError, match="--out"):
        bench.run(**SMALL, explainers="toy-gradient", out=tmp_path / "file" / "run")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"explainers": "toy-gradiant"}, ["toy-gradiant", "did you mean 'toy-gradient'"]),
        ({"explainers": "nothing-*"}, ["matches no explainer"]),
        ({"model": "fmnist-vvg", "explainers": "saliency"}, ["did you mean 'fmnist-vgg'"]),
        ({"model": f"{TOY}:modle"}, ["has no function 'modle'", "'model'"]),
        ({"model": f"{TOY}:not_a_module"}, ["returned str"]),
        ({"data": "fashion-mist"}, ["did you mean 'fashion-mnist'"]),
        ({"images": 10_001}, ["10,000"]),
        ({"plugin": "no/such/file.py"}, ["no such file"]),
    ],
)
def test_what_does_not_exist_is_refused_before_anything_is_written(tmp_path, change, words):
    with pytest.raises(UsageError) as caught:
        bench.run(**{**SMALL, "explainers": "toy-gradient", "out": tmp_path / "a", **change})
    for word in words:
        assert word in str(caught.value)
    assert not (tmp_path / "a").exists()


def test_an_explainer_of_a_broken_plugin_is_refused_with_the_reason(tmp_path):
    (tmp_path / "mine.py").write_text("import no_such_module_anywhere")
    with pytest.raises(UsageError, match=r"(?s)my-method.*no_such_module_anywhere"):
        bench.run(**{**SMALL, "plugin": str(tmp_path / "mine.py")}, explainers="my-method", out=tmp_path / "a")


def test_a_broken_plugin_that_is_not_needed_is_a_note(tmp_path):
    (tmp_path / "mine.py").write_text("import no_such_module_anywhere")
    options = {**SMALL, "plugin": [TOY, str(tmp_path / "mine.py")], "images": 1, "seeds": 1}
    done = bench.run(**options, explainers="toy-gradient", out=tmp_path / "a")
    assert done.complete and "mine.py is unavailable" in done.notices[0]


@pytest.mark.parametrize(
    ("name", "kind"),
    [("toy-broken", "this explainer is broken"), ("toy-meddler", "chang")],
)
def test_one_failing_explainer_never_stops_the_others(tmp_path, name, kind):
    done = bench.run(**SMALL, explainers=f"toy-gradient,{name}", out=tmp_path / "a")
    failures = reports.Store.open(done.path).failures()
    assert {failure["explainer"] for failure in failures.values()} == {name}
    assert set(failures) == set(done.missing) == set(done.failed)
    for failure in failures.values():
        assert kind in failure["message"] and failure["host"] and "Traceback" in failure.get("traceback", "Traceback")
    assert {"toy-gradient", *suites.REFERENCES} <= set(done.frame().query("status == 'ok'")["explainer"]) | {"constant"}
    verdicts = done.verdicts().set_index("explainer")["verdict"]
    assert verdicts[name].tolist() == ["UNDEFINED"] * 2 or verdicts[name] == "UNDEFINED"


def test_failed_cells_are_tried_again(tmp_path, monkeypatch):
    options = {**SMALL, "out": tmp_path / "a", "explainers": "toy-gradient"}
    real = explainers.registry._PLUGINS
    bench.run(**{**options, "images": 1, "seeds": 1, "out": tmp_path / "b"})
    info, function = real["toy-gradient"]

    def broken(*args, **kwargs):
        raise RuntimeError("not today")

    monkeypatch.setitem(real, "toy-gradient", (info, broken))
    failed = bench.run(**options)
    assert failed.missing
    monkeypatch.setitem(real, "toy-gradient", (info, function))
    mended = bench.run(**options)
    assert mended.complete and mended.computed == len(failed.missing)
    assert not reports.Store.open(mended.path).failures()


def test_fail_fast_stops_at_the_first_failure(tmp_path):
    done = bench.run(**SMALL, explainers="toy-broken,toy-gradient", fail_fast=True, out=tmp_path / "a")
    assert len(done.failed) == 1 and len(done.missing) > 1


def test_when_memory_runs_out_the_batch_gets_smaller(tmp_path):
    options = {**SMALL, "images": 5, "seeds": 1, "suite": "smoke"}
    done = bench.run(**options, explainers="toy-greedy", out=tmp_path / "a")
    assert done.complete
    plain = bench.run(**options, explainers="toy-gradient", out=tmp_path / "b")
    greedy = done.frame().query("explainer == 'toy-greedy' and check == 'cascading'")["value"].to_numpy(float)
    expected = plain.frame().query("explainer == 'toy-gradient' and check == 'cascading'")["value"].to_numpy(float)
    np.testing.assert_allclose(greedy, expected, atol=1e-4)


def test_parts_of_a_run_make_the_whole(finished, tmp_path):
    options = {**SMALL, "explainers": "toy-gradient,toy-noisy", "out": tmp_path / "a"}
    halves = [bench.run(**options, part=f"{index}/2") for index in (1, 2)]
    assert sum(half.computed for half in halves) == finished.expected
    same(tmp_path / "a", finished.path)


def test_threads_give_the_records_of_processes(finished, tmp_path):
    options = {**SMALL, "jobs": 2, "backend": "threading"}
    bench.run(**options, explainers="toy-gradient,toy-noisy", out=tmp_path / "a")
    same(tmp_path / "a", finished.path)


def test_an_explainer_of_this_process_runs_in_it(tmp_path):
    @explainers.register("of-the-notebook", signed=True)
    def of_the_notebook(subject, images, targets, *, seed):
        return images * 2.0

    options = {**SMALL, "jobs": 2, "images": 1, "seeds": 1}
    done = bench.run(**options, explainers="of-the-notebook", out=tmp_path / "a")
    assert done.complete and any("of-the-notebook" in notice for notice in done.notices)


def test_planning_writes_nothing(tmp_path):
    prepared = runner.prepare(resolve({**SMALL, "explainers": "toy-gradient", "out": tmp_path / "a"}))
    assert prepared.plan.tasks and not prepared.done and not (tmp_path / "a").exists()


def test_the_callers_threads_and_random_state_are_left_alone(tmp_path):
    import torch

    torch.set_num_threads(2)
    state, threads = torch.get_rng_state(), torch.get_num_threads()
    numpy_state = np.random.get_state()[1].copy()
    bench.run(**{**SMALL, "images": 1, "seeds": 1}, explainers="toy-noisy", out=tmp_path / "a")
    assert torch.equal(torch.get_rng_state(), state) and torch.get_num_threads() == threads
    assert (np.random.get_state()[1] == numpy_state).all()
    torch.set_num_threads(1)


def test_two_models_share_a_folder(tmp_path):
    options = {**SMALL, "model": [MODEL, "fmnist-vgg"], "images": 1, "seeds": 1}
    done = bench.run(**options, explainers="toy-gradient", out=tmp_path / "a")
    assert done.complete and len(set(done.frame()["subject"])) == 2


def test_maps_of_a_few_images_are_kept_for_the_picture_grid(finished):
    pictures = reports.Store.open(finished.path).read_pictures()
    assert {picture.meta["explainer"] for picture in pictures} == {"toy-gradient", "toy-noisy", *suites.REFERENCES}
    for picture in pictures:
        assert picture.arrays["maps"].shape == (3, 3, 32, 32) and picture.meta["seed"] == 0
        assert picture.arrays["images"].shape == (3, 1, 32, 32) and len(picture.meta["layers"]) == 2


@pytest.mark.slow
def test_the_batch_size_changes_no_value_by_more_than_rounding(tmp_path):
    chosen = "saliency,guided-backprop,gradcam,lrp-a2b1,smoothgrad[samples=5]"
    options = {"suite": "smoke", "explainers": chosen, "images": 9, "seeds": 1}
    runs = [bench.run(**options, batch_size=size, out=tmp_path / str(size)) for size in (8, 64)]
    one, other = (values(run.path) for run in runs)
    pd.testing.assert_frame_equal(one, other, check_exact=False, atol=1e-4, rtol=0)


def test_a_part_is_not_called_invalid_for_what_others_have_to_do(tmp_path):
    words = toy_run(tmp_path / "a", "--quiet")
    half = command_line(*words, "--part", "1/2")
    assert half.returncode == 0 and "left to other parts" in half.stderr and "invalid" not in half.stderr, half.stderr
    whole = command_line(*words, "--part", "2/2")
    assert "left to other parts" not in whole.stderr
    assert whole.returncode == command_line(*words).returncode


def test_what_a_run_begun_at_the_same_moment_wrote_over_is_written_again(tmp_path, monkeypatch):
    real = runner.pools.compute

    def beside_another(plan, context, pool, store, listen):
        real(plan, context, pool, store, listen)
        # The other one had looked at the folder before this one wrote into it.
        described = json.loads((store.path / "explainers.json").read_text())
        described = {name: about for name, about in described.items() if name != "toy-gradient"}
        (store.path / "explainers.json").write_text(json.dumps({**described, "theirs": {"signed": True}}))
        store.write_plan([])

    monkeypatch.setattr(runner.pools, "compute", beside_another)
    done = bench.run(**{**SMALL, "images": 1, "seeds": 1}, explainers="toy-gradient", out=tmp_path / "a")
    store = reports.Store.open(done.path)
    assert done.complete and len(store.plan()) == done.expected
    assert {"toy-gradient", "theirs"} <= set(store.explainers)
