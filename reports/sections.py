"""The sections of the page, one per subject and suite: words, tables and figures."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from importlib import import_module
from importlib.util import find_spec
from typing import Any

import numpy as np
import pandas as pd

from reports import matrix, page, plots, plots_ranks, ranks
from reports.gallery import Gallery
from reports.leaderboard import REFERENCE
from reports.page import Section, Shown
from reports.picture_grid import Mode, picture_grid
from reports.pictures import Picture
from reports.scores import faithfulness_of_images
from reports.searches import arranged, searches
from reports.store import Store
from reports.verdict import FITTED, threshold_of

RANDOMIZATION = ("randomization", "smoke")
"""Suites whose section shows curves, pictures and the health of random models; fitted explainers alone have none of them."""

FIGURES = {
    "pixel-perturbation": "reports.figures_perturbation",
    "patch-perturbation": "reports.figures_perturbation",
    "class-discrimination": "reports.figures_class",
    "generative": "reports.figures_generative",
}
"""Suite to the module that draws its figures: `sections(frame, store, gallery) -> list[Shown]`."""

_CURVES = (
    "How similar each explainer's map stays to the map of the trained model. Curves are means with 95% "
    "intervals (bootstrap crossed over images and seeds). The grey band holds the floors: the similarity "
    "under models drawn anew as a whole. A curve that stays at 1 belongs to an explainer that does not see "
    "what was randomised."
)
_INTERVALS = "Dots are estimates, bars 95% intervals. Without a dot D is not defined; the table says why."
_PICTURES: dict[Mode, str] = {
    "signed": "All relevance: red speaks for the class, blue against it. Non-negative maps are shown on a "
    "one-sided scale.",
    "positive": "Positive relevance only: what speaks for the class.",
}
_RANKS = (
    "Explainers by their mean rank over images, the area between the curves averaged over the replacements. Bars join those "
    "whose mean ranks lie within the critical difference (Nemenyi), so that they cannot be told apart."
)


def build(
    found: Mapping[str, pd.DataFrame], frame: pd.DataFrame, store: Store, rows: list[dict[str, Any]], gallery: Gallery
) -> list[Section]:
    """Make the section of each subject and suite that has verdicts.

    Args:
        found: the tables `verdicts`, `similarity`, `thesis` and `health`.
        frame: tidy records.
        store: their run folder.
        rows: all verdicts as `reports.matrix.evidence` gives them.
        gallery: keeps the figures.
    """
    pictures = store.read_pictures()
    found = {**found, "searches": searches(frame)}
    sections = []
    for subject, suite in sorted(
        {(row["subject"], row["suite"]) for row in rows}, key=lambda it: (it[0], matrix.rank(it[1]))
    ):
        own = {name: table[(table["subject"] == subject) & (table["suite"] == suite)] for name, table in found.items()}
        if suite in RANDOMIZATION and not set(own["verdicts"]["check"]) <= set(FITTED):
            sections.append(_randomization(own, (subject, suite), threshold_of(frame), (store, pictures), gallery))
            continue
        mask = (frame["subject"] == subject) & (frame["suite"] == suite)
        judged = [row for row in rows if (row["subject"], row["suite"]) == (subject, suite)]
        sections.append(
            Section(
                subject,
                suite,
                page.count_words(judged, store.explainers),
                table=matrix.matrices(judged, store.explainers)[0],
                figures={"other": [*_own_figures(suite, frame[mask.to_numpy(dtype=bool)], store, gallery)]},
            )
        )
    return sections


def _randomization(
    own: Mapping[str, pd.DataFrame],
    place: tuple[str, str],
    threshold: float,
    stored: tuple[Store, list[Picture]],
    gallery: Gallery,
) -> Section:
    """Make the section of a suite of randomisation."""
    subject, suite = place
    store, pictures = stored
    rows = page.explainer_rows(own["verdicts"], own["thesis"], store.explainers)
    label = f"{subject}-{suite}"
    figures = {
        "intervals": [_intervals(own["verdicts"], threshold, label, gallery)],
        "curves": _curves(own["similarity"], store.explainers, label, gallery),
        "pictures": _pictures(pictures, subject, [row["explainer"] for row in rows], gallery),
        "health": _health(own["health"], label, gallery),
    }
    said = page.summary(rows, subject, threshold)
    counts, rule = page.count_verdicts(rows), page.thesis_rows(own["thesis"])
    return Section(subject, suite, said, counts, rows, rule, figures, arranged(own["searches"]))


def _own_figures(suite: str, frame: pd.DataFrame, store: Store, gallery: Gallery) -> Iterator[Shown]:
    """Draw the figures that a suite brings along, and those about the ranks of its scores."""
    if suite in FIGURES and find_spec(FIGURES[suite]) is not None:
        yield from import_module(FIGURES[suite]).sections(frame, store, gallery)
    yield from _differences(suite, frame, store, gallery)


def _differences(suite: str, frame: pd.DataFrame, store: Store, gallery: Gallery) -> Iterator[Shown]:
    """Draw which explainers can be told apart by faithfulness."""
    names, values = faithfulness_of_images(frame)
    keep = [place for place, name in enumerate(names) if store.explainers.get(name, {}).get("group") != REFERENCE]
    if len(keep) < 3:
        return
    found = ranks.friedman(values[keep])
    if np.isfinite(found.critical_difference):
        figure = plots_ranks.critical_difference([names[place] for place in keep], found)
        yield gallery.add(f"{suite}-ranks", "Which explainers can be told apart", _RANKS, figure)


def _intervals(table: pd.DataFrame, threshold: float, label: str, gallery: Gallery) -> Shown:
    """Draw the sensitivities with their intervals."""
    figure = plots.sensitivity_intervals(table, threshold)
    return gallery.add(f"{label}-sensitivity", "Sensitivity to the output layer", _INTERVALS, figure)


def _curves(table: pd.DataFrame, cards: Mapping[str, Mapping[str, Any]], label: str, gallery: Gallery) -> list[Shown]:
    """Draw the similarity curves of both checks."""
    groups = {name: str(card.get("group", "other")) for name, card in cards.items()}
    titles = {
        "cascading": "Cascading: from the output layer down, everything passed so far is random",
        "independent": "Independent: only the named layer is random",
        "bottom-up": "Bottom-up: from the layer that reads the image up, everything passed so far is random",
    }
    shown = []
    for check, title in titles.items():
        if (table["check"] == check).any():
            figure = plots.similarity_curves(table, check, groups)
            shown.append(gallery.add(f"{label}-{check}", title, _CURVES, figure))
    return shown


def _pictures(pictures: list[Picture], subject: str, order: list[str], gallery: Gallery) -> list[Shown]:
    """Draw the picture grids of one subject, one per image and mode."""
    # Other suites keep pictures too, of other things than stages.
    about = {"subject": subject, "check": "cascading"}
    own = [picture for picture in pictures if all(picture.meta.get(name) == value for name, value in about.items())]
    rank = {name: place for place, name in enumerate(order)}
    own.sort(key=lambda picture: (rank.get(picture.meta["explainer"], len(rank)), picture.key))
    images = sorted({image for picture in own for image in picture.meta["images"]})
    shown = []
    for image in images:
        for mode in _PICTURES:
            grid = picture_grid(own, image, mode, theme="neutral")
            title = f"{image}, {'all relevance' if mode == 'signed' else 'positive relevance'}"
            shown.append(gallery.add_pixels(f"{subject}-{image}-{mode}", title, _PICTURES[mode], grid))
    return shown


def _health(table: pd.DataFrame, label: str, gallery: Gallery) -> list[Shown]:
    """Draw the health of the random models."""
    if not len(table):
        return []
    caption = (
        "Whether the randomised models still work as networks: a dead one gives maps that mean nothing. "
        "The shade spans the seeds."
    )
    figure = plots.model_health(table)
    return [gallery.add(f"{label}-health", "Health of the randomised models", caption, figure)]
