"""Verdicts on explainers whose behaviour is planted, the thesis' rule, the tables beside them."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import synthetic

import reports
from reports import schema, tables
from reports.verdict import MEANINGS, verdicts

CONTRACT = "subject explainer suite check n expected estimate ci_low ci_high verdict reason".split()


def frame_of(explainer, images=32, seeds=10, planted=None, checks=synthetic.CHECKS):
    counts = {"cascading": seeds, "independent": seeds, "ceiling": 3, "floor": 5}
    rows = []
    for check in checks:
        for seed in range(counts[check]):
            rows += synthetic.cell_rows(explainer, check, seed, images, planted)
    return schema.check(pd.DataFrame(rows))


def first_row(frame, check="cascading", **options):
    table = verdicts(frame, **options)
    return table[table["check"] == check].iloc[0]


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    path = tmp_path_factory.mktemp("runs") / "a"
    synthetic.build(path)
    return reports.load(path)


@pytest.fixture(scope="module")
def table(run):
    return reports.verdicts(run)


def test_the_columns_are_those_of_the_contract(table):
    assert list(table.columns) == CONTRACT
    assert set(table["verdict"]) <= set(MEANINGS)
    assert set(MEANINGS) == {"PASS", "FAIL", "INCONCLUSIVE", "UNRELIABLE", "UNDEFINED", "N/A"}


@pytest.mark.parametrize(("explainer", "verdict"), sorted(synthetic.EXPECTED.items()))
def test_planted_behaviour_gets_its_verdict(table, explainer, verdict):
    rows = table[table["explainer"] == explainer]
    assert rows["check"].tolist() == ["cascading", "cascading-all", "independent"]
    assert rows["verdict"].tolist() == [verdict] * 3
    assert (rows["expected"] == 320).all()


def test_the_estimate_is_d_with_its_interval(table):
    row = table[(table["explainer"] == "sensitive") & (table["check"] == "cascading")].iloc[0]
    assert row["estimate"] == pytest.approx(0.7 / 0.95, abs=0.05)
    assert row["ci_low"] < row["estimate"] < row["ci_high"]
    assert row["reason"].startswith("the maps change: similarity 0.3")


@pytest.mark.parametrize("explainer", ["edge-detector", "random", "constant", "failing"])
def test_an_undefined_estimate_is_null(table, explainer):
    rows = table[table["explainer"] == explainer]
    assert rows[["estimate", "ci_low", "ci_high"]].isna().all(axis=None)


def test_reasons_name_what_happened(table):
    reasons = table[table["check"] == "cascading"].set_index("explainer")["reason"]
    assert reasons["edge-detector"].startswith("blind to the whole model")
    assert "do not agree with each other" in reasons["random"]
    assert reasons["constant"] == "the trained model's maps are constant in 100% of the cases"
    assert reasons["failing"] == "10 failed cells (UnsupportedOperation: no rule for <b>aten::cumsum</b>)"


def test_the_order_of_the_rows_does_not_matter(run, table):
    shuffled = run.sample(frac=1, random_state=np.random.RandomState(0))
    pd.testing.assert_frame_equal(reports.verdicts(shuffled), table)


def test_one_explainer_alone_gets_the_same_verdict(run, table):
    alone = reports.verdicts(run[run["explainer"] == "guided"])
    whole = table[table["explainer"] == "guided"].reset_index(drop=True)
    pd.testing.assert_frame_equal(alone, whole)


def test_categories_and_a_round_trip_change_nothing(run, table, tmp_path):
    slim = run.astype({"explainer": "category", "image": "category", "status": "category"})
    pd.testing.assert_frame_equal(reports.verdicts(slim), table)
    run.to_parquet(tmp_path / "a.parquet")
    pd.testing.assert_frame_equal(reports.verdicts(pd.read_parquet(tmp_path / "a.parquet")), table)


def test_without_records_there_is_an_empty_table():
    table = verdicts(schema.empty())
    assert list(table.columns) == CONTRACT and len(table) == 0


def test_missing_cells_reduce_n_and_are_told(tmp_path):
    store = synthetic.build(tmp_path / "run", ("sensitive", "guided"), images=4, seeds=6)
    lost = [c for c in store.plan() if c["explainer"] == "sensitive" and c["check"] == "cascading"][:2]
    for cell in lost:
        (store.path / "records" / cell["key"][:2] / f"{cell['key']}.parquet").unlink()
    store.write_failure(lost[0]["key"], {"type": "MemoryError", "message": "no memory"})
    row = first_row(reports.load(store.path)[lambda f: f["explainer"] == "sensitive"])
    assert (row["n"], row["expected"], row["verdict"]) == (16, 24, "PASS")
    assert row["reason"].endswith("16 of 24 measured: 8 missing: 1 failed cell (MemoryError: no memory)")


def test_an_explainer_that_was_never_started_is_listed(tmp_path):
    store = synthetic.build(tmp_path / "run", ("sensitive", "guided"), images=2, seeds=2)
    for cell in store.plan():
        if cell["explainer"] == "guided":
            (store.path / "records" / cell["key"][:2] / f"{cell['key']}.parquet").unlink()
    frame = reports.load(store.path)
    row = first_row(frame[frame["explainer"].notna()])
    assert row["explainer"] == "guided" and row["verdict"] == "UNDEFINED" and row["reason"] == "no values yet"
    assert set(verdicts(frame[frame["explainer"] == "sensitive"])["explainer"]) == {"sensitive"}


def test_without_a_plan_the_widest_explainer_says_what_was_expected():
    whole, part = frame_of("sensitive", 6, 4), frame_of("guided", 6, 3)
    frame = pd.concat([whole, part], ignore_index=True)
    table = verdicts(frame).set_index(["explainer", "check"])
    assert table.loc[("guided", "cascading"), "n"] == 18
    assert table.loc[("guided", "cascading"), "expected"] == 24
    assert "6 missing: not computed yet" in table.loc[("guided", "cascading"), "reason"]


def test_without_ceiling_or_floor_there_is_no_verdict():
    row = first_row(frame_of("sensitive", 4, 4, checks=("cascading", "ceiling")))
    assert row["verdict"] == "UNDEFINED" and "no floor" in row["reason"] and "`floor`" in row["reason"]
    row = first_row(frame_of("sensitive", 4, 4, checks=("cascading", "floor")))
    assert row["verdict"] == "UNDEFINED" and "no ceiling" in row["reason"]


def test_a_dead_stage_is_not_scored():
    frame = frame_of("sensitive", 4, 4)
    dead = (frame["check"] == "cascading") & (frame["stage"] == 1)
    frame.loc[dead, "value"] = np.nan
    frame.loc[dead, "status"] = "not-applicable"
    row = first_row(frame)
    assert (row["verdict"], row["n"]) == ("N/A", 0) and "dead" in row["reason"]
    assert first_row(frame, "cascading-all")["verdict"] == "PASS"


def degenerate(share, status="degenerate-zero", images=10):
    frame = frame_of("sensitive", images, 4)
    names = [synthetic.image_name(number) for number in range(round(share * images))]
    bad = frame["image"].isin(names)
    frame.loc[bad, "value"] = np.nan
    frame.loc[bad, "status"] = status
    return first_row(frame)


def test_zero_maps_for_more_than_half_of_the_images_are_undefined():
    row = degenerate(0.6)
    assert row["verdict"] == "UNDEFINED"
    assert row["reason"].startswith("the trained model's maps are zero in 60% of the cases")
    row = degenerate(0.5)
    assert row["verdict"] == "PASS" and row["reason"].endswith("20 of 40 measured: 20 degenerate-zero")


def test_values_that_are_no_numbers_are_undefined():
    row = degenerate(1.0, "non-finite")
    assert row["verdict"] == "UNDEFINED" and row["reason"] == "no value: 40 of 40 are non-finite"


def test_one_seed_cannot_carry_a_verdict():
    row = first_row(frame_of("sensitive", 8, 1))
    assert row["verdict"] == "INCONCLUSIVE" and row["estimate"] > 0.5 and np.isnan(row["ci_low"])
    assert row["reason"].startswith("no interval with fewer than two images or two seeds")


def test_threshold_and_measure_can_be_chosen():
    frame = frame_of("sensitive", 16, 10)
    assert first_row(frame, threshold=0.9)["verdict"] == "FAIL"
    assert first_row(frame, measure="spearman")["verdict"] == "PASS"
    assert len(verdicts(frame, measure="absent")) == 0


def test_the_thesis_rule_fails_what_stays_at_one():
    frame = pd.concat([frame_of("edge-detector", 4, 3), frame_of("guided", 4, 3)], ignore_index=True)
    table = tables.thesis_rule(frame)
    assert set(table["protocol"]) == {"nuzzo2020"} and set(table["check"]) == {"cascading", "independent"}
    first = table[(table["stage"] == 1) & (table["check"] == "cascading")].set_index("explainer")
    assert first.loc["edge-detector", "verdict"] == "FAIL" and first.loc["guided", "verdict"] == "PASS"
    assert first.loc["edge-detector", "mean"] == 1 and first.loc["edge-detector", "sd"] == 0
    assert table.loc[table["check"] == "independent", "verdict"].isna().all()


def test_the_thesis_rule_averages_images_first_then_spreads_over_seeds():
    frame = frame_of("sensitive", 5, 4)
    chosen = frame[(frame["check"] == "cascading") & (frame["stage"] == 2) & (frame["measure"] == "ssim")]
    by_seed = chosen.groupby("seed")["value"].mean()
    row = tables.thesis_rule(frame).query("check == 'cascading' and stage == 2").iloc[0]
    assert row["mean"] == pytest.approx(by_seed.mean()) and row["sd"] == pytest.approx(by_seed.std())
    assert (row["seeds"], row["n"], row["layer"]) == (4, 20, "fc2")


def test_the_thesis_rule_without_values_is_undefined():
    table = tables.thesis_rule(frame_of("constant", 2, 2))
    assert set(table.loc[table["check"] == "cascading", "verdict"]) == {"UNDEFINED"}
    assert len(tables.thesis_rule(schema.empty())) == 0


def test_the_similarity_table_holds_plain_means(run):
    table = tables.similarity(run)
    assert set(table["measure"]) == {"ssim", "spearman"}
    chosen = run[(run["explainer"] == "guided") & (run["check"] == "cascading") & (run["measure"] == "ssim")]
    means = chosen.groupby("stage")["value"].mean()
    rows = table.query("explainer == 'guided' and check == 'cascading' and measure == 'ssim'")
    np.testing.assert_allclose(rows["mean"], means)
    assert rows["layer"].tolist()[1:] == list(synthetic.LAYERS) and pd.isna(rows["layer"].iloc[0])
    assert ((rows["ci_low"] <= rows["mean"]) & (rows["mean"] <= rows["ci_high"])).all()


def test_the_health_table_holds_the_models(run):
    table = tables.health(run)
    assert set(table["check"]) == {"health-cascading", "health-independent"}
    accuracy = table[(table["measure"] == "accuracy") & (table["check"] == "health-cascading")]
    assert accuracy["mean"].tolist() == [0.9] + [0.1] * 5 and set(accuracy["seeds"]) == {10}
    assert len(tables.health(schema.empty())) == 0


def test_markdown_cannot_be_broken_by_a_name(table):
    odd = table.assign(explainer="a|b\n<script>alert(1)</script>\\")
    text = tables.to_markdown(odd)
    lines = text.splitlines()
    assert len(lines) == len(odd) + 2 and "<script>" not in text
    assert {line.replace("\\|", "").count("|") for line in lines} == {len(odd.columns) + 1}


def test_csv_comes_back(table, tmp_path):
    path = tables.write_csv(table, tmp_path / "deep" / "verdicts.csv")
    pd.testing.assert_frame_equal(table, pd.read_csv(path, keep_default_na=False, na_values=[""]))


def test_verdicts_need_no_torch():
    code = (
        "import sys, reports; from reports.schema import empty; "
        "reports.verdicts(empty()); assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=Path(__file__).resolve().parents[2])


def test_the_walk_from_the_input_up_is_judged_over_all_its_stages():
    frame = frame_of("sensitive", 6, 3)
    renamed = frame[frame["check"] == "independent"].assign(check="bottom-up")
    table = verdicts(pd.concat([frame, renamed], ignore_index=True)).set_index("check")
    assert table.index.tolist() == ["cascading", "cascading-all", "independent", "bottom-up"]
    assert table.loc["bottom-up", "verdict"] == table.loc["independent", "verdict"] == "PASS"
    assert table.loc["bottom-up", "estimate"] == table.loc["independent", "estimate"]
