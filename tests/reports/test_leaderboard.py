"""The leaderboard: gates before ranks, ranks with intervals, nobody ranked on half of the cells."""

from __future__ import annotations

import dataclasses
import io

import numpy as np
import pandas as pd
import pytest
import synthetic
from typer.testing import CliRunner

import reports
from reports import board_runs, files, grid, leaderboard_output, verdict
from reports import leaderboard as module
from reports.files import RunFolderError

PLANTED = dict.fromkeys(("best", "good", "twin", "weak"), (0.3, 0.05, 1.0, 0.05))
NAMES = (*PLANTED, "guided", "random-by-model")
TRUE = {"best": 0.8, "good": 0.5, "twin": 0.5, "weak": 0.2, "guided": 0.95, "random-by-model": 0.0}


def gate_run(path, names=NAMES):
    """A run of randomisation in which all but `guided` pass."""
    known = dict(synthetic.PLANTED)
    synthetic.PLANTED.update(PLANTED)
    try:
        store = synthetic.build(path, names, images=8, seeds=4)
        cards = {
            name: {"group": "reference" if name.startswith("random") else "gradient", "cost": 2.0} for name in names
        }
        files.write_json(path / "explainers.json", cards)
        return store
    finally:
        synthetic.PLANTED.clear()
        synthetic.PLANTED.update(known)


def scored(
    path, check, measure, true=TRUE, images=40, names=NAMES, suite="pixel-perturbation", noise=0.1, classes=(3,)
):
    """A run with one score per image (and class)."""
    cards = {name: {"group": "reference" if name.startswith("random") else "gradient", "cost": 2.0} for name in names}
    store = reports.Store.create(path, {"suite": [suite]}, {"name": "recommended", "hash": check}, {}, cards)
    ids = [synthetic.image_name(number) for number in range(images)]
    plan = []
    for name in names:
        key = synthetic.key_of(name, check, suite)
        plan.append({"key": key, "suite": suite, "check": check, "subject": synthetic.SUBJECT, "explainer": name,
                     "seed": 0, "images": ids, "rows": None})  # fmt: skip
    store.write_plan(plan)
    shared = np.random.default_rng(1).normal(0, noise, images)
    for cell in plan:
        rng = np.random.default_rng(int(cell["key"][:8], 16))
        rows = []
        for number, image in enumerate(ids):
            for target in classes:
                row = {**synthetic.base_row(cell["explainer"], check, 0, suite), "image": image, "target": target}
                value = true[cell["explainer"]] + shared[number] + rng.normal(0, noise) + (0.1 if target == 7 else 0)
                rows.append({**row, "measure": measure, "value": value, "cell": cell["key"], "seconds": 4.0})
        store.write_records(cell["key"], rows)
    return store


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs")
    stores = [
        gate_run(folder / "gate"),
        scored(folder / "mean", "perturbation-mean", "abpc"),
        scored(folder / "blur", "perturbation-blur", "abpc"),
        scored(folder / "grid", "grid-localisation", "mass", {**TRUE, "weak": 0.9}, suite="other", classes=(3, 7)),
    ]
    return [store.path for store in stores]


@pytest.fixture(scope="module")
def board(runs):
    return reports.rank_explainers(runs, resamples=500)


def row(board, name):
    return board.rows.set_index("explainer").loc[name]


def test_the_order_is_the_planted_one_and_equals_share_a_letter(board):
    by = board.rows[board.rows["status"] == "ranked"].set_index("explainer")
    assert by["faithfulness_rank"].idxmin() == "best" and by.loc["weak", "faithfulness_rank"] == 4
    assert (by.loc["best", ["faithfulness_rank_low", "faithfulness_rank_high"]] == 1).all()
    assert by.loc["good", "faithfulness_ties"] == by.loc["twin", "faithfulness_ties"] == "b"
    assert by.loc["weak", "localisation_rank"] == 1
    assert (by["rank_low"] <= by["rank"]).all() and (by["rank"] <= by["rank_high"]).all()


