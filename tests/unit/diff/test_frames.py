"""What a comparison of two frames says, in each library."""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any
from zoneinfo import ZoneInfo

import pandas as pd
import polars as pl
import pytest
from dagmar.diff import matching
from dagmar.diff.compare import compare
from dagmar.diff.model import Change, Column, Difference, Rows
from hypothesis import given
from hypothesis import strategies as st

Cells = Mapping[str, Sequence[object]]
Make = Callable[[Cells], Any]


def _arrow(cells: Cells) -> Any:
    pyarrow = pytest.importorskip("pyarrow")
    return pyarrow.table(dict(cells))


MAKERS: dict[str, Make] = {
    "pandas": lambda cells: pd.DataFrame(dict(cells)),
    "polars": lambda cells: pl.DataFrame(dict(cells)),
    "pyarrow": _arrow,
}


@pytest.fixture(params=MAKERS)
def make(request: pytest.FixtureRequest) -> Make:
    """Make a frame of one of the libraries."""
    return MAKERS[request.param]


OLD = {
    "id": [1, 2, 3, 4],
    "price": [1.0, 2.0, None, 4.0],
    "name": ["a", "b", None, "d"],
    "sold": [True, False, True, True],
}


def test_equal_frames_are_equal_with_their_nulls(make: Make) -> None:
    found = compare(make(OLD), make(OLD))
    assert found.equal
    assert found.kind == "frame"
    assert [column.changed for column in found.columns] == [0, 0, 0, 0]


def test_rows_are_matched_by_a_column_that_is_unique_in_both(make: Make) -> None:
    new = {
        "id": [5, 4, 3, 2],
        "price": [1.0, 4.0, None, 2.5],
        "name": ["a", "d", "c", "b"],
        "sold": [True, True, True, False],
    }
    found = compare(make(OLD), make(new))
    rows = _rows(found)
    assert (rows.by, list(rows.keys)) == ("keys", ["id"])
    assert (rows.compared, rows.added, rows.removed, rows.changed) == (3, 1, 1, 2)
    assert [(row.name, list(row.cells)) for row in rows.changes] == [
        ({"id": "2"}, [Change("price", "2", "2.5")]),
        ({"id": "3"}, [Change("name", "null", "c")]),
    ]
    assert [row.name for row in rows.additions] == [{"id": "5"}]
    assert rows.additions[0].cells[0] == Change("price", None, "1")
    assert [row.name for row in rows.removals] == [{"id": "1"}]
    price, name, sold = (_column(found, column) for column in ("price", "name", "sold"))
    assert (price.changed, name.changed, sold.changed) == (1, 1, 0)
    assert price.before == {"null": "1", "min": "1", "mean": "2.33333", "max": "4"}
    assert price.after == {"null": "1", "min": "1", "mean": "2.5", "max": "4"}
    assert (name.before["null"], name.after.get("null")) == ("1", None)
    assert sold.before == {}


def test_several_keys_identify_a_row(make: Make) -> None:
    old = {"day": ["a", "a", "b", "b"], "hour": [1, 2, 1, 2], "n": [1.0, 2.0, 3.0, 4.0]}
    new = {"day": ["b", "b", "a", "a"], "hour": [2, 1, 1, 3], "n": [4.0, 3.5, 1.0, 2.0]}
    rows = _rows(compare(make(old), make(new), ["day", "hour"]))
    assert (rows.added, rows.removed, rows.changed) == (1, 1, 1)
    assert rows.changes[0].name == {"day": "b", "hour": "1"}


@pytest.mark.parametrize(
    ("keys", "ids", "reason"),
    [
        (["ids"], [1, 2, 3, 4], "the recorded value has no column ids"),
        (["id"], [1, 1, 3, 4], "the new value has a key more than once"),
        (["id"], [None, 2, 3, 4], "the new value has rows without a key"),
        (["id"], ["1", "2", "3", "4"], "the type of id changed from Int64 to "),
    ],
)
def test_keys_that_identify_no_row_are_refused_in_words(
    make: Make, keys: list[str], ids: list[object], reason: str
) -> None:
    found = compare(make(OLD), make({**OLD, "id": ids}), keys)
    assert _rows(found).by == "position"
    assert any(reason in remark for remark in found.remarks)


