"""What stands in the way of comparing two runs: another protocol, version, data or numerics."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from reports.store import Store


@dataclass(frozen=True)
class Obstacles:
    """Why numbers of two runs cannot be compared, and what else differs between them.

    Attributes:
        run: reasons that concern everything.
        subjects, explainers, checks: reasons by name.
        notes: differences that a comparison is for, or that should not matter: weights, packages, machines, seeds.
    """

    run: list[str] = field(default_factory=list)
    subjects: dict[str, str] = field(default_factory=dict)
    explainers: dict[str, str] = field(default_factory=dict)
    checks: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    def of(self, subject: str, explainer: str, check: str) -> str:
        """Why one subject, explainer and check cannot be compared; empty where nothing stands in the way."""
        own = (
            self.subjects.get(subject, ""),
            self.explainers.get(explainer, ""),
            self.checks.get(check, ""),
        )
        return "; ".join([*self.run, *(reason for reason in own if reason)])


def obstacles(baseline: Store, current: Store) -> Obstacles:
    """Look at what two runs say about themselves.

    Args:
        baseline: the run that is compared with.
        current: the run that is judged.

    Returns:
        Reasons against a comparison.  Other weights are none: that is what a comparison is to judge.
    """
    found = Obstacles()
    if baseline.protocol.get("hash") != current.protocol.get("hash"):
        found.run.append(f"the protocols differ ({_protocols(baseline.protocol, current.protocol)})")
    for name, (old, new) in _pair(_numerics(baseline), _numerics(current)).items():
        if old and new and old != new:
            found.run.append(f"the {name} differs ({_said(old)}, now {_said(new)})")
    for name, (before, after) in _pair(_subjects(baseline), _subjects(current)).items():
        if before is not None and after is not None:
            _about_subject(name, before, after, found)
    for name, (before, after) in _pair(baseline.explainers, current.explainers).items():
        if before is not None and after is not None:
            reason = _changed(before, after, ("version", "params", "signed"))
            if reason:
                found.explainers[name] = f"the explainer differs ({reason})"
    for name, (old, new) in _pair(_versions(baseline), _versions(current)).items():
        if old is not None and new is not None and old != new:
            found.checks[name] = f"the check differs (version {old}, now {new})"
    old_seed, new_seed = baseline.config.get("seed"), current.config.get("seed")
    if old_seed != new_seed:
        found.notes.append(f"base seed {old_seed}, now {new_seed}: the random models are other draws")
    found.notes.extend(_surroundings(baseline, current))
    return found


def _protocols(old: Mapping[str, Any], new: Mapping[str, Any]) -> str:
    """Say in which parameters two protocols differ."""
    before, after = old.get("parameters", {}), new.get("parameters", {})
    return _changed(before, after, sorted({*before, *after})) or f"{old.get('name')}, now {new.get('name')}"


def _changed(old: Mapping[str, Any], new: Mapping[str, Any], names: Any) -> str:
    """List the named entries that differ."""
    return ", ".join(
        f"{name} {_said(old.get(name))}, now {_said(new.get(name))}" for name in names if old.get(name) != new.get(name)
    )


def _numerics(store: Store) -> dict[str, Any]:
    """Precision, kinds of device and shortened products that the records were computed with."""
    used = [info["numerics"] for info in store.provenance().values() if isinstance(info.get("numerics"), dict)]
    kinds = sorted({str(each.get("device", "")).partition(":")[0] for each in used} - {""})
    products = sorted({str(each["matmul"]) for each in used if "matmul" in each})
    # Products of matrices, and those of convolutions.
    shortened = {tuple(each["tf32"]) for each in used if isinstance(each.get("tf32"), list)}
    return {
        "precision": store.config.get("precision"),
        "kind of device": kinds,
        "precision of matrix products": products,
        "use of TF32": sorted(_tf32(*switches) for switches in shortened if len(switches) == 2),
    }


def _tf32(products: bool, convolutions: bool) -> str:
    """Say where a GPU uses the short floating type.

    >>> _tf32(False, True)
    'convolutions'
    """
    return (
        " and ".join(name for name, on in {"matrix products": products, "convolutions": convolutions}.items() if on)
        or "nowhere"
    )


def _subjects(store: Store) -> dict[str, dict[str, Any]]:
    """Identity of each subject by name."""
    found: dict[str, dict[str, Any]] = {}
    for info in store.provenance().values():
        if isinstance(info.get("subjects"), dict):
            found.update({name: each for name, each in info["subjects"].items() if isinstance(each, dict)})
    return found


def _about_subject(name: str, before: Mapping[str, Any], after: Mapping[str, Any], found: Obstacles) -> None:
    """Other data stand in the way; other weights are noted."""
    data = [key for key in sorted({*before, *after}) if key.startswith(("data", "reference"))]
    reason = _changed(before, after, data)
    if reason:
        found.subjects[name] = f"the data differ ({reason})"
    rest = [key for key in sorted({*before, *after}) if key not in data]
    other = [key for key in rest if before.get(key) != after.get(key)]
    if other:
        found.notes.append(f"{name}: other {', '.join(other)} than in the baseline")


def _versions(store: Store) -> dict[str, Any]:
    """Version of each check, as far as the run folder says."""
    found: dict[str, Any] = {}
    for facts in store.measures.values():
        if isinstance(facts, dict) and isinstance(facts.get("versions"), dict):
            found.update(facts["versions"])
    return found


def _surroundings(baseline: Store, current: Store) -> list[str]:
    """Packages and processors that differ."""
    notes = []
    packages = [_merged(store, "packages") for store in (baseline, current)]
    for name, (old, new) in _pair(*packages).items():
        if old != new:
            notes.append(f"{name} {_said(old)}, now {_said(new)}")
    machines = [_merged(store, "hardware") for store in (baseline, current)]
    old, new = (sorted(machine.get("processor", set())) for machine in machines)
    if old != new:
        notes.append(f"processor {_said(old)}, now {_said(new)}")
    return notes


def _merged(store: Store, part: str) -> dict[str, set[str]]:
    """All values of each entry in one part of the provenance."""
    found: dict[str, set[str]] = {}
    for info in store.provenance().values():
        if isinstance(info.get(part), dict):
            for name, value in info[part].items():
                if isinstance(value, str):
                    found.setdefault(str(name), set()).add(value)
    return found


def _pair(old: Mapping[str, Any], new: Mapping[str, Any]) -> dict[str, tuple[Any, Any]]:
    """Values of both by name; None where one lacks it."""
    return {name: (old.get(name), new.get(name)) for name in sorted({*old, *new})}


def _said(value: Any) -> str:
    """A value as a word."""
    if isinstance(value, set | list | tuple):
        return ", ".join(sorted(str(item) for item in value)) or "unknown"
    return "unknown" if value is None else str(value)
