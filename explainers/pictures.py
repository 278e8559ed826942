"""Pictures of images with the heat map of each explainer, and with the counterfactuals of those that make them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from torch import Tensor

from models.base import Subject
from models.decoding import decode
from models.naming import UsageError

from . import morphs, paired, registry
from .asking import asked
from .base import Explainer, Explanation
from .passes import shared_passes

SUFFIXES = (".png", ".pdf", ".svg", ".gif")


def load_image(path: str, subject: Subject) -> Tensor:
    """The image of a file, or of the subject's data by id or index, (1, C, H, W) in [0, 1].

    Args:
        path: an image file, `fashion-mnist/test/00042`, or an index such as `42`.

    Raises:
        UsageError: no such file or id, not an image, or a size that the model does not take.
    """
    data = subject.data
    if not Path(path).is_file():
        index = list(data.ids).index(path) if path in data.ids else int(path) if path.isdigit() else -1
        if not 0 <= index < len(data):
            raise UsageError(
                f"image {path!r} is neither a file nor an id ({data.ids[0]}) or index (0 to {len(data) - 1}) of {data.name}"
            )
        return data.load([index])
    channels, height, width = data.shape
    pixels = decode(Path(path), channels)
    if pixels.shape[1:] != (height, width):
        raise UsageError(
            f"{path} is {pixels.shape[2]}x{pixels.shape[1]} pixels; {subject.name} takes {width}x{height}: resize the image"
        )
    return torch.from_numpy(pixels.copy()).float().div(255)[None]


def draw(
    subject: Subject,
    image: str,
    explainers: Sequence[Explainer],
    out: str | Path,
    *,
    target: int | None = None,
    seed: int = 0,
) -> str:
    """Write the picture and say what is on it.

    One row of maps per image; where there is one image only, explanations with a counterfactual or a partner are shown below
    it with all that belongs to them.

    Args:
        image: see `load_image`; several are separated by commas.
        out: `.png`, `.pdf` or `.svg` file; `.gif` for the morphs of one image, animated.
        target: class to explain; None takes the model's prediction. Embeddings have no classes.

    Raises:
        UsageError: image or target that do not fit the model, another suffix, an animation of what does not move, an explainer
            that asks about classes where there are none.
    """
    file = Path(out)
    if file.suffix.lower() not in SUFFIXES:
        raise UsageError(f"--out is {str(out)!r}; give a file that ends in {', '.join(SUFFIXES)}")
    wanted = [image] if Path(image).is_file() else [part for part in image.split(",") if part]
    if not wanted:
        raise UsageError(
            f"IMAGE is {image!r}; give an image file, or an id or index of an image of {subject.data.name}"
        )
    pixels = torch.cat([load_image(each, subject) for each in wanted])
    shares = None if _classless(subject, explainers, target) else _shares(subject, pixels, target)
    chosen = [0 if target is None else target] * len(pixels)
    if shares is not None and target is None:
        chosen = shares.argmax(1).tolist()
    names = [_called(each) for each in explainers]
    found: list[list[Explanation]] = []
    for row in range(len(pixels)):
        with shared_passes():
            found.append([asked(each, subject, pixels[row : row + 1], [chosen[row]], seed) for each in explainers])
    file.parent.mkdir(parents=True, exist_ok=True)
    if file.suffix.lower() == ".gif":
        _animate(file, found, names, subject.class_names)
    else:
        titles = (
            [Path(each).name for each in wanted] if shares is None else [subject.class_names[each] for each in chosen]
        )
        figure = explanation_figure(pixels, found, names, titles, subject.class_names)
        FigureCanvasAgg(figure).print_figure(str(file), dpi=150)
    said = _said(subject, wanted, chosen, shares, found, names)
    return "\n".join([*said, f"written to {file}"])


def _classless(subject: Subject, explainers: Sequence[Explainer], target: int | None) -> bool:
    """Whether what the subject gives are the numbers of an embedding, of which none is the answer for a class."""
    if subject.spec.get("kind") != "embedding":
        return False
    asking = [each.name for each in explainers if each.info.class_sensitive or "probe" in each.info.params]
    if asking or target is not None:
        what = f"--target is {target}" if target is not None else f"{asking[0]} explains a class"
        raise UsageError(
            f"{what}, and {subject.name} is an embedding without classes; it can be explained with siamese-ae-vae and "
            "ae-vae[layer=output]"
        )
    return True


def _shares(subject: Subject, pixels: Tensor, target: int | None) -> Tensor:
    """Probabilities (N, K)."""
    shares = torch.softmax(subject.predict_logits(pixels).float(), 1)
    if target is not None and not 0 <= target < shares.shape[1]:
        raise UsageError(f"--target is {target}; the classes of {subject.name} are 0 to {shares.shape[1] - 1}")
    return shares


def explanation_figure(
    images: Tensor,
    found: Sequence[Sequence[Explanation]],
    names: Sequence[str],
    titles: Sequence[str],
    classes: Sequence[str],
) -> Figure:
    """Images (N, C, H, W), each followed by the maps of its explanations, and below a single one the story of those with a
    counterfactual or a partner.

    A map is scaled by its own 99th percentile of |a|. Signed maps are red for evidence for the class and blue against it
    (contrastive ones: red for what is added, blue for what is taken away); non-negative maps run from white to black.
    """
    stories = [
        (teller, made, name)
        for made, name in zip(found[0], names, strict=True)
        for teller in (morphs, paired)
        if len(found) == 1 and teller.has_story(made)
    ]
    columns = len(names) + 1 if len(found) > 1 else min(6, len(names) + 1)
    rows = len(found) if len(found) > 1 else -(-(len(names) + 1) // columns)
    heights = [2.35 * rows, *[2.1 * teller.rows_of(made) for teller, made, _ in stories]]
    width = max(2.1 * columns, *[1.5 * teller.columns_of(made) for teller, made, _ in stories], 0.0)
    figure = Figure(figsize=(width, sum(heights)), layout="constrained")
    places = figure.subfigures(len(heights), 1, height_ratios=heights, squeeze=False)[:, 0]
    grid = places[0].subplots(rows, columns, squeeze=False)
    for axis in grid.flat:
        axis.set_axis_off()
    panels = list(grid.flat)
    for row, (image, title) in enumerate(zip(images, titles, strict=True)):
        start = row * columns
        morphs.show(panels[start], image)
        panels[start].set_title(title + _asked(found[row], classes), fontsize=9)
        for axis, made, name in zip(panels[start + 1 :], found[row], names, strict=False):
            _map(axis, made, name)
    for place, (teller, made, name) in zip(places[1:], stories, strict=True):
        teller.story(place, images[0], made, name, classes)
    return figure


def _called(explainer: Explainer) -> str:
    """Its name, with the explainer inside where the name leaves it out: `contrast` alone does not say whose maps it takes."""
    inner = explainer.resolved.inner
    return explainer.name if inner is None or "(" in explainer.name else f"{explainer.name}({registry.display(inner)})"


def _map(axis: Any, made: Explanation, name: str) -> None:
    values = made.map()[0].cpu().numpy()
    finite = np.abs(values[np.isfinite(values)])
    limit = (np.percentile(finite, 99) or finite.max() or 1.0) if finite.size else 1.0
    low, colours = (-limit, "RdBu_r") if made.info.signed else (0.0, "gray_r")
    axis.imshow(values, cmap=colours, vmin=low, vmax=limit)
    note = "" if made.counterfactual is None else "\nred: add, blue: remove"
    axis.set_title(name + (note if made.status[0] == "ok" else f"\n({made.status[0]})"), fontsize=9)


def _asked(found: Sequence[Explanation], classes: Sequence[str]) -> str:
    """The question, where all explanations with a counterfactual answer the same."""
    probes = {int(made.target[0]) for made in found if made.target is not None}
    return f"\nwhy not {classes[probes.pop()]}?" if len(probes) == 1 and -1 not in probes else ""


def _animate(file: Path, found: Sequence[Sequence[Explanation]], names: Sequence[str], classes: Sequence[str]) -> None:
    if len(found) > 1 or not any(made.trajectory is not None for made in found[0]):
        raise UsageError(
            f"--out is {str(file)!r}, an animation; it shows the morph of one image by contrastive explainers such as cdeepex"
        )
    morphs.animate(file, found[0], names, classes)


def _said(
    subject: Subject,
    wanted: Sequence[str],
    chosen: Sequence[int],
    shares: Tensor | None,
    found: Sequence[Sequence[Explanation]],
    names: Sequence[str],
) -> list[str]:
    """One line per image and per explanation of it."""
    lines = []
    for row, explained in enumerate(found):
        if shares is None:
            lines.append(f"{subject.name}: image {wanted[row]}")
        else:
            named, share = subject.class_names[chosen[row]], float(shares[row, chosen[row]])
            lines.append(f"{subject.name}: class {chosen[row]} ({named}), probability {share:.3f}")
        for name, made in zip(names, explained, strict=True):
            asked = ""
            if made.target is not None and made.outcome is not None and int(made.target[0]) >= 0:
                asked = f", {made.outcome[0]}, towards class {int(made.target[0])} ({subject.class_names[int(made.target[0])]})"
            lines.append(f"{name}: {made.status[0]}{asked}")
    return lines
