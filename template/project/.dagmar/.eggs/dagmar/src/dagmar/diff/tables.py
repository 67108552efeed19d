"""Frames of pandas, polars and pyarrow as columns, through narwhals."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from typing import TYPE_CHECKING, Any, cast

from dagmar.diff.model import in_words, type_name

if TYPE_CHECKING:
    import narwhals.stable.v2 as nw


UNNAMED = "index"


@dataclass(frozen=True)
class Table:
    """The columns of a frame by their names, which are unique here.

    `index` are those that were the index of a pandas frame, `kind` is the type of the frame.
    """

    kind: str
    rows: int
    columns: dict[str, nw.Series[Any]]
    index: Sequence[str] = ()
    remarks: Sequence[str] = ()


def read_table(value: object) -> Table | None:
    """Return the columns of a frame or series; None if it is neither."""
    import narwhals.stable.v2 as nw

    kind = type_name(value)
    try:
        frame = nw.from_native(value, pass_through=False, allow_series=True)  # type: ignore[call-overload]
    except TypeError:
        return None
    except Exception:  # pandas: columns of the same name
        if not kind.startswith("pandas."):
            raise
        return _read_pandas(value, kind)
    if frame.implementation.is_pandas():
        return _read_pandas(value, kind)
    remarks = []
    if isinstance(frame, nw.LazyFrame):
        frame, remarks = frame.collect(), ["The lazy frame was collected."]
    series = [frame] if isinstance(frame, nw.Series) else list(frame.iter_columns())
    return Table(kind, len(frame), _unique([each.name for each in series], series), (), remarks)


def convert(series: nw.Series[Any], backend: nw.Implementation) -> nw.Series[Any]:
    """Return a column as one of another library; the same one if it is of this library."""
    import narwhals.stable.v2 as nw

    if series.implementation is backend:
        return series
    dtype = series.dtype
    naive = dtype.is_temporal() and getattr(dtype, "time_zone", None) is None
    plain = dtype.is_numeric() or naive
    values: Any
    if plain and dtype != nw.Date and not series.null_count():
        values = series.to_numpy()
    else:
        values = list(chain.from_iterable(slices(series)))
    return nw.new_series(series.name, values, backend=cast(Any, backend))


def new_positions(rows: Iterable[int], backend: nw.Implementation) -> nw.Series[Any]:
    """Return positions of rows as a column of a library, to take these rows with."""
    import narwhals.stable.v2 as nw

    return nw.new_series("row", list(rows), nw.Int64, backend=cast(Any, backend))


def without_lone_index(table: Table, other: Table) -> Table:
    """Return the frame without an index that has no name, if the other frame has none."""
    if list(table.index) != [UNNAMED] or UNNAMED in other.columns:
        return table
    columns = {name: each for name, each in table.columns.items() if name != UNNAMED}
    return replace(table, columns=columns, index=())


def slices(series: nw.Series[Any], size: int = 100_000) -> Iterator[list[Any]]:
    """Yield the values of a column, some at a time; what is null or NaN is None."""
    gaps = missing(series)
    for start in range(0, len(series), size):
        values = series[start : start + size].to_list()
        if gaps is not None:
            blank = gaps[start : start + size].to_list()
            values = [None if gap else value for value, gap in zip(values, blank, strict=True)]
        yield values


def missing(series: nw.Series[Any]) -> nw.Series[Any] | None:
    """Return where a column is null or NaN; None if it is nowhere."""
    gaps = series.is_null()
    if series.dtype.is_float():
        gaps = gaps | series.is_nan().fill_null(True)
    return gaps if gaps.any() else None


def _read_pandas(value: Any, kind: str) -> Table:
    """Return columns and a meaningful index: one that has a name, or is not 0, 1, 2, …"""
    import narwhals.stable.v2 as nw

    if value.ndim == 1:
        names, natives = [value.name or "value"], [value]
    else:
        names, natives = list(value.columns), [value.iloc[:, i] for i in range(value.shape[1])]
    index: list[Any] = []
    levels = value.index
    if type(levels).__name__ != "RangeIndex" or levels.names != [None]:
        index = [
            name if name is not None else f"{UNNAMED} {i}" if i else UNNAMED
            for i, name in enumerate(levels.names)
        ]
        natives = [levels.get_level_values(i).to_series() for i in range(levels.nlevels)] + natives
    series = [nw.from_native(native.reset_index(drop=True), series_only=True) for native in natives]
    columns = _unique([*index, *names], series)
    return Table(kind, len(value), columns, list(columns)[: len(index)])


def _unique(names: Sequence[Any], series: Sequence[nw.Series[Any]]) -> dict[str, nw.Series[Any]]:
    """Return columns by name; a second one of the same name has a number."""
    columns: dict[str, nw.Series[Any]] = {}
    for name, each in zip(names, series, strict=True):
        text = in_words(name)
        unique, number = text, 1
        while unique in columns:
            number += 1
            unique = f"{text} ({number})"
        columns[unique] = each
    return columns
