"""Result files: refused one by one, left out by rules, analysed; known skill comes back."""

from __future__ import annotations

import json
import subprocess
import sys

import numpy as np
import pytest
import study_files
from scipy import stats
from typer.testing import CliRunner

from reports.files import RunFolderError
from reports.study import analysis, output
from reports.study.results import RATINGS, read_results
from reports.study.rules import Rules, read_declaration


def simulated(folder, skill, each=40, seed=5):
    """Files of people who are right with a known probability that grows from chance over the trials."""
    random = np.random.default_rng(seed)
    for group, last in skill.items():
        chance = np.linspace(0.5, last, 20)
        for number in range(each):
            name = f"{group}-{number}"
            study_files.write(folder, name, study_files.content(name, group, random.random(20) < chance))


BAD = {
    "truncated": (json.dumps(study_files.content("t"))[:-40], "is not whole JSON"),
    "empty": ("", "is not whole JSON"),
    "list": ("[]", "is no result file"),
    "version": (study_files.content("v", version=2), "has version 2"),
    "group": (study_files.content("g", group="lime"), "`group` is 'lime'"),
    "rating": (study_files.content("r", rating=6), "`rating` is 6"),
    "planned": (study_files.content("p", planned=3), "at most 3 answers"),
    "person": (study_files.content(""), "`participant`"),
    "half": (study_files.content("\ud800"), "`participant`"),
    "answer": (study_files.content("a", trials=[{"truth": "Peat", "answer": "x"}]), "trial 1: `answer` is 'x'"),
    "time": (
        study_files.content("s", trials=[{"image": "i", "truth": "Peat", "answer": "Peat", "seconds": -1}]),
        "trial 1: `seconds` is -1",
    ),
    "deep": ("[" * 100_000, "is not whole JSON"),
    "elsewhere": (study_files.content("e", study="b" * 64), "comes from another study page"),
    "twice": (study_files.content("good-0"), "same participant as"),
}


def test_bad_files_are_refused_one_by_one_and_the_rest_is_analysed(tmp_path):
    good = [study_files.write(tmp_path, f"good-{i}", study_files.content(f"good-{i}")) for i in range(3)]
    bad = {study_files.write(tmp_path, name, what): reason for name, (what, reason) in BAD.items()}
    missing = tmp_path / "missing.json"
    results, refused = read_results([*good, *bad, missing])
    assert [each.path for each in results] == good
    told = {each.path: each.reason for each in refused}
    assert set(told) == {*bad, missing} and len(refused) == len(told)
    for path, reason in bad.items():
        assert reason in told[path], path
    assert f"{len(told)} files refused" in analysis.analyse(results, refused).notes[0]


def test_a_folder_is_its_files_and_a_file_given_twice_counts_once(tmp_path):
    path = study_files.write(tmp_path, "one", study_files.content("one"))
    results, refused = read_results([path, tmp_path, path])
    assert len(results) == 1 and not refused


def test_rules_leave_people_out_and_say_why(tmp_path):
    fast = study_files.content("fast")
    for trial in fast["trials"]:
        trial["seconds"] = 0.1
    same = study_files.content("same", right=[place % 2 == 0 for place in range(20)])
    for name, what in {"fast": fast, "same": same, "short": study_files.content("short", right=[True] * 19)}.items():
        study_files.write(tmp_path, name, what)
    good = [True] * 15 + [False] * 5
    study_files.write(tmp_path, "good", study_files.content("good", right=good))
    study = analysis.analyse(*read_results([tmp_path]))
    assert "left out by the default rules (" in study.notes[0]
    declared = analysis.analyse(*read_results([tmp_path]), rules=Rules())
    assert "left out by the rules declared beforehand (" in declared.notes[0]
    reasons = study.participants.set_index("participant")["left_out"].to_dict()
    assert reasons == {
        "fast": "median time of an answer 0.10 s",
        "good": "",
        "same": "20 of 20 answers were 'Ternal'",
        "short": "answered 19 of 20 trials",
    }
    assert study.groups["n"].to_list() == [1, 0, 0]
    assert study.groups["mean"][0] == 15 and "1 of 4 participants count" in study.notes[0]
    loose = analysis.analyse(read_results([tmp_path])[0], rules=Rules(0.5, 0.0, 1.0))
    assert loose.groups["n"][0] == 4


def test_a_study_in_which_nobody_counts_or_all_are_perfect_claims_nothing(tmp_path):
    for number, (group, names) in enumerate({"control": 1, "cdeepex": 3}.items()):
        for one in range(names):
            study_files.write(tmp_path, f"p{number}{one}", study_files.content(f"p{number}{one}", group))
    results, _ = read_results([tmp_path])
    for rules in (Rules(), Rules(seconds=100.0)):
        study = analysis.analyse(results, rules=rules)
        text = " ".join(study.notes)
        assert "No difference can be tested" in text and "No interval" in text and "guessing:" not in text
        assert output.write(study, tmp_path / "out").exists() and study.tests["p"].isna().all()


