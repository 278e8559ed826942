"""Pictures of a study: what people are asked about, and what each group is shown as feedback."""

from __future__ import annotations

import base64
import io
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from reports.files import RunFolderError
from reports.pictures import Picture

CONTROL = "control"
"""The group that is told right or wrong and nothing else."""

FRAMES = 9
"""Frames of a morph on the page."""

_HEAT = np.array([213.0, 62.0, 0.0])
Array = npt.NDArray[Any]


@dataclass(frozen=True)
class Trial:
    """One picture of a study.

    Attributes:
        image: its id.
        truth: the class that the network says it is.
        pixels: (C, H, W) in [0, 1].
        heat: explainer to its map, (H, W).
        morphs: explainer to the frames of its morph, (frames, C, H, W), the picture first.
    """

    image: str
    truth: str
    pixels: Array
    heat: dict[str, Array] = field(default_factory=dict)
    morphs: dict[str, Array] = field(default_factory=dict)


def stored_trials(pictures: Sequence[Picture], explainers: Sequence[str]) -> list[Trial]:
    """What a run has kept of all these explainers: morphs where there are counterfactuals, else heat maps.

    Args:
        pictures: of one run, of one subject.
        explainers: names; `control` needs no picture of its own.

    Returns:
        The images that every explainer has explained, with the explained class as their truth.

    Raises:
        RunFolderError: an explainer has no pictures in the run.
    """
    found: dict[str, Trial] = {}
    of: dict[str, set[str]] = {name: set() for name in explainers if name != CONTROL}
    has_morph = {p.meta.get("explainer") for p in pictures if "counterfactuals" in p.arrays}
    for picture in pictures:
        name, check = picture.meta.get("explainer"), picture.meta.get("check")
        if name not in of or check != ("counterfactual" if name in has_morph else "cascading"):
            continue
        for place, (image, truth) in enumerate(zip(picture.meta["images"], picture.meta["classes"], strict=False)):
            trial = found.setdefault(image, Trial(image, truth, picture.arrays["images"][place].astype(float)))
            if name in has_morph:
                trial.morphs[name] = blended(picture, place)
            else:
                trial.heat[name] = picture.arrays["maps"][place, 0].astype(float)
            of[name].add(image)
    lacking = [name for name, images in of.items() if not images]
    if lacking:
        known = sorted(
            {str(p.meta.get("explainer")) for p in pictures if p.meta.get("check") in ("cascading", "counterfactual")}
        )
        raise RunFolderError(
            f"the run has no pictures of {', '.join(lacking)}; it has them of: {', '.join(known) or 'no explainer'}."
        )
    return [trial for image, trial in found.items() if all(image in images for images in of.values())]


def blended(picture: Picture, place: int) -> Array:
    """Frames from what the generator makes of a picture to its counterfactual; a run keeps these two ends only."""
    start = picture.arrays.get("reconstructions", picture.arrays["images"])[place].astype(float)
    end = picture.arrays["counterfactuals"][place].astype(float)
    return np.stack([start + (end - start) * step for step in np.linspace(0, 1, FRAMES)])


def choose(trials: Sequence[Trial], classes: Sequence[str], count: int) -> list[Trial]:
    """Take as many pictures of one class as of the other.

    Args:
        trials: what there is.
        classes: the two classes.
        count: trials of the study, even.

    Raises:
        RunFolderError: there are too few of a class.
    """
    there = Counter(trial.truth for trial in trials)
    if any(there[name] < count // 2 for name in classes):
        have = ", ".join(f"{number} of {name}" for name, number in sorted(there.items())) or "none"
        raise RunFolderError(
            f"a study of {count} trials needs {count // 2} pictures each of {' and '.join(classes)} that all explainers "
            f"have explained; there are: {have}."
        )
    return [trial for name in classes for trial in [t for t in trials if t.truth == name][: count // 2]]


def encoded(trial: Trial) -> dict[str, Any]:
    """A trial as the page needs it: pictures as data addresses."""
    return {
        "image": trial.image,
        "truth": trial.truth,
        "picture": address(trial.pixels),
        "heat": {name: address(overlaid(trial.pixels, values)) for name, values in trial.heat.items()},
        "morph": {name: [address(frame) for frame in frames] for name, frames in trial.morphs.items()},
    }


def overlaid(pixels: Array, values: Array) -> Array:
    """A picture in grey with what speaks for its class in red, the more the stronger; a map of nothing shows nothing.

    Args:
        pixels: (C, H, W) in [0, 1].
        values: (H, W) map; its negative part is not shown.
    """
    strength = np.clip(np.nan_to_num(values, nan=0.0, posinf=0.0, neginf=0.0), 0, None)
    strength = strength / strength.max() if strength.max() > 0 else strength
    grey = np.repeat(pixels.mean(axis=0, keepdims=True), 3, axis=0) * 0.75
    weight = 0.85 * strength[None]
    return np.asarray(grey * (1 - weight) + _HEAT[:, None, None] / 255 * weight)


def address(pixels: Array) -> str:
    """Data address of a PNG of an image (C, H, W) in [0, 1]."""
    values = (np.clip(np.nan_to_num(pixels), 0, 1) * 255 + 0.5).astype(np.uint8)
    picture = Image.fromarray(values[0]) if len(values) == 1 else Image.fromarray(values[:3].transpose(1, 2, 0))
    buffer = io.BytesIO()
    picture.save(buffer, "PNG", optimize=True)
    return f"data:image/png;base64,{base64.b64encode(buffer.getvalue()).decode()}"
