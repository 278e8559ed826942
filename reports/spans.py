"""Columns of a frame, put together from spans of rows that stand in several files.

Cells come in the order of the plan and lie in packs and in files of their own, so a column is many spans of rows. Those that
follow on each other are one, and texts stay the numbers of their dictionaries for as long as possible.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import accumulate, pairwise
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from reports import schema

Span = tuple[int, int, int]
"""Number of the source, first row in it, and how many rows."""


def column(sources: Sequence[pa.ChunkedArray], slices: Sequence[Span], kind: str, coded: bool) -> pd.Series[Any]:
    """Put spans of rows of several sources together as one column.

    Args:
        sources: the same column of each source; texts as `encoded` gives them.
        slices: the rows, in the order wanted.
        kind: type of the column, as in `schema.COLUMNS`.
        coded: give texts as categoricals.

    >>> column([pa.chunked_array([[1.0, 2.0]]), pa.chunked_array([[3.0]])], [(1, 0, 1), (0, 1, 1)], "float64", False).tolist()
    [3.0, 2.0]
    """
    whole = pa.chunked_array([chunk for source in sources for chunk in source.chunks], sources[0].type)
    first = [0, *accumulate(map(len, sources))]
    # What follows on each other across sources is one span.
    spans = [span[1:] for span in joined([(0, first[source] + start, count) for source, start, count in slices])]
    if kind == "str" and coded:
        # Slices can be many, and each would bring its own dictionary along; so the rows of the whole are chosen.
        column = schema.series(whole, kind, coded=True)
        if spans == [(0, len(whole))]:
            return column
        rows = [np.arange(start, start + count) for start, count in spans]
        return column.iloc[np.concatenate(rows) if rows else []].reset_index(drop=True)
    chunks = [chunk for start, count in spans for chunk in whole.slice(start, count).chunks]
    return schema.series(pa.chunked_array(chunks, whole.type), kind)


def encoded(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Encode texts as the packs give them."""
    return column.dictionary_encode() if pa.types.is_string(column.type) else column


def joined(spans: Sequence[Span]) -> Iterator[Span]:
    """Join spans of rows that follow each other in one source.

    >>> list(joined([(0, 0, 2), (0, 2, 3), (1, 0, 1)]))
    [(0, 0, 5), (1, 0, 1)]
    """
    breaks = [at + 1 for at, (one, two) in enumerate(pairwise(spans)) if one[0] != two[0] or one[1] + one[2] != two[1]]
    for start, stop in pairwise([0, *breaks, len(spans)] if spans else [0]):
        source, first, _ = spans[start]
        yield source, first, sum(count for _, _, count in spans[start:stop])
