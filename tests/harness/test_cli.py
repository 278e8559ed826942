import json
import re
import shutil
import subprocess
import sys

import pandas as pd
import pytest
from typer.testing import CliRunner

from bench.cli import app
from tests.harness.support import MODEL, ROOT, TOY, bench, environment, toy_run

COMMANDS = (
    "run",
    "plan",
    "list",
    "inspect",
    "explain",
    "export",
    "report",
    "compare",
    "leaderboard",
    "merge",
    "train",
    "verify",
    "study",
)
runner = CliRunner()


def call(*words: object):
    """Run a command in this process."""
    return runner.invoke(app, [str(word) for word in words])


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """The folder of one small run, made by the command."""
    out = tmp_path_factory.mktemp("runs") / "toy"
    result = call(*toy_run(out))
    assert result.exit_code == 0, result.output
    return out


@pytest.mark.parametrize("words", [(), *((name,) for name in COMMANDS)])
def test_help_is_free_of_torch(words):
    code = (
        "import sys; from bench.cli import main\n"
        f"sys.argv = ['bench', *{list(words)!r}, '--help']\n"
        "try: main()\nexcept SystemExit as end: assert not end.code\n"
        "assert not {'torch', 'pandas', 'numpy', 'joblib', 'pyarrow'} & set(sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, env=environment(), capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "Usage: bench" in done.stdout


def test_every_command_is_shown_with_what_it_does():
    text = call("--help").output
    for name in COMMANDS:
        assert f"\n  {name} " in text


@pytest.mark.parametrize("kind", ["explainers", "suites", "checks", "models", "texts", "datasets"])
def test_lists_are_free_of_torch(kind):
    code = (
        "import sys; from bench.cli import main\n"
        f"sys.argv = ['bench', 'list', {kind!r}, '--json']\n"
        "try: main()\nexcept SystemExit as end: assert not end.code\n"
        "assert 'torch' not in sys.modules"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, env=environment(), capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    cards = json.loads(done.stdout)
    assert cards and all(card["name"] for card in cards)


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        ("explainers", "saliency"),
        ("suites", "smoke"),
        ("checks", "cascading"),
        ("models", "fmnist-vgg"),
        ("datasets", "fashion-mnist"),
    ],
)
def test_a_list_shows_one_of_its_members(kind, name):
    table, card = call("list", kind), call("list", kind, name)
    assert table.exit_code == card.exit_code == 0
    assert name in table.output and f"name: {name}" in card.output
    assert json.loads(call("list", kind, name, "--json").output)["name"] == name


def test_the_direction_of_a_measure_is_shown():
    assert "direction lower" in call("list", "checks", "cascading").output


def test_a_broken_plugin_is_listed_as_unavailable(tmp_path):
    file = tmp_path / "mine.py"
    file.write_text("import no_such_module_anywhere")
    result = call("list", "explainers", "--plugin", file)
    assert result.exit_code == 0 and "unavailable" in result.output


@pytest.mark.parametrize(
    "words",
    [
        ("plan", "--suite", "smoke", "--model", MODEL, "--explainers", "saliency", "--images", 1, "--seeds", 1),
        ("explain", 0, "--model", MODEL, "--explainer", "saliency", "--out", "no.txt"),
    ],
)
def test_a_broken_plugin_is_a_warning_of_every_command(tmp_path, words):
    (tmp_path / "mine.py").write_text("import no_such_module_anywhere")
    result = call(*words, "--plugin", tmp_path / "mine.py")
    assert "mine.py is unavailable: ModuleNotFoundError" in result.stderr
    assert result.exit_code == (0 if words[0] == "plan" else 2)


def test_a_run_prints_verdicts_and_where_its_folder_and_page_are(tmp_path):
    result = bench(*toy_run(tmp_path / "a"))
    assert result.returncode == 0, result.stderr
    assert "edge-detector" in result.stdout and "UNDEFINED" in result.stdout
    assert f"run folder: {tmp_path / 'a'}" in result.stdout and "page: " in result.stdout
    assert "toy-gradient" in result.stdout


def test_an_estimate_without_an_interval_is_shown_alone():
    from bench.cli.tables import _interval

    row = {"estimate": 0.37, "ci_low": float("nan"), "ci_high": float("nan")}
    assert _interval(row) == "0.37"
    assert _interval({**row, "ci_low": 0.3, "ci_high": 0.45}) == "0.37 (0.30, 0.45)"
    assert _interval({**row, "estimate": float("nan")}) == "-" == _interval(None)


def test_a_second_run_says_that_it_computed_nothing(folder):
    result = call(*toy_run(folder))
    assert result.exit_code == 0 and "0 computed now" in result.output


def test_quiet_prints_no_progress(folder):
    assert "note:" not in call(*toy_run(folder), "--quiet").stderr


def test_plan_counts_what_is_done_and_computes_nothing(folder, tmp_path):
    words = toy_run(tmp_path / "a")
    fresh = call("plan", *words[1:])
    assert fresh.exit_code == 0 and "to compute" in fresh.output and not (tmp_path / "a").exists()
    done = call("plan", *toy_run(folder)[1:])
    assert done.exit_code == 0 and " 0 to compute" in done.output


def test_a_run_with_failed_cells_ends_with_3(tmp_path):
    result = call(*toy_run(tmp_path / "a", explainers="toy-broken,toy-gradient"))
    assert result.exit_code == 3
    assert "this explainer is broken" in result.stderr and "Traceback" not in result.output + result.stderr
    assert "toy-gradient" in result.output


def test_a_run_whose_references_are_wrong_is_invalid(folder, monkeypatch):
    monkeypatch.setitem(__import__("bench.suites", fromlist=["EXPECTED"]).EXPECTED, "constant", "PASS")
    result = call(*toy_run(folder))
    assert result.exit_code == 3 and "invalid" in result.stderr


