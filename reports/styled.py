"""The verdict table as a notebook shows it: short numbers, intervals, verdicts in colour and in words."""

from __future__ import annotations

from collections.abc import Hashable
from typing import TYPE_CHECKING, Any

import pandas as pd

if TYPE_CHECKING:
    from pandas.io.formats.style import Styler

COLOURS = {
    "PASS": "#0072b2",
    "FAIL": "#c04f00",
    "INCONCLUSIVE": "#8a6300",
    "UNRELIABLE": "#a03c7d",
    "UNDEFINED": "#5f6670",
    "N/A": "#5f6670",
}
"""White text on each of them has a contrast of 4.5 or more, and no two differ in red and green alone."""

_NUMBERS = ("estimate", "ci_low", "ci_high")


class VerdictTable(pd.DataFrame):
    """A table of verdicts; a data frame in every way, with a `style` that notebooks show well.

    Example:
        >>> table = VerdictTable({"explainer": ["a<b"], "estimate": [0.123456], "verdict": ["PASS"]})
        >>> html = table.style.to_html()
        >>> "a&lt;b" in html, "0.12<" in html, "0.123456" in html
        (True, True, False)
    """

    @property
    def _constructor(self) -> Any:
        """Rows and columns that are chosen from it are such a table too."""
        return VerdictTable

    @property
    def style(self) -> Styler:
        """How the table looks: two decimals, a dash where there is no number, each verdict on its colour."""
        styler = pd.DataFrame(self).style
        numbers: list[Hashable] = [name for name in _NUMBERS if name in self.columns]
        others: list[Hashable] = [name for name in self.columns if name not in numbers]
        styler = styler.format("{:z.2f}", subset=numbers, na_rep="–").format(escape="html", subset=others)
        texts: list[Hashable] = [name for name in self.columns if not pd.api.types.is_numeric_dtype(self[name])]
        styler = styler.set_properties(subset=texts, **{"text-align": "left"})
        if "verdict" in self.columns:
            styler = styler.map(_painted, subset=["verdict"])
        counts: list[Hashable] = [name for name in self.columns if name not in texts]
        styler = styler.set_properties(subset=counts, **{"text-align": "right"})
        # Numbers of rows say nothing, least of all when rows were chosen.
        numbered = self.index.name is None and pd.api.types.is_integer_dtype(self.index)
        return styler.hide(axis="index") if numbered else styler


def _painted(verdict: Any) -> str:
    """The style of one verdict."""
    colour = COLOURS.get(str(verdict))
    return f"background-color: {colour}; color: #ffffff; font-weight: bold; text-align: center" if colour else ""
