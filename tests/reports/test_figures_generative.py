"""Figures of counterfactuals: what stands in them is what was stored."""

import numpy as np
import pytest

import reports
from reports import figures, figures_generative, flip_tables, request_tables, schema
from reports.files import RunFolderError
from reports.gallery import Gallery
from reports.pictures import Picture
from reports.store import Store

TENTHS = [f"{5 + 10 * tenth:02d}" for tenth in range(10)]


def rows(explainer, check, measure, values, subject="m", image=True):
    return [
        {
            "suite": "generative", "check": check, "subject": subject, "explainer": explainer, "seed": 0, "stage": None,
            "layer": None, "image": f"a/{place:03}" if image else None, "target": 1 if image else None,
            "measure": measure, "value": None if np.isnan(value) else float(value),
            "status": "not-applicable" if np.isnan(value) else "ok", "seconds": 0.1,
        }
        for place, value in enumerate(values)
    ]  # fmt: skip


def frame(parts):
    return schema.from_arrow(schema.to_arrow([row for part in parts for row in part], "test"))


def picture(explainer, frames=0, seed=0):
    draw = np.random.default_rng(seed)
    arrays = {name: draw.uniform(size=(2, 1, 8, 8)) for name in ("images", "counterfactuals", "reconstructions")}
    arrays["maps"] = arrays["counterfactuals"] - arrays["images"]
    if frames:
        arrays["frames"] = draw.uniform(size=(2, frames, 1, 8, 8))
        arrays["frame-probabilities"] = draw.uniform(size=(2, frames))
        arrays["frame-requests"] = draw.uniform(size=(2, frames))
    meta = {
        "suite": "generative", "subject": "m", "explainer": explainer, "check": "counterfactual", "seed": 0,
        "signed": True, "images": ["i/0", "i/1"], "layers": [], "classes": ["coat", "shirt"], "toward": ["shirt", "coat"],
        "outcomes": ["converged", "trivial"],
    }  # fmt: skip
    return Picture(explainer, arrays, meta)


def drawn(axis):
    return np.asarray(axis.get_images()[0].get_array()) if axis.get_images() else None


def test_strips_hold_the_stored_arrays():
    one, other = picture("a", 3), picture("b", seed=1)
    del other.arrays["reconstructions"]
    axes = np.asarray(figures_generative.strips([one, other], "i/1").get_axes()).reshape(2, 4)
    for line, given in zip(axes, (one, other), strict=True):
        names = ("images", "reconstructions", "counterfactuals", "maps")
        for axis, name in zip(line, names, strict=True):
            if name in given.arrays:
                assert np.array_equal(drawn(axis), given.arrays[name][1, 0])
            else:
                assert drawn(axis) is None
        assert line[0].get_ylabel() == f"{given.meta['explainer']}\nshirt → coat\ntrivial"
    low, high = axes[0][3].get_images()[0].get_clim()
    assert high == -low == pytest.approx(np.abs(one.arrays["maps"][1]).max())
    with pytest.raises(ValueError, match="no stored counterfactual"):
        figures_generative.strips([one], "i/2")


def test_series_hold_the_stored_frames_with_what_was_requested_and_achieved():
    one, two = picture("a", 4), picture("c", 2, seed=2)
    del two.arrays["frame-requests"]
    axes = np.asarray(figures_generative.series([one, picture("b"), two], "i/0").get_axes()).reshape(2, 4)
    for line, given in zip(axes, (one, two), strict=True):
        count = given.arrays["frames"].shape[1]
        for number, axis in enumerate(line[:count]):
            assert np.array_equal(drawn(axis), given.arrays["frames"][0, number, 0])
            assert axis.get_xlabel() == f"{given.arrays['frame-probabilities'][0, number]:.2f}"
            asked = given.arrays.get("frame-requests")
            assert axis.get_title() == ("" if asked is None else f"asked {asked[0, number]:.2f}")
        assert all(drawn(axis) is None for axis in line[count:]) and "p(shirt)" in line[0].get_ylabel()
    assert figures_generative.series([picture("b"), picture("d", 1)], "i/0") is None
    assert figures_generative.series([one], "i/7") is None


def answers(explainer, values):
    """Achieved probabilities, (images, 10), and the same answer of the unchanged image for all."""
    found = [rows(explainer, "requests", f"achieved-{name}", values[:, at]) for at, name in enumerate(TENTHS)]
    return [*found, rows(explainer, "requests", "achieved-unchanged", np.full(len(values), 0.25))]


