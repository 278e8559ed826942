"""Dense arrays of tidy records: stages x images x seeds, one array per explainer and check."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from reports.frame import GROUP, Group
from reports.schema import STATUSES

ABSENT = -1
"""Status code of a place without a row."""


@dataclass(frozen=True)
class Block:
    """All values of one measure for one subject, explainer, suite and check.

    Attributes:
        values: (stages, images, seeds); NaN unless the status is `ok`.
        status: (stages, images, seeds); position in `reports.schema.STATUSES`, `ABSENT` where
            there is no row.
        stages: stage numbers, ascending.
        layers: name of the layer of each stage, None where it has none.
        images: ids of the images, the same for all checks of one subject, explainer and suite.
        seeds: seed indices, ascending.
    """

    values: npt.NDArray[np.float64]
    status: npt.NDArray[np.int8]
    stages: tuple[int, ...]
    layers: tuple[str | None, ...]
    images: tuple[str, ...]
    seeds: tuple[int, ...]

    def at(self, stages: Iterable[int]) -> Block:
        """Return the block with the given stages only; stages that it does not have are left out."""
        wanted = set(stages)
        keep = [place for place, stage in enumerate(self.stages) if stage in wanted]
        return Block(
            self.values[keep],
            self.status[keep],
            tuple(self.stages[place] for place in keep),
            tuple(self.layers[place] for place in keep),
            self.images,
            self.seeds,
        )


def blocks(frame: pd.DataFrame, measure: str) -> dict[Group, Block]:
    """Arrange the values of one measure.

    Rows about no image (shares, failed cells) are left out.  Where one place has several rows the last one
    counts.

    Args:
        frame: tidy records.
        measure: name of the measure, for example `ssim`.

    Returns:
        One block per subject, explainer, suite and check, sorted.
    """
    # Only the columns that are needed: a copy of the texts of millions of rows costs more than all that follows.
    rows_of_it = (frame["measure"] == measure).to_numpy(dtype=bool) & frame["image"].notna().to_numpy()
    chosen = frame.loc[rows_of_it, [*GROUP, "stage", "layer", "seed", "image", "value", "status"]]
    if not len(chosen):
        return {}
    image_codes, images = pd.factorize(chosen["image"], sort=True)
    parts = _Parts(
        stage=_whole(chosen["stage"]),
        seed=_whole(chosen["seed"]),
        image=image_codes,
        value=chosen["value"].to_numpy(dtype=np.float64),
        status=pd.Categorical(chosen["status"], categories=STATUSES).codes.astype(np.int8),
        layer=chosen["layer"].to_numpy(dtype=object),
        names=np.asarray(images, dtype=object),
    )
    codes, owners = _group_codes(chosen)
    order = np.argsort(codes, kind="stable")
    bounds = np.searchsorted(codes[order], np.arange(len(owners) + 1))
    rows = {owner: order[bounds[place] : bounds[place + 1]] for place, owner in enumerate(owners)}
    shared: dict[tuple[str, ...], npt.NDArray[np.int64]] = {}
    for owner, here in rows.items():
        known = shared.get(owner[:3], np.zeros(0, dtype=np.int64))
        shared[owner[:3]] = np.union1d(known, image_codes[here])
    return {owner: parts.block(rows[owner], shared[owner[:3]]) for owner in sorted(owners)}


def with_targets(frame: pd.DataFrame) -> pd.DataFrame:
    """Let the explained class be a part of the image's id in checks that explain several classes of an image.

    Without it the values of one class would take the place of those of another.

    Args:
        frame: tidy records.

    Returns:
        The same rows; ids become `IMAGE as CLASS` where an image, stage and seed has more than one value of a measure.
    """
    keys = [*GROUP, "measure", "stage", "seed", "image"]
    about = frame["image"].notna() & frame["target"].notna()
    # One measure of each check tells how its rows are laid out.
    first = dict(
        frame.loc[about.to_numpy(), ["check", "measure"]].drop_duplicates("check").itertuples(index=False, name=None)
    )
    sample = about & is_first(frame, first)
    twice = frame.loc[sample.to_numpy(dtype=bool), keys]
    checks = set(twice.loc[twice.duplicated().to_numpy(), "check"])
    chosen = (about & frame["check"].isin(checks)).to_numpy(dtype=bool)
    if not chosen.any():
        return frame
    rows = frame.loc[chosen, ["image", "target"]]
    names, images = pd.factorize(rows["image"])
    numbers, targets = pd.factorize(rows["target"])
    both, place = np.unique(names * len(targets) + numbers, return_inverse=True)
    made = [f"{images[pair // len(targets)]} as {targets[pair % len(targets)]}" for pair in both]
    column = frame["image"].astype("category")
    column = column.cat.set_categories(pd.Index(sorted({*column.cat.categories, *made}), dtype="str"))
    codes = column.cat.codes.to_numpy(dtype=np.int64).copy()
    codes[chosen] = column.cat.categories.get_indexer(pd.Index(made, dtype="str"))[place]
    told = pd.Series(pd.Categorical.from_codes(codes, categories=column.cat.categories), index=frame.index)
    return frame.assign(image=told.astype(frame["image"].dtype) if frame["image"].dtype == "str" else told)


def is_first(frame: pd.DataFrame, first: Mapping[str, str]) -> npt.NDArray[np.bool_]:
    """Tell which rows hold the measure that stands for their check, so that each explanation has one row.

    Args:
        frame: tidy records.
        first: a measure of each check.
    """
    found = np.zeros(len(frame), dtype=bool)
    for check, measure in first.items():
        found |= ((frame["check"] == check) & (frame["measure"] == measure)).to_numpy(dtype=bool)
    return found


def filled(texts: pd.Series[Any], word: str) -> pd.Series[Any]:
    """Put a word where a text is missing, also into a categorical.

    >>> filled(pd.Series(["b", None], dtype="category"), "a").tolist()
    ['b', 'a']
    """
    if isinstance(texts.dtype, pd.CategoricalDtype):
        texts = texts.cat.set_categories(sorted({*texts.cat.categories, word}))
    return texts.fillna(word)


@dataclass(frozen=True)
class _Parts:
    """The columns of the chosen rows as plain arrays."""

    stage: npt.NDArray[np.int64]
    seed: npt.NDArray[np.int64]
    image: npt.NDArray[np.int64]
    value: npt.NDArray[np.float64]
    status: npt.NDArray[np.int8]
    layer: npt.NDArray[Any]
    names: npt.NDArray[Any]

    def block(self, rows: npt.NDArray[np.int64], images: npt.NDArray[np.int64]) -> Block:
        """Spread the given rows over stages x images x seeds."""
        stages, first, stage = np.unique(self.stage[rows], return_index=True, return_inverse=True)
        seeds, seed = np.unique(self.seed[rows], return_inverse=True)
        image = np.searchsorted(images, self.image[rows])
        shape = (len(stages), len(images), len(seeds))
        values = np.full(shape, np.nan)
        status = np.full(shape, ABSENT, dtype=np.int8)
        values[stage, image, seed] = self.value[rows]
        status[stage, image, seed] = self.status[rows]
        layers = self.layer[rows[first]]
        return Block(
            np.where(status == 0, values, np.nan),
            status,
            tuple(int(number) for number in stages),
            tuple(None if pd.isna(name) else str(name) for name in layers),
            tuple(str(name) for name in self.names[images]),
            tuple(int(number) for number in seeds),
        )


def _whole(column: pd.Series[Any]) -> npt.NDArray[np.int64]:
    """Whole numbers of a nullable column; null becomes 0, the only stage or seed there is."""
    return column.fillna(0).to_numpy(dtype=np.int64)


def _group_codes(frame: pd.DataFrame) -> tuple[npt.NDArray[np.int64], list[Group]]:
    """Number the groups of the rows; return the number of each row and the group of each number."""
    codes = np.zeros(len(frame), dtype=np.int64)
    levels = []
    for name in GROUP:
        part, values = pd.factorize(frame[name])
        codes = codes * len(values) + part
        levels.append(values)
    present, dense = np.unique(codes, return_inverse=True)
    owners: list[Group] = []
    for code in present:
        names = []
        for values in reversed(levels):
            code, place = divmod(code, len(values))
            names.append(str(values[place]))
        check, suite, explainer, subject = names
        owners.append((subject, explainer, suite, check))
    return dense, owners
