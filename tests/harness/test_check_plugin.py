import json
import subprocess
import sys

import pytest
from typer.testing import CliRunner

from bench.cli import app
from explainers import registry
from explainers.conformance import RULES
from tests.harness.support import ROOT, environment

FILE = """
import explainers, torch

@explainers.register("{0}-good", signed=True)
def good(subject, images, targets, *, seed):
    x = images.clone().requires_grad_(True)
    return torch.autograd.grad(subject.logits(x).gather(1, targets[:, None]).sum(), x)[0]

@explainers.register("{0}-bad", signed=False)
def bad(subject, images, targets, *, seed):
    return images.clone()
"""


@pytest.fixture
def file(tmp_path, monkeypatch):
    """A plug-in with one explainer that keeps the rules and one that does not, known for the time of one test."""
    monkeypatch.setattr(registry, "_PLUGINS", {})
    path = tmp_path / "mine.py"
    path.write_text(FILE.format("check"))
    return path


def call(*words):
    return CliRunner().invoke(app, ["check-plugin", *map(str, words)])


def test_help_is_free_of_torch():
    code = (
        "import sys; from bench.cli import main\nsys.argv = ['bench', 'check-plugin', '--help']\n"
        "try: main()\nexcept SystemExit as end: assert not end.code\n"
        "assert not {'torch', 'pandas', 'numpy', 'pytest'} & set(sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, env=environment(), capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "FILE[:NAME]" in done.stdout


def test_all_rules_hold_ends_with_0(file):
    result = call(f"{file}:check-good")
    assert result.exit_code == 0 and "all 17 rules hold" in result.output and "BROKEN" not in result.output


def test_a_broken_rule_ends_with_1_and_says_how_to_mend_it(file):
    result = call(file)
    assert result.exit_code == 1 and "check-good: all 17" in result.output
    assert "class-declared" in result.output and "class_sensitive=False" in result.output
    assert "check-bad: 1 of 17 rules broken" in result.output


def test_for_machines(file):
    found = json.loads(call(f"{file}:smoothgrad[samples=3](check-good)", "--json").output)
    (rows,) = found.values()
    assert [row["rule"] for row in rows] == [rule.name for rule in RULES] and all(row["passed"] for row in rows)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("no_such_file.py", "no such file"), ("no_such_module_anywhere", "cannot be loaded"), ("{}:check-gud", "check-good"),
        ("{}:check-good[depth=2]", "no parameter"), ("json", "registers no explainer"),
    ],
)  # fmt: skip
def test_what_cannot_be_checked_ends_with_2_and_one_message(file, text, shown):
    result = call(text.format(file))
    assert result.exit_code == 2 and shown in result.output and "Traceback" not in result.output
