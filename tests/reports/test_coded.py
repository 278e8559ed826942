"""Texts as categoricals: a fraction of the memory, and every table, verdict and rank as with plain texts."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import synthetic
import test_judge_class
import test_judge_perturbation
import test_leaderboard

import reports
from reports import grid, leaderboard, render, schema, tables
from reports.scores import seconds_per_explanation


def both(records):
    """The same records with plain texts and with categoricals."""
    table = schema.to_arrow(records, "x")
    return schema.from_arrow(table), schema.from_arrow(table, coded=True)


def same(make, plain, coded):
    """Check that a table made of either is the same, down to its types."""
    one, other = make(plain), make(coded)
    if isinstance(one, pd.DataFrame):
        pd.testing.assert_frame_equal(one, other)
    else:
        assert one == other
    return one


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    """Cells in packs and cells of their own, a plan in another order, failures."""
    made = synthetic.build(tmp_path_factory.mktemp("run") / "a", images=3, seeds=3)
    plan = made.plan()
    made.compact(least=1)
    for cell in plan[::7]:
        if cell["explainer"] != "failing":
            made.write_records(cell["key"], synthetic.cell_rows(cell["explainer"], cell["check"], cell["seed"], 3))
    np.random.default_rng(0).shuffle(plan)
    made.write_plan(plan)
    return reports.Store.open(made.path)


def test_records_are_the_same_and_small(store):
    plain, coded = reports.load(store), reports.load(store.path, coded=True)
    texts = [name for name, kind in schema.COLUMNS.items() if kind == "str"]
    assert all(isinstance(coded[name].dtype, pd.CategoricalDtype) for name in texts)
    assert all(coded[name].cat.categories.is_monotonic_increasing for name in texts)
    pd.testing.assert_frame_equal(coded.astype(dict.fromkeys(texts, "str")), plain)
    assert coded.attrs == plain.attrs and (plain["status"] == "failed").any() and plain["layer"].isna().any()
    assert coded.memory_usage(deep=True).sum() < 0.4 * plain.memory_usage(deep=True).sum()


def test_chosen_cells_are_the_same(store):
    keys = [cell["key"] for cell in store.plan() if cell["explainer"] != "failing"][::5]
    plain, coded = store.records(keys), store.records(keys, coded=True)
    assert set(plain["cell"]) == set(keys)
    pd.testing.assert_frame_equal(coded.astype(plain.dtypes.to_dict()), plain)


def test_tables_of_randomisation_are_the_same(store):
    plain, coded = reports.load(store), reports.load(store, coded=True)
    assert len(same(reports.verdicts, plain, coded)) and len(same(tables.health, plain, coded))
    same(tables.similarity, plain, coded)
    same(tables.thesis_rule, plain, coded)
    assert same(seconds_per_explanation, plain, coded)["sensitive"]


def test_tables_of_other_suites_are_the_same():
    classes = [*test_judge_class.BASELINES, *test_judge_class.located("e", 0.5), *test_judge_class.similar("e", 0.3)]
    plain, coded = both([*classes, *(row for kind in ("mean", "blur") for row in
                                     test_judge_perturbation.rows_of("good", kind, 0.5))])  # fmt: skip
    assert set(same(reports.verdicts, plain, coded)["suite"]) == {"class-discrimination", "pixel-perturbation"}
    one, other = render.suite_tables(plain), render.suite_tables(coded)
    assert list(one) == list(other) and len(one) > 1
    for name, table in one.items():
        pd.testing.assert_frame_equal(table, other[name])


def test_images_explained_for_several_classes_are_told_apart_alike():
    rows = [{**row, "target": target} for row in test_judge_class.located("e", 0.5) for target in (3, 7)]
    plain, coded = both([*rows, *test_judge_perturbation.rows_of("good", "mean", 0.5)])
    told = [grid.with_targets(frame)["image"] for frame in (plain, coded)]
    assert told[0].tolist() == told[1].tolist() and told[0].dtype == "str"
    assert {"toys/0000 as 3", "toys/0000 as 7", "test/000"} <= set(told[1])


def test_a_ranking_and_a_comparison_of_many_records_are_those_of_few(tmp_path, monkeypatch):
    path = test_leaderboard.scored(tmp_path / "a", "perturbation-mean", "abpc", images=6, classes=(3, 7)).path
    gate = synthetic.build(tmp_path / "gate", ("sensitive", "guided"), images=2, seeds=2).path
    found = [leaderboard.rank_explainers([path, gate], resamples=50).rows, reports.compare_runs(gate, gate).rows]
    from reports import board_runs, compare, frame

    for module in (board_runs, compare):
        monkeypatch.setattr(module, "load", lambda store, coded: frame.load(store))
    again = [leaderboard.rank_explainers([path, gate], resamples=50).rows, reports.compare_runs(gate, gate).rows]
    for one, other in zip(found, again, strict=True):
        pd.testing.assert_frame_equal(one, other)


def test_texts_without_a_value_and_parts_without_rows():
    first = pa.array(["b", None, "a"]).dictionary_encode()
    column = pa.chunked_array([first, pa.array(["0"]).dictionary_encode()])
    made = schema.series(column, "str", coded=True)
    assert made.isna().tolist() == [False, True, False, False]
    assert made.dropna().tolist() == ["b", "a", "0"] and list(made.cat.categories) == ["0", "a", "b"]
    assert schema.series(column, "str").tolist()[2:] == ["a", "0"]
    assert len(schema.series(pa.chunked_array([], pa.string()), "str", coded=True)) == 0
