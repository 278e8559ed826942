"""Figures of a report: a file for people who want the figure, data addresses for the page."""

from __future__ import annotations

import base64
import re
from pathlib import Path

from matplotlib.figure import Figure

from reports import files, plots
from reports.page import Shown


class Gallery:
    """Draws figures.

    Attributes:
        folder: where the files go.
        written: the files so far.
    """

    def __init__(self, folder: Path) -> None:
        """Remember where the files go."""
        self.folder = folder
        self.written: list[Path] = []

    def add(self, name: str, title: str, caption: str, figure: Figure) -> Shown:
        """Keep a figure of lines: PNG as a file, SVG for light and for dark pages."""
        self._file(name, plots.to_bytes(figure, "png", dpi=150))
        light = plots.to_bytes(figure, "svg", solid=False)
        addresses = [_address("image/svg+xml", data) for data in (light, plots.to_dark(light))]
        return Shown(title, caption, *addresses)

    def add_pixels(self, name: str, title: str, caption: str, figure: Figure) -> Shown:
        """Keep a figure of pixels: PNG as a file, and one PNG that suits light and dark pages."""
        clear = plots.to_pixels(figure, dpi=120)
        self._file(name, plots.on_white(clear))
        address = _address("image/png", plots.fewer_colours(clear))
        return Shown(title, caption, address, address)

    def _file(self, name: str, data: bytes) -> None:
        """Write a file under a name that no name of a user can lead astray, nor two figures share."""
        stem = re.sub(r"[^0-9A-Za-z.]+", "-", name).strip("-.")[:80] or "figure"
        path = self.folder / f"{stem}.png"
        number = 1
        while path in self.written:
            number += 1
            path = self.folder / f"{stem}-{number}.png"
        files.write(path, data)
        self.written.append(path)


def _address(kind: str, data: bytes) -> str:
    """Return a data address."""
    return f"data:{kind};base64,{base64.b64encode(data).decode()}"
