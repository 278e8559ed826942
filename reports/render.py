"""Write the report of a run: tables, figures and one self-contained page, from stored results alone."""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd
from matplotlib.figure import Figure

from reports import files, html, page, plots, tables
from reports.frame import load
from reports.page import Section, Shown
from reports.picture_grid import Mode, picture_grid
from reports.pictures import Picture
from reports.store import Store
from reports.verdict import MEANINGS, threshold_of, verdicts

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


def write_report(run: str | Path, out: str | Path | None = None) -> list[Path]:
    """Write tables, figures and the page of a run.

    Nothing is computed anew and no model is needed.  The page needs no network: figures, style and script are
    inside it.

    Args:
        run: a run folder.
        out: folder to write into; by default `report` inside the run folder.

    Returns:
        The files written, the page `index.html` first, then `verdicts.md`, `verdicts.csv`, `similarity.csv`,
        `thesis.csv`, `health.csv` and `figures/*.png`.

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
    frame = load(run)
    found = {
        "verdicts": verdicts(frame),
        "similarity": tables.similarity(frame),
        "thesis": tables.thesis_rule(frame),
        "health": tables.health(frame),
    }
    written = [tables.write_csv(table, target / f"{name}.csv") for name, table in found.items()]
    text = target / "verdicts.md"
    files.write(text, tables.to_markdown(found["verdicts"]).encode())
    gallery = _Gallery(target / "figures")
    sections = _sections(found, store, threshold_of(frame), gallery)
    text_of_page = _page(store, frame, sections, found["verdicts"])
    files.write(target / "index.html", text_of_page.encode())
    return [target / "index.html", text, *written, *gallery.written]


class _Gallery:
    """Draws figures: a file for people who want the figure, data addresses for the page."""

    def __init__(self, folder: Path) -> None:
        """Remember where the files go."""
        self.folder = folder
        self.written: list[Path] = []

    def add(self, name: str, title: str, caption: str, figure: Figure) -> Shown:
        """Keep a figure of lines: PNG as a file, SVG for light and for dark pages."""
        self._file(name, plots.to_bytes(figure, "png", dpi=150))
        light = plots.to_bytes(figure, "svg", solid=False)
        addresses = [_address("image/svg+xml", data) for data in (light, plots.to_dark(light))]
        return Shown(title, caption, *addresses)

    def add_pixels(self, name: str, title: str, caption: str, figure: Figure) -> Shown:
        """Keep a figure of pixels: PNG as a file, and one PNG that suits light and dark pages."""
        clear = plots.to_bytes(figure, "png", dpi=120, solid=False)
        self._file(name, plots.on_white(clear))
        address = _address("image/png", plots.fewer_colours(clear))
        return Shown(title, caption, address, address)

    def _file(self, name: str, data: bytes) -> None:
        """Write a file under a name that no name of a user can lead astray, nor two figures share."""
        stem = re.sub(r"[^0-9A-Za-z.]+", "-", name).strip("-.")[:80] or "figure"
        path = self.folder / f"{stem}.png"
        number = 1
        while path in self.written:
            number += 1
            path = self.folder / f"{stem}-{number}.png"
        files.write(path, data)
        self.written.append(path)


def _sections(found: Mapping[str, pd.DataFrame], store: Store, threshold: float, gallery: _Gallery) -> list[Section]:
    """Make the section of each subject and suite that has verdicts."""
    pictures = store.read_pictures()
    sections = []
    for (subject, suite), part in found["verdicts"].groupby(["subject", "suite"], sort=True):
        own = {name: table[(table["subject"] == subject) & (table["suite"] == suite)] for name, table in found.items()}
        rows = page.explainer_rows(part, own["thesis"], store.explainers)
        counts = page.count_verdicts(rows)
        label = f"{subject}-{suite}"
        figures = {
            "intervals": [_intervals(own["verdicts"], threshold, label, gallery)],
            "curves": _curves(own["similarity"], store.explainers, label, gallery),
            "pictures": _pictures(pictures, str(subject), [row["explainer"] for row in rows], gallery),
            "health": _health(own["health"], label, gallery),
        }
        said = page.summary(rows, str(subject), threshold)
        thesis = page.thesis_rows(own["thesis"])
        sections.append(Section(str(subject), str(suite), said, counts, rows, thesis, figures))
    return sections


def _intervals(table: pd.DataFrame, threshold: float, label: str, gallery: _Gallery) -> Shown:
    """Draw the sensitivities with their intervals."""
    figure = plots.sensitivity_intervals(table, threshold)
    return gallery.add(f"{label}-sensitivity", "Sensitivity to the output layer", _INTERVALS, figure)


def _curves(table: pd.DataFrame, cards: Mapping[str, Mapping[str, Any]], label: str, gallery: _Gallery) -> list[Shown]:
    """Draw the similarity curves of both checks."""
    groups = {name: str(card.get("group", "other")) for name, card in cards.items()}
    titles = {
        "cascading": "Cascading: from the output layer down, everything passed so far is random",
        "independent": "Independent: only the named layer is random",
    }
    shown = []
    for check, title in titles.items():
        if (table["check"] == check).any():
            figure = plots.similarity_curves(table, check, groups)
            shown.append(gallery.add(f"{label}-{check}", title, _CURVES, figure))
    return shown


def _pictures(pictures: list[Picture], subject: str, order: list[str], gallery: _Gallery) -> list[Shown]:
    """Draw the picture grids of one subject, one per image and mode."""
    own = [picture for picture in pictures if picture.meta.get("subject") == subject]
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


def _health(table: pd.DataFrame, label: str, gallery: _Gallery) -> list[Shown]:
    """Draw the health of the random models."""
    if not len(table):
        return []
    caption = (
        "Whether the randomised models still work as networks: a dead one gives maps that mean nothing. "
        "The shade spans the seeds."
    )
    figure = plots.model_health(table)
    return [gallery.add(f"{label}-health", "Health of the randomised models", caption, figure)]


def _page(store: Store, frame: pd.DataFrame, sections: list[Section], table: pd.DataFrame) -> str:
    """Fill the template; every text is escaped there."""
    return html.fill(
        "page.html",
        title=store.path.resolve().name,
        sections=sections,
        protocol=store.protocol,
        config=store.config,
        measures=store.measures,
        provenance=store.provenance(),
        failures=page.failure_rows(store),
        state=page.completeness(store, frame),
        meanings=MEANINGS,
        threshold=threshold_of(frame),
        all_rows=table.astype(object).where(table.notna(), None).to_dict("records"),
    )


def _address(kind: str, data: bytes) -> str:
    """Return a data address."""
    return f"data:{kind};base64,{base64.b64encode(data).decode()}"
