"""The conformance rules as tests: `pytest --pyargs explainers.conformance_tests`.

`SANITY_BENCH_PLUGIN=my_explainer.py` (several separated by commas: files, or modules) loads plug-ins first and tests what
they register; `SANITY_BENCH_EXPLAINERS=my-method,lrp-*` names the explainers, else all are tested.
"""

from __future__ import annotations

import functools
import importlib
import os
from pathlib import Path

import pytest

from explainers import registry
from explainers.conformance import RULES, Finding, Rule, check
from models.functions import name_of_file, run_file

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
    path = Path(place)
    run_file(path, name_of_file(path))


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
