"""What is kept of a run: the same leaderboard from a part of the records; the shipped leaderboard is current."""

from __future__ import annotations

import io
import json
import shutil
from pathlib import Path

import pandas as pd
import pytest
import test_leaderboard
from typer.testing import CliRunner

import reports
from bench import facts, protocols, suites
from bench.cli import app
from reports import files, leaderboard_output
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


@pytest.fixture(scope="module")
def shipped():
    """The leaderboard of the shipped records."""
    return reports.rank_explainers([path for path in sorted(SHIPPED.iterdir()) if path.is_dir()])


def test_the_shipped_leaderboard_is_that_of_the_shipped_records(shipped):
    page = ROOT / "docs" / "leaderboard.md"
    assert leaderboard_output.between_marks(page, leaderboard_output.to_text(shipped)) == page.read_text()
    table = pd.read_csv(SHIPPED / "leaderboard.csv", keep_default_na=False, na_values=[""])
    made = pd.read_csv(io.StringIO(leaderboard_output.to_csv(shipped)), keep_default_na=False, na_values=[""])
    pd.testing.assert_frame_equal(table, made, rtol=1e-9, atol=1e-12)
    scores = [name for name in table if name.startswith(("abpc ", "mass ")) and "ci_" not in name]
    assert len(scores) >= 5 and table[scores].notna().all(axis=1).sum() > 20
    ranked = table[table["status"] == "ranked"]
    assert len(ranked) >= 5 and len(table) > 20 and not (table["status"] == "incomplete").any()


SAME = {
    **dict.fromkeys(("class-ceiling", "class-floor"), (1, 2)),
    **dict.fromkeys((f"perturbation-{name}" for name in suites.REPLACEMENTS), (1, 2)),
}
"""Checks with versions that give the same values to all but explainers that search for another image, of which the shipped
runs hold none: such maps are ranked by their size, and begin anew."""


def outdated(path):
    """In what the code differs from what made a kept run: what the next run would compute anew."""
    store = reports.Store.open(path)
    assert not any(card["group"] == "contrastive" for card in store.explainers.values())
    found = []
    for name, card in store.explainers.items():
        now = facts.explainer_facts(name).info
        # A parameter that came later has the old behaviour as its default, and keys leave it out.
        now["params"] = {word: now["params"].get(word) for word in card["params"]}
        found += [f"{name}: {part}" for part in ("version", "params", "signed", "channels") if card[part] != now[part]]
    checks = {cell["check"] for cell in store.plan()}
    known = facts.measures()
    for name, measure in store.measures.items():
        for check in sorted(checks & set(measure["versions"])):
            old, now = measure["versions"][check], known[name]["versions"].get(check)
            if old != now and SAME.get(check) != (old, now):
                found.append(f"{check}: version")
    found = list(dict.fromkeys(found))
    if store.protocol["hash"] != protocols.get(store.protocol["name"]).hash:
        found.append("protocol")
    return found


def test_the_shipped_records_are_those_of_this_code(tmp_path):
    kept = sorted(path for path in SHIPPED.iterdir() if path.is_dir())
    assert [outdated(path) for path in kept] == [[]] * len(kept), "make docs/leaderboard again, as its page says"
    path = tmp_path / "a"
    shutil.copytree(kept[0], path)
    for part, change in {
        "explainers": lambda content: (
            content["gradcam"].update(version=content["gradcam"]["version"] + 1),
            content["smoothgrad"]["params"].update(samples=3),
        ),
        "measures": lambda content: content["ssim"]["versions"].update({"class-similarity-top2": 99}),
        "protocol": lambda content: content.update(hash="0"),
    }.items():
        content = json.loads((path / f"{part}.json").read_text())
        change(content)
        files.write_json(path / f"{part}.json", content)
    assert outdated(path) == ["gradcam: version", "smoothgrad: params", "class-similarity-top2: version", "protocol"]


@pytest.mark.slow
def test_values_of_the_shipped_records_come_out_again(tmp_path):
    """Two cheap explainers on two images: the records that were kept are those of the code, and not only of its names."""
    # Pixels of Grad-CAM's enlarged maps are almost equal: with 2 images a pass in place of 64 rounding orders some otherwise,
    # which moves the area by up to 4e-4.
    for suite, measure, rows, names in (
        ("randomization", "ssim", 100, "gradient,gradcam"), ("pixel-perturbation", "abpc", 10, "gradient"),
    ):  # fmt: skip
        seeds = ("--seeds", "1") if suite == "randomization" else ()
        made = bench("run", "--suite", suite, "--explainers", names, "--images", "2", *seeds,
                     "--jobs", "1", "--quiet", "--out", tmp_path / suite)  # fmt: skip
        # 3: so few images and seeds decide nothing, not even about all references.
        assert made[0] in (0, 3) and not reports.Store.open(tmp_path / suite).failures(), made[1]
        place = ["check", "explainer", "seed", "stage", "image", "measure"]
        new, old = (reports.load(path) for path in (tmp_path / suite, SHIPPED / suite))
        new, old = (each[(each["measure"] == measure) & each["value"].notna()] for each in (new, old))
        new = new[new["explainer"].isin(names.split(","))]
        both = new.merge(old, on=place, how="left", suffixes=("", "_kept"), validate="one_to_one")
        assert len(both) >= rows
        pd.testing.assert_series_equal(both["value"], both["value_kept"], atol=1e-4, rtol=0, check_names=False)


def test_the_shipped_records_are_small_and_whole():
    size = sum(path.stat().st_size for path in SHIPPED.rglob("*") if path.is_file())
    assert size < 2e6
    for path in SHIPPED.iterdir():
        if path.is_dir():
            store = reports.Store.open(path)
            assert not store.damaged() and store.done() == {cell["key"] for cell in store.plan()}
