"""Tables and figures of planted attributes and of sets with known requests, from records with known answers."""

import numpy as np
import pandas as pd
import pytest

from reports import flip_tables, schema, set_tables
from reports.judge_generative import judge

ATTRIBUTES = ("square", "stripe", "brightness", "border")


def rows(subject, explainer, check, measure, values, status="ok", image=True):
    return [
        {
            "suite": "generative", "check": check, "subject": subject, "explainer": explainer, "seed": 0, "stage": None,
            "layer": None, "image": f"a/{place:03}" if image else None, "target": 1 if image else None,
            "measure": measure, "value": None if status != "ok" else float(value), "status": status, "seconds": 0.1,
            "cell": "00",
        }
        for place, value in enumerate(values)
    ]  # fmt: skip


def frame(parts):
    return schema.from_arrow(schema.to_arrow([row for part in parts for row in part], "test"))


def flips(subject, asked, share, beside):
    """40 counterfactuals of which a share changes what was asked about and another share one thing beside it."""
    own = np.arange(40) < 40 * share
    other = np.arange(40) < 40 * beside
    parts = []
    for index, name in enumerate(ATTRIBUTES):
        parts.append(rows(subject, "pe", "attributes", f"flip-{name}", own if index == asked else other))
    parts.append(rows(subject, "pe", "attributes", "flip-asked", own))
    parts.append(rows(subject, "pe", "attributes", "flips-beside", other))
    return parts


def test_the_matrix_holds_what_changed():
    table = frame([part for index, name in enumerate(ATTRIBUTES) for part in flips(f"m[{name}]", index, 0.9, 0.1)])
    matrix = flip_tables.flip_matrix(table)
    assert list(matrix.columns) == sorted(ATTRIBUTES) and len(matrix) == 4
    for subject, row in matrix.iterrows():
        for name, value in row.items():
            assert value == pytest.approx(0.9 if f"[{name}]" in subject[0] else 0.1)
    changes = flip_tables.changes(table).set_index(["subject", "measure"])
    one = changes.loc[("m[stripe]", "flip-asked")]
    assert one["n"] == 40 and one.ci_low < 0.9 < one.ci_high and one["mean"] == pytest.approx(0.9)
    assert flip_tables.heat_map(matrix).get_axes()[0].texts[0].get_text() in ("0.90", "0.10")


@pytest.mark.parametrize(("share", "beside", "said"), [(0.9, 0.1, "PASS"), (0.1, 0.9, "FAIL"), (0.5, 0.5, "FAIL")])
def test_the_verdict_compares_what_was_asked_about_with_the_rest(share, beside, said):
    table = judge(frame(flips("m", 0, share, beside))).set_index("check")
    assert table.loc["attributes"].verdict == said
    assert table.loc["attributes"].estimate == pytest.approx(share - beside)


def test_images_without_attributes_have_no_verdict_and_no_table():
    nothing = frame([rows("m", "pe", "attributes", "flip-asked", [0] * 5, status="not-applicable")])
    verdict = judge(nothing).iloc[0]
    assert verdict.verdict == "N/A" and "no attribute is planted" in verdict.reason
    assert not len(flip_tables.changes(nothing)) and not len(set_tables.asked_sets(nothing))


def moved(before, after, asked=0):
    """Records of what images had and how it changes, the attribute that was asked about under `asked` alone."""
    names = ["asked" if index == asked else name for index, name in enumerate(ATTRIBUTES)]
    return frame(
        [
            rows("m", "pe", "attributes", f"{kind}-{name}", values[:, index])
            for index, name in enumerate(names) for kind, values in (("had", before), ("change", after - before))
        ]
    )  # fmt: skip


def test_what_is_dragged_along_shows_in_the_correlation_difference_and_what_changes_alone_does_not():
    before = np.random.default_rng(0).integers(0, 2, (1000, 4)).astype(float)
    alone = before.copy()
    alone[:, 0] = 1 - alone[:, 0]
    dragged = alone.copy()
    dragged[:, 1] = before[:, 1] + (alone[:, 0] - before[:, 0])  # the same change, whatever the attribute was
    for after, low, high in ((alone, 0.0, 0.06), (dragged, 0.95, 1.05)):
        table = flip_tables.correlations(moved(before, after)).set_index("attribute")
        assert list(table.index) == ["border", "brightness", "stripe", flip_tables.ALL]
        stripe = table.loc["stripe"]
        assert low <= stripe.difference <= high and stripe.ci_low <= stripe.difference <= stripe.ci_high
        assert stripe.n == 1000 and stripe.in_data == pytest.approx(np.corrcoef(before[:, 0], before[:, 1])[0, 1])
        assert stripe.together == (0.0 if after is alone else pytest.approx(1.0))
        assert table.loc[flip_tables.ALL].difference == pytest.approx(table["difference"].iloc[:3].mean())
    assert set(flip_tables.changes(moved(before, alone))["measure"]) == set(), "these are no shares of changes"


def test_the_data_s_own_correlation_is_taken_off():
    before = np.random.default_rng(0).integers(0, 2, (600, 4)).astype(float)
    before[:, 1] = before[:, 0]  # in these data the stripe comes with the square
    both = before.copy()
    both[:, :2] = 1 - both[:, :2]
    stripe = flip_tables.correlations(moved(before, both)).set_index("attribute").loc["stripe"]
    assert stripe.together == stripe.in_data == pytest.approx(1) and stripe.difference == pytest.approx(0, abs=1e-9)
    left = before.copy()
    left[:, 0] = 1 - left[:, 0]
    assert flip_tables.correlations(moved(before, left)).set_index("attribute").loc[
        "stripe"
    ].difference == pytest.approx(1)
    assert not len(flip_tables.correlations(frame([rows("m", "pe", "attributes", "flip-asked", [1.0] * 5)])))


def test_sets_keep_numbers_of_images_and_of_sets_apart():
    parts = []
    for check, value in (("spread", 0.75), ("extreme", 0.25)):
        parts.append(rows("m", "pe", check, "closeness", np.arange(100) < 100 * value))
        parts.append(rows("m", "pe", check, "fid", [12.5], image=False))
        parts.append(rows("m", "pe", check, "kid", [0.5], image=False))
        parts.append(rows("m", "pe", check, "set-size", [100], image=False))
    table = set_tables.asked_sets(frame(parts)).set_index(["check", "measure"])
    assert table.loc[("spread", "fid")].value == 12.5 and table.loc[("spread", "fid")].n == 100
    assert pd.isna(table.loc[("spread", "fid")].ci_low)
    near = table.loc[("spread", "closeness")]
    assert near.value == 0.75 and near.ci_low < 0.75 < near.ci_high and near.n == 100
    assert set(table["remark"]) == {""} and pd.isna(near.among)
    drawn = set_tables.figure(table.reset_index(), "m")
    assert [axis.get_title() for axis in drawn.get_axes()] == ["kid", "closeness"]
    assert set_tables.figure(table.reset_index(), "other") is None


def test_a_refused_distance_leaves_its_reason_and_closeness_its_chance_level():
    parts = [
        rows("m", "pe", "extreme", measure, [value], image=False)
        for measure, value in (("set-size", 128), ("feature-size", 64), ("kid", 0.5), ("closeness-among", 128))
    ]
    parts.append(rows("m", "pe", "extreme", "closeness", np.arange(128) < 64))
    table = set_tables.asked_sets(frame(parts)).set_index("measure")
    assert table.loc["fid", "remark"] == "fid refused: 128 images, 640 needed" and np.isnan(table.loc["fid", "value"])
    assert table.loc["kid", "remark"] == "" and table.loc["closeness", "among"] == 128
