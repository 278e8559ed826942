"""The figures of a report, one function each, for notebooks: a frame of records in, a matplotlib figure out.

Every function takes what `reports.load` gives and draws one subject of it.  The functions behind them, which take tables
in place of records, stand in the modules of the same subject: `plots`, `plots_ranks`, `figures_perturbation`,
`figures_class`, `figures_generative`, `picture_grid`.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from reports import (
    figures_class,
    figures_generative,
    figures_perturbation,
    perturbation_tables,
    plots,
    plots_ranks,
    ranks,
    request_tables,
    scores,
    tables,
    verdict,
)
from reports import picture_grid as pictures
from reports.class_values import SUITE as CLASSES
from reports.class_values import Values
from reports.figures_counterfactual import asked_sets, counterfactual_sets, counterfactual_strips, flip_matrix
from reports.files import RunFolderError
from reports.judge_perturbation import SUITES as PERTURBATION
from reports.store import Store

__all__ = [
    "asked_sets",
    "class_intervals",
    "cost_and_faithfulness",
    "counterfactual_sets",
    "counterfactual_strips",
    "critical_difference",
    "flip_matrix",
    "localisation_intervals",
    "model_health",
    "perturbation_curves",
    "perturbation_differences",
    "picture_grid",
    "requested_and_achieved",
    "sensitivity_intervals",
    "similarity_curves",
]

Theme = plots.Theme
Groups = Mapping[str, str]


def groups_of(run: str | Path) -> dict[str, str]:
    """Group of each explainer of a run, such as `gradient`; figures put explainers of a group together.

    Args:
        run: a run folder.
    """
    return {name: str(card.get("group", "other")) for name, card in Store.open(run).explainers.items()}


def sensitivity_intervals(frame: pd.DataFrame, subject: str | None = None, *, theme: Theme = "light") -> Figure:
    """Draw D with its interval for each explainer when the output layer is random.

    Args:
        frame: tidy records.
        subject: the model; may be left out where there is one.
        theme: `light`, or `neutral` for light and dark pages.

    Returns:
        A figure; x = D (0 = blind, 1 = as different as for a model that is noise throughout).

    Raises:
        RunFolderError: there are no such records, or several models and no subject.

    Example:
        >>> import reports
        >>> sensitivity_intervals(reports.load("runs/a"))        # doctest: +SKIP
    """
    own = _of(frame, subject, ("randomization", "smoke"))
    return plots.sensitivity_intervals(verdict.verdicts(own), verdict.threshold_of(frame), theme=theme)


def similarity_curves(
    frame: pd.DataFrame,
    subject: str | None = None,
    *,
    check: str = "cascading",
    measure: str = "ssim",
    groups: Groups | None = None,
    theme: Theme = "light",
) -> Figure:
    """Draw the similarity with the trained model's map against what was randomised.

    Args:
        frame: tidy records.
        subject: the model; may be left out where there is one.
        check: `cascading` or `independent`.
        measure: a measure of similarity.
        groups: see `groups_of`; by default that of the run that the frame was loaded from.
        theme: as above.

    Returns:
        A figure; x = layers in the order of the stages, y = similarity (1 = same map).

    Raises:
        RunFolderError: as above.
    """
    own = _of(frame, subject, ("randomization", "smoke"))
    own = own[(own["measure"] == measure).to_numpy(dtype=bool)]
    return plots.similarity_curves(tables.similarity(own), check, _groups(frame, groups), measure=measure, theme=theme)


def model_health(frame: pd.DataFrame, subject: str | None = None, *, theme: Theme = "light") -> Figure:
    """Draw whether the randomised models still work as networks.

    Args:
        frame, subject, theme: as above.

    Returns:
        A figure; a panel per measure, x = stages.

    Raises:
        RunFolderError: as above.
    """
    return plots.model_health(tables.health(_of(frame, subject, ("randomization", "smoke"))), theme=theme)


def perturbation_differences(
    frame: pd.DataFrame, subject: str | None = None, *, groups: Groups | None = None, theme: Theme = "light"
) -> Figure:
    """Draw explainers x replacements: by how much each beats random order.

    Args:
        frame, subject, groups, theme: as above.

    Returns:
        A figure; a cell is the difference of the area between the curves, > 0 = better than random order.

    Raises:
        RunFolderError: as above.
    """
    judged = verdict.verdicts(_of(frame, subject, PERTURBATION))
    return figures_perturbation.difference_table(judged, _groups(frame, groups), theme=theme)


def perturbation_curves(
    frame: pd.DataFrame, subject: str | None = None, *, groups: Groups | None = None, theme: Theme = "light"
) -> Figure:
    """Draw the probability of the class against the share of replaced pixels.

    Args:
        frame, subject, groups, theme: as above.

    Returns:
        A figure; a line per order in which pixels were replaced.

    Raises:
        RunFolderError: as above.
    """
    table = perturbation_tables.curves(_of(frame, subject, PERTURBATION))
    return figures_perturbation.perturbation_curves(table, _groups(frame, groups), theme=theme)


def critical_difference(frame: pd.DataFrame, subject: str | None = None, *, theme: Theme = "light") -> Figure:
    """Draw which explainers can be told apart by faithfulness, by their mean ranks over images.

    Args:
        frame, subject, theme: as above.

    Returns:
        A figure; x = mean rank (1 = best), bars join what cannot be told apart.

    Raises:
        RunFolderError: as above, or fewer than three explainers have a score.

    Source:
        Demšar, Statistical comparisons of classifiers over multiple data sets, 2006.
    """
    names, values = scores.faithfulness_of_images(_of(frame, subject, PERTURBATION))
    if len(names) < 3:
        raise RunFolderError(f"ranks need three explainers with a score of faithfulness; there are {len(names)}.")
    return plots_ranks.critical_difference(names, ranks.friedman(values), theme=theme)


def cost_and_faithfulness(
    frame: pd.DataFrame,
    subject: str | None = None,
    *,
    verdicts: Mapping[str, str] | None = None,
    theme: Theme = "light",
) -> Figure:
    """Draw what one explanation costs against how faithful it is.

    Args:
        frame, subject, theme: as above.
        verdicts: verdict of each explainer under randomisation, which decides colour and marker; by default from the
            same records, if they hold that suite.

    Returns:
        A figure; x = seconds (logarithmic), y = faithfulness.

    Raises:
        RunFolderError: as above.
    """
    own = _of(frame, subject, PERTURBATION)
    times = {name: float(np.median(values)) for name, values in scores.seconds_per_explanation(own).items()}
    known = [score for score in scores.scores_of(own) if score.aspect == "faithfulness"]
    if verdicts is None:
        table = verdict.verdicts(frame)
        rows = table[(table["check"] == "cascading") & (table["subject"] == own["subject"].iloc[0])]
        verdicts = dict(zip(rows["explainer"], rows["verdict"], strict=True))
    return plots_ranks.cost_and_faithfulness(scores.faithfulness_intervals(known), times, verdicts, theme=theme)


def class_intervals(
    frame: pd.DataFrame, subject: str | None = None, *, groups: Groups | None = None, theme: Theme = "light"
) -> Figure:
    """Draw how much maps of two classes differ, one line per explainer.

    Args:
        frame, subject, groups, theme: as above.

    Returns:
        A figure; x = D (0 = blind to the class).

    Raises:
        RunFolderError: as above.
    """
    judged = verdict.verdicts(_of(frame, subject, (CLASSES,)))
    return figures_class.class_intervals(
        judged, verdict.threshold_of(frame), _references(_groups(frame, groups)), theme=theme
    )


def localisation_intervals(
    frame: pd.DataFrame,
    subject: str | None = None,
    *,
    check: str = "grid-localisation",
    groups: Groups | None = None,
    theme: Theme = "light",
) -> Figure:
    """Draw the share of relevance on the evidence of the class, one line per explainer.

    Args:
        frame, subject, groups, theme: as above.
        check: `grid-localisation` or `planted-cue`.

    Returns:
        A figure; x = share of positive relevance in [0, 1].

    Raises:
        RunFolderError: as above.
    """
    values = Values(_of(frame, subject, (CLASSES,)))
    found = values.groups((check,))
    return figures_class.localisation_intervals(values, found, _references(_groups(frame, groups)), theme=theme)


def requested_and_achieved(frame: pd.DataFrame, subject: str | None = None, *, theme: Theme = "light") -> Figure:
    """Draw what the model answers where each probability was requested of counterfactuals.

    Args:
        frame, subject, theme: as above.

    Returns:
        A figure; x = requested, y = achieved probability with its 95% band, the diagonal, and the unchanged image.

    Raises:
        RunFolderError: as above, or no explainer of the run is asked for probabilities.
    """
    own = _of(frame, subject, ("generative",))
    drawn = figures_generative.curve(request_tables.achieved(own), str(own["subject"].iloc[0]), theme=theme)
    if drawn is None:
        raise RunFolderError("no explainer of this run was asked for probabilities: run the check `requests`.")
    return drawn


def picture_grid(
    run: str | Path, image: str | None = None, *, mode: pictures.Mode = "signed", theme: Theme = "light"
) -> Figure:
    """Draw the maps of one image: a row per explainer, a column per stage of randomisation.

    Args:
        run: a run folder; maps stand beside the records.
        image: its id; by default the first that was kept.
        mode: `signed` or `positive`.
        theme: as above.

    Raises:
        RunFolderError: no maps of that image were kept.
    """
    kept = [picture for picture in Store.open(run).read_pictures() if picture.meta.get("check") == "cascading"]
    known = sorted({name for picture in kept for name in picture.meta["images"]})
    chosen = image or (str(known[0]) if known else "")
    if chosen not in known:
        raise RunFolderError(
            f"no maps of {chosen or 'any image'} are kept in {run}; there are: {', '.join(known) or 'none'}."
        )
    kept.sort(key=lambda picture: str(picture.meta["explainer"]))
    return pictures.picture_grid(kept, chosen, mode, theme=theme)


def _of(frame: pd.DataFrame, subject: str | None, suites: tuple[str, ...]) -> pd.DataFrame:
    """The records of one subject and some suites."""
    own = frame[frame["suite"].isin(suites).to_numpy(dtype=bool)]
    names = sorted(str(name) for name in own["subject"].unique())
    if subject is None and len(names) == 1:
        subject = names[0]
    if subject not in names:
        given = f"no records of {subject}" if subject else f"{len(names)} models and no subject given"
        raise RunFolderError(f"{given} under {', '.join(suites)}; there are: {', '.join(names) or 'none'}.")
    return own[(own["subject"] == subject).to_numpy(dtype=bool)]


def _groups(frame: pd.DataFrame, given: Groups | None) -> dict[str, str]:
    """The given groups, or those of the run that a frame was loaded from."""
    run: Any = frame.attrs.get("run")
    return dict(given) if given is not None else groups_of(run) if run and Path(run).is_dir() else {}


def _references(groups: Groups) -> set[str]:
    """The reference explainers."""
    return {name for name, group in groups.items() if group == "reference"}
