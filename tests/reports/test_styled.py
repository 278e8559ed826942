"""The verdict table in a notebook."""

from __future__ import annotations

import re

import pandas as pd
import synthetic

import reports
from reports.styled import COLOURS, VerdictTable
from reports.verdict import COLUMNS, MEANINGS

ROWS = [
    ("m", "good<script>", "randomization", "cascading", 80, 80, 0.93512, 0.912, 0.9691, "PASS", "the maps change"),
    ("m", "flat", "randomization", "cascading", 0, 80, float("nan"), float("nan"), float("nan"), "UNDEFINED", "a & b"),
    ("m", "zero", "randomization", "cascading", 80, 80, -0.0001, -0.1, 0.1, "FAIL", "the maps stay"),
]


def table():
    return VerdictTable(pd.DataFrame(ROWS, columns=list(COLUMNS)))


def luminance(colour):
    parts = [int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return sum(weight * part for weight, part in zip((0.2126, 0.7152, 0.0722), linear, strict=True))


def test_numbers_are_short_nothing_is_a_dash_and_texts_are_safe():
    html = table().style.to_html()
    cells = re.findall(r"<td[^>]*>([^<]*)</td>", html)
    assert {"0.94", "0.91", "0.97", "0.00", "-0.10", "–", "80", "a &amp; b"} <= set(cells)
    assert "nan" not in html and "0.93512" not in html and "<script>" not in html and "-0.00" not in cells
    assert "row_heading" not in html, "no numbers of rows"
    assert COLOURS["PASS"] in html and COLOURS["FAIL"] in html


def test_every_verdict_has_a_colour_that_white_can_be_read_on():
    assert set(COLOURS) == set(MEANINGS)
    assert all(1.05 / (luminance(colour) + 0.05) >= 4.5 for colour in COLOURS.values())


def test_it_stays_a_table_of_verdicts_when_it_is_cut():
    cut = table()[["verdict", "estimate", "explainer"]].query("verdict == 'FAIL'")
    html = cut.style.to_html()
    assert isinstance(cut, VerdictTable) and ">0.00<" in html and "row_heading" not in html
    assert "row_heading" in table().set_index("explainer").style.to_html()
    assert table()[["n", "expected"]].style.to_html()
    assert isinstance(table()["n"], pd.Series)


def test_verdicts_of_a_run_are_such_a_table(tmp_path):
    store = synthetic.build(tmp_path / "a", ("sensitive", "constant"), images=2, seeds=2)
    found = reports.verdicts(reports.load(store.path))
    assert isinstance(found, VerdictTable) and "UNDEFINED" in found.style.to_html()
    assert list(found.columns) == list(COLUMNS) and type(pd.DataFrame(found)) is pd.DataFrame