def test_a_gate_comes_before_the_best_score(board):
    failed = row(board, "guided")
    assert failed["status"] == "gate: randomisation" and failed["randomisation"] == "FAIL" and pd.isna(failed["rank"])
    assert board.rows["explainer"].tolist()[0] == "best" and row(board, "random-by-model")["status"] == "reference"
    assert board.rows["explainer"].tolist()[-1] == "random-by-model"


def test_agreement_and_cost_stand_beside(board):
    pair = board.agreement[
        (board.agreement["first"].str.contains("mean")) & (board.agreement["second"].str.contains("blur"))
    ]
    assert pair["tau"].iloc[0] > 0.7 and len(board.agreement) == 3
    assert (board.agreement["ci_low"] <= board.agreement["tau"]).all()
    # Cells of 0.01 s with 8 images at one stage or at six, and few of 4 s with 40 or 80 explanations; the median counts.
    assert row(board, "best")["seconds"] == pytest.approx(0.01 / 8) and row(board, "best")["cost"] == 2.0


def test_several_classes_of_an_image_are_several_values(board):
    score = next(score for score in board.scores if score.aspect == "localisation")
    mean = score.of(["best"])[0, 0]
    assert mean == pytest.approx(0.8 + 0.05, abs=0.06)


def test_who_misses_a_cell_is_shown_and_not_ranked(runs, tmp_path):
    other = scored(tmp_path / "mean", "perturbation-mean", "abpc", names=tuple(n for n in NAMES if n != "best"))
    board = reports.rank_explainers([runs[0], other.path], resamples=200)
    assert row(board, "best")["status"] == "incomplete" and row(board, "good")["status"] == "ranked"
    line = next(line for line in leaderboard_output.to_text(board).splitlines() if "| best |" in line)
    assert "| 16 of 17 | incomplete: no pixel perturbation |" in line
    store = scored(tmp_path / "again", "perturbation-mean", "abpc")
    key = synthetic.key_of("good", "perturbation-mean", "pixel-perturbation")
    store.write_failure(key, {"type": "E", "message": "<b>"})
    for path in (store.path / "records").rglob(f"{key}*"):
        path.unlink()
    board = reports.rank_explainers([runs[0], store.path], resamples=200)
    assert row(board, "good")["status"] == "incomplete" and row(board, "good")["cells"] < row(board, "good")["planned"]
    line = next(line for line in leaderboard_output.to_text(board).splitlines() if "| good |" in line)
    assert "| 16 of 17 | incomplete |" in line


def test_what_is_lacking_is_named_and_counted(runs, tmp_path):
    """A suite that one explainer was never planned for counts as planned, by the cells that the others have."""
    gate = gate_run(tmp_path / "gate", tuple(n for n in NAMES if n != "best"))
    board = reports.rank_explainers([gate.path, *runs[1:3]], resamples=100)
    best = row(board, "best")
    assert (best["cells"], best["planned"], best["lacks"]) == (2, 18, "randomisation") and pd.isna(best["rank"])
    other = tuple(n for n in NAMES if n != "weak")
    blur = scored(tmp_path / "blur", "perturbation-blur", "abpc", names=other)
    board = reports.rank_explainers([runs[0], runs[1], blur.path], resamples=100)
    assert tuple(row(board, "weak")[["cells", "planned", "lacks"]]) == (17, 18, "perturbation-blur")
    # What a reference lacks, or what only the half of the explainers has, holds nobody back.
    few = scored(tmp_path / "road", "perturbation-road", "abpc", names=("best", "good", "random-by-model"))
    board = reports.rank_explainers([runs[0], runs[1], few.path], resamples=100)
    assert set(board.rows["lacks"]) == {""} and (board.rows["cells"] == board.rows["planned"]).all()
    assert row(board, "weak")["status"] == "ranked"


