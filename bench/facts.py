"""From a configuration to a plan: what the parent process gathers about suites, explainers, checks and subjects."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

from models.data import called
from models.naming import UsageError

from . import plan, plugins, suites
from .checks import CHECKS, own
from .checks.base import MODEL, CheckInfo
from .config import Config
from .protocols import Protocol
from .traits import CheckFacts, ExplainerFacts, SubjectFacts

_DECLARED = ("per_search", "family", "staged", "draws", "block", "about_model", "truth", "fitted", "searching")


@dataclass(frozen=True)
class Facts:
    """Everything a run is planned from.

    Attributes:
        plan: the cells.
        data: what the images given with `--data` are called, wherever they lie; None for those of the models.
        protocol: the protocol as the suites need it.
        devices: where to compute.
        explainers: side table of the explainers by name, for the run folder.
        plugins: what was loaded and what could not be.
        in_process: names of explainers that only this process knows.
    """

    plan: plan.Plan
    data: str | None
    protocol: Protocol
    devices: tuple[str, ...]
    explainers: dict[str, dict[str, Any]]
    plugins: tuple[plugins.Plugin, ...]
    in_process: tuple[str, ...]


def gather(config: Config, describe: Callable[[str, bool], str]) -> Facts:
    """Plan a run.

    Args:
        config: the checked configuration.
        describe: runs `bench.subjects.describe`; its second argument says that it must be this very process.

    Raises:
        UsageError: something that was named does not exist or cannot be used.
    """
    loaded = plugins.load(config.plugin)
    chosen = {part.name: part for part in config.parts}
    found = {name: _explainers(suite, config, loaded) for name, suite in chosen.items()}
    named = {facts.name: facts for group in found.values() for facts in group}
    here = plugins.of_this_process()
    in_process = tuple(name for name, facts in named.items() if _mentions(facts.spec, here))
    in_process += tuple(check for suite in chosen.values() for check in suite.checks if f"check {check}" in here)
    sizes = {suite: config.size(suite) for suite in chosen.values()}
    models = {suite.name: config.models_of(suite) for suite in sizes}
    # Per model, how many images it needs and in blocks of which sizes.
    needed = {
        model: sorted({(each.images, CHECKS[check].block) for suite, size in sizes.items() if model in models[suite.name]
                       for check in suite.checks for each in (size, size.dear or size)})
        for model in config.models
    }  # fmt: skip
    request = {
        "models": needed, "data": config.data, "base": config.seed, "plugins": config.plugin, "device": config.device,
        "given": [] if config.explainers is None else [facts.text or name for name, facts in named.items() if "[" in name],
        "own_process": False,
    }  # fmt: skip
    answer = json.loads(describe(json.dumps(request), bool(in_process)))
    if "usage" in answer:
        raise UsageError(answer["usage"])
    protocol = config.declared()
    built = plan.build(
        sizes, _told_apart([subject_facts(values) for values in answer["subjects"]]), found,
        {name: check_facts(CHECKS[name], protocol) for suite in sizes for name in suite.checks},
        draws={"once": 1, "ceiling": protocol.ceiling_repeats, "floor": protocol.floor_draws},
        base=config.seed, dtype=config.precision, models=models,
    )  # fmt: skip
    side = {name: facts.info for name, facts in named.items()}
    data = None if config.data is None else called(config.data)
    return Facts(built, data, protocol, tuple(answer["devices"]), side, tuple(loaded), in_process)


def explainer_facts(name: str) -> ExplainerFacts:
    """The facts about one explainer, without torch.

    Raises:
        UsageError: unknown name or parameter.
    """
    import explainers

    spec = explainers.resolve(name)
    info = json.loads(json.dumps(asdict(explainers.card(spec.name)), default=str))
    info["cost"] = explainers.cost_of(spec)
    label = explainers.label(spec)
    return ExplainerFacts(label, explainers.identity(spec), info["version"], info, name if name != label else "")


def check_facts(info: CheckInfo, protocol: Protocol) -> CheckFacts:
    """The facts about one check under a protocol."""
    return CheckFacts(
        {},
        {"name": protocol.name, "hash": protocol.hash},
        info.version,
        info.per_image,
        info.per_stage,
        **{name: getattr(info, name) for name in _DECLARED},
    )


def subject_facts(values: dict[str, Any]) -> SubjectFacts:
    """The facts about a subject, from the JSON of `bench.subjects.describe`."""
    tuples = {name: tuple(values[name]) for name in ("indices", "ids", "stages")}
    return SubjectFacts(**{**values, **tuples})


def measures() -> dict[str, dict[str, Any]]:
    """The side table of the measures for the run folder: name -> checks and their versions, unit, direction, range, ..."""
    table: dict[str, dict[str, Any]] = {}
    for info in CHECKS.values():
        for measure in info.measures:
            made = {"check": [], "versions": {}, **measure.record(), **own.declared(info.name)}
            entry = table.setdefault(measure.name, made)
            entry["check"].append(info.name)
            entry["versions"][info.name] = info.version
    return table


def claimed(config: Config) -> list[dict[str, Any]]:
    """What the papers of the suites claim, explainers under the names that records have."""
    found = []
    for paper in (suites.get(name).paper for name in config.suite):
        if paper is None:
            continue
        record = paper.record()
        for claim in record["claims"]:
            for term in (claim["first"], claim["second"], claim["base"]):
                if term is not None and term["explainer"] != MODEL:
                    term["explainer"] = _called(term["explainer"])
        found.append(record)
    return found


def _called(text: str) -> str:
    """What records call an explainer."""
    import explainers

    return explainer_facts(explainers.expand(text)[0]).name


def _told_apart(subjects: list[SubjectFacts]) -> list[SubjectFacts]:
    """The subjects, refused where records would not tell one from another."""
    known: dict[str, SubjectFacts] = {}
    for each in subjects:
        other = known.setdefault(each.name, each)
        if other.identity != each.identity:
            raise UsageError(
                f"the models {other.text!r} and {each.text!r} differ and would both be called {each.name!r} in the results, "
                "which name no folders; give their functions or files different names"
            )
    return subjects


def _explainers(suite: suites.Suite, config: Config, loaded: list[plugins.Plugin]) -> list[ExplainerFacts]:
    import explainers

    try:
        usual = suites.explainers_of(suite, config.protocol)
        names = explainers.expand(config.explainers if config.explainers is not None else ",".join(usual))
    except UsageError as error:
        broken = [f"{plugin.name} ({plugin.error})" for plugin in loaded if plugin.error]
        if not broken:
            raise
        raise UsageError(
            f"{error}\nThese plug-ins are unavailable, since they do not import: {', '.join(broken)}"
        ) from error
    beside = explainers.expand(suite.references) if suite.references else []
    facts = [explainer_facts(name) for name in dict.fromkeys([*names, *beside])]
    texts: dict[str, str] = {}
    for each in facts:
        other = texts.setdefault(each.name, each.text)
        if other != each.text:
            raise UsageError(
                f"{other or each.name} and {each.text or each.name} would both be called {each.name} in the results, which "
                "name no folders; give their files different names"
            )
    return facts


def _mentions(spec: dict[str, Any], names: set[str]) -> bool:
    return spec["name"] in names or (spec["inner"] is not None and _mentions(spec["inner"], names))