def test_the_curve_goes_through_the_points_of_a_known_series_and_its_band_holds_the_mean():
    asked = (np.arange(10) + 0.5) / 10
    spread = np.linspace(-0.04, 0.04, 30)[:, None]
    known, flat = asked[None] * 0.8 + 0.1 + spread, np.full((30, 10), 0.25)
    pooled = np.full((30, 10), np.nan)
    pooled[np.arange(30), np.arange(30) % 10] = asked[np.arange(30) % 10]  # one request for each image
    given = frame([*answers("pe", known), *answers("still", flat), *answers("xgem", pooled)])
    table = request_tables.achieved(given).set_index("explainer")
    assert table.loc["pe", "requested"].tolist() == pytest.approx(asked) and set(table.loc["pe", "n"]) == {30}
    assert table.loc["pe", "achieved"].tolist() == pytest.approx(asked * 0.8 + 0.1)
    assert (table.loc["pe", "ci_low"] < table.loc["pe", "achieved"]).all()
    assert (table.loc["pe", "achieved"] < table.loc["pe", "ci_high"]).all()
    assert table.loc["xgem", "achieved"].tolist() == pytest.approx(asked) and set(table.loc["xgem", "n"]) == {3}
    for name in ("still", request_tables.UNCHANGED):
        assert table.loc[name, "achieved"].tolist() == pytest.approx([0.25] * 10)
        assert table.loc[name, "ci_low"].tolist() == pytest.approx([0.25] * 10)
    axis = figures.requested_and_achieved(given).get_axes()[0]
    lines = {str(line.get_label()).split(" (")[0]: line for line in axis.get_lines()}
    assert np.allclose(lines["as requested"].get_xydata(), [[0, 0], [1, 1]])
    assert np.allclose(lines["pe"].get_xydata(), np.stack([asked, asked * 0.8 + 0.1], 1))
    assert len(lines) == 5 and lines["(unchanged image)"].get_linestyle() == "--"
    assert len(axis.collections) == 4, "a band for each but the diagonal"
    with pytest.raises(RunFolderError, match="requests"):
        figures.requested_and_achieved(frame([rows("pe", "counterfactual", "reached", [1.0])]))


def whole(explainer, **values):
    return [
        rows(explainer, "distribution", name.replace("_", "-"), [value], image=False) for name, value in values.items()
    ]


def test_sets_stand_at_their_distance_and_identity():
    given = [
        *whole("a", kid=2.0, verification=0.5, kid_floor=0.5),
        *whole("b", kid=0.1, verification=1.0, kid_floor=0.5),
    ]
    axis = figures_generative.sets(frame(given)).get_axes()[0]
    places = [tuple(each.get_offsets()[0]) for each in axis.collections]
    assert places == [(0.5, 2.0), (1.0, 0.1)] and [text.get_text() for text in axis.texts] == ["a", "b"]
    assert set(axis.get_lines()[0].get_ydata()) == {0.5}
    assert figures_generative.sets(frame(whole("a", kid=2.0))) is None


def stored(path, parts, pictures=()):
    store = Store.create(path, {}, {"name": "recommended", "hash": "0"}, {}, {})
    store.write_records("ab" * 32, [row for part in parts for row in part])
    for place, each in enumerate(pictures):
        store.write_picture(f"{place:02}" * 32, each.arrays, each.meta)
    return store


def test_the_flip_matrix_is_drawn_once_beside_the_first_model(tmp_path):
    parts = [
        rows("pe", "attributes", f"flip-{name}", [float(name in subject)] * 3, subject)
        for subject in ("fmnist-planted[attribute=border]", "fmnist-planted[attribute=square]")
        for name in ("border", "square")
    ]
    store, shown = stored(tmp_path / "run", parts), []
    gallery = Gallery(tmp_path)
    for name in ("fmnist-planted[attribute=border]", "fmnist-planted[attribute=square]", "m"):
        shown.append(len(list(figures_generative._flips({name}, store, gallery))))
    assert shown == [1, 0, 0] and [path.name for path in gallery.written] == ["flip-matrix.png"]
    matrix = flip_tables.flip_matrix(reports.load(store.path))
    texts = [text.get_text() for text in flip_tables.heat_map(matrix).get_axes()[0].texts]
    assert texts == ["1.00", "0.00", "0.00", "1.00"]


def test_sections_hold_all_that_was_stored(tmp_path):
    parts = [*answers("pe", np.full((4, 10), 0.5)), *whole("pe", kid=2.0, verification=0.5)]
    store = stored(tmp_path / "run", parts, [picture("pe", 3), picture("other")])
    shown = figures_generative.sections(reports.load(store.path), store, Gallery(tmp_path / "figures"))
    titles = [each.title for each in shown]
    assert titles == [
        "Counterfactuals of i/0", "On the way to counterfactuals of i/0", "Counterfactuals of i/1",
        "On the way to counterfactuals of i/1", "Requested and achieved probability",
        "As sets: like real images, and still the same?",
    ]  # fmt: skip
    written = {path.name for path in reports.write_report(store.path)}
    assert {"requested-achieved.csv", "requested-achieved.md"} <= written