def test_known_skill_is_recovered(tmp_path):
    skill = {"control": 0.5, "gradcam": 0.7, "cdeepex": 0.95}
    simulated(tmp_path, skill)
    study = analysis.analyse(*read_results([tmp_path]))
    for row, last in zip(study.groups.to_dict("records"), skill.values(), strict=True):
        assert abs(row["mean"] - 20 * (0.5 + last) / 2) < 4 * row["sd"] / np.sqrt(row["n"])
    p = {(row["better"], row["worse"]): row["p"] for row in study.tests.to_dict("records")}
    assert p["cdeepex", "control"] < 1e-6 and p["cdeepex", "gradcam"] < 0.01
    assert (study.tests["holm"] >= study.tests["p"]).all()
    last = study.curves[study.curves["trial"] == 20]
    assert last["mean"].to_list() == pytest.approx(study.groups["mean"].to_list())
    votes = study.agreement.set_index("group")
    # The first pictures are guessed by everybody, so a few majorities of skilled people are wrong too.
    assert votes.loc["cdeepex", "accuracy"] > 0.75 and votes.loc["cdeepex", "kappa"] > votes.loc["control", "kappa"]


def test_curves_are_running_sums_with_the_interval_of_their_mean(tmp_path):
    right = {
        name: np.random.default_rng(place).random((7, 20)) < 0.7 for place, name in enumerate(("control", "cdeepex"))
    }
    for name, rows in right.items():
        for number, row in enumerate(rows):
            one = f"{name}-{number}"
            study_files.write(tmp_path, one, study_files.content(one, name, row, rating=1 + number % 4))
    study = analysis.analyse(*read_results([tmp_path]))
    for name, rows in right.items():
        total = rows.cumsum(axis=1)
        curve = study.curves[study.curves["group"] == name]
        assert curve["trial"].to_list() == list(range(1, 21)) and (curve["n"] == 7).all()
        assert curve["mean"].to_numpy() == pytest.approx(total.mean(axis=0))
        band = stats.ttest_1samp(total, 0.0, axis=0).confidence_interval(0.95)
        assert curve["ci_low"].to_numpy() == pytest.approx(band.low)
        assert curve["ci_high"].to_numpy() == pytest.approx(band.high)
    ratings = study.ratings.set_index("group")
    assert ratings.loc["cdeepex", list(RATINGS)].to_list() == [2, 2, 2, 1, 0] and ratings.loc["cdeepex", "n"] == 7
    assert ratings.loc["cdeepex", "mean"] == pytest.approx(16 / 7)
    assert ratings.loc["gradcam", "n"] == 0 and ratings.loc["gradcam", list(RATINGS)].sum() == 0


def test_people_who_guess_are_called_significant_as_rarely_as_promised(tmp_path):
    random = np.random.default_rng(8)
    scores = random.binomial(20, 0.5, (2000, 2, 15)).astype(float)
    found = [
        analysis._tests([analysis._group(n, list(s)) for n, s in zip("ab", pair, strict=True)])[0].p for pair in scores
    ]
    share = float(np.mean(np.array(found) < 0.05))
    assert share == pytest.approx(0.05, abs=0.02)


def test_only_bad_files_is_an_error_that_names_them(tmp_path):
    path = study_files.write(tmp_path, "bad", "{")
    with pytest.raises(RunFolderError, match=r"bad\.json: is not whole JSON"):
        analysis.analyse(*read_results([path]))


def test_a_page_with_tables_and_figures(tmp_path):
    (tmp_path / "in").mkdir()
    simulated(tmp_path / "in", {"control": 0.5, "cdeepex": 0.9}, each=6)
    study_files.write(tmp_path / "in", "zz<b>", "{")
    page = output.write(analysis.analyse(*read_results([tmp_path / "in"])), tmp_path / "out").read_text()
    assert page.count("<figure") == 3 and "http" not in page.replace("http-equiv", "").split("<figure")[0]
    assert "zz&lt;b&gt;" in page and "zz<b>" not in page
    assert {path.stem for path in (tmp_path / "out/tables").iterdir()} == {
        "groups", "tests", "curves", "agreement", "ratings", "participants"
    }  # fmt: skip
    assert len(list((tmp_path / "out/figures").glob("*.png"))) == 3


def test_the_command(tmp_path):
    from bench.cli import app

    simulated(tmp_path, {"control": 0.5, "cdeepex": 0.9}, each=5)
    run = CliRunner().invoke(app, ["study", "analyse", str(tmp_path)])
    assert run.exit_code == 0 and "cdeepex &gt; control" in run.output
    for wrong in ([], [str(tmp_path), "--summary", "x.json"], ["--summary", str(tmp_path / "none.json")]):
        assert CliRunner().invoke(app, ["study", "analyse", *wrong]).exit_code == 2


def test_the_analysis_needs_no_torch(tmp_path):
    study_files.write(tmp_path, "one", study_files.content("one"))
    code = (
        "import sys\n"
        "from bench.cli import app\n"
        f"app(['study', 'analyse', {str(tmp_path)!r}], standalone_mode=False)\n"
        "assert 'torch' not in sys.modules"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0 and "Right answers" in done.stdout, done.stderr


def test_the_rules_that_were_declared_count(tmp_path):
    path = study_files.write(tmp_path, "study", {"study": "a" * 64, "rules": {"seconds": 3.0}})
    study, rules = read_declaration(path)
    assert study == "a" * 64 and rules == Rules(seconds=3.0)
    one = study_files.write(tmp_path, "one", study_files.content("one"))
    results, _ = read_results([one], study)
    assert rules.reason(results[0]).startswith("median time")
    for text in ("{", "[]", '{"study": "a", "rules": {"colour": 1}}', '{"study": "a", "rules": {"seconds": "x"}}'):
        with pytest.raises(RunFolderError):
            read_declaration(study_files.write(tmp_path, "odd", text))
