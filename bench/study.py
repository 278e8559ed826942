"""Pictures for a user study: those that a run has kept, or where they are too few, as many as it takes, explained now."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from models.naming import UsageError, near
from reports.files import RunFolderError
from reports.store import Store
from reports.study.page import NAMES, Design
from reports.study.trials import CONTROL, FRAMES, Trial, choose, stored_trials

if TYPE_CHECKING:
    from explainers.base import Explainer, Explanation

_NOW = "explained for the study"


def design(
    run: Path,
    groups: Sequence[str],
    *,
    subject: str | None = None,
    classes: Sequence[str] | None = None,
    names: Sequence[str] = NAMES,
    trials: int = 20,
    explain: bool = False,
    seed: int = 0,
) -> Design:
    """Design a study from a run.

    Args:
        run: a run folder.
        groups: `control` and explainers, the one that should teach least first.
        subject: the model, where the run has several.
        classes: two classes of it; None where it has only two.
        names: what participants call the classes.
        trials: number of pictures, even.
        explain: explain images now, even if the run has kept enough of them.
        seed: which images are taken, and the random numbers of the explainers.

    Returns:
        The design; `origin["pictures"]` says where the pictures come from, and why, where the run has kept too few.

    Raises:
        UsageError: a number or name that is not allowed.
        RunFolderError: the model's data do not hold enough images.
    """
    if trials < 2 or trials % 2:
        raise UsageError(f"--trials {trials}: give an even number, half of the pictures are of either class")
    if len(groups) < 2 or len(set(groups)) < len(groups):
        raise UsageError(
            f"--explainers {','.join(groups)}: give at least two groups, each once, such as control,gradcam"
        )
    if len(names) != 2 or (classes is not None and len(set(classes)) != 2):
        raise UsageError("--names and --classes each take two names, separated by a comma")
    store = Store(run)
    name = _subject(store, subject)
    said, kept = (_NOW, None) if explain else _kept(store, name, groups, classes, trials)
    if kept is None:
        pair, found = explained(name, groups, classes, trials, seed)
        kept = pair, choose(found, pair, trials)
    origin: dict[str, Any] = {"run": run.name, "subject": name, "seed": seed, "pictures": said}
    return Design(tuple(groups), kept[0], (names[0], names[1]), tuple(kept[1]), origin)


def _kept(
    store: Store, subject: str, groups: Sequence[str], classes: Sequence[str] | None, trials: int
) -> tuple[str, tuple[tuple[str, str], list[Trial]] | None]:
    """Where the pictures come from, with the classes and pictures that the run has kept, None where they are too few."""
    pictures = [picture for picture in store.read_pictures() if picture.meta.get("subject") == subject]
    try:
        stored = stored_trials(pictures, groups)
        there = sorted({trial.truth for trial in stored})
        pair = tuple(classes or there)
        if len(pair) != 2:
            return f"{_NOW}: the run has kept pictures of {', '.join(there) or 'no class'}", None
        return "kept by the run; morphs are blends of their two ends", (
            (pair[0], pair[1]),
            choose(stored, pair, trials),
        )
    except RunFolderError as error:
        return f"{_NOW}: {error}", None


def explained(
    subject: str, groups: Sequence[str], classes: Sequence[str] | None, trials: int, seed: int
) -> tuple[tuple[str, str], list[Trial]]:
    """Explain as many images of two classes as a study needs.

    Args:
        subject: name of the model.
        groups: `control` and explainers.
        classes: two classes of it; None where it has only two.
        trials: pictures wanted.
        seed: which images are taken, and the random numbers of the explainers.

    Returns:
        The classes, and the pictures with what the network says they are as their truth.
    """
    import explainers
    import models

    makers = {name: explainers.get(name) for name in groups if name != CONTROL}
    model = models.load(subject)
    pair = _pair(list(model.class_names), classes)
    numbers = [list(model.class_names).index(name) for name in pair]
    order = model.select(len(model.data), seed)
    taken: list[int] = []
    counts = dict.fromkeys(numbers, 0)
    for start in range(0, len(order), 64):
        part = order[start : start + 64]
        for index, said in zip(part, model.predict(model.data.load(part)).tolist(), strict=True):
            if counts.get(said, trials) < trials // 2:
                counts[said] += 1
                taken.append(index)
        if len(taken) == trials:
            break
    if not taken:
        return pair, []
    images = model.data.load(taken)
    said = model.predict(images)
    found = [
        Trial(model.data.ids[index], model.class_names[int(each)], image.numpy().astype(float))
        for index, each, image in zip(taken, said, images, strict=True)
    ]
    for name, maker in makers.items():
        for number, other in (numbers, numbers[::-1]):
            rows = [row for row, each in enumerate(said.tolist()) if each == number]
            if rows:
                made = _towards(maker, other).explain(model, images[rows], targets=said[rows], seed=seed)
                _show([found[row] for row in rows], name, made, numbers)
    return pair, found


def _towards(maker: Explainer, number: int) -> Explainer:
    """The explainer contrasting with this class, where it takes a class to contrast with and none was named."""
    import explainers

    params = dict(maker.resolved.params)
    if params.get("probe") != "second":
        return maker
    return explainers.get(replace(maker.resolved, params=tuple(sorted({**params, "probe": str(number)}.items()))))


def _show(trials: Sequence[Trial], name: str, made: Explanation, numbers: Sequence[int]) -> None:
    """Put the morph of an explanation, or else its heat map, beside the pictures."""
    import numpy as np

    maps = made.map("positive")
    for place, trial in enumerate(trials):
        if made.counterfactual is None:
            trial.heat[name] = maps[place].detach().cpu().numpy().astype(float)
            continue
        toward = numbers[0] if made.target is None else int(made.target[place])
        if made.target is not None and toward not in numbers:
            raise UsageError(
                f"{name} changes {trial.image} towards another class than the two of the study; take a model of two classes"
            )
        if made.trajectory is not None:
            frames = made.trajectory.images[place].detach().float().cpu().numpy().astype(float)
            keep = np.linspace(0, len(frames) - 1, min(FRAMES, len(frames))).round().astype(int)
            trial.morphs[name] = frames[keep]
        else:
            start = trial.pixels if made.reconstruction is None else made.reconstruction[place].float().cpu().numpy()
            end = made.counterfactual[place].float().cpu().numpy()
            trial.morphs[name] = np.stack([start + (end - start) * step for step in np.linspace(0, 1, FRAMES)])


def _subject(store: Store, wanted: str | None) -> str:
    """The model of the study."""
    there = list(dict.fromkeys(str(cell["subject"]) for cell in store.plan()))
    if wanted is None and len(there) == 1:
        return there[0]
    if wanted not in there:
        raise UsageError(
            f"--subject {wanted or ''}: give one of the models of the run: {', '.join(there) or 'it has none'}"
        )
    return str(wanted)


def _pair(there: Sequence[str], wanted: Sequence[str] | None) -> tuple[str, str]:
    """The two classes of the study."""
    if wanted is None and len(there) == 2:
        return there[0], there[1]
    if wanted is None:
        raise UsageError(f"--classes A,B: say which two look-alike classes; there are {', '.join(there) or 'none'}.")
    for name in wanted:
        if name not in there:
            raise UsageError(
                f"--classes: no class {name!r}{near(name, there)}; there are {', '.join(there) or 'none'}."
            )
    return wanted[0], wanted[1]