@pytest.mark.parametrize(
    ("words", "shown"),
    [
        (["run"], "no suite was given"),
        (["run", "--suite", "smok"], "did you mean 'smoke'"),
        (["run", "--suite", "smoke", "--explainers", "salency"], "did you mean 'saliency'"),
        (["run", "--suite", "smoke", "--explainers", "zzz-*"], "matches no explainer"),
        (["run", "--suite", "smoke", "--explainers", "saliency(gradient"], "not closed"),
        (["run", "--suite", "smoke", "--images", 0], "at least 1"),
        (["verify", "--images", 0], "at least 1"),
        (["verify", "--seeds", -1], "at least 1"),
        (["run", "--suite", "smoke", "--images", 10_001, "--model", MODEL, "--explainers", "saliency"], "10,000"),
        (["run", "--suite", "smoke", "--part", "4/3"], "I/N"),
        (["run", "--suite", "smoke", "--device", "cuda:77", "--explainers", "saliency"], "this machine has"),
        (["run", "--suite", "smoke", "--config", "no.toml"], "cannot be read"),
        (["run", "--suite", "smoke", "--model", "no.py:f"], "does not exist"),
        (["plan", "--suite", "smok"], "did you mean 'smoke'"),
        (["list", "explainer"], "did you mean 'explainers'"),
        (["list", "explainers", "salency"], "did you mean 'saliency'"),
        (["export", "no-such-folder", "--out", "a.csv"], "no run folder"),
        (["report", "no-such-folder"], "no run folder"),
        (["report", __file__], "is a file and no run folder"),
        (["inspect", "--model", "fmnist-vvg"], "did you mean 'fmnist-vgg'"),
    ],
)
def test_what_cannot_be_used_ends_with_2_and_one_message(words, shown):
    result = call(*words)
    assert result.exit_code == 2, result.output
    assert shown in result.stderr and "Traceback" not in result.stderr
    assert len(result.stderr.splitlines()) < 24


def test_an_unknown_option_ends_with_2_and_the_nearest():
    result = call("run", "--explainer", "saliency")
    assert result.exit_code == 2 and "--explainers" in result.stderr


def test_verbose_shows_the_traceback():
    assert "Traceback" in call("run", "--suite", "smok", "--verbose").stderr


def test_a_file_gives_options(tmp_path):
    file = tmp_path / "run.toml"
    file.write_text(
        f'suite = "smoke"\nmodel = "{MODEL}"\nplugin = "{TOY}"\nexplainers = "toy-gradient"\nimages = 1\nseeds = 1\njobs = 1\n'
    )
    result = call("plan", "--config", file, "--out", tmp_path / "a")
    assert result.exit_code == 0 and "toy-gradient" in result.output


@pytest.mark.parametrize("suffix", ["csv", "json", "parquet"])
def test_export_writes_the_records(folder, tmp_path, suffix):
    out = tmp_path / f"records.{suffix}"
    result = call("export", folder, "--out", out)
    assert result.exit_code == 0, result.output
    read = {"csv": pd.read_csv, "json": pd.read_json, "parquet": pd.read_parquet}[suffix](out)
    assert list(read.columns)[:4] == ["suite", "check", "subject", "explainer"] and list(read.columns)[-1] == "cell"
    assert f"{len(read):,} rows" in result.output


def test_what_a_run_lacks_is_said_when_it_is_read(folder, tmp_path):
    words = ("export", folder, "--out", tmp_path / "a.csv")
    assert call(*words).stderr == ""
    part = tmp_path / "part"
    shutil.copytree(folder, part)
    lost, cut = sorted((part / "records").rglob("*.parquet"))[:2]
    lost.unlink()
    cut.write_bytes(cut.read_bytes()[:40])
    for words in (("export", part, "--out", tmp_path / "b.csv"), ("report", part)):
        result = call(*words)
        assert result.exit_code == 0 and re.search(r"2 of \d+ cells have no records \(0 failed\)", result.stderr)
        assert f"damaged, and left out: {cut}" in result.stderr


@pytest.mark.parametrize(("name", "shown"), [("a.xlsx", "must end in"), ("no/folder/a.csv", "cannot be written")])
def test_export_refuses_what_it_cannot_write(folder, tmp_path, name, shown):
    result = call("export", folder, "--out", tmp_path / name)
    assert result.exit_code == 2 and shown in result.stderr


def test_export_and_report_need_no_torch(folder, tmp_path):
    code = (
        "import sys; from bench.cli import main\n"
        f"sys.argv = ['bench', 'export', {str(folder)!r}, '--out', {str(tmp_path / 'a.csv')!r}]\n"
        "try: main()\nexcept SystemExit as end: assert not end.code\n"
        "assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, env=environment(), check=True, capture_output=True)


def test_verify_judges_the_reference_explainers(tmp_path):
    words = ["verify", "--model", MODEL, "--images", 3, "--seeds", 3, "--jobs", 1, "--quiet"]
    result = call(*words, "--out", tmp_path / "a")
    assert result.exit_code == 0, result.output + result.stderr
    assert "every reference explainer has its known verdict" in result.output


def test_verify_ends_with_1_when_a_verdict_differs(tmp_path, monkeypatch):
    monkeypatch.setitem(__import__("bench.suites", fromlist=["EXPECTED"]).EXPECTED, "input", "PASS")
    result = call(
        "verify", "--model", MODEL, "--images", 3, "--seeds", 2, "--jobs", 1, "--quiet", "--out", tmp_path / "a"
    )
    assert result.exit_code == 1 and "input" in result.stderr
