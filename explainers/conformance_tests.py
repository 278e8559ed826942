"""The conformance rules as tests: `pytest --pyargs explainers.conformance_tests`.

`SANITY_BENCH_PLUGIN=my_explainer.py` (several separated by commas: files, or modules) loads plug-ins first and tests what
they register; `SANITY_BENCH_EXPLAINERS=my-method,lrp-*` names the explainers, else all are tested.
"""

from __future__ import annotations

import functools
import hashlib
import importlib
import importlib.util
import os
import sys
from pathlib import Path

import pytest

from explainers import registry
from explainers.conformance import RULES, Finding, Rule, check

PLUGIN, EXPLAINERS = "SANITY_BENCH_PLUGIN", "SANITY_BENCH_EXPLAINERS"


def selected() -> list[str]:
    """The explainers that the environment asks for.

    Raises:
        UsageError: a name that matches nothing.
    """
    before = set(registry.names())
    for place in filter(None, (part.strip() for part in os.environ.get(PLUGIN, "").split(","))):
        _load(place)
    named = os.environ.get(EXPLAINERS, "").strip()
    if named:
        return registry.expand(named)
    return [name for name in registry.names() if name not in before] or registry.names()


def _load(place: str) -> None:
    """Import a plug-in by file or by module name; an error in it ends the collection with its traceback."""
    if not place.endswith(".py"):
        importlib.import_module(place)
        return
    path = Path(place).resolve()
    name = f"{path.stem}_{hashlib.sha256(str(path).encode()).hexdigest()[:8]}"
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise ImportError(f"{path} cannot be imported")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)


@functools.lru_cache(maxsize=1)
def _findings(explainer: str) -> dict[str, Finding]:
    return {finding.rule: finding for finding in check(explainer)}


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.name)
@pytest.mark.parametrize("explainer", selected())
def test_conformance(explainer: str, rule: Rule) -> None:
    """One explainer keeps one rule."""
    finding = _findings(explainer).get(rule.name)
    if finding is None:
        pytest.skip("not tried: the explainer gave no map")
    if not finding.passed:
        pytest.fail(
            f"{explainer} breaks the rule '{rule.summary}': {finding.detail}; to mend it, {rule.mend}", pytrace=False
        )
