"""One picture of one image: the image and the heat map of each explainer."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from torch import Tensor

from models.base import Subject
from models.data import decode
from models.naming import UsageError

from .base import Explainer, Explanation
from .passes import shared_passes


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

    Args:
        image: see `load_image`.
        out: `.png`, `.pdf` or `.svg` file.
        target: class to explain; None takes the model's prediction.

    Raises:
        UsageError: image or target that do not fit the model, another suffix.
    """
    file = Path(out)
    if file.suffix.lower() not in (".png", ".pdf", ".svg"):
        raise UsageError(f"--out is {str(out)!r}; give a file that ends in .png, .pdf or .svg")
    pixels = load_image(image, subject)
    shares = torch.softmax(subject.predict_logits(pixels).float(), 1)[0]
    chosen = int(shares.argmax()) if target is None else target
    if not 0 <= chosen < len(shares):
        raise UsageError(f"--target is {target}; the classes of {subject.name} are 0 to {len(shares) - 1}")
    with shared_passes():
        found = [each.explain(subject, pixels, [chosen], seed) for each in explainers]
    figure = explanation_figure(
        pixels[0].numpy(), found, [each.name for each in explainers], subject.class_names[chosen]
    )
    file.parent.mkdir(parents=True, exist_ok=True)
    FigureCanvasAgg(figure).print_figure(str(file), dpi=150)
    lines = [f"{subject.name}: class {chosen} ({subject.class_names[chosen]}), probability {float(shares[chosen]):.3f}"]
    lines += [f"{each.name}: {made.status[0]}" for each, made in zip(explainers, found, strict=True)]
    return "\n".join([*lines, f"written to {file}"])


def explanation_figure(image: np.ndarray, found: Sequence[Explanation], names: Sequence[str], title: str) -> Figure:
    """Image (C, H, W) and one panel per explanation, each scaled by its own 99th percentile of |a|.

    Signed maps are red for evidence for the class and blue against it; non-negative maps run from white to black.
    """
    columns = min(6, len(found) + 1)
    rows = -(-(len(found) + 1) // columns)
    figure = Figure(figsize=(2.1 * columns, 2.35 * rows), layout="constrained")
    grid = figure.subplots(rows, columns, squeeze=False)
    for axis in grid.flat:
        axis.set_axis_off()
    panels = list(grid.flat)
    picture = image[0] if len(image) == 1 else image.transpose(1, 2, 0)
    panels[0].imshow(picture, cmap="gray", vmin=0, vmax=1)
    panels[0].set_title(title, fontsize=9)
    for axis, made, name in zip(panels[1:], found, names, strict=False):
        values = made.map()[0].cpu().numpy()
        finite = np.abs(values[np.isfinite(values)])
        limit = (np.percentile(finite, 99) or finite.max() or 1.0) if finite.size else 1.0
        low, colours = (-limit, "RdBu_r") if made.info.signed else (0.0, "gray_r")
        axis.imshow(values, cmap=colours, vmin=low, vmax=limit)
        axis.set_title(name if made.status[0] == "ok" else f"{name}\n({made.status[0]})", fontsize=9)
    return figure
