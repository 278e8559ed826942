"""The figures of counterfactuals for notebooks: a frame of records or a run in, a matplotlib figure out."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
from matplotlib.figure import Figure

from reports import figures_generative, flip_tables, plots, set_tables
from reports.files import RunFolderError
from reports.store import Store

Theme = plots.Theme


def counterfactual_strips(run: str | Path, image: str | None = None, *, theme: Theme = "light") -> Figure:
    """Draw one image, what each generator makes of it, its counterfactual and the difference: a row per explainer.

    Args:
        run: a run folder; counterfactuals stand beside the records.
        image: its id; by default the first that was kept.
        theme: `light`, or `neutral` for light and dark pages.

    Raises:
        RunFolderError: no counterfactuals of that image were kept.

    Example:
        >>> counterfactual_strips("runs/a")                       # doctest: +SKIP
    """
    kept = [
        picture for picture in Store.open(run).read_pictures() if picture.meta.get("check") == figures_generative.CHECK
    ]
    known = sorted({str(name) for picture in kept for name in picture.meta["images"]})
    chosen = image or (known[0] if known else "")
    if chosen not in known:
        there = ", ".join(known) or "none"
        raise RunFolderError(f"no counterfactuals of {chosen or 'any image'} are kept in {run}; there are: {there}.")
    kept.sort(key=lambda picture: (str(picture.meta.get("explainer")), picture.key))
    with plots.style(theme):
        return figures_generative.strips(kept, chosen)


def counterfactual_sets(frame: pd.DataFrame, subject: str | None = None, *, theme: Theme = "light") -> Figure:
    """Draw the sets of counterfactuals: distance to real images against the share that is still the same object.

    Args:
        frame: tidy records.
        subject: the model; may be left out where there is one.
        theme: as above.

    Returns:
        A figure; x = share in [0, 1], y = kernel distance (lower = more like real images), one dot per explainer.

    Raises:
        RunFolderError: there are no such records, or several models and no subject.
    """
    own, _ = _of(frame, subject, ("distribution",))
    with plots.style(theme):
        return _drawn(figures_generative.sets(own), "distances of sets")


def asked_sets(frame: pd.DataFrame, subject: str | None = None, *, theme: Theme = "light") -> Figure:
    """Draw the sets that were asked for known probabilities: spread over all tenths beside the far end.

    Args:
        frame, subject, theme: as above.

    Returns:
        A figure; a panel for kernel distance, closeness and verification each, one line per explainer, 95% intervals.

    Raises:
        RunFolderError: as above.
    """
    own, name = _of(frame, subject, set_tables.CHECKS)
    with plots.style(theme):
        return _drawn(set_tables.figure(set_tables.asked_sets(own), name), "sets that were asked for probabilities")


def flip_matrix(frame: pd.DataFrame, *, theme: Theme = "light") -> Figure:
    """Draw which planted attributes counterfactuals change, of all models of a run together.

    Args:
        frame, theme: as above.

    Returns:
        A figure; a row per model and explainer, a column per attribute, shares in [0, 1]: the attribute that the model's
        classes are about should change, and no other.

    Raises:
        RunFolderError: there are no such records.
    """
    matrix = flip_tables.flip_matrix(frame)
    with plots.style(theme):
        return _drawn(flip_tables.heat_map(matrix) if len(matrix) else None, "planted attributes")


def _of(frame: pd.DataFrame, subject: str | None, checks: tuple[str, ...]) -> tuple[pd.DataFrame, str]:
    """The records of one subject and some checks, and the subject."""
    own = frame[frame["check"].isin(checks).to_numpy(dtype=bool)]
    names = sorted(str(name) for name in own["subject"].unique())
    chosen = names[0] if subject is None and len(names) == 1 else subject
    if chosen is None or chosen not in names:
        given = f"no records of {subject}" if subject else f"{len(names)} models and no subject given"
        raise RunFolderError(f"{given} under {', '.join(checks)}; there are: {', '.join(names) or 'none'}.")
    return own[(own["subject"] == chosen).to_numpy(dtype=bool)], chosen


def _drawn(figure: Figure | None, what: str) -> Figure:
    """The figure, or the error that there is nothing to draw."""
    if figure is None:
        raise RunFolderError(f"there are no values of {what} in these records: run the suite `generative`.")
    return figure
