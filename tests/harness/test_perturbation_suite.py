"""The perturbation suites from the command to the page, on the toy."""

from __future__ import annotations

import reports
from bench import run, suites
from bench.checks import CHECKS
from tests.harness.support import MODEL, TOY


def test_suites_name_checks_that_exist_and_belong_to_them() -> None:
    for name in ("pixel-perturbation", "patch-perturbation"):
        suite = suites.get(name)
        assert all(CHECKS[check].suite == name for check in suite.checks) and len(suite.checks) == 6
        assert {size.images for size in suite.sizes.values()} == {64, 256, 1000}


def test_a_run_of_patches_is_judged_and_drawn(tmp_path) -> None:
    finished = run(
        suite="patch-perturbation", model=MODEL, plugin=TOY, explainers="toy-gradient", images=40, seeds=1, jobs=1,
        out=tmp_path / "run",
    )  # fmt: skip
    assert finished.complete and not finished.failed
    table = finished.verdicts().set_index(["explainer", "check"])
    row = table.loc["toy-gradient", "perturbation-black-patches"]
    # A network of random weights gets about one image in ten right.
    assert 0 < row.n == row.expected < 20 and f"{40 - row.n} that the model gets wrong are left out" in row.reason
    assert table.loc["toy-gradient", "perturbation-counterfactual-patches"].verdict == "N/A"
    assert set(table.loc["toy-gradient"].index) == {*suites.get("patch-perturbation").checks, "faithfulness"}
    frame = reports.load(tmp_path / "run")
    assert set(frame.suite) == {"patch-perturbation"} and (frame.status == "ok").any()
    assert (tmp_path / "run" / "measures.json").exists()
    pages = reports.write_report(tmp_path / "run")
    text = pages[0].read_text()
    assert text.count("faithfulness") >= 1 and "Curves, patches replaced by black" in text
    drawn = [page for page in pages if page.name.endswith("patch-perturbation-black-curves.png")]
    assert len(drawn) == 1 and drawn[0].stat().st_size > 1000
