"""Keys, store and the grammar of selections, on made-up values: order-free, collision-free, and back again unchanged."""

import json
import math
from dataclasses import replace

import pandas as pd
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bench.cell import IDENTITY_VERSION, Cell, canonical, digest
from bench.memory import size
from models.naming import Spec, UsageError, parse_spec, split_list
from reports import planned, schema
from reports.store import Store

TEXT = st.text(st.characters(codec="utf-8"), max_size=12)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=8,
)
OBJECT = st.dictionaries(TEXT, JSON, max_size=4)
CELL = st.builds(
    Cell, suite=TEXT, check=TEXT, check_identity=OBJECT.map(canonical), subject=TEXT, subject_identity=OBJECT.map(canonical),
    explainer=TEXT, explainer_identity=JSON.map(canonical), images=st.lists(TEXT, max_size=3).map(tuple), images_digest=TEXT,
    seed=st.integers(0, 10**6), base=st.integers(0, 2**62), dtype=TEXT, rows=st.none() | st.integers(0, 100),
)  # fmt: skip
NAME = st.from_regex(r"[a-z][a-z0-9]{0,6}(-[a-z0-9]{1,4}){0,2}", fullmatch=True)
VALUE = (
    st.integers(-(10**6), 10**6)
    | st.floats(-1e6, 1e6).filter(lambda number: number != round(number))
    | st.from_regex(r"[a-z][a-z0-9-]{0,8}", fullmatch=True).filter(
        lambda word: word not in ("true", "false", "none", "inf", "nan")
    )
)
SPEC = st.recursive(
    st.builds(
        Spec,
        NAME,
        st.dictionaries(NAME.filter(lambda name: "-" not in name), VALUE, max_size=3).map(
            lambda d: tuple(sorted(d.items()))
        ),
    ),
    lambda inner: st.builds(lambda spec, held: replace(spec, inner=held), st.builds(Spec, NAME, st.just(())), inner),
    max_leaves=3,
)
KEY = st.from_regex(r"[0-9a-f]{64}", fullmatch=True)
quick = settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)


def shuffled(value, draw):
    """The same value with the keys of its objects in another order."""
    if isinstance(value, dict):
        keys = draw(st.permutations(list(value)))
        return {key: shuffled(value[key], draw) for key in keys}
    return [shuffled(item, draw) for item in value] if isinstance(value, list) else value


@quick
@given(JSON, st.data())
def test_the_order_of_keys_changes_no_digest(value, data):
    assert digest(shuffled(value, data.draw)) == digest(value)


@quick
@given(JSON)
def test_canonical_json_comes_back_unchanged_and_is_a_fixed_point(value):
    back = json.loads(canonical(value))
    assert back == value and canonical(back) == canonical(value)


@quick
@given(JSON, JSON)
def test_different_values_have_different_texts(one, other):
    same = json.dumps(one, sort_keys=True) == json.dumps(other, sort_keys=True)
    assert (canonical(one) == canonical(other)) == same


@quick
@given(CELL)
def test_the_key_is_the_digest_of_the_identity(cell):
    assert cell.key == digest(cell.identity()) and cell.identity()["identity"] == IDENTITY_VERSION


@quick
@given(CELL, CELL)
def test_keys_are_equal_exactly_when_identities_are(one, other):
    assert (one.key == other.key) == (canonical(one.identity()) == canonical(other.identity()))


@quick
@given(CELL, st.data())
def test_labels_and_the_order_in_identities_change_no_key(cell, data):
    changed = replace(
        cell,
        suite=data.draw(TEXT),
        subject=data.draw(TEXT),
        explainer=data.draw(TEXT),
        rows=data.draw(st.none() | st.integers(0, 5)),
        subject_identity=json.dumps(shuffled(json.loads(cell.subject_identity), data.draw), indent=2),
    )
    assert changed.key == cell.key


@quick
@given(CELL, st.sampled_from(["seed", "base", "images_digest", "dtype", "explainer_identity"]), st.data())
def test_what_changes_a_result_changes_the_key(cell, name, data):
    made = {"seed": st.integers(0, 10**6), "base": st.integers(0, 2**62), "explainer_identity": JSON.map(canonical)}
    value = data.draw(made.get(name, TEXT))
    changed = replace(cell, **{name: value})
    assert (changed.key == cell.key) == (value == getattr(cell, name))