@pytest.mark.parametrize("dtype", ["int32", "uint8", "uint64"])
@pytest.mark.parametrize("library", ["pandas", "polars", "pyarrow"])
def test_a_key_may_be_a_whole_number_of_another_width(library: str, dtype: str) -> None:
    last = 2**64 - 1 if dtype == "uint64" else 9
    make = {"pandas": lambda frame: frame, "polars": pl.from_pandas, "pyarrow": _arrow}[library]
    old = make(pd.DataFrame({"id": [1, 2], "x": [0.5, 1.5]}))
    ids = pd.Series([2, last], dtype=dtype)
    new = make(pd.DataFrame({"id": ids, "x": [2.5, 3.5]}))
    for keys in ([], ["id"]):
        rows = _rows(compare(old, new, keys))
        assert (list(rows.keys), rows.added, rows.removed, rows.changed) == (["id"], 1, 1, 1)
        assert [row.name for row in rows.additions] == [{"id": str(last)}]


def test_a_mean_has_as_many_digits_as_show_that_it_changed() -> None:
    for old, new, shown in [
        (1234567.891, 7654321.123, ("1234568", "7654321")),
        (1 / 3, 2 / 3, ("0.333333", "0.666667")),
        (1.00000001, 1.00000002, ("1.00000001", "1.00000002")),
        (1e-9 / 3, 0.0, ("3.33333e-10", "0")),
        (math.inf, 1.5, ("inf", "1.5")),
    ]:
        column = _column(compare(pl.DataFrame({"x": [old]}), pl.DataFrame({"x": [new]})), "x")
        assert (column.before["mean"], column.after["mean"]) == shown


def test_without_a_key_rows_are_matched_by_position(make: Make) -> None:
    old, new = {"x": [1.0, 1.0, 2.0]}, {"x": [1.0, 3.0, 2.0]}
    rows = _rows(compare(make(old), make(new)))
    assert (rows.by, rows.changed) == ("position", 1)
    assert rows.changes[0].name == {"row": "1"}


def test_without_a_key_and_with_more_rows_equal_rows_are_matched(make: Make) -> None:
    old = {"x": [1.0, 1.0, 2.0, None], "y": ["a", "a", "b", "c"]}
    new = {"x": [None, 1.0, 2.0, 2.0, 5.0], "y": ["c", "a", "b", "b", "b"]}
    found = compare(make(old), make(new))
    rows = _rows(found)
    assert (rows.by, rows.compared, rows.added, rows.removed) == ("content", 3, 2, 1)
    assert rows.removals[0].cells == [Change("x", "1", None), Change("y", "a", None)]
    assert _column(found, "x").changed is None


def test_columns_added_removed_renamed_and_of_another_type(make: Make) -> None:
    new = {
        "id": [1.0, 2.0, 3.0, 4.0],
        "cost": OLD["price"],
        "name": [1, 2, 3, 4],
        "extra": ["x", "y", "z", "z"],
    }
    found = compare(make(OLD), make(new))
    assert not found.equal
    cost, kind = _column(found, "cost"), _column(found, "id")
    assert (cost.renamed_from, cost.changed) == ("price", 0)
    assert (kind.before_type, kind.after_type, kind.changed) == ("Int64", "Float64", 0)
    assert _column(found, "name").reason == "String is not compared with Int64"
    assert _column(found, "extra").before_type == ""
    assert _column(found, "sold").after_type == ""
    assert "price" not in [column.name for column in found.columns]


def test_dates_times_and_time_zones(make: Make) -> None:
    at = dt.datetime(2024, 1, 1, 12, tzinfo=dt.timezone.utc)
    berlin = at.astimezone(ZoneInfo("Europe/Berlin"))
    old = {"day": [dt.date(2024, 1, 1)] * 2, "at": [at, at], "naive": [at.replace(tzinfo=None)] * 2}
    new = {
        "day": [dt.date(2024, 1, 1), dt.date(2024, 1, 2)],
        "at": [berlin, berlin],
        "naive": [at, at],
    }
    found = compare(make(old), make(new))
    assert _column(found, "day").changed == 1
    assert _column(found, "at").changed == 0
    assert not _column(found, "at").equal
    assert _column(found, "naive").reason == "only one of them has a time zone"


def test_lists_structs_and_bytes_in_cells(make: Make) -> None:
    old = {"list": [[1], [2, 3]], "struct": [{"a": 1}, {"a": None}], "bytes": [b"x", b"y"]}
    new = {"list": [[1], [2, 4]], "struct": [{"a": 1}, {"a": None}], "bytes": [b"x", b"z"]}
    found = compare(make(old), make(new))
    assert [column.changed for column in found.columns] == [1, 0, 1]
    assert compare(make(old), make({name: cells[:1] for name, cells in new.items()})).rows


