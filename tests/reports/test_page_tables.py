"""Tables of distances in groups and of the planted square, from synthetic records."""

import numpy as np
import pytest

import reports
from reports import bias_tables, distance_tables
from reports.store import Store
from tests.reports.test_paper_claims import frame_of, records


def about(check, rows, **changes):
    return [{**row, "check": check, **changes} for row in rows]


def whole(values):
    return [
        row | {"image": None}
        for name, value in values.items()
        for row in about("distribution", frame_of([value], measure=name))
    ]


def square(explainer, energies, restored=()):
    found = about("planted-square", frame_of(energies, explainer, "square-energy"))
    return found + (about("planted-square", frame_of(restored, explainer, "square-restored")) if len(restored) else [])


SETS = {"set-size": 700.0, "feature-size": 64.0, "fid": 10.0, "fid-floor": 1.0, "kid": 5.0, "kid-floor": 0.1,
        "group-features": 20.0, "members-present": 300.0, "fid-present": 3.0, "kid-present": 6.0, "fid-floor-present": 0.5,
        "kid-floor-present": 0.25, "members-absent": 199.0, "fid-floor-absent": 0.5, "kid-floor-absent": 0.25}  # fmt: skip


def test_groups_show_n_and_d_and_those_that_were_refused_how_many_images_they_need():
    table = distance_tables.distances(records(whole(SETS))).set_index("group")
    assert list(table.index) == ["overall", "present", "absent"] and list(table["remark"][:2]) == ["", ""]
    assert table.loc["overall", ["n", "d", "fid", "fid_floor", "kid"]].tolist() == [700, 64, 10.0, 1.0, 5.0]
    shown = ["n", "d", "fid", "fid_floor", "kid", "kid_floor"]
    assert table.loc["present", shown].tolist() == [200, 20, 3.0, 0.5, 6.0, 0.25]
    assert table.loc["absent", ["n", "d"]].tolist() == [199, 20] and np.isnan(table.loc["absent", "fid"])
    assert table.loc["absent", "remark"] == "refused: 200 images, not 199, are needed"
    few = {"fid": "fid", "present": "fid-floor-present", "floor": "kid-floor-present"}.values()
    less = {name: value for name, value in SETS.items() if name not in few} | {"set-size": 300.0}
    table = distance_tables.distances(records(whole(less))).set_index("group")
    assert table.loc["overall", "remark"] == "fid refused: 300 images, 640 needed"
    assert table.loc["present", "remark"] == "no floor: 400 real images are needed"
    many = {name: value for name, value in SETS.items() if not name.endswith(("present", "absent"))}
    assert list(distance_tables.distances(records(whole(many)))["group"]) == ["overall"]


@pytest.mark.parametrize(("share", "says"), [(0.2, "sees it"), (0.001, "blind"), (0.04, "undecided")])
def test_what_a_map_says_of_the_square(share, says):
    energies = share + np.random.default_rng(0).normal(0, share / 100, 40)
    row = bias_tables.bias(records(square("one", energies, [1.0, 3.0, 90.0]))).iloc[0]
    assert row["says"] == says and row["of_area"] == pytest.approx(energies.mean() / (36 / 784))
    assert row["restored"] == 3.0 and np.isnan(row["change"]) and row["n"] == 40


def test_both_stand_on_the_page_with_the_comparison(tmp_path):
    store = Store.create(tmp_path / "run", {}, {"name": "recommended", "hash": "0"}, {}, {})
    rows = [{k: v for k, v in row.items() if k != "cell"} for row in whole(SETS)]
    store.write_records("ab" * 32, rows)
    rows = [{k: v for k, v in row.items() if k != "cell"} for row in square("one", [0.2, 0.3])]
    store.write_records("cd" * 32, rows)
    draw = np.random.default_rng(0)
    arrays = {"maps": draw.normal(size=(1, 1, 32, 32)), "images": draw.uniform(size=(1, 1, 32, 32))}
    meta = {"suite": "s", "subject": "m", "explainer": "one", "check": "planted-square", "seed": 0, "signed": True,
            "images": ["i/0"], "layers": [], "classes": ["Coat"], "square": [2, 8, 2, 8]}  # fmt: skip
    store.write_picture("cd" * 32, arrays, meta)
    written = {path.name for path in reports.write_report(store.path)}
    text = (store.path / "report" / "index.html").read_text()
    assert "Distances to real images" in text and "The planted square" in text and "not 199" in text
    assert {"distances.csv", "distances.md", "planted-square.csv", "planted-square.md"} <= written
    assert any(name.startswith("square-m") for name in written)
