"""What explainers found when they checked their own balance: largest errors and failed maps, from the provenance."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

NAME = "balance"
MOST = 5


def errors(provenance: Mapping[str, Mapping[str, Any]]) -> list[dict[str, Any]]:
    """One row per explainer, check and stage, over all processes.

    Args:
        provenance: of a run folder, by name.

    Returns:
        Rows with `explainer`, `check`, `stage` (None where there are none), `maps`, `failed` and `residual`, the largest
        relative error of the method's own balance (None: it has none, or it is no number).

    Example:
        >>> errors({"balance-1": {"balance": {"rap": {"cascading": [[1, 8, 0, 1e-7], [2, 8, 3, 0.5]]}}}})[1]["failed"]
        3
    """
    found: dict[tuple[str, str, int | None], dict[str, Any]] = {}
    for explainer, check, (stage, maps, failed, residual) in _entries(provenance):
        empty = {"explainer": explainer, "check": check, "stage": stage, "maps": 0, "failed": 0, "residual": None}
        row = found.setdefault((explainer, check, stage), empty)
        row["maps"] += maps
        row["failed"] += failed
        row["residual"] = max((each for each in (row["residual"], residual) if each is not None), default=None)
    return sorted(found.values(), key=lambda row: (row["explainer"], row["check"], row["stage"] or 0))


def sentences(provenance: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """One sentence per explainer that gave maps up, the worst first.

    Example:
        >>> sentences({"balance-1": {"balance": {"rap": {"cascading": [[1, 8, 0, 1e-7], [2, 8, 3, 0.5]]}}}})
        ['rap: 3 of 16 maps failed (cascading, stage 2; largest error of their balance 0.5).']
    """
    rows: dict[str, list[dict[str, Any]]] = {}
    for row in errors(provenance):
        rows.setdefault(row["explainer"], []).append(row)
    lost = {name: sum(row["failed"] for row in own) for name, own in rows.items()}
    worst = sorted((name for name in rows if lost[name]), key=lambda name: (-lost[name], name))
    made = [_sentence(name, rows[name]) for name in worst[:MOST]]
    return made + ([f"So it was with {len(worst) - MOST} further explainers."] if len(worst) > MOST else [])


def _sentence(name: str, rows: list[dict[str, Any]]) -> str:
    bad = [row for row in rows if row["failed"]]
    places = []
    for check in sorted({row["check"] for row in bad}):
        stages = [str(row["stage"]) for row in bad if row["check"] == check and row["stage"] is not None]
        places.append(f"{check}, stage{'s' if len(stages) > 1 else ''} {', '.join(stages)}" if stages else check)
    known = [row["residual"] for row in bad if row["residual"] is not None]
    size = f"; largest error of their balance {max(known):.2g}" if known else ""
    failed, maps = (sum(row[key] for row in rows) for key in ("failed", "maps"))
    return f"{name}: {failed} of {maps} maps failed ({'; '.join(places)}{size})."


def _entries(provenance: Mapping[str, Mapping[str, Any]]) -> Iterable[tuple[str, str, list[Any]]]:
    for info in provenance.values():
        for explainer, checks in info.get(NAME, {}).items():
            for check, rows in checks.items():
                yield from ((explainer, check, row) for row in rows)
