"""What is kept of a run: the same leaderboard from a part of the records; the shipped leaderboard is current."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest
import test_leaderboard
from typer.testing import CliRunner

import reports
from bench.cli import app
from reports import leaderboard_output
from reports.files import RunFolderError
from reports.keeping import keep_parts

ROOT = Path(__file__).parents[2]
SHIPPED = ROOT / "docs" / "leaderboard"


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs")
    gate = test_leaderboard.gate_run(folder / "gate")
    gate.write_failure("00c0ffee", {"type": "E", "message": "m", "traceback": "long", "explainer": "best"})
    return [gate.path, test_leaderboard.scored(folder / "mean", "perturbation-mean", "abpc", images=8).path]


def bench(*words):
    done = CliRunner().invoke(app, [str(word) for word in words])
    return done.exit_code, done.output


def test_the_leaderboard_of_the_kept_part_is_that_of_the_run(runs, tmp_path):
    kept = keep_parts(runs, tmp_path)
    assert kept == [tmp_path / "gate", tmp_path / "mean"]
    pd.testing.assert_frame_equal(
        reports.rank_explainers(kept, resamples=50).rows, reports.rank_explainers(runs, resamples=50).rows
    )
    for run, part in zip(runs, kept, strict=True):
        pd.testing.assert_frame_equal(reports.verdicts(reports.load(part)), reports.verdicts(reports.load(run)))
    frame = reports.load(kept[0])
    assert set(frame.loc[frame["image"].notna(), "measure"]) == {"ssim"} and len(frame) < len(reports.load(runs[0]))
    assert "traceback" not in reports.Store.open(kept[0]).failures()["00c0ffee"]


def test_keeping_again_replaces_what_was_kept(runs, tmp_path):
    (kept,) = keep_parts(runs[1:], tmp_path)
    other = test_leaderboard.scored(tmp_path / "new" / "mean", "perturbation-blur", "abpc", images=5).path
    before = {path.name for path in kept.glob("packs/*")}
    assert keep_parts([other], tmp_path) == [kept]
    assert set(reports.load(kept)["check"]) == {"perturbation-blur"}
    assert before.isdisjoint(path.name for path in kept.glob("packs/*"))
    (kept / "notes.txt").write_text("mine")
    with pytest.raises(RunFolderError, match=r"holds 'notes.txt'"):
        keep_parts([other], tmp_path)
    assert len(reports.load(kept)), "nothing was removed before"


def test_runs_that_would_be_lost_are_refused(runs, tmp_path):
    with pytest.raises(RunFolderError, match="two runs are called"):
        keep_parts([runs[0], tmp_path / "gate"], tmp_path)
    with pytest.raises(RunFolderError, match="is the run itself"):
        keep_parts(runs[:1], runs[0].parent)
    assert len(reports.load(runs[0]))


def test_the_command_writes_between_marks_and_checks(runs, tmp_path):
    page = tmp_path / "README.md"
    page.write_text("# Mine\n\n<!-- leaderboard -->\nold\n<!-- end of leaderboard -->\n\nafter\n")
    assert bench("leaderboard", *runs, "--out", page, "--check")[0] == 1
    assert bench("leaderboard", *runs, "--out", page, "--keep", tmp_path / "kept")[0] == 0
    text = page.read_text()
    assert text.startswith("# Mine\n\n<!-- leaderboard -->\n\n| rank |") and text.endswith("-->\n\nafter\n")
    assert "\nold\n" not in text and "| best " in text
    kept = sorted((tmp_path / "kept").iterdir())
    code, said = bench("leaderboard", *kept, "--out", page, "--check")
    assert code == 0 and "is current" in said
    page.write_text(text.replace("| best ", "| bset "))
    code, said = bench("leaderboard", *kept, "--out", page, "--check")
    assert code == 1 and "is not the leaderboard of" in said and "bset" in page.read_text()


def test_a_file_without_marks_holds_the_leaderboard_alone(tmp_path):
    path = tmp_path / "a.md"
    path.write_text(f"x {leaderboard_output.MARKS[0]} y")
    assert leaderboard_output.between_marks(path, "new") == "new"
    assert leaderboard_output.between_marks(tmp_path / "absent.md", "new") == "new"


def test_the_shipped_leaderboard_is_that_of_the_shipped_records():
    kept = sorted(path for path in SHIPPED.iterdir() if path.is_dir())
    code, said = bench("leaderboard", *kept, "--out", ROOT / "docs" / "leaderboard.md", "--check")
    assert code == 0, said
    table = pd.read_csv(SHIPPED / "leaderboard.csv", keep_default_na=False, na_values=[""])
    page = (ROOT / "docs" / "leaderboard.md").read_text()
    assert len(table) > 20 and all(f"| {name} |" in page for name in table["explainer"])
    ranked = table[table["status"] == "ranked"]
    assert all(f"| {rank:g} [" in page for rank in ranked["rank"]) and len(ranked) >= 5


def test_the_shipped_records_are_small_and_whole():
    size = sum(path.stat().st_size for path in SHIPPED.rglob("*") if path.is_file())
    assert size < 2e6
    for path in SHIPPED.iterdir():
        if path.is_dir():
            store = reports.Store.open(path)
            assert not store.damaged() and store.done() == {cell["key"] for cell in store.plan()}
