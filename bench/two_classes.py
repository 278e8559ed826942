"""The picture of one chosen image explained for two classes: the image, both maps, and their difference.

Source: Nuzzo 2020, section 7.3 (the fruit basket explained as banana and as orange).
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from models.naming import UsageError

if TYPE_CHECKING:
    from explainers import Explainer
    from models.base import Subject

SUFFIXES = (".png", ".svg")


def draw(
    subject: Subject,
    image: str,
    explainers: Sequence[Explainer],
    out: str | Path,
    *,
    against: int,
    target: int | None = None,
    seed: int = 0,
) -> str:
    """Write the picture of one image with one row per explainer, and say how alike the two maps are.

    Args:
        image: an image file, or index or id of an image of the subject's data; where its evidence is known it is outlined.
        out: `.png` or `.svg` file.
        against: the second class.
        target: the first class; None takes the model's prediction.

    Returns:
        A line per explainer with the Pearson correlation of the two maps (1 = the same map for both classes; not defined
        for a constant map), and where the picture is.

    Raises:
        UsageError: several images, classes that the model does not have or that are the same, another suffix.
    """
    from explainers.asking import asked
    from explainers.passes import shared_passes
    from explainers.pictures import load_image
    from reports import plots
    from reports.class_pictures import two_classes
    from reports.pictures import Picture

    file = Path(out)
    if file.suffix.lower() not in SUFFIXES:
        raise UsageError(f"--out is {str(out)!r}; with --against give a file that ends in {' or '.join(SUFFIXES)}")
    pixels = load_image(image, subject)
    logits = subject.predict_logits(pixels)[0]
    first = int(logits.argmax()) if target is None else target
    for option, label in (("--target", first), ("--against", against)):
        if not 0 <= label < len(logits):
            raise UsageError(f"{option} is {label}; the classes of {subject.name} are 0 to {len(logits) - 1}")
    if first == against:
        named = subject.class_names[first]
        raise UsageError(
            f"both classes are {first} ({named}); give --against another class than the first, or --target"
        )
    pictures, lines = [], []
    with shared_passes():
        for explainer in explainers:
            maps = np.stack(
                [asked(explainer, subject, pixels, [label], seed).map()[0].numpy() for label in (first, against)]
            )
            lines.append(f"{explainer.name}: correlation of the two maps {_correlation(*maps)}")
            arrays = {"maps": maps[None], "images": pixels.numpy(), **_masks(subject, pixels, (first, against))}
            names = [subject.class_names[label] for label in (first, against)]
            meta = {"explainer": explainer.name, "images": [image], "classes": [names]}
            pictures.append(Picture("", arrays, meta))
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(plots.to_bytes(two_classes(pictures, image), "svg" if file.suffix.lower() == ".svg" else "png"))
    return "\n".join([*lines, f"written to {file}"])


def _masks(subject: Subject, pixels: Any, labels: tuple[int, int]) -> dict[str, Any]:
    """Where the evidence of both classes is; nothing for an image of which it is not known."""
    truth = subject.data.truth
    if truth is None:
        return {}
    try:
        index = truth.index_of(pixels[0])
    except UsageError:
        return {}
    return {"masks": np.stack([truth.mask(index, label) for label in labels])[None]}


def _correlation(one: np.ndarray, two: np.ndarray) -> str:
    if one.std() == 0 or two.std() == 0:
        return "is not defined, one of them is constant"
    return f"{np.corrcoef(one.ravel(), two.ravel())[0, 1]:z.3f}"