def test_floats_that_differ_in_the_last_digits(make: Make) -> None:
    found = compare(make({"x": [0.1 + 0.2, 1.0]}), make({"x": [0.3, 1.0]}))
    column = _column(found, "x")
    assert (column.changed, column.slightly) == (1, True)
    assert not _column(compare(make({"x": [1.0]}), make({"x": [1.1]})), "x").slightly
    assert not _column(compare(make({"x": [1.0]}), make({"x": [None]})), "x").slightly


def test_empty_frames(make: Make) -> None:
    empty = {"x": [], "y": []}
    assert compare(make(empty), make(empty)).equal
    assert _rows(compare(make(empty), make({"x": [1], "y": [2]}))).added == 1
    assert compare(make({}), make({})).equal
    assert not compare(make({}), make({"x": [1]})).equal
    assert not compare(make({"x": [1]}), make({})).equal
    assert not compare(make({"x": [1]}), make({"y": ["a", "b"]})).reason


def test_huge_integers(make: Make) -> None:
    old, new = {"x": [2**63 - 1, 2**53]}, {"x": [2**63 - 1, 2**53 + 1]}
    assert _column(compare(make(old), make(new)), "x").changed == 1


@pytest.mark.parametrize("library", ["pandas", "polars"])
def test_huge_integers_of_two_types(library: str) -> None:
    old: Any = pl.Series("x", [2**63 - 1, 2**53], pl.Int64)
    new: Any = pl.Series("x", [2**63 - 1, 2**53 + 1], pl.UInt64)
    if library == "pandas":
        old, new = (pd.Series(each.to_numpy(), name="x") for each in (old, new))
    assert _column(compare(old, new), "x").changed == 1


def test_columns_and_rows_in_another_order(make: Make) -> None:
    found = compare(make({"id": [1, 2], "x": [3, 4]}), make({"x": [3, 4], "id": [1, 2]}))
    assert not found.equal
    assert found.remarks == ["The columns are in another order."]
    found = compare(make({"id": [1, 2], "x": [3, 3]}), make({"id": [2, 1], "x": [3, 3]}))
    assert found.equal
    assert found.remarks == ["The rows are in another order."]


@pytest.mark.parametrize("new", MAKERS)
def test_frames_of_two_libraries_are_compared(make: Make, new: str) -> None:
    day = [dt.date(2024, 1, 1), None]
    at = [dt.datetime(2024, 1, 1, 12), None]
    cells = {
        "id": [1, 2], "x": [1.5, None], "s": ["a", None], "b": [True, False], "day": day, "at": at,
    }  # fmt: skip
    found = compare(make(cells), MAKERS[new]({**cells, "b": [True, True]}))
    changed = {column.name: column.changed for column in found.columns}
    assert changed == {"id": 0, "x": 0, "s": 0, "b": 1, "day": 0, "at": 0}
    mixed = type(make(cells)) is not type(MAKERS[new](cells))
    assert mixed == any("The type changed from" in remark for remark in found.remarks)


def test_a_lazy_frame_and_a_series() -> None:
    found = compare(pl.LazyFrame(OLD), pl.LazyFrame({**OLD, "id": [1, 2, 3, 5]}))
    assert _rows(found).added == 1
    assert "The lazy frame was collected." in found.remarks
    assert _rows(compare(pd.Series([1, 2]), pd.Series([1, 3]))).by
    assert _rows(compare(pl.Series([1, 2]), pl.Series([1, 3]))).by


def test_the_index_of_pandas_identifies_rows() -> None:
    old = pd.DataFrame({"x": [1, 1, 1]}, index=pd.Index(["a", "b", "c"], name="station"))
    new = pd.DataFrame({"x": [1, 2, 1]}, index=pd.Index(["c", "b", "d"], name="station"))
    rows = _rows(compare(old, new))
    assert list(rows.keys) == ["station"]
    assert (rows.added, rows.removed, rows.changed) == (1, 1, 1)
    levels = pd.MultiIndex.from_product([["a", "b"], [1, 2]], names=["day", None])
    found = compare(pd.DataFrame({"x": [1] * 4}, levels), pd.DataFrame({"x": [1, 1, 1, 2]}, levels))
    assert _rows(found).changes[0].name == {"day": "b", "index 1": "2"}
    # Left by a filter, and not in what the IO manager returns.
    filtered = pd.DataFrame({"x": [1.5, 2, 2]}).loc[[0, 2]]
    assert compare(filtered, filtered.reset_index(drop=True)).equal


