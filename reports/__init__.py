"""Stored results of a run, and what is made from them: tables, statistics, figures, a page.

Names are loaded when they are first used, so that `import reports` costs nothing.  No module has the name of
a public function: an imported module would take the function's place here.

>>> import reports
>>> frame = reports.load("runs/a")          # doctest: +SKIP
>>> table = reports.verdicts(frame)         # doctest: +SKIP
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from reports.compare import compare_runs
    from reports.files import RunFolderError
    from reports.frame import load
    from reports.leaderboard import rank_explainers
    from reports.merge import merge_runs
    from reports.multiverse import rescore
    from reports.render import write_report
    from reports.schema import SchemaError
    from reports.store import Store
    from reports.tables import health, similarity, thesis_rule
    from reports.verdict import verdicts

_HOMES = {
    "RunFolderError": "reports.files",
    "SchemaError": "reports.schema",
    "Store": "reports.store",
    "compare_runs": "reports.compare",
    "health": "reports.tables",
    "load": "reports.frame",
    "merge_runs": "reports.merge",
    "rank_explainers": "reports.leaderboard",
    "rescore": "reports.multiverse",
    "similarity": "reports.tables",
    "thesis_rule": "reports.tables",
    "verdicts": "reports.verdict",
    "write_report": "reports.render",
}

__all__ = [
    "RunFolderError",
    "SchemaError",
    "Store",
    "compare_runs",
    "health",
    "load",
    "merge_runs",
    "rank_explainers",
    "rescore",
    "similarity",
    "thesis_rule",
    "verdicts",
    "write_report",
]


def __getattr__(name: str) -> Any:
    """Load a public name from its module."""
    if name not in _HOMES:
        raise AttributeError(f"module 'reports' has no attribute {name!r}; it has: {', '.join(__all__)}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    """List the public names."""
    return sorted(__all__)
