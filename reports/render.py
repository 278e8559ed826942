"""Write the report of a run: tables, figures and one self-contained page, from stored results alone."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from reports import (
    balance,
    bias_tables,
    class_tables,
    distance_tables,
    files,
    flip_tables,
    html,
    matrix,
    page,
    page_tables,
    perturbation_tables,
    plots_ranks,
    request_tables,
    sections,
    set_tables,
    tables,
)
from reports import claims as claiming
from reports.answers import answers
from reports.frame import load
from reports.gallery import Gallery
from reports.multiverse import rescore
from reports.page import Shown
from reports.scores import faithfulness_intervals, scores_of, seconds_per_explanation
from reports.store import Store
from reports.verdict import MEANINGS, threshold_of, verdicts

_LONG = ("perturbation-curves",)
"""Tables with a row per step of a curve, which nobody reads as text: CSV only."""

_BY_SUITE = ("verdicts", "similarity", "thesis", "health")
_COST = (
    "Up and to the left is better: more of the area between the curves for less time. Bars are 95% intervals; colour and "
    "marker say what came out under randomisation, which is a gate that comes first."
)


def write_report(run: str | Path, out: str | Path | None = None) -> list[Path]:
    """Write tables, figures and the page of a run.

    Nothing is computed anew and no model is needed.  The page needs no network: figures, style and script are
    inside it.

    Args:
        run: a run folder.
        out: folder to write into; by default `report` inside the run folder.

    Returns:
        The files written, the page `index.html` first, then `verdicts.md`, `verdicts.csv`, `similarity.csv`,
        `thesis.csv`, `health.csv` and `figures/*.png`; for suites of papers also `claims.md` and `claims.csv`; `.md` and
        `.csv` of what `suite_tables` gives.

    Raises:
        RunFolderError: there is no run folder, or the report cannot be written.
        SchemaError: a newer release wrote the run.

    Example:
        >>> import reports
        >>> reports.write_report("runs/a")[0]        # doctest: +SKIP
        PosixPath('runs/a/report/index.html')
    """
    store = Store.open(run)
    target = Path(run) / "report" if out is None else Path(out)
    frame = load(store, coded=True)
    found = {
        "verdicts": verdicts(frame),
        "similarity": tables.similarity(frame),
        "thesis": tables.thesis_rule(frame),
        "health": tables.health(frame),
    }
    claims = claiming.judge_claims(frame, store.papers(), found["verdicts"])
    if len(claims):
        found["claims"] = claims
        files.write(target / "claims.md", claiming.to_markdown(claims).encode())
    universes = rescore(run)
    if len(universes.summary):
        found |= {"multiverse": universes.summary, "universes": universes.universes}
    beside = suite_tables(frame)
    written = [tables.write_csv(table, target / f"{name}.csv") for name, table in {**found, **beside}.items()]
    text = target / "verdicts.md"
    plain = [name for name in beside if name not in _LONG]
    for name, table in {"verdicts": found["verdicts"], **{name: beside[name] for name in plain}}.items():
        files.write(target / f"{name}.md", tables.to_markdown(table).encode())
    gallery = Gallery(target / "figures")
    rows = matrix.evidence(found["verdicts"])
    shown = sections.build(
        {name: table for name, table in found.items() if name in _BY_SUITE}, frame, store, rows, gallery
    )
    seconds = seconds_per_explanation(frame)
    failures, state = page.failure_rows(store), page.completeness(store, frame)
    parts = {
        "sections": shown,
        "matrices": matrix.matrices(rows, store.explainers),
        "all_rows": rows,
        "cost": _cost(frame, found["verdicts"], seconds, gallery),
        "answers": answers(found["verdicts"], store.explainers, seconds, failures, state),
        "failures": failures,
        "state": state,
        "universes": _plain(universes.summary),
        "papers": claiming.by_paper(claims, store.papers()),
        "tables": page_tables.page_tables(frame, store, gallery),
    }
    files.write(target / "index.html", _page(store, frame, parts).encode())
    return [target / "index.html", text, *(target / f"{name}.md" for name in plain), *written, *gallery.written]


def suite_tables(frame: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """The tables that single suites add to the files of a report, those with rows.

    Args:
        frame: tidy records of any suites.

    Returns:
        Name of the file -> table: `perturbation`, `perturbation-rivals` and `perturbation-curves` (see
        `reports.perturbation_tables`), `class-discrimination` and `certificates` (see `reports.class_tables`),
        `planted-attributes` and `correlation-difference` (see `reports.flip_tables`), `requested-achieved` (see
        `reports.request_tables`), `asked-sets` (see `reports.set_tables`), `distances` and
        `planted-square` (see `reports.distance_tables` and `reports.bias_tables`).

    Example:
        >>> from reports.schema import empty
        >>> suite_tables(empty())
        {}
    """
    found = {
        "class-discrimination": class_tables.discrimination(frame),
        "certificates": class_tables.certificates(frame),
        "perturbation": perturbation_tables.scores(frame),
        "perturbation-rivals": perturbation_tables.rivals(frame),
        "perturbation-curves": perturbation_tables.curves(frame),
        "planted-attributes": flip_tables.changes(frame),
        "correlation-difference": flip_tables.correlations(frame),
        "requested-achieved": request_tables.achieved(frame),
        "asked-sets": set_tables.asked_sets(frame),
        "distances": distance_tables.distances(frame),
        "planted-square": bias_tables.bias(frame),
    }
    return {name: table for name, table in found.items() if len(table)}


def _cost(
    frame: pd.DataFrame, table: pd.DataFrame, seconds: Mapping[str, list[float]], gallery: Gallery
) -> list[Shown]:
    """Draw cost against faithfulness for each subject on which both are known."""
    shown = []
    times = {name: float(np.median(values)) for name, values in seconds.items()}
    scores = [score for score in scores_of(frame) if score.aspect == "faithfulness"]
    for subject in sorted({score.subject for score in scores}):
        own = [score for score in scores if score.subject == subject]
        values = faithfulness_intervals(own)
        rows = table[(table["subject"] == subject) & (table["check"] == "cascading")]
        words = dict(zip(rows["explainer"], rows["verdict"], strict=True))
        figure = plots_ranks.cost_and_faithfulness(values, times, words)
        shown.append(gallery.add(f"{subject}-cost", f"Cost against faithfulness on {subject}", _COST, figure))
    return shown


def _plain(table: pd.DataFrame) -> list[dict[str, Any]]:
    """Rows with None for every kind of null."""
    rows = table.astype(object).where(table.notna(), None).to_dict("records")
    return [{str(name): value for name, value in row.items()} for row in rows]


def _page(store: Store, frame: pd.DataFrame, parts: Mapping[str, Any]) -> str:
    """Fill the template; every text is escaped there."""
    return html.fill(
        "page.html",
        title=store.path.resolve().name,
        protocol=store.protocol,
        config=store.config,
        measures=store.measures,
        provenance={name: info for name, info in store.provenance().items() if balance.NAME not in info},
        meanings=MEANINGS,
        claim_meanings=claiming.MEANINGS if parts["papers"] else {},
        threshold=threshold_of(frame),
        order=page.ORDER,
        places={f"{each.subject}/{each.suite}": place for place, each in enumerate(parts["sections"], 1)},
        **parts,
    )
