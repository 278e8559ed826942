"""Functions in a user's files and packages: found by `path/to/file.py:function`, imported with their neighbours, called."""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stdout
from pathlib import Path
from types import ModuleType
from typing import Any

from .naming import UsageError, near, said
from .seeds import seeded
from .settings import settings_kept

OURS = ("bench", "explainers", "models", "reports")
"""Names of packages that a user's folder cannot have, since these are imported already."""

_folders: set[str] = set()
_importing = threading.RLock()


def imported_function(text: str, kind: str = "model") -> Callable[[], Any]:
    """The function that `path/to/file.py:function` or `package.module:function` names.

    Raises:
        UsageError: the file does not import or has no such function; `kind` is what the message calls it.
    """
    place, _, name = text.rpartition(":")
    module = _import(place, text, kind)
    function = getattr(module, name, None)
    if not callable(function):
        allowed = [key for key, value in vars(module).items() if callable(value) and not key.startswith("_")]
        raise UsageError(
            f"{kind} {text!r}: {place} has no function {name!r}; it has {', '.join(allowed) or 'none'}{near(name, allowed)}"
        )
    return function  # type: ignore[no-any-return]


def make(function: Callable[[], Any], text: str, kind: str = "model") -> Any:
    """What a user's function returns, called with torch's global generator seeded.

    Raises:
        UsageError: the function fails, or wants to end the program.
    """
    try:
        with guest(_folder(text.rpartition(":")[0])), seeded(0):
            return function()
    except (Exception, SystemExit) as error:
        hint = _missing(error, text.rpartition(":")[0])
        if "weights_only" in str(error) or "Unpickling" in type(error).__name__:
            hint = "; weights must be safetensors or load with torch.load(weights_only=True), pickles are refused"
        raise UsageError(f"{kind} {text!r} failed when called: {said(error)}{hint}") from error


@contextmanager
def guest(folder: Path) -> Iterator[None]:
    """For a user's code: it finds its neighbours, torch's settings are put back, what it prints goes to standard error.

    So the output of a command stays its own, and JSON stays JSON.
    """
    with beside(folder), settings_kept(), redirect_stdout(sys.stderr):
        yield


@contextmanager
def beside(folder: Path) -> Iterator[None]:
    """Within, imports find the modules of a folder first, as for a program that lies there; afterwards they find them last.

    A user's file may so import what lies beside it, when it is imported or later. Of two folders with modules of one name
    each gets its own: what an earlier folder gave is imported anew.

    Args:
        folder: where the user's file lies, or where packages are looked for.
    """
    place = str(folder.resolve())
    with _importing:
        for name in [name for name, module in sys.modules.items() if _of_another(name, module, place)]:
            del sys.modules[name]
        _folders.add(place)
        sys.path.insert(0, place)
        importlib.invalidate_caches()
        try:
            yield
        finally:
            if place in sys.path:
                sys.path.remove(place)
            if place not in sys.path:
                sys.path.append(place)


def _of_another(name: str, module: ModuleType | None, place: str) -> bool:
    """Whether a module was imported from another user's folder although this folder has one of that name."""
    top = name.partition(".")[0]
    file = getattr(sys.modules.get(top), "__file__", None)
    if file is None or module is None or top in OURS:
        return False
    home = Path(file).parent.parent if Path(file).name == "__init__.py" else Path(file).parent
    if str(home) == place or str(home) not in _folders:
        return False
    return (Path(place) / f"{top}.py").is_file() or (Path(place) / top / "__init__.py").is_file()


def _folder(place: str) -> Path:
    """The folder of a file; for a package the current one, as with `python -m`."""
    return Path(place).resolve().parent if place.endswith(".py") else Path.cwd()


def _import(place: str, text: str, kind: str = "model") -> Any:
    if not place:
        raise UsageError(f"{kind} {text!r}: write path/to/file.py:function or package.module:function")
    try:
        with guest(_folder(place)):
            if not place.endswith(".py"):
                return importlib.import_module(place)
            path = Path(place).resolve()
            if not path.is_file():
                raise UsageError(f"{kind} {text!r}: the file {path} does not exist")
            return run_file(path, f"sanity_bench_user_{path.stem}")
    except UsageError:
        raise
    except (Exception, SystemExit) as error:
        raise UsageError(f"{kind} {text!r}: {place} does not import: {said(error)}{_missing(error, place)}") from error


def name_of_file(path: Path) -> str:
    """A name for the module in a file, made of its path, so that two files of one name do not collide."""
    full = path.resolve()
    return f"{full.stem}_{hashlib.sha256(str(full).encode()).hexdigest()[:8]}"


def run_file(path: Path, name: str) -> ModuleType:
    """Run a user's file as a module of this name; where it fails no module is left behind.

    Raises:
        ImportError: its name does not end in .py.
        Exception: whatever the file raises.
    """
    spec = importlib.util.spec_from_file_location(name, path.resolve())
    if spec is None or spec.loader is None:
        raise ImportError(f"{path} cannot be imported; its name must end in .py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module


def _missing(error: BaseException, place: str) -> str:
    """How to mend an import that fails because of where a file lies, or an empty text."""
    if isinstance(error, ModuleNotFoundError):
        top = (error.name or "").partition(".")[0]
        if top in OURS and (_folder(place) / top).exists():
            return f"; {top!r} is the name of a package of sanity-bench: rename the folder {_folder(place) / top}"
    elif isinstance(error, ImportError) and "relative import" in str(error):
        return (
            f"; a file by itself has no package: import without the dot what lies in {_folder(place)}, or give the model as "
            "package.module:function from the folder above the package"
        )
    return ""
