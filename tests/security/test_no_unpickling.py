"""Nothing in the code can turn bytes into objects or texts into code: the syntax trees are searched for every door."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SOURCES = [
    path for package in ("bench", "explainers", "models", "reports") for path in sorted((ROOT / package).rglob("*.py"))
]

MODULES = {
    "pickle",
    "_pickle",
    "cPickle",
    "dill",
    "cloudpickle",
    "marshal",
    "shelve",
    "yaml",
    "jsonpickle",
    "pty",
    "xmlrpc",
}
HARMLESS_NAMES = {("pickle", "UnpicklingError")}
CALLS = {
    "eval",
    "exec",
    "compile",
    "__import__",
    "os.system",
    "os.popen",
    "joblib.load",
    "pd.read_pickle",
    "pandas.read_pickle",
    "torch.hub.load",
    "shutil.unpack_archive",
    "torch.jit.load",
    "torch.export.load",
    "ast.literal_eval",
    "np.fromfile",
}
METHODS = {"extractall", "extract", "read_pickle", "to_pickle", "unpack_archive"}
USERS_FILES = {"models/functions.py"}
"""Where files that the user names are imported, by --model, --plugin and check-plugin."""


def dotted(node: ast.AST) -> str:
    """The name of what is called, for example `torch.load`."""
    if isinstance(node, ast.Attribute):
        return f"{dotted(node.value)}.{node.attr}"
    return node.id if isinstance(node, ast.Name) else ""


def said(call: ast.Call, name: str, value: object) -> bool:
    """Whether a call is given this constant."""
    return any(
        word.arg == name and isinstance(word.value, ast.Constant) and word.value.value is value
        for word in call.keywords
    )


def call_faults(call: ast.Call) -> list[str]:
    """What is wrong with one call."""
    name = dotted(call.func)
    last = name.rpartition(".")[2]
    empty = len(call.args) == 1 and isinstance(call.args[0], ast.Constant) and call.args[0].value == ""
    faults = []
    if name in CALLS and not (name == "exec" and empty):
        faults.append(name)
    if isinstance(call.func, ast.Attribute) and last in METHODS:
        faults.append(last)
    if name == "torch.load" and not said(call, "weights_only", True):
        faults.append("torch.load without weights_only=True")
    if name in ("np.load", "numpy.load") and not said(call, "allow_pickle", False):
        faults.append("np.load without allow_pickle=False")
    if last.startswith("savez") and not said(call, "allow_pickle", False):
        faults.append("np.savez that could pickle")
    if name.startswith("subprocess.") and said(call, "shell", True):
        faults.append("a shell")
    return faults


def faults_in(tree: ast.AST) -> list[str]:
    """Every door to code or objects in a syntax tree."""
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            found += [f"line {node.lineno}: {fault}" for fault in call_faults(node)]
        elif isinstance(node, ast.Import):
            found += [
                f"line {node.lineno}: {name.name}" for name in node.names if name.name.partition(".")[0] in MODULES
            ]
        elif isinstance(node, ast.ImportFrom) and (node.module or "").partition(".")[0] in MODULES:
            found += [
                f"line {node.lineno}: {name.name}"
                for name in node.names
                if (node.module, name.name) not in HARMLESS_NAMES
            ]
    return found


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_no_module_unpickles_or_runs_texts(path):
    assert faults_in(ast.parse(path.read_text())) == []


@pytest.mark.parametrize(
    "code",
    [
        "import pickle",
        "from pickle import loads",
        "import cloudpickle as p",
        "torch.load(f)",
        "torch.load(f, weights_only=False)",
        "np.load(f)",
        "np.load(f, allow_pickle=True)",
        "eval(x)",
        "exec(x)",
        "exec(' ')",
        "archive.extractall()",
        "yaml.load(f)\nimport yaml",
        "subprocess.run(x, shell=True)",
        "os.system(x)",
        "joblib.load(f)",
        "__import__(x)",
        "np.savez(f, a=b)",
        "frame.to_pickle(f)",
    ],
)
def test_the_search_finds_what_it_is_for(code):
    assert faults_in(ast.parse(code))


@pytest.mark.parametrize(
    "code", ["torch.load(f, weights_only=True)", "np.load(f, allow_pickle=False)", "exec('')", "json.loads(x)"]
)
def test_the_search_leaves_what_is_safe(code):
    assert faults_in(ast.parse(code)) == []


def test_only_the_known_places_import_files_that_a_user_names():
    found = {str(path.relative_to(ROOT)) for path in SOURCES if "spec_from_file_location" in path.read_text()}
    assert found == USERS_FILES
