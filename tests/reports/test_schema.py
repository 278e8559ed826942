"""Shape of the records: what is accepted, what is refused, and with which words."""

from __future__ import annotations

import pandas as pd
import pytest
import synthetic

from reports import schema
from reports.schema import SchemaError


def row(**changes: object) -> dict[str, object]:
    made = synthetic.base_row("e", "cascading", 0)
    made.update(stage=1, layer="fc", image="i", target=3, measure="ssim", value=0.5)
    made.update(changes)
    return made


def test_columns_are_those_of_the_contract_in_their_order():
    contract = "suite check subject explainer seed stage layer image target measure value status seconds cell"
    assert list(schema.COLUMNS) == contract.split()
    assert list(schema.empty().columns) == contract.split()
    assert {name: str(kind) for name, kind in schema.empty().dtypes.items()} == schema.COLUMNS


def test_rows_come_back_as_they_were_given_with_exact_types():
    rows = [row(), row(stage=None, layer=None, image=None, target=None, value=None, status="degenerate-zero")]
    frame = schema.from_arrow(schema.to_arrow(rows, "ab"))
    assert {name: str(kind) for name, kind in frame.dtypes.items()} == schema.COLUMNS
    assert frame.loc[0, "value"] == 0.5 and frame.loc[0, "stage"] == 1
    assert pd.isna(frame.loc[1, "stage"]) and pd.isna(frame.loc[1, "layer"]) and pd.isna(frame.loc[1, "value"])


def test_check_puts_columns_and_types_right_without_changing_content():
    frame = pd.DataFrame([row(), row(value=None, status="failed", stage=None)])
    shuffled = frame[list(reversed(frame.columns))]
    pd.testing.assert_frame_equal(schema.check(shuffled), schema.check(frame))
    assert list(schema.check(shuffled).columns) == list(schema.COLUMNS)
    pd.testing.assert_frame_equal(schema.check(schema.check(frame)), schema.check(frame))


def test_check_accepts_categories_and_numpy_numbers():
    frame = pd.DataFrame([row()]).astype({"explainer": "category", "seed": "int32", "value": "float32"})
    assert str(schema.check(frame)["explainer"].dtype) == "str"


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"status": "fine"}, "unknown status 'fine'. Allowed are: ok, degenerate-zero"),
        ({"status": None}, "'status' holds a null"),
        ({"explainer": None}, "'explainer' holds a null"),
        ({"value": None}, "no finite value"),
        ({"value": float("nan")}, "no finite value"),
        ({"value": float("inf")}, "no finite value"),
        ({"status": "failed"}, "must be null"),
        ({"seed": 0.5}, "column 'seed' must be"),
        ({"value": "high"}, "column 'value' must be"),
        ({"image": 7}, "column 'image' must be"),
        ({"colour": "red"}, "has unknown 'colour'"),
    ],
)
def test_wrong_rows_are_refused_by_both_ways(changes, words):
    with pytest.raises(SchemaError, match=words):
        schema.to_arrow([row(), row(**changes)], "ab")
    with pytest.raises(SchemaError, match=words):
        schema.check(pd.DataFrame([row(), row(**changes)]))


def test_a_missing_column_is_named():
    short = row()
    del short["stage"]
    for attempt in (lambda: schema.to_arrow([short], "ab"), lambda: schema.check(pd.DataFrame([short]))):
        with pytest.raises(SchemaError, match="lacks 'stage'. The columns are: suite, check"):
            attempt()


def test_migration_goes_step_by_step(monkeypatch):
    monkeypatch.setattr(schema, "SCHEMA_VERSION", 3)
    monkeypatch.setitem(schema.MIGRATIONS, 1, lambda frame: frame.assign(steps="1"))
    monkeypatch.setitem(schema.MIGRATIONS, 2, lambda frame: frame.assign(steps=frame["steps"] + "2"))
    assert schema.migrate(pd.DataFrame({"a": [0]}), 1)["steps"].tolist() == ["12"]
    assert "steps" not in schema.migrate(pd.DataFrame({"a": [0]}), 3)


def test_a_missing_step_and_a_newer_version_are_refused():
    with pytest.raises(SchemaError, match="no migration to version 1"):
        schema.migrate(schema.empty(), 0)
    with pytest.raises(SchemaError, match="version 3; this release of sanity-bench reads versions up to 2"):
        schema.migrate(schema.empty(), 3)


@pytest.mark.parametrize("version", ["1", None, -1, 1.0, True])
def test_a_version_that_is_no_number_is_refused(version):
    with pytest.raises(SchemaError, match="not a whole number"):
        schema.refuse_newer(version)