def test_columns_of_pandas_that_other_libraries_do_not_have() -> None:
    twice = pd.DataFrame([[1, 2], [3, 4]], columns=["x", "x"])
    assert compare(twice, twice.copy()).equal
    assert _column(compare(twice, twice.add([0, 1])), "x (2)").changed == 2
    mixed = pd.DataFrame({"x": [1, "a", None, [1], float("nan")]})
    assert compare(mixed, mixed.copy()).equal
    assert _column(compare(mixed, mixed.replace("a", "b")), "x").changed == 1
    old, new = (pd.DataFrame({"c": pd.Categorical(["a", last])}) for last in ("b", "c"))
    assert _column(compare(old, new), "c").changed == 1
    numbered = pd.DataFrame({1: [1], ("a", "b"): [2]})
    assert [column.name for column in compare(numbered, numbered + 1).columns] == [
        "1",
        "('a', 'b')",
    ]
    arrays = pd.DataFrame({"x": [pd.Series([1, 2]).to_numpy(), pd.Series([1]).to_numpy()]})
    assert compare(arrays, arrays.map(lambda cell: cell.copy())).equal


def test_enums_and_categories_of_polars() -> None:
    old = pl.DataFrame({"e": ["a", "b"]}, schema={"e": pl.Enum(["a", "b"])})
    new = pl.DataFrame({"e": ["a", "c"]}, schema={"e": pl.Enum(["a", "b", "c"])})
    assert _column(compare(old, new), "e").changed == 1
    assert _column(compare(old, new.cast(pl.Categorical)), "e").changed == 1


def test_a_cell_that_cannot_be_compared_is_a_reason() -> None:
    class Stubborn:
        def __eq__(self, other: object) -> bool:
            raise ValueError("no")

        __hash__ = None  # type: ignore[assignment]

    found = compare(pd.DataFrame({"x": [Stubborn()]}), pd.DataFrame({"x": [Stubborn()]}))
    assert _column(found, "x").reason == "no"
    assert not found.equal


@pytest.mark.parametrize("shuffled", [False, True])
def test_large_frames_are_sampled_the_same_rows_of_both(
    make: Make, shuffled: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(matching, "MOST_ROWS", 300)
    ids = [1000 * i for i in range(1000)]
    old = {"id": ids, "x": [float(i % 7) for i in ids]}
    new = {name: cells[::-1] if shuffled else cells for name, cells in old.items()}
    found = compare(make(old), make(new))
    rows = _rows(found)
    assert (rows.every, found.sampled, found.equal) == (7, True, True)
    assert 130 <= rows.compared <= 150
    assert "There are too many cells: 1 row in 7 was compared." in found.remarks
    changed = compare(make(old), make({**new, "x": [1.0 + cell for cell in new["x"]]}))
    assert _rows(changed).changed == rows.compared
    # Without a key it is by position, or not at all.
    assert _rows(compare(make({"x": old["x"]}), make({"x": old["x"]}))).compared == 143
    shorter = compare(make({"x": old["x"]}), make({"x": old["x"][1:]}))
    assert _rows(shorter).by == ""
    assert not shorter.equal


CELL = st.tuples(st.integers(0, 9), st.sampled_from([0.0, 1.5, None]), st.sampled_from("ab"))
FRAME = st.lists(CELL, max_size=8).map(
    lambda rows: pl.DataFrame(
        rows, schema={"id": pl.Int64, "x": pl.Float64, "s": pl.String}, orient="row"
    )
)


@given(FRAME, FRAME, st.booleans())
def test_swapping_swaps_and_counts_add_up(old: pl.DataFrame, new: pl.DataFrame, key: bool) -> None:
    if key:
        old, new = old.unique("id", maintain_order=True), new.unique("id", maintain_order=True)
    assert compare(old, old.clone()).equal
    keys = ["id"] if key else []
    there, back = _rows(compare(old, new, keys)), _rows(compare(new, old, keys))
    assert (there.by, there.compared, there.changed) == (back.by, back.compared, back.changed)
    assert (there.added, there.removed) == (back.removed, back.added)
    assert there.before - there.removed + there.added == there.after
    assert there.compared == there.before - there.removed
    assert there.changed <= there.compared
    assert compare(old, new, keys).equal == compare(new, old, keys).equal


def _rows(found: Difference) -> Rows:
    assert not found.reason, found.reason
    assert found.rows
    return found.rows


def _column(found: Difference, name: str) -> Column:
    assert not found.reason, found.reason
    return next(column for column in found.columns if column.name == name)
