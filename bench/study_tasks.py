"""Series of pictures for a user study of tasks, made by an explainer now."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from models.naming import UsageError
from reports.study.tasks import TASKS, Series, TaskDesign, questions_of


def design_tasks(
    tasks: Sequence[str],
    models: Sequence[str],
    *,
    explainer: str = "progressive-exaggeration",
    images: int = 4,
    seed: int = 0,
) -> TaskDesign:
    """Design a study of tasks.

    Args:
        tasks: of `order`, `change`, `bias`.
        models: `NAME=MODEL`: what a classifier of two classes looks for, in words, and the classifier; its second class is
            the one with more of it. `NAME+OTHER=MODEL` for a biased one.
        explainer: one whose explanations hold a series of pictures.
        images: images of each classifier.
        seed: which images, frames and sides.

    Raises:
        UsageError: a task, model or explainer that will not do.
        RunFolderError: the tasks cannot be asked about these models.
    """
    unknown = [task for task in tasks if task not in TASKS]
    if unknown or not models or images < 1:
        raise UsageError(
            f"--tasks takes {', '.join(TASKS)} with one or more --series NAME=MODEL and a number of --trials; given are "
            f"{', '.join(tasks)}, {', '.join(models) or 'no series'} and {images}"
        )
    made = [each for text in models for each in series_of(text, explainer, images, seed)]
    origin = {"series": list(models), "explainer": explainer, "images": images, "seed": seed}
    return TaskDesign(tuple(questions_of(tasks, made, seed)), origin)


def series_of(text: str, explainer: str, images: int, seed: int) -> list[Series]:
    """The series of one classifier.

    Args:
        text: `NAME=MODEL` or `NAME+OTHER=MODEL`.
        explainer, images, seed: see `design_tasks`.
    """
    import explainers
    from models import load

    shown, _, model = text.partition("=")
    name, _, also = (part.strip() for part in shown.partition("+"))
    if not name or not model:
        raise UsageError(f"--series {text}: give NAME=MODEL, or NAME+OTHER=MODEL for a biased model")
    maker, subject = explainers.get(explainer), load(model)
    if subject.num_classes != 2:
        raise UsageError(f"--series {text}: {subject.name} has {subject.num_classes} classes; two are needed")
    chosen = subject.select(images, seed)
    pictures = subject.data.load(chosen)
    made = maker.explain(subject, pictures, seed=seed)
    if made.trajectory is None or made.target is None:
        raise UsageError(f"--explainers {explainer}: it makes no series of pictures; take progressive-exaggeration")
    frames = made.trajectory.images.detach().float().cpu().numpy().astype(float)
    amounts = made.trajectory.probabilities[:, :, 1].detach().cpu().numpy().astype(float)
    if made.trajectory.requested is not None:
        asked = made.trajectory.requested.detach().cpu().numpy().astype(float)
        amounts = np.where((made.target.cpu().numpy() == 1)[:, None], asked, 1 - asked)
    return [
        Series(f"{subject.name} {subject.data.ids[index]}", name, also, frames[place], amounts[place])
        for place, index in enumerate(chosen)
    ]
