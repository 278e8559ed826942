"""The fixture for other people's tests, and the workflow that they may copy."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
import tomllib
from importlib.metadata import entry_points
from pathlib import Path

import pandas as pd
import pytest

from bench.pytest_plugin import SanityBench, Verdicts
from models.naming import UsageError

ROOT = Path(__file__).parents[2]
TOY = Path(__file__).parent / "toy.py"


def verdicts(*rows):
    columns = ("subject", "explainer", "check", "verdict", "reason")
    return Verdicts(Path("runs/a"), pd.DataFrame([dict(zip(columns, row, strict=True)) for row in rows]))


FOUND = verdicts(
    ("net", "mine", "cascading", "FAIL", "the maps stay"),
    ("net", "mine", "independent", "PASS", "the maps change"),
    ("net", "two", "cascading", "PASS", ""),
    ("other", "two", "cascading", "FAIL", ""),
)


def test_the_verdict_that_was_meant_is_found():
    assert FOUND.of("mine") == "FAIL" and FOUND.of("mine", "independent") == "PASS"
    assert FOUND.of("two", subject="other") == "FAIL"
    FOUND.expect("mine", "PASS", check="independent")
    FOUND.expect("mine", "FAIL", "INCONCLUSIVE")


def test_another_verdict_fails_the_test_and_says_why():
    with pytest.raises(pytest.fail.Exception, match="mine on net, cascading: FAIL, expected PASS .the maps stay"):
        FOUND.expect("mine")


def test_what_is_not_there_is_an_error_with_near_names():
    with pytest.raises(UsageError, match="did you mean 'mine'"):
        FOUND.of("mien")
    with pytest.raises(UsageError, match="no verdict on check 'cascade'"):
        FOUND.of("mine", "cascade")
    with pytest.raises(UsageError, match="name the subject"):
        FOUND.of("two")


def test_a_run_can_be_read_and_compared(tmp_path):
    bench = SanityBench(tmp_path)
    options = {"suite": "smoke", "model": f"{TOY}:model", "data": "fashion-mnist", "plugin": str(TOY),
               "explainers": "toy-gradient", "images": 2, "seeds": 2}  # fmt: skip
    first = bench.run(**options)
    again = bench.run(**options)
    assert first.path == again.path and first.path.parent == tmp_path
    assert bench.read(first.path).of("toy-gradient") == first.of("toy-gradient")
    assert bench.compare(first.path, again.path).exit_code == 0
    with pytest.raises(pytest.fail.Exception, match="Not comparable|not-comparable"):
        bench.compare(first.path, bench.run(**options, precision="float64").path)


def test_the_fixture_is_there_and_loads_nothing_heavy(tmp_path):
    (tmp_path / "test_it.py").write_text(
        "import sys\n"
        "def test_it(sanity_bench):\n"
        "    assert callable(sanity_bench.run) and 'torch' not in sys.modules and 'pandas' not in sys.modules\n"
    )
    installed = any(point.value == "bench.pytest_plugin" for point in entry_points(group="pytest11"))
    # Where the package is installed its entry point has registered the plug-in already.
    named = () if installed else ("-p", "bench.pytest_plugin")
    command = [sys.executable, "-m", "pytest", "-q", *named, "-p", "no:cacheprovider", str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert "1 passed" in done.stdout, done.stdout + done.stderr
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert project["entry-points"]["pytest11"] == {"sanity-bench": "bench.pytest_plugin"}


def test_the_workflow_is_valid_and_its_commands_exist():
    from typer.main import get_command

    from bench.cli import app

    text = (ROOT / "docs" / "ci" / "sanity-bench.yml").read_text()
    commands = get_command(app).commands
    options = next(line for line in text.splitlines() if "OPTIONS:" in line).partition("OPTIONS:")[2]
    used = re.findall(r"^\s*(?:run: )?bench (\w+) (.*)$", text, re.MULTILINE)
    assert {name for name, _ in used} == {"run", "compare"}
    for name, rest in used:
        known = {flag for parameter in commands[name].params for flag in parameter.opts}
        given = shlex.split(rest.replace("$OPTIONS", options).partition(">")[0])
        assert {word for word in given if word.startswith("--")} <= known
    # Failed cells do not end the job before the comparison that names them; anything else does.
    command = next(line for line in text.splitlines() if "run: bench run" in line).partition("run: ")[2]
    ended = [
        subprocess.run(["bash", "-e", "-c", f"bench() {{ return {code}; }}; {command}"]).returncode
        for code in (0, 1, 2, 3, 4, 130)
    ]
    assert ended[0] == ended[3] == 0 and 0 not in (ended[1], ended[2], ended[4], ended[5])
    yaml = pytest.importorskip("yaml")
    content = yaml.safe_load(text)
    assert [step.get("uses", step.get("run")) for step in content["jobs"]["sanity-bench"]["steps"]]
