"""The plan of a run folder as a file: one line per cell, the images of a block listed once."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from io import BytesIO
from typing import Any

from reports.schema import SCHEMA_VERSION

_TEXTS = ("key", "suite", "check", "subject", "explainer")


def encode(cells: Sequence[Mapping[str, Any]], created: str) -> bytes:
    """Turn the cells of a plan into the bytes of `plan.json`.

    Args:
        cells: per cell `key`, `suite`, `check`, `subject`, `explainer`, `seed`, `images` (ids) and `rows`.
        created: when the plan was made.

    Example:
        >>> cells = [{"key": "00c0ffee", "images": ["a/0", "a/1"]}, {"key": "00c0ffef", "images": ["a/0", "a/1"]}]
        >>> content = json.loads(encode(cells, "today"))
        >>> content["blocks"], [cell["images"] for cell in content["cells"]], decode(content) == cells
        ([['a/0', 'a/1']], [0, 0], True)
    """
    blocks: dict[tuple[str, ...], int] = {}
    places = [blocks.setdefault(tuple(cell.get("images", ())), len(blocks)) for cell in cells]
    listed = ",\n ".join(_line(block) for block in blocks)
    head = f'{{"schema": {SCHEMA_VERSION},\n"created": {_line(created)},\n"blocks": [\n {listed}\n],\n"cells": [\n '
    # Line by line: of a million cells, a second copy would be a quarter of a gigabyte.
    made = BytesIO()
    made.write(head.encode())
    for number, (cell, place) in enumerate(zip(cells, places, strict=True)):
        made.write(b",\n " if number else b"")
        made.write(_line({**cell, "images": place}).encode())
    made.write(b"\n]}\n")
    return made.getvalue()


def decode(content: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the cells of a plan, in either of its layouts; cells of one block share one list of images.

    Args:
        content: the JSON object of `plan.json`, empty where there is none.

    Raises:
        TypeError, ValueError, LookupError: it does not hold a plan.
    """
    blocks = [[str(name) for name in block] for block in content.get("blocks", [])]
    cells = []
    for given in content.get("cells", []):
        cell = dict(given)
        if not all(isinstance(cell.get(name, ""), str) for name in _TEXTS) or not cell["key"]:
            raise ValueError(f"a cell has no {', '.join(_TEXTS)} of texts")
        images = cell.get("images", [])
        cell["images"] = blocks[images] if isinstance(images, int) else [str(name) for name in images]
        cells.append(cell)
    return cells


def _line(value: Any) -> str:
    """Write a value as JSON on one line."""
    return json.dumps(value, ensure_ascii=False, allow_nan=False)