def test_one_model_on_two_data_sets_is_two_subjects(runs, tmp_path):
    stores = [gate_run(tmp_path / "gate"), *(scored(tmp_path / name, "perturbation-mean", "abpc") for name in "ab")]
    for store, data in zip(stores, ("shoes", "shoes", "shirts"), strict=True):
        files.write_json(store.path / "config.json", {**store.config, "data": data})
    board = reports.rank_explainers([store.path for store in stores], resamples=100)
    assert board.subjects == ["toy-vgg on shirts", "toy-vgg on shoes"]
    assert {score.label for score in board.scores} == {f"perturbation-mean of {name}" for name in board.subjects}
    assert row(board, "best")["randomisation"] == "PASS" and row(board, "best")["cells"] == 18
    # Data that a worker looked at count, whatever a command called them: these two are one measurement.
    for store in stores[1:]:
        store.write_provenance("w", {"subjects": {synthetic.SUBJECT: {"data": "fashion-mnist/test"}}})
    with pytest.raises(RunFolderError, match="both hold perturbation-mean.* on toy-vgg on fashion-mnist/test"):
        reports.rank_explainers([store.path for store in stores], resamples=100)
    assert reports.rank_explainers(runs[:2], resamples=100).subjects == ["toy-vgg"]


def test_a_score_that_few_can_have_ranks_nobody(runs, tmp_path):
    few = scored(tmp_path / "cf", "perturbation-counterfactual", "abpc", names=("weak",))
    board = reports.rank_explainers([*runs, few.path], resamples=200)
    assert all("counterfactual" not in score.check for score in board.scores)
    assert any("counterfactual" in note for note in board.notes) and row(board, "best")["status"] == "ranked"


def test_without_the_gate_nobody_is_ranked(runs):
    board = reports.rank_explainers(runs[1:2], resamples=100)
    assert board.rows["rank"].isna().all() and "The gate randomisation was not run." in board.notes


def test_two_gates_are_two_gates(runs, monkeypatch):
    table = pd.DataFrame(
        [("m", name, "class-discrimination", "class-similarity", 8, 8, 0.5, 0.4, 0.6, word, "") for name, word in
         {"best": "FAIL", "good": "PASS", "twin": "PASS", "weak": "PASS"}.items()],
        columns=list(verdict.COLUMNS),
    )  # fmt: skip
    real = board_runs.verdicts
    monkeypatch.setattr(
        board_runs, "verdicts", lambda frame: pd.concat([real(frame), table]) if len(real(frame)) else real(frame)
    )
    board = reports.rank_explainers(runs, resamples=100)
    assert row(board, "best")["status"] == "gate: class discrimination" and row(board, "good")["status"] == "ranked"
    assert row(board, "guided")["class discrimination"] == "not run"


def test_the_same_measurement_twice_is_refused(runs):
    with pytest.raises(RunFolderError, match="both hold perturbation-mean.*bench merge"):
        reports.rank_explainers([runs[0], runs[1], runs[1]])


def test_it_is_written_three_ways(runs, board, tmp_path):
    text = leaderboard_output.to_text(board)
    assert text.startswith("| rank | explainer | randomisation | faithfulness | localisation |")
    assert "Kendall" in text and max(len(line) for line in text.splitlines() if line.startswith("|")) < 200
    stored = pd.read_csv(io.StringIO(leaderboard_output.to_csv(board)))
    assert len(stored) == len(NAMES) and stored["abpc perturbation-mean of toy-vgg"].notna().all()
    page = leaderboard_output.to_page(board)
    assert page.count("<tr") >= len(NAMES) + 1 and "http" not in page.replace("http-equiv", "")

    from bench.cli import app

    for suffix in (".md", ".csv", ".html"):
        done = CliRunner().invoke(app, ["leaderboard", *map(str, runs), "--out", str(tmp_path / f"l{suffix}")])
        assert done.exit_code == 0 and (tmp_path / f"l{suffix}").stat().st_size > 100
    assert CliRunner().invoke(app, ["leaderboard", str(runs[0]), "--out", "l.txt"]).exit_code == 2
    assert CliRunner().invoke(app, ["leaderboard", str(tmp_path)]).exit_code == 2


