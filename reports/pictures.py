"""Stored maps of a few images, from which the picture grid is drawn without the model.

Layout of one picture (one cell: subject, explainer, check, seed):

* array `maps`, (images, stages + 1, H, W): signed or non-negative maps, stage 0 is the trained model.
* array `images`, (images, C, H, W) in [0, 1].
* meta: `subject`, `explainer`, `check`, `seed`, `signed` (bool), `images` (ids), `layers` (one name per
  stage, without stage 0), and what else is of use (`targets`, `classes`).

Maps are stored as float16.  Gradients can be smaller than float16 can hold, so each map is divided by its
largest magnitude first, and the array `scales` (images, stages + 1), float32, holds that magnitude.
"""

from __future__ import annotations

import io
import json
import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from reports.files import DamagedFile, RunFolderError

_META = "meta.json"
MAX_BYTES = 1 << 28
"""Unpacked bytes of a picture; a small file can name any number of them."""

_UNREADABLE = (
    OSError,
    ValueError,
    KeyError,
    TypeError,
    EOFError,
    MemoryError,
    RuntimeError,
    zipfile.BadZipFile,
    zlib.error,
)
Array = npt.NDArray[Any]


@dataclass(frozen=True)
class Picture:
    """Maps of a few images under one explainer.

    Attributes:
        key: key of the cell that they come from.
        arrays: the arrays by name; `maps` and `images` as in the layout above.
        meta: what they show.
    """

    key: str
    arrays: dict[str, Array]
    meta: dict[str, Any]


def encode(arrays: Mapping[str, Array], meta: Mapping[str, Any]) -> bytes:
    """Pack arrays and their description into the bytes of an `.npz` file.

    Args:
        arrays: numbers only; floating arrays are stored as float16.
        meta: JSON object.

    Raises:
        RunFolderError: an array does not hold numbers, or the description has no JSON form.
    """
    stored: dict[str, Array] = {}
    for name, given in arrays.items():
        array = np.asarray(given)
        if array.dtype.kind not in "biuf":
            raise RunFolderError(f"picture array {name!r} has type {array.dtype}: only numbers are stored.")
        if name == "maps":
            array, stored["scales"] = _scaled(array)
        stored[name] = array.astype(np.float16) if array.dtype.kind == "f" else array
    try:
        text = json.dumps(meta, allow_nan=False).encode()
    except (TypeError, ValueError) as error:
        raise RunFolderError(f"the description of a picture must be JSON: {error}.") from error
    stored[_META] = np.frombuffer(text, dtype=np.uint8)
    buffer = io.BytesIO()
    np.savez_compressed(buffer, allow_pickle=False, **stored)
    return buffer.getvalue()


def decode(path: Path) -> Picture:
    """Read one picture file; pickled content is refused.

    Raises:
        DamagedFile: the file is torn, altered or not a picture.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            if sum(item.file_size for item in archive.infolist()) > MAX_BYTES:
                raise ValueError(f"more than {MAX_BYTES:,} bytes when unpacked")
        with np.load(path, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
        meta = json.loads(np.asarray(arrays.pop(_META)).tobytes())
        _check_layout(arrays, meta)
    except _UNREADABLE as error:
        raise DamagedFile(f"{path} is not a whole picture file: {error}") from error
    return Picture(path.stem, arrays, meta)


def is_damaged(path: Path) -> bool:
    """Tell whether there is a file and no whole picture in it."""
    try:
        decode(path)
    except DamagedFile as error:
        return not isinstance(error.__cause__, FileNotFoundError)
    return False


def _check_layout(arrays: Mapping[str, Array], meta: Any) -> None:
    """Refuse what does not have the layout that figures are drawn from."""
    if not isinstance(meta, dict) or any(np.asarray(array).dtype.kind not in "biuf" for array in arrays.values()):
        raise ValueError("no numbers with a description")
    maps, images = arrays.get("maps"), arrays.get("images")
    if maps is not None and (maps.ndim != 4 or images is None or images.ndim != 4 or len(images) != len(maps)):
        raise ValueError("no maps (n, stages, H, W) with images (n, C, H, W)")


def _scaled(maps: Array) -> tuple[Array, Array]:
    """Divide each map by its largest finite magnitude; a map of zeros stays as it is."""
    numbers = np.asarray(maps, dtype=np.float64)
    largest = np.max(np.abs(numbers), axis=(-2, -1), initial=0.0, where=np.isfinite(numbers))
    safe = np.where(largest > 0, largest, 1.0)
    return numbers / safe[..., None, None], largest.astype(np.float32)
