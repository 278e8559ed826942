"""Figures of counterfactuals for notebooks: what they show, and what they say where there is nothing to show."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import synthetic
from matplotlib.figure import Figure

import reports
from reports import figures, schema
from reports.files import RunFolderError

ROOT = Path(__file__).parents[2]


def rows(check, values, subject="m", image=None):
    """Records of one check: explainer to measure to value."""
    return [
        {
            **synthetic.base_row(explainer, check, 0, "generative"),
            "subject": subject, "image": image, "measure": measure, "value": value,
        }
        for explainer, measures in values.items()
        for measure, value in measures.items()
    ]  # fmt: skip


@pytest.fixture(scope="module")
def frame():
    found = rows("distribution", {"a": {"kid": 0.2, "verification": 0.9}, "b": {"kid": 0.05, "verification": 0.4}})
    for number in range(3):
        image = synthetic.image_name(number)
        found += rows("spread", {"a": {"closeness": 0.5 + 0.1 * number}, "b": {"closeness": 0.2}}, image=image)
        found += rows("extreme", {"a": {"closeness": 0.1}}, image=image)
        flips = {"a": {"flip-sleeves": 1.0, "flip-collar": float(number == 0)}}
        found += rows("attributes", flips, "fmnist-planted-sleeves", image)
    return schema.check(pd.DataFrame(found))


def words(figure):
    """All texts of a figure."""
    texts = [
        text.get_text()
        for axis in figure.axes
        for text in [axis.title, axis.xaxis.label, axis.yaxis.label, *axis.texts]
    ]
    labels = [label.get_text() for axis in figure.axes for label in (*axis.get_xticklabels(), *axis.get_yticklabels())]
    return [*texts, *labels]


def test_sets_are_dots_of_one_subject(frame):
    figure = figures.counterfactual_sets(frame)
    dots = np.concatenate([each.get_offsets() for each in figure.axes[0].collections])
    np.testing.assert_allclose(sorted(map(tuple, dots)), [(0.4, 0.05), (0.9, 0.2)])
    assert {"a", "b"} <= set(words(figure))
    with pytest.raises(RunFolderError, match="no records of x under distribution; there are: m"):
        figures.counterfactual_sets(frame, "x")


def test_asked_sets_show_both_requests(frame):
    figure = figures.asked_sets(frame, theme="neutral")
    (axis,) = figure.axes
    marks = {line.get_label(): list(line.get_xdata()) for line in axis.lines if not line.get_label().startswith("_")}
    assert axis.get_title() == "closeness"
    np.testing.assert_allclose(marks["spread"], [0.6, 0.2])
    np.testing.assert_allclose(marks["extreme"], [0.1])


def test_the_flip_matrix_shows_shares_of_all_models(frame):
    figure = figures.flip_matrix(frame)
    (shares, *_) = [axis.images[0].get_array() for axis in figure.axes if axis.images]
    np.testing.assert_allclose(shares, [[1 / 3, 1.0]])
    assert {"collar", "sleeves", "fmnist-planted-sleeves\na", "0.33", "1.00"} <= set(words(figure))


def test_strips_show_the_kept_images(tmp_path):
    store = reports.Store.create(tmp_path / "run", {}, {"name": "p", "hash": "h"}, {}, {})
    draw, ids = np.random.default_rng(0), ["i/0", "i/1"]
    for name in ("b", "a"):
        arrays = {key: draw.random((2, 1, 8, 8)) for key in ("images", "counterfactuals", "reconstructions", "maps")}
        meta = {"check": "counterfactual", "subject": "m", "explainer": name, "images": ids, "classes": ["x", "y"],
                "toward": ["y", "x"], "outcomes": ["reached", "gave up"]}  # fmt: skip
        store.write_picture(synthetic.key_of(name), arrays, meta)
    figure = figures.counterfactual_strips(store.path, "i/1")
    assert len(figure.axes) == 8
    assert [figure.axes[place].get_ylabel() for place in (0, 4)] == ["a\ny → x\ngave up", "b\ny → x\ngave up"]
    assert "reached" in figures.counterfactual_strips(store.path).axes[0].get_ylabel()
    with pytest.raises(RunFolderError, match="no counterfactuals of i/2 are kept.*i/0, i/1"):
        figures.counterfactual_strips(store.path, "i/2")


def test_what_was_not_run_is_said():
    nothing = schema.empty()
    for name in ("counterfactual_sets", "asked_sets"):
        with pytest.raises(RunFolderError, match="0 models and no subject given"):
            getattr(figures, name)(nothing)
    with pytest.raises(RunFolderError, match="no values of planted attributes.*suite `generative`"):
        figures.flip_matrix(nothing)


def test_every_figure_is_in_the_reference():
    """What `figures` offers is what the reference lists, and all of it returns figures."""
    text = (ROOT / "docs" / "reference" / "reports.md").read_text()
    listed = re.findall(r"^::: reports\.figures\.(\w+)$", text, re.MULTILINE)
    assert sorted(listed) == sorted(figures.__all__) and len(set(listed)) == len(listed)
    for name in listed:
        made = getattr(figures, name)
        assert made.__annotations__["return"] in (Figure, "Figure") and made.__doc__
