"""The cells of two columns: which differ, and what is in them in a few numbers."""

from __future__ import annotations

import math
from itertools import chain
from typing import TYPE_CHECKING, Any

from dagmar.diff.model import in_words
from dagmar.diff.tables import slices
from dagmar.diff.values import same

if TYPE_CHECKING:
    import narwhals.stable.v2 as nw

LAST_DIGITS = 1e-9
"""A float that differs by less, relatively, differs in the last digits only."""
FEW_DIGITS, MOST_DIGITS = 6, 12
INT64_END = 2**63
MOST_DISTINCT = 100_000
"""Rows beyond which different texts are not counted: that takes longer than everything else."""


def unequal(before: nw.Series[Any], after: nw.Series[Any]) -> nw.Series[Any]:
    """Return where two columns of one library and length differ; null and NaN equal themselves.

    Raises TypeError if a cell of one type cannot equal one of the other.
    """
    import narwhals.stable.v2 as nw

    old, new = _comparable(before, after)
    try:
        differ = (old != new).fill_null(True)
        if differ.dtype != nw.Boolean:
            raise TypeError
    except Exception:  # pyarrow has no comparison of lists; a cell of pandas may be an array
        differ = _one_by_one(old, new)
    if before.null_count() and after.null_count():
        differ = differ & ~(before.is_null() & after.is_null())
    if before.dtype.is_float() and after.dtype.is_float() and differ.any():
        differ = differ & ~(before.is_nan() & after.is_nan()).fill_null(False)
    return differ


def differ_slightly(before: nw.Series[Any], after: nw.Series[Any], differ: nw.Series[Any]) -> bool:
    """Whether all cells that differ are floats that differ in the last digits only."""
    if not (before.dtype.is_float() and after.dtype.is_float()):
        return False
    old, new = before.filter(differ), after.filter(differ)
    # Comparing with NaN or null is never true, so they do not count as slightly different.
    return bool(((new - old).abs() <= LAST_DIGITS * old.abs()).fill_null(False).all())


def summarize(*columns: nw.Series[Any] | None) -> list[dict[str, str]]:
    """Return what is in each column, in a few numbers that depend on its type.

    A mean has few digits, but as many as are needed to see that it changed.
    """
    figures = [{} if series is None else _figures(series) for series in columns]
    means = [mean for each in figures if isinstance(mean := each.get("mean"), float)]
    apart = len(set(map(_format, means)))
    for digits in range(FEW_DIGITS, MOST_DIGITS + 1):
        shown = {_format(_rounded(mean, digits)) for mean in means}
        if len(shown) == apart:
            break
    for each in figures:
        if isinstance(mean := each.get("mean"), float):
            each["mean"] = _rounded(mean, digits)
    return [{name: _format(value) for name, value in each.items()} for each in figures]


def _rounded(number: float, digits: int) -> float:
    """Return a float with this many significant digits, at least those before the point."""
    if not number or not math.isfinite(number):
        return number
    return round(number, max(digits - 1 - math.floor(math.log10(abs(number))), 0))


def _figures(series: nw.Series[Any]) -> dict[str, object]:
    import narwhals.stable.v2 as nw

    dtype, rows = series.dtype, len(series)
    nulls = series.null_count()
    figures: dict[str, object] = {}
    if dtype.is_float() and (nan := series.is_nan().fill_null(False)).any():
        if not series.implementation.is_pandas():  # there NaN is what null is
            figures["NaN"] = nan.sum()
        series = series.filter(~nan)
    if nulls:
        figures["null"] = nulls
    if rows == nulls or series.is_empty():
        return figures
    if dtype == nw.Boolean:
        figures["true"] = f"{series.mean():.1%}"
    elif dtype.is_numeric():
        figures |= {"min": series.min(), "mean": series.mean(), "max": series.max()}
    elif dtype.is_temporal():
        figures |= {"min": series.min(), "max": series.max()}
    elif dtype in (nw.String, nw.Categorical, nw.Enum) and rows <= MOST_DISTINCT:
        figures["distinct"] = series.drop_nulls().n_unique()
    return figures


def in_cells(series: nw.Series[Any]) -> list[str]:
    """Return the cells of a column as short texts."""
    cells = zip(series.to_list(), series.is_null().to_list(), strict=True)
    return ["null" if null else _format(value) for value, null in cells]


def _format(value: object) -> str:
    if isinstance(value, float):
        return f"{value:.{MOST_DIGITS}g}"
    return in_words(value if isinstance(value, list | dict | bytes) else str(value))


def _comparable(
    before: nw.Series[Any], after: nw.Series[Any]
) -> tuple[nw.Series[Any], nw.Series[Any]]:
    """Return two columns as types that the library can compare."""
    import narwhals.stable.v2 as nw

    old, new = before.dtype, after.dtype
    texts = (nw.Categorical, nw.Enum, nw.String)
    if old in texts and new in texts:
        # Two of them may number their categories differently.
        return tuple(  # type: ignore[return-value]
            each if each.dtype == nw.String else each.cast(nw.String) for each in (before, after)
        )
    if old.is_integer() and new.is_integer():
        return of_one_width(before, after)
    if old == new or (old.is_numeric() and new.is_numeric()):
        return before, after
    if old == nw.Datetime and new == nw.Datetime:
        zones = [getattr(dtype, "time_zone", None) for dtype in (old, new)]
        if all(zones):
            before, after = (each.dt.convert_time_zone("UTC") for each in (before, after))
        if bool(zones[0]) == bool(zones[1]):
            return before, after
        raise TypeError("only one of them has a time zone")
    if nw.Object in (old, new) or old.is_nested() or new.is_nested():
        return before, after
    raise TypeError(f"{old} is not compared with {new}")


def of_one_width(
    before: nw.Series[Any], after: nw.Series[Any]
) -> tuple[nw.Series[Any], nw.Series[Any]]:
    """Return two columns of whole numbers as one type; as texts if that would be too narrow.

    Libraries compare different ones as floats, or refuse to join them.
    """
    import narwhals.stable.v2 as nw

    if before.dtype == after.dtype:
        return before, after
    numbers = (number for each in (before, after) for number in (each.min(), each.max()))
    fit = all(number is None or -INT64_END <= number < INT64_END for number in numbers)
    dtype = nw.Int64 if fit else nw.String
    return before.cast(dtype), after.cast(dtype)


def _one_by_one(before: nw.Series[Any], after: nw.Series[Any]) -> nw.Series[Any]:
    import narwhals.stable.v2 as nw

    pairs = zip(
        chain.from_iterable(slices(before)), chain.from_iterable(slices(after)), strict=True
    )
    differ = [not same(old, new) for old, new in pairs]
    return nw.new_series("differ", differ, nw.Boolean, backend=before.implementation)
