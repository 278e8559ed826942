"""Shape of the tidy records: columns, types, status values, versions.

One row is one measured value.  A row is never dropped and never repaired: where there is no number the
value is null and the status says why.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from operator import itemgetter
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa

SCHEMA_VERSION = 2
"""Version of the layout that this package writes.  Since 2 record files say which cells they hold, packs hold many
cells, and the plan lists the images of a block once."""

COLUMNS: dict[str, str] = {
    "suite": "str",
    "check": "str",
    "subject": "str",
    "explainer": "str",
    "seed": "Int64",
    "stage": "Int64",
    "layer": "str",
    "image": "str",
    "target": "Int64",
    "measure": "str",
    "value": "float64",
    "status": "str",
    "seconds": "float64",
    "cell": "str",
}
"""Columns of the records in their order, with their pandas types."""

REQUIRED = ("suite", "check", "subject", "explainer", "status", "cell")
"""Columns that hold no nulls."""

STATUSES = ("ok", "degenerate-zero", "degenerate-constant", "non-finite", "not-applicable", "failed")
"""Status values; `value` is null unless the status is `ok`."""

_ARROW = {"str": pa.string(), "Int64": pa.int64(), "float64": pa.float64()}

ARROW_SCHEMA = pa.schema([pa.field(name, _ARROW[kind]) for name, kind in COLUMNS.items()])
"""The same columns as the files store them."""

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]
Migration = Callable[[pd.DataFrame], pd.DataFrame]

MIGRATIONS: dict[int, Migration] = {1: lambda frame: frame}
"""Step from version n to version n + 1, under the key n."""


class SchemaError(ValueError):
    """Records that do not have the agreed shape, or a version that this package cannot read."""


def migrate(frame: pd.DataFrame, version: int) -> pd.DataFrame:
    """Bring records of an older version to the present one, one step at a time.

    Args:
        frame: records as they were stored.
        version: the version they were stored under.

    Returns:
        Records of version `SCHEMA_VERSION`.

    Raises:
        SchemaError: the records are newer than this package, or a step is missing.
    """
    refuse_newer(version)
    for step in range(version, SCHEMA_VERSION):
        if step not in MIGRATIONS:
            raise SchemaError(
                f"records of schema version {step} cannot be read: no migration to version {step + 1} "
                f"exists. Read them with the release of sanity-bench that wrote them, and export them."
            )
        frame = MIGRATIONS[step](frame)
    return frame


def refuse_newer(version: object, where: str = "records") -> int:
    """Return the version as a number, refusing what a newer release wrote.

    Args:
        version: what the file says, any type.
        where: name of the file for the message.

    Raises:
        SchemaError: the version is newer than `SCHEMA_VERSION`, or is not a whole number from 0.
    """
    if isinstance(version, bool) or not isinstance(version, int) or version < 0:
        raise SchemaError(f"{where}: schema version {version!r} is not a whole number from 0 to {SCHEMA_VERSION}.")
    if version > SCHEMA_VERSION:
        raise SchemaError(
            f"{where} has schema version {version}; this release of sanity-bench reads versions up to "
            f"{SCHEMA_VERSION}. Install a newer release to read it."
        )
    return version


def empty() -> pd.DataFrame:
    """Return records without a row, with the right columns and types.

    >>> list(empty().columns[:3])
    ['suite', 'check', 'subject']
    """
    return pd.DataFrame({name: pd.Series([], dtype=kind) for name, kind in COLUMNS.items()})


def check(frame: pd.DataFrame, where: str = "records") -> pd.DataFrame:
    """Return the records with exact columns, order and types, or say what is wrong with them.

    Args:
        frame: records; column order is free, columns are not.
        where: name of their origin for the messages.

    Returns:
        A new frame; attributes of the given one are kept.

    Raises:
        SchemaError: missing or unknown columns, a wrong type, an unknown status, a null in a required column,
            or a value that contradicts its status.
    """
    _check_names(frame.columns, where)
    columns = {}
    for name, kind in COLUMNS.items():
        try:
            columns[name] = _cast(frame[name], kind)
        except (TypeError, ValueError) as error:
            raise SchemaError(f"{where}: column {name!r} must be {kind}: {error}") from error
    tidy = pd.DataFrame(columns)
    tidy.attrs = frame.attrs
    nulls = {name: int(tidy[name].isna().sum()) for name in REQUIRED}
    fine = (tidy["status"] == "ok").to_numpy(dtype=bool)
    _check_rows(nulls, list(tidy["status"].unique()), tidy["value"].to_numpy(dtype=np.float64), fine, where)
    return tidy


def to_arrow(rows: Sequence[dict[str, Any]], cell: str) -> pa.Table:
    """Turn rows made by a check into a table that is ready to be stored.

    This is the quick way of the worker: no data frame is built.  A row without `cell` belongs to `cell`.

    Args:
        rows: one dictionary per measured value, with the keys of `COLUMNS`.
        cell: key of the cell that computed them.

    Raises:
        SchemaError: as `check`.
    """
    where = f"rows of cell {cell[:12]}"
    for shape in set(map(tuple, rows)):
        _check_names({*shape, "cell"}, where)
    given_names = [name for name in COLUMNS if name != "cell"]
    values = zip(*map(itemgetter(*given_names), rows), strict=True) if rows else [()] * len(given_names)
    columns: dict[str, Sequence[Any]] = dict(zip(given_names, values, strict=True))
    columns["cell"] = [row.get("cell", cell) for row in rows]
    arrays = []
    for field in ARROW_SCHEMA:
        given = columns[field.name]
        try:
            if pa.types.is_integer(field.type):
                _refuse_fractions(given)
            arrays.append(pa.array(given, type=field.type))
        except (pa.ArrowInvalid, pa.ArrowTypeError, TypeError) as error:
            raise SchemaError(f"{where}: column {field.name!r} must be {field.type}: {error}") from error
    table = pa.Table.from_arrays(arrays, schema=ARROW_SCHEMA)
    nulls = {name: table.column(name).null_count for name in REQUIRED}
    fine = np.array([name == "ok" for name in columns["status"]], dtype=bool)
    _check_rows(nulls, columns["status"], table.column("value").to_numpy(), fine, where)
    return table


def from_arrow(table: pa.Table, *, coded: bool = False) -> pd.DataFrame:
    """Turn stored records into a data frame with the types of `COLUMNS`.

    The inverse of `to_arrow`; integer columns are nullable, texts are pandas strings, or categoricals if `coded`.
    """
    return pd.DataFrame({name: series(table.column(name), kind, coded=coded) for name, kind in COLUMNS.items()})


def series(column: pa.ChunkedArray, kind: str, *, coded: bool = False) -> pd.Series[Any]:
    """Turn one stored column into a pandas column of a type of `COLUMNS`.

    Args:
        column: texts may be encoded as dictionaries.
        kind: a type of `COLUMNS`.
        coded: give texts as a categorical, which takes a tenth of the memory where few texts come again and again.
    """
    if kind == "str" and coded:
        return pd.Series(_categorical(column))
    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    if kind == "Int64":
        missing = np.asarray(column.is_null())
        filled = np.asarray(column.fill_null(0), dtype=np.int64)
        return pd.Series(pd.arrays.IntegerArray(filled, missing))
    if kind == "float64":
        # What arrow hands out without copying cannot be written to, and a user may well assign to `value`.
        return pd.Series(np.array(column.to_numpy(), dtype=np.float64))
    return column.to_pandas().astype(kind)


def alike(parts: Sequence[pd.DataFrame]) -> list[pd.DataFrame]:
    """Give categoricals of one column the same categories in all parts, so that they can be put together as such.

    Args:
        parts: records whose texts are categoricals.
    """
    texts = [name for name, kind in COLUMNS.items() if kind == "str"]
    every = {name: sorted({text for part in parts for text in part[name].cat.categories}) for name in texts}
    return [part.assign(**{name: part[name].cat.set_categories(every[name]) for name in texts}) for part in parts]


def _categorical(column: pa.ChunkedArray) -> pd.Categorical:
    """Texts as a categorical whose categories are sorted, so that groups come in the order of their names."""
    encoded = column if pa.types.is_dictionary(column.type) else column.dictionary_encode()
    if not encoded.num_chunks:
        return pd.Categorical([], categories=pd.Index([], dtype="str"))
    chunks = encoded.unify_dictionaries().chunks
    texts = np.asarray(chunks[0].dictionary.to_pylist(), dtype=object)
    order = np.argsort(texts, kind="stable")
    place = np.full(len(texts) + 1, -1, dtype=np.int32)
    place[order] = np.arange(len(texts), dtype=np.int32)
    # A null has the code -1, which is the last entry of the table of places.
    codes = [place[np.asarray(chunk.indices.fill_null(-1))] for chunk in chunks]
    return pd.Categorical.from_codes(np.concatenate(codes), categories=pd.Index(texts[order], dtype="str"))


def _cast(column: pd.Series[Any], kind: str) -> pd.Series[Any]:
    """Cast one column without losing a fraction or inventing a text."""
    if kind == "str":
        present = column.dropna()
        if not isinstance(column.dtype, pd.StringDtype | pd.CategoricalDtype):
            strangers = [value for value in present.unique() if not isinstance(value, str)]
            if strangers:
                raise TypeError(f"{strangers[0]!r} is not a text")
        return column.astype("str")
    if kind == "Int64" and column.dtype == object:
        column = pd.to_numeric(column)
    return column.astype(pd.api.types.pandas_dtype(kind))


def _refuse_fractions(values: Sequence[object]) -> None:
    """Refuse floating-point numbers where whole numbers belong; arrow would cut them off in silence."""
    for kind in set(map(type, values)):
        if issubclass(kind, float | np.floating):
            raise TypeError(f"a {kind.__name__} is not a whole number")


def _check_names(names: Iterable[str], where: str) -> None:
    """Refuse missing and unknown columns."""
    given = list(names)
    missing = [name for name in COLUMNS if name not in given]
    unknown = [name for name in given if name not in COLUMNS]
    if missing or unknown:
        parts = [f"lacks {', '.join(map(repr, missing))}"] if missing else []
        parts += [f"has unknown {', '.join(map(repr, unknown))}"] if unknown else []
        raise SchemaError(f"{where}: {' and '.join(parts)}. The columns are: {', '.join(COLUMNS)}.")


def _check_rows(nulls: Mapping[str, int], status: Sequence[Any], value: Floats, fine: Bools, where: str) -> None:
    """Refuse nulls where there must be none and values that contradict their status.

    Args:
        nulls: number of nulls of each required column.
        status: the distinct statuses.
        value: the values, NaN for null.
        fine: where the status is `ok`.
        where: name of their origin for the messages.
    """
    for name, count in nulls.items():
        if count:
            raise SchemaError(f"{where}: column {name!r} holds a null; it must be given in every row.")
    unknown = sorted(set(status) - set(STATUSES))
    if unknown:
        raise SchemaError(f"{where}: unknown status {unknown[0]!r}. Allowed are: {', '.join(STATUSES)}.")
    if (fine & ~np.isfinite(value)).any():
        raise SchemaError(
            f"{where}: a row with status 'ok' has no finite value. Record it with value null and the status "
            f"that says why ({', '.join(STATUSES[1:])})."
        )
    if (~fine & ~np.isnan(value)).any():
        raise SchemaError(f"{where}: a row whose status is not 'ok' has a value; it must be null.")
