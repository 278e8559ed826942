"""Maps kept for scoring them again: of every cell a check compared, the trained model's maps and the others.

They lie in `maps/KEY.npz` of a run folder in the layout of `reports.pictures`, without the images: `maps` is
(images, 2, H, W), the trained model's map and the one that it was compared with; for `cascading` that of the first stage.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from reports import files, pictures
from reports.files import DamagedFile
from reports.pictures import Picture
from reports.records import KEY, named, valid

FOLDER = "maps"
CHECKS = ("cascading", "ceiling", "floor")
"""Checks whose maps are kept: what the first stage, repeats and fully random models give."""


def write_maps(run: Path, key: str, maps: npt.NDArray[Any], meta: Mapping[str, Any]) -> None:
    """Keep the maps of a cell.

    Args:
        run: the run folder.
        key: key of the cell.
        maps: (images, 2, H, W), the trained model's and the other's.
        meta: `subject`, `explainer`, `check`, `seed`, `signed` and `images` (ids).

    Raises:
        RunFolderError: the folder cannot be written, or the description has no JSON form.
    """
    nothing = np.zeros((len(maps), 0, 0, 0), dtype=np.float16)
    files.write(run / FOLDER / f"{valid(key)}.npz", pictures.encode({"maps": maps, "images": nothing}, meta))


def read_maps(run: str | Path) -> list[Picture]:
    """Return the kept maps in the order of their keys, without damaged ones; empty where none were kept."""
    found = []
    for path in named(Path(run) / FOLDER, KEY, ".npz"):
        try:
            found.append(pictures.decode(path))
        except DamagedFile:
            continue
    return found


def images_within(limit: int, cells: int, shape: Sequence[int], block: int) -> int:
    """How many images of each block may be kept so that all maps together stay below a limit.

    Args:
        limit: bytes.
        cells: number of cells whose maps are kept.
        shape: (H, W) of a map.
        block: images per block.

    Returns:
        0 to `block`; two maps of 2 bytes per pixel and image are counted, before compression.

    Example:
        >>> images_within(10_000_000, 100, (28, 28), 16), images_within(1000, 100, (28, 28), 16)
        (16, 0)
    """
    each = 2 * 2 * max(1, cells) * int(np.prod(shape))
    return min(block, limit // each)
