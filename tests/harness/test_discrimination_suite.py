"""Class discrimination from the command to the page, on the toy: a model of one's own, asked on mosaics of its images."""

from __future__ import annotations

from pathlib import Path

import reports
from bench import run
from tests.harness.support import MODEL, TOY

SUITE = "class-discrimination"


def test_a_run_on_a_model_of_ones_own_is_judged_and_drawn(tmp_path: Path) -> None:
    finished = run(suite=SUITE, model=MODEL, plugin=TOY, explainers="toy-gradient", images=8, seeds=1, jobs=1,
                   out=tmp_path / "run")  # fmt: skip
    assert finished.complete and not finished.failed
    table = finished.verdicts().set_index(["explainer", "check"])
    for check in ("class-similarity-top2", "class-similarity-least"):
        row = table.loc["toy-gradient", check]
        assert row.n == row.expected == 8 and row.verdict == "PASS", row.reason
        assert table.loc["input", check].verdict == "FAIL" and table.loc["oracle", check].verdict == "N/A"
    # Random weights use no cell, and the certificate says so.
    row = table.loc["toy-gradient", "grid-localisation"]
    assert row.verdict == "UNDEFINED" and "no cell is certified" in row.reason and "the model gets wrong" in row.reason
    frame = reports.load(tmp_path / "run")
    located = frame[frame["check"] == "grid-localisation"]
    assert located["image"].str.contains("/mosaic/").all() and located["image"].nunique() == 8
    assert not frame[frame["check"] != "grid-localisation"]["image"].str.contains("/mosaic/").any()
    pages = reports.write_report(tmp_path / "run")
    text = pages[0].read_text()
    drawn = {page.name for page in pages if page.suffix == ".png"}
    assert "Two classes of fashion-mnist/test/" in text and "Where the evidence is" in text
    assert any("class-similarity-top2-fashion-mnist-test" in name for name in drawn)
    assert any(name.endswith("grid-localisation-examples.png") for name in drawn)
    assert all(page.stat().st_size > 1000 for page in pages if page.suffix == ".png")
