"""The planted square: which explanation shows it, on the network that learnt it and on one that did not."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from reports import stats
from reports.pictures import Picture

CHECK = "planted-square"
AREA = 36 / 784
"""Share of the 28x28 picture that the square covers: what a map spread evenly has there."""
_MEASURES = {"energy": "square-energy", "change": "square-change", "restored": "square-restored"}
COLUMNS = ("subject", "explainer", "n", "energy", "energy_low", "energy_high", "of_area", "change", "restored", "says")


def bias(frame: pd.DataFrame) -> pd.DataFrame:
    """What every explainer has inside the square.

    Args:
        frame: tidy records of any suites.

    Returns:
        One row per subject and explainer: `energy`, the mean share of the map inside the square with a 95% interval
        (bootstrap over images); `of_area`, that share over the square's share of the picture (1 = no more than anywhere);
        `change`, the mean signed change of counterfactuals there; `restored`, the median gain of the logit gap when the
        original pixels are put back; `says`: `sees it` where the interval lies above the area, `blind` where it lies below half
        of it.

    Example:
        >>> from reports.schema import empty
        >>> len(bias(empty()))
        0
    """
    own = frame[((frame["check"] == CHECK) & frame["value"].notna()).to_numpy(dtype=bool)]
    rows: list[dict[str, Any]] = []
    for (subject, explainer), part in own.groupby(["subject", "explainer"], sort=True, observed=True):
        found = {
            name: part.loc[(part["measure"] == measure).to_numpy(dtype=bool), "value"].to_numpy(dtype=np.float64)
            for name, measure in _MEASURES.items()
        }
        if not len(found["energy"]):
            continue
        share = stats.mean_over_images(found["energy"][None])[0]
        rows.append(
            {
                "subject": subject, "explainer": explainer, "n": len(found["energy"]), "energy": share.estimate,
                "energy_low": share.low, "energy_high": share.high, "of_area": share.estimate / AREA,
                "change": float(found["change"].mean()) if len(found["change"]) else np.nan,
                "restored": float(np.median(found["restored"])) if len(found["restored"]) else np.nan,
                "says": "sees it" if share.low > AREA else "blind" if share.high < AREA / 2 else "undecided",
            }
        )  # fmt: skip
    return pd.DataFrame(rows, columns=list(COLUMNS))


def comparison(pictures: list[Picture], subject: str, image: str) -> Figure | None:
    """Draw what the explainers say of one image side by side, the square outlined; None without such pictures.

    Args:
        pictures: of a run folder.
        subject: name of the model.
        image: id of the image.

    Source: Feghahati 2020, figure 3.7.
    """
    own = [
        (picture, picture.meta["images"].index(image)) for picture in pictures
        if picture.meta.get("check") == CHECK and picture.meta.get("subject") == subject and image in picture.meta["images"]
    ]  # fmt: skip
    if not own:
        return None
    own.sort(key=lambda item: ("counterfactuals" not in item[0].arrays, str(item[0].meta["explainer"])))
    columns = min(5, len(own) + 1)
    lines = -(-(len(own) + 1) // columns)
    made = Figure(figsize=(1.75 * columns, 2.0 * lines), layout="constrained")
    axes = made.subplots(lines, columns, squeeze=False).ravel()
    first, place = own[0]
    axes[0].imshow(first.arrays["images"][place, 0], cmap="gray", vmin=0, vmax=1)
    axes[0].set_title(f"{first.meta['classes'][place]}: why no bag?", fontsize=7)
    for axis, (picture, place) in zip(axes[1:], own, strict=False):
        values = np.asarray(picture.arrays["maps"][place, 0], dtype=np.float64)
        size = float(np.abs(values).max()) or 1.0
        axis.imshow(values, cmap="RdBu_r", vmin=-size, vmax=size)
        top, bottom, left, right = picture.meta["square"]
        axis.add_patch(
            Rectangle((left - 0.5, top - 0.5), right - left, bottom - top, fill=False, color="#222222", linewidth=0.8)
        )
        axis.set_title(_short(str(picture.meta["explainer"])), fontsize=7)
    for axis in axes:
        axis.set_xticks([])
        axis.set_yticks([])
    for axis in axes[len(own) + 1 :]:
        axis.axis("off")
    return made


def _short(name: str) -> str:
    """A name in lines of at most 26 letters.

    >>> _short("cdeepex[generator=fashion-mnist-vae,probe=8]").splitlines()[0]
    'cdeepex'
    """
    head, bracket, rest = name.partition("[")
    return f"{head}\n{rest.rstrip(']').replace(',', chr(10))}" if bracket else head
