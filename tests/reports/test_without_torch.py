"""Everything about stored results works on a machine without torch."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import synthetic

ROOT = Path(__file__).parents[2]
HIDE = """
import sys
class Hidden:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in ("torch", "torchvision", "captum", "skimage", "joblib", "safetensors"):
            raise ModuleNotFoundError(f"{name} is not installed here", name=name)
sys.meta_path.insert(0, Hidden())
"""


def run(code):
    done = subprocess.run([sys.executable, "-c", HIDE + code], cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_what_is_hidden_is_what_the_documents_say():
    """The packages that one may leave out, in the words of the how-to, and those that it installs."""
    text = (ROOT / "docs" / "howto" / "results.md").read_text().partition("## A machine without torch")[2]
    sentence = text.strip().partition(" are only for making runs")[0]
    names = {"skimage" if name == "scikit-image" else name for name in re.split(r", | and ", sentence)}
    hidden = set(re.findall(r'"(\w+)"', re.search(r" in \((.*)\):", HIDE)[1]))
    assert names == hidden and len(hidden) == 6
    installed = re.search(r"^pip install ((?!-).*)$", text, re.MULTILINE)[1].split()
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    needed = {re.match(r"[\w-]+", line)[0].lower() for line in project["dependencies"]}
    assert needed - {"scikit-image" if name == "skimage" else name for name in hidden} == set(installed)


def test_every_module_of_reports_can_be_imported():
    count = run(
        "import importlib, pkgutil, reports\n"
        "names = [each.name for each in pkgutil.iter_modules(reports.__path__, 'reports.')]\n"
        "[importlib.import_module(name) for name in names]\n"
        "[getattr(reports, name) for name in reports.__all__]\n"
        "print(len(names))"
    )
    assert int(count) > 20


@pytest.mark.slow
def test_the_commands_work(tmp_path):
    names = ("sensitive", "guided")
    one, two = (synthetic.build(tmp_path / name, names, images=2, seeds=2).path for name in "ab")
    code = "from typer.testing import CliRunner\nfrom bench.cli import app\nrun = CliRunner().invoke\n"
    commands = [
        ["compare", one, two, "--html", tmp_path / "c.html", "--junit", tmp_path / "c.xml"],
        ["leaderboard", one, "--out", tmp_path / "l.md"],
        ["merge", one, two, "--out", tmp_path / "m"],
        ["report", one],
        ["export", one, "--out", tmp_path / "r.csv"],
    ]
    for command in commands:
        code += f"done = run(app, {[str(part) for part in command]!r})\n"
        code += "assert done.exit_code == 0, (done.output, done.exception)\n"
    run(code)
    assert all((tmp_path / name).exists() for name in ("c.html", "c.xml", "l.md", "m/config.json", "r.csv"))


def test_a_command_that_computes_says_what_is_missing():
    said = run(
        "from typer.testing import CliRunner\nfrom bench.cli import app\n"
        "done = CliRunner().invoke(app, ['run', '--suite', 'smoke', '--model', 'fmnist-vgg'])\n"
        "print(done.exit_code, done.output)"
    )
    assert said.startswith("2 error: this command needs ") and "not installed here: pip install" in said