def test_a_key_cannot_be_forged_by_what_a_name_holds():
    one = Cell("s", 'a","explainer":"b', "{}", "m", "{}", "e", "{}", (), "d", 0, 0, "f")
    other = Cell("s", "a", "{}", "m", "{}", "e", '"b"', (), "d", 0, 0, "f")
    assert one.key != other.key


@quick
@given(SPEC)
def test_a_specification_comes_back_from_its_text(spec):
    assert parse_spec(str(spec)) == spec


@quick
@given(st.lists(SPEC, min_size=1, max_size=4))
def test_a_list_of_specifications_comes_apart_at_the_right_commas(specs):
    assert [parse_spec(text) for text in split_list(",".join(map(str, specs)))] == specs


@quick
@given(SPEC, st.data())
def test_the_order_of_parameters_changes_no_specification(spec, data):
    if len(spec.params) > 1 and spec.inner is None:
        words = [f"{name}={value}" for name, value in data.draw(st.permutations(spec.params))]
        assert str(parse_spec(f"{spec.name}[{','.join(words)}]")) == str(spec)


@quick
@given(st.text(max_size=20))
def test_any_text_is_a_specification_or_is_refused_in_one_sentence(text):
    try:
        spec = parse_spec(text)
    except UsageError as error:
        assert str(error)
    else:
        assert parse_spec(str(spec)) == spec


@quick
@given(st.text(max_size=12))
def test_any_text_is_a_size_or_is_refused(text):
    try:
        assert size(text) > 0
    except UsageError as error:
        assert "--memory" in str(error)


WHOLE = st.none() | st.integers(-(2**62), 2**62)
FINITE = st.floats(allow_nan=False, allow_infinity=False)
LABEL = st.text(st.characters(codec="utf-8", exclude_characters="\x00"), max_size=8)


@st.composite
def record(draw):
    """One row of any content that the schema allows."""
    status = draw(st.sampled_from(schema.STATUSES))
    texts = {name: draw(LABEL) for name in ("suite", "check", "subject", "explainer")}
    nulls = {name: draw(st.none() | LABEL) for name in ("layer", "image", "measure")}
    numbers = {name: draw(WHOLE) for name in ("seed", "stage", "target")}
    value = draw(FINITE) if status == "ok" else None
    return {**texts, **nulls, **numbers, "value": value, "status": status, "seconds": draw(st.none() | FINITE)}


@settings(
    max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
@given(cells=st.dictionaries(KEY, st.lists(record(), max_size=4), max_size=5), data=st.data())
def test_records_come_back_unchanged_in_the_order_of_the_plan_from_files_and_packs(cells, data, tmp_path_factory):
    store = Store.create(tmp_path_factory.mktemp("run") / "a", {}, {"name": "p", "hash": "h"}, {}, {})
    order = data.draw(st.permutations(list(cells)))
    store.write_plan([{"key": key, "images": []} for key in order])
    for key, rows in cells.items():
        store.write_records(key, rows)
    found = store.records()
    expected = [{**row, "cell": key} for key in order for row in cells[key]]
    assert store.done() == set(cells) and len(found) == len(expected)
    for row, given_row in zip(found.to_dict("records"), expected, strict=True):
        for name, value in given_row.items():
            got = None if row[name] is pd.NA or (isinstance(row[name], float) and math.isnan(row[name])) else row[name]
            assert got == value, name
    if cells:
        assert store.compact(least=1) == len(cells)
    pd.testing.assert_frame_equal(Store.open(store.path).records(), found, check_exact=True)
    assert store.done() == set(cells)


PLANNED = {
    **{"key": KEY, "suite": TEXT, "check": TEXT, "seed": st.integers(0, 9)},
    **{"images": st.lists(TEXT, max_size=3), "rows": st.none() | st.integers(0, 9)},
}


@quick
@given(st.lists(st.fixed_dictionaries(PLANNED), max_size=5))
def test_a_plan_comes_back_unchanged(cells):
    assert planned.decode(json.loads(planned.encode(cells, "now"))) == cells


@quick
@given(JSON)
def test_any_json_is_a_plan_or_is_refused(value):
    content = {"cells": value, "blocks": value}
    try:
        assert isinstance(planned.decode(content), list)
    except (TypeError, ValueError, LookupError):
        return
