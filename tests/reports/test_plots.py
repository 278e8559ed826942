"""Figures: what they show, that they leave nothing behind, and that odd input does not break them."""

from __future__ import annotations

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest
import synthetic

from reports import picture_grid as grids
from reports import plots, schema, tables
from reports.pictures import Picture
from reports.verdict import verdicts

NAMES = ("sensitive", "guided", "edge-detector", "constant")


@pytest.fixture(scope="module")
def frame():
    counts = {"cascading": 3, "independent": 3, "ceiling": 2, "floor": 5}
    rows = []
    for name in NAMES:
        for check, seeds in counts.items():
            for seed in range(seeds):
                rows += synthetic.cell_rows(name, check, seed, 4)
    for check in ("health-cascading", "health-independent"):
        for seed in range(3):
            rows += synthetic.health_rows(check, seed)
    return schema.check(pd.DataFrame(rows))


def picture(explainer="e$a_b$", signed=True, size=28):
    rng = np.random.default_rng(0)
    maps = rng.normal(size=(1, 4, size, size)).astype(np.float16)
    maps[0, 1] = 0
    maps[0, 2] = np.nan
    meta = {
        "subject": "m",
        "explainer": explainer,
        "signed": signed,
        "images": ["i"],
        "layers": ["c", "b", "a"],
    }
    return Picture("ab" * 8, {"maps": maps, "images": rng.random((1, 3, size, size))}, meta)


def is_png(data):
    return data.startswith(b"\x89PNG") and len(data) > 2000


def test_curves_have_a_panel_per_group_and_the_layers_in_cascade_order(frame):
    groups = {"sensitive": "gradient", "guided": "modified-backprop", "edge-detector": "reference"}
    figure = plots.similarity_curves(tables.similarity(frame), "cascading", groups)
    titles = [axis.get_title(loc="left") for axis in figure.axes]
    assert titles == ["gradient", "modified-backprop", "reference"]
    labels = [label.get_text() for label in figure.axes[0].get_xticklabels()]
    assert labels == ["trained", *synthetic.LAYERS, "floor"]
    line = figure.axes[0].lines[0]
    chosen = frame[(frame["explainer"] == "sensitive") & (frame["check"] == "cascading") & (frame["measure"] == "ssim")]
    np.testing.assert_allclose(line.get_ydata(), chosen.groupby("stage")["value"].mean())
    assert is_png(plots.to_bytes(figure, "png"))


def test_a_panel_with_many_explainers_and_dollars_in_names_is_drawn(frame):
    table = tables.similarity(frame)
    one = table[table["explainer"] == "sensitive"]
    many = pd.concat([one.assign(explainer=f"lrp$x^{number}_$") for number in range(15)])
    assert is_png(plots.to_bytes(plots.similarity_curves(many, "independent", {}), "png"))


def test_intervals_name_every_explainer_and_its_verdict(frame):
    table = verdicts(frame)
    figure = plots.sensitivity_intervals(table, 0.2)
    (axis,) = figure.axes
    names = [label.get_text() for label in axis.get_yticklabels()]
    assert sorted(names) == sorted(NAMES)
    said = [text.get_text() for text in axis.texts]
    assert sorted(said[1:]) == sorted(table.loc[table["check"] == "cascading", "verdict"])


def test_health_has_a_panel_per_measure(frame):
    figure = plots.model_health(tables.health(frame))
    assert [axis.get_title(loc="left") for axis in figure.axes] == [
        "accuracy", "dead-relu-share", "healthy", "logit-sd",
    ]  # fmt: skip


def test_empty_tables_give_a_figure_that_says_so():
    empty = schema.empty()
    for figure in (
        plots.similarity_curves(tables.similarity(empty), "cascading", {}),
        plots.sensitivity_intervals(verdicts(empty), 0.2),
        plots.model_health(tables.health(empty)),
        grids.picture_grid([], "i"),
    ):
        assert plots.to_bytes(figure, "png").startswith(b"\x89PNG")


@pytest.mark.parametrize("mode", ["signed", "positive"])
@pytest.mark.parametrize("size", [28, 224])
def test_the_grid_has_a_row_per_explainer_and_says_what_cannot_be_shown(mode, size):
    figure = grids.picture_grid([picture(size=size), picture("b", False, size)], "i", mode)
    (axis,) = figure.axes
    assert [label.get_text() for label in axis.get_yticklabels()] == ["e$a_b$", "b"]
    assert [label.get_text() for label in axis.get_xticklabels()] == ["image", "trained", "c", "b", "a"]
    assert [text.get_text() for text in axis.texts] == ["zero", "none"] * 2
    assert is_png(plots.to_bytes(figure, "png"))


def test_a_constant_map_is_called_constant():
    flat = picture()
    flat.arrays["maps"][:] = 0.5
    (axis,) = grids.picture_grid([flat], "i").axes
    assert [text.get_text() for text in axis.texts] == ["constant"] * 4


def test_maps_are_scaled_by_their_own_percentile():
    values = np.linspace(-1, 1, 2001).reshape(1, -1)
    shown = grids.scaled(values, "signed")
    assert shown.max() == 1 and shown.min() == -1 and (np.abs(shown) == 1).mean() == pytest.approx(0.01, abs=0.002)
    assert grids.scaled(values, "positive").min() == 0
    np.testing.assert_allclose(grids.scaled(values * 1e-6, "signed"), shown)
    np.testing.assert_allclose(grids.scaled(-values, "signed"), -shown)
    lone = np.zeros((20, 20))
    lone[3, 4] = 1e-9
    assert grids.scaled(lone, "signed")[3, 4] == 1
    assert not grids.scaled(np.zeros((4, 4)), "signed").any()


def test_figures_depend_on_the_data_alone_and_leave_nothing_open(frame):
    import matplotlib.pyplot as plt

    before = dict(mpl.rcParams)
    table = tables.similarity(frame)
    made = [plots.to_bytes(plots.similarity_curves(table, "cascading", {}), "svg") for _ in range(2)]
    assert made[0] == made[1] and b"<script" not in made[0]
    assert plt.get_fignums() == [] and dict(mpl.rcParams) == before


def test_the_dark_figure_differs_in_colours_only(frame):
    light = plots.to_bytes(plots.model_health(tables.health(frame)), "svg", solid=False)
    dark = plots.to_dark(light)
    assert len(dark) == len(light) and dark != light and b"#1d2430" not in dark
