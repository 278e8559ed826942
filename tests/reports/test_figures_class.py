"""Figures of class discrimination: drawn from stored records and maps alone; outlines by hand; nothing to show is said."""

from __future__ import annotations

import sys

import numpy as np
import pytest
from test_judge_class import BASELINES, located, similar

from reports import schema
from reports.class_pictures import mosaic_examples, outline, two_classes
from reports.figures_class import sections
from reports.frame import load
from reports.page import Shown
from reports.pictures import Picture
from reports.plots import to_bytes
from reports.store import Store

IMAGES = ["toys/0000", "toys/0001"]


class Kept:
    """A gallery that draws every figure and keeps its size."""

    def __init__(self):
        self.drawn = {}

    def add(self, name, title, caption, figure):
        self.drawn[name] = len(to_bytes(figure, "png"))
        return Shown(title, caption, "", "")

    add_pixels = add


def arrays(masks=True):
    maps = np.random.default_rng(0).normal(size=(2, 2, 8, 8))
    maps[1, 1] = 0.0
    places = np.zeros((2, 2, 8, 8), np.uint8)
    places[:, 0, :4, :4], places[:, 1, 4:, 4:] = 1, 1
    found = {"maps": maps, "images": np.full((2, 1, 8, 8), 0.5)}
    return {**found, "masks": places} if masks else found


def meta(explainer, check="class-similarity"):
    classes = [["Coat", "Bag"], ["<b>", "$x$"]]
    return {"subject": "toy", "explainer": explainer, "check": check, "seed": 0, "signed": True, "images": IMAGES,
            "layers": [], "targets": [[1, 2], [3, 4]], "classes": classes}  # fmt: skip


@pytest.fixture
def store(tmp_path):
    cards = {
        name: {"group": "reference" if name in ("input", "centre") else "gradient"} for name in ("e", "input", "centre")
    }
    made = Store.create(tmp_path / "run", {}, {"name": "recommended", "hash": "", "parameters": {}}, {}, cards)
    records = [*located("e", 0.6), *similar("e", 0.3), *BASELINES]
    keys = {}
    for row in records:
        keys.setdefault((row["explainer"], row["check"], row["seed"]), []).append({**row, "cell": None})
    plan = []
    for number, ((explainer, check, seed), rows) in enumerate(keys.items()):
        key = f"{number:064x}"
        plan.append({"key": key, "suite": "class-discrimination", "check": check, "subject": "toy", "explainer": explainer,
                     "seed": seed, "images": sorted({row["image"] for row in rows}), "rows": None})  # fmt: skip
    made.write_plan(plan)
    for cell, rows in zip(plan, keys.values(), strict=True):
        made.write_records(cell["key"], [{**row, "cell": cell["key"]} for row in rows])
        if cell["check"] == "class-similarity":
            made.write_picture(cell["key"], arrays(), meta(cell["explainer"]))
    return made


def test_every_figure_is_drawn_without_torch(store):
    gallery = Kept()
    shown = sections(load(store.path), store, gallery)
    assert set(gallery.drawn) == {
        "toy-grid-localisation", "toy-class-similarity", "toy-class-similarity-examples",
        "toy-class-similarity-toys/0000", "toy-class-similarity-toys/0001",
    }  # fmt: skip
    assert all(size > 2000 for size in gallery.drawn.values()) and len(shown) == 5
    assert shown[0].title == "Relevance on the evidence: mosaics"


def test_records_of_other_suites_give_no_figure(store):
    frame = load(store.path)
    assert sections(frame[frame["suite"] == "randomization"], store, Kept()) == []
    assert sections(schema.empty(), store, Kept()) == []


def test_the_outline_of_a_box_is_its_border():
    mask = np.zeros((5, 6), np.uint8)
    mask[1:3, 2:6] = 1
    found = {frozenset(segment) for segment in outline(mask)}
    assert found == {
        frozenset({(1.5, 0.5), (5.5, 0.5)}), frozenset({(1.5, 2.5), (5.5, 2.5)}),
        frozenset({(1.5, 0.5), (1.5, 2.5)}), frozenset({(5.5, 0.5), (5.5, 2.5)}),
    }  # fmt: skip
    assert outline(np.zeros((3, 3))) == []


def test_every_cell_of_an_example_is_outlined_and_those_of_no_class_thin():
    corners = [(0, 0), (0, 4), (4, 0), (4, 4)]
    two = np.full((2, 4, 4), -1, np.int16)
    two[0] = [(top, left, 4, 4) for top, left in corners]
    two[1, :2] = [(0, 0, 4, 4), (4, 4, 4, 4)]
    figure = mosaic_examples(Picture("k", {**arrays(), "boxes": two}, meta("e")))
    widths = [[line.get_linewidth() for line in axis.lines] for axis in figure.axes]
    # Two outlines of four sides each; of the four cells of the first image two more, of the second image none.
    assert [len(each) for each in widths] == [2 + 8, 8]
    assert sorted(widths[0])[:2] == [0.7, 0.7] and min(widths[1]) > 1
    thin = [line for line in figure.axes[0].lines if line.get_linewidth() == 0.7]
    middles = {(float(np.mean(line.get_xdata()[:4])), float(np.mean(line.get_ydata()[:4]))) for line in thin}
    assert {(round(x, 6), round(y, 6)) for x, y in middles} == {(5.5, 1.5), (1.5, 5.5)}
    without = mosaic_examples(Picture("k", arrays(), meta("e")))
    assert [len(axis.lines) for axis in without.axes] == [8, 8]


def test_two_maps_that_are_apart_look_apart_and_a_zero_map_is_named():
    figure = two_classes([Picture("k", arrays(), meta("e"))], IMAGES[1])
    texts = [text.get_text() for axis in figure.axes for text in axis.texts]
    assert texts == ["zero"]
    titles = [axis.get_title() for axis in figure.axes]
    assert titles == ["image", "<b>", "$x$", "difference"]
    same = arrays()
    same["maps"][0, 1] = same["maps"][0, 0]
    again = two_classes([Picture("k", same, meta("e"))], IMAGES[0])
    assert [text.get_text() for text in again.axes[3].texts] == ["zero"]


def test_maps_without_known_evidence_have_no_outline():
    plain = two_classes([Picture("k", arrays(masks=False), meta("e", "class-similarity-top2"))], IMAGES[0])
    assert not any(axis.lines for axis in plain.axes)
    outlined = two_classes([Picture("k", arrays(), meta("e"))], IMAGES[0])
    assert all(axis.lines for axis in outlined.axes)


def test_drawing_needs_no_torch():
    import subprocess

    code = "import sys, reports.figures_class; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