def test_a_gate_is_passed_on_every_model_or_not_at_all():
    rows = [("m1", "a", "PASS"), ("m2", "a", "PASS"), ("m1", "b", "PASS"), ("m2", "b", "FAIL"), ("m1", "c", "PASS")]
    table = pd.DataFrame(rows, columns=["subject", "explainer", "verdict"]).assign(suite="s", check="c")
    assert module._gate(table, "s", ("c",)) == {"a": "PASS", "b": "FAIL on m2", "c": "not run"}
    assert module._gate(table[table["subject"] == "m2"], "s", ("c",)) == {"a": "PASS", "b": "FAIL"}
    assert module._gate(table, "s", ("other",)) == {}
    everywhere = table[table["explainer"] == "a"].assign(explainer="d", verdict="FAIL")
    assert module._gate(pd.concat([table, everywhere]), "s", ("c",))["d"] == "FAIL"
    # A model with known pairs of classes is judged by them, another one by its two most likely classes.
    likely = table[table["subject"] == "m1"].assign(check="top2", verdict="FAIL")
    both = pd.concat([table, likely, likely.assign(subject="m3")])
    assert module._gate(both, "s", ("c", "top2"))["a"] == "FAIL on m3"


def test_a_verdict_on_some_models_has_its_colour_on_the_page(board):
    rows = board.rows.assign(randomisation="FAIL on m1, m2; N/A on m3")
    page = leaderboard_output.to_page(dataclasses.replace(board, rows=rows))
    assert '<span class="badge v-fail">FAIL</span> <span class="faint small">on m1, m2</span>; ' in page
    assert '<span class="badge v-na">N/A</span> <span class="faint small">on m3</span></td>' in page


def test_only_certified_pairs_are_ranked(tmp_path):
    from reports.scores import scores_of

    store = scored(tmp_path / "a", "grid-localisation", "mass", suite="other", classes=(3, 7))
    frame = reports.load(store.path)
    certified = frame.assign(measure="certified", value=(frame["target"] == 7).astype(float))
    alone = scores_of(grid.with_targets(frame[frame["target"] == 7]), resamples=20)[0]
    found = scores_of(grid.with_targets(pd.concat([frame, certified], ignore_index=True)), resamples=20)[0]
    np.testing.assert_allclose(found.drawn[0], alone.drawn[0])
    assert (
        scores_of(grid.with_targets(pd.concat([frame, certified.assign(value=0.0)], ignore_index=True)), resamples=20)
        == []
    )


def test_names_of_users_are_escaped(tmp_path, monkeypatch):
    evil = "<img src=x onerror=alert(1)>|"
    monkeypatch.setattr(synthetic, "SUBJECT", evil)
    store = gate_run(tmp_path / "a", ("best", evil))
    few = scored(tmp_path / "b", "perturbation-mean", "abpc", {evil: 0.3}, names=(evil,))
    board = reports.rank_explainers([store.path, few.path], resamples=50)
    assert "<img" not in leaderboard_output.to_page(board) and "<img" not in leaderboard_output.to_text(board)


def test_a_score_that_rests_on_one_image_ranks_nobody(tmp_path):
    """One image has no interval: every rank would look certain."""
    runs = [
        gate_run(tmp_path / "gate").path,
        scored(tmp_path / "mean", "perturbation-mean", "abpc").path,
        scored(tmp_path / "grid", "grid-localisation", "mass", suite="other", images=1).path,
    ]
    board = reports.rank_explainers(runs)
    assert [score.check for score in board.scores] == ["perturbation-mean"]
    assert "grid-localisation of toy-vgg ranks nobody, as it rests on one image." in board.notes
    assert board.rows["localisation_rank"].isna().all() and len(board.agreement) == 0
