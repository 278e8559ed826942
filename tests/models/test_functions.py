"""Functions in a user's files: what lies beside them is found, each folder's own, and nothing ends the program."""

import subprocess
import sys

import pytest
import torch

from models.functions import OURS, beside, imported_function, make
from models.naming import UsageError
from tests.harness.support import ROOT, environment


@pytest.fixture(autouse=True)
def paths(monkeypatch):
    """The search path and the modules of a test stay its own."""
    monkeypatch.setattr(sys, "path", list(sys.path))
    before = set(sys.modules)
    yield
    for name in set(sys.modules) - before:
        del sys.modules[name]


def folder(path, value):
    """A file that imports what lies beside it, at once and when called."""
    path.mkdir()
    (path / "beside_early.py").write_text(f"value = {value!r}")
    (path / "beside_late.py").write_text(f"value = {value!r}")
    (path / "own.py").write_text(
        "import beside_early\n\ndef read():\n    import beside_late\n    return beside_early.value, beside_late.value\n"
    )
    return f"{path / 'own.py'}:read"


def test_each_folder_has_its_own_neighbours(tmp_path):
    one, other = folder(tmp_path / "one", "first"), folder(tmp_path / "other", "second")
    for text, value in ((one, "first"), (other, "second"), (one, "first")):
        assert make(imported_function(text), text) == (value, value)


def test_neighbours_are_found_later_too_behind_what_is_installed(tmp_path):
    (tmp_path / "beside_later.py").write_text("value = 1")
    with beside(tmp_path):
        pass
    import beside_later

    assert beside_later.value == 1
    assert sys.path[-1] == str(tmp_path) and sys.path.count(str(tmp_path)) == 1


def test_our_packages_stay_ours(tmp_path):
    before = {name: sys.modules.get(name) for name in OURS}
    for name in OURS:
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").write_text("raise RuntimeError('not this one')")
    with beside(ROOT), beside(tmp_path):
        pass
    assert {name: sys.modules.get(name) for name in OURS} == before
    (tmp_path / "mine.py").write_text("from models.layers import net")
    with pytest.raises(UsageError, match="name of a package of sanity-bench: rename the folder"):
        imported_function(f"{tmp_path / 'mine.py'}:net")


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("import sys; sys.exit(0)", "does not import: SystemExit: 0"),
        ("def make(:", "does not import: SyntaxError"),
        ("from .layers import make", "a file by itself has no package.*package.module:function"),
        ("make = 3", "has no function 'make'; it has none"),
    ],
)
def test_files_that_do_not_import(tmp_path, source, message):
    (tmp_path / "mine.py").write_text(source)
    with pytest.raises(UsageError, match=message):
        imported_function(f"{tmp_path / 'mine.py'}:make")


def test_settings_of_torch_are_put_back_and_prints_go_to_standard_error(tmp_path, capsys):
    """As in a script that only predicts; every gradient after it would fail."""
    lines = ["print('loud')", "torch.set_grad_enabled(False)", "torch.set_default_dtype(torch.float64)"]
    lines.append("torch.set_default_device('meta')")
    inside = "".join(f"    {line}\n" for line in [*lines, "return 3"])
    (tmp_path / "mine.py").write_text("\n".join(["import torch", *lines, "def make():", inside]))
    text = f"{tmp_path / 'mine.py'}:make"
    assert make(imported_function(text), text) == 3
    assert torch.is_grad_enabled() and torch.get_default_dtype() == torch.float32
    assert torch.get_default_device().type == "cpu" and torch.zeros(1).device.type == "cpu"
    said = capsys.readouterr()
    assert said.out == "" and said.err == "loud\nloud\n"


@pytest.mark.parametrize("text", [":make", "no_such_package:make"])
def test_what_names_no_module(text):
    with pytest.raises(UsageError, match="write path/to/file.py:function|No module named"):
        imported_function(text)


def test_the_installed_command_finds_packages_of_the_current_folder(tmp_path):
    """Its search path begins with the folder of the script, not with the current one."""
    (tmp_path / "package").mkdir()
    (tmp_path / "package" / "__init__.py").write_text("")
    (tmp_path / "package" / "layers.py").write_text("width = 7")
    (tmp_path / "package" / "mine.py").write_text("from .layers import width\ndef make(): return width\n")
    code = (
        f"import sys; sys.path = [p for p in sys.path if p] + [{str(ROOT)!r}]; "
        "from models.functions import imported_function; print(imported_function('package.mine:make')())"
    )
    done = subprocess.run(
        [sys.executable, "-P", "-c", code], cwd=tmp_path, env=environment(), capture_output=True, text=True, check=False
    )
    assert done.stdout == "7\n", done.stderr
