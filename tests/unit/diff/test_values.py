"""What a comparison of two values that are not frames says."""

from __future__ import annotations

from decimal import Decimal

import numpy
import pandas as pd
import pytest
from dagmar.diff import values
from dagmar.diff.compare import compare
from dagmar.diff.model import Change


@pytest.mark.parametrize(
    "value",
    [1, 2.5, float("nan"), True, "a\nb", {"a": [1, {"b": None}]}, [1, 2], None, b"x", Decimal(1)],
)
def test_a_value_does_not_differ_from_itself(value: object) -> None:
    assert compare(value, value).equal
    assert compare([value], [value]).equal


def test_numbers_differ_by_an_amount_and_a_share() -> None:
    found = compare(200, 250)
    assert found.kind == "number"
    assert found.changes == [Change("", "200", "250")]
    assert found.remarks == ["+50 (+25.00%)"]
    assert compare(numpy.float64(1), numpy.float64(1.5)).changes == [Change("", "1.0", "1.5")]
    assert compare(0, 3).remarks == ["+3"]
    assert compare(float("nan"), float("nan")).equal
    assert not compare(float("nan"), 1.0).equal
    assert not compare(1j, 2j).equal
    assert not compare(Decimal(1), 1.5).equal


def test_texts_differ_by_lines() -> None:
    found = compare("a\nb\nc", "a\nx\nc")
    assert (found.kind, found.lines[2:]) == ("text", ["@@ -1,3 +1,3 @@", " a", "-b", "+x", " c"])
    assert compare("a\n", "a").remarks == ["Only the ends of lines differ."]


def test_of_long_texts_what_differs_is_shown() -> None:
    lines = [f"line {number}" for number in range(50_000)]
    found = compare("\n".join(lines), "\n".join([*lines[:30_000], "new", *lines[30_000:]]))
    assert found.remarks == ["The first 30000 lines are equal."]
    assert found.lines[-1] == "+new"
    other = compare("\n".join(lines), "\n".join(line[::-1] for line in lines))
    assert len(other.lines) == values.MOST_LINES < other.total


def test_mappings_and_lists_differ_by_paths() -> None:
    old = {"a": {"b": [1, 2, 3], "gone": None}, 7: "x", "nan": [float("nan")]}
    new = {"a": {"b": [1, 5], "new": 1}, 7: "y", "nan": [float("nan")]}
    found = compare(old, new)
    assert (found.kind, found.total) == ("mapping", 5)
    assert list(found.changes) == [
        Change("a.b[1]", "2", "5"),
        Change("a.b[2]", "3", None),
        Change("a.gone", "None", None),
        Change("a.new", None, "1"),
        Change("[7]", "x", "y"),
    ]
    assert compare([], {}).remarks == ["The type changed from list to dict."]


def test_frames_within_a_mapping_are_compared() -> None:
    old, new = ({"x": pd.DataFrame({"a": [1, number]})} for number in (2, 3))
    assert compare(old, {"x": old["x"].copy()}).equal
    assert compare(old, new).changes[0].place == "x"


def test_what_contains_itself_is_compared_to_its_end() -> None:
    old: list[object] = [1]
    old.append(old)
    new: list[object] = [2]
    new.append(new)
    assert compare(old, new).changes == [Change("[0]", "1", "2")]


def test_objects_without_a_comparison_differ_by_their_attributes() -> None:
    class Model:
        def __init__(self, weight: float) -> None:
            self.weight = weight
            self.coefficients = numpy.array([1.0, float("nan")])

    assert compare(Model(1), Model(1)).equal
    assert compare(Model(1), Model(2)).changes == [Change("weight", "1", "2")]


def test_arrays_are_equal_by_all_their_numbers() -> None:
    array = numpy.array([[1.0, float("nan")]])
    assert compare(array, array.copy()).equal
    assert not compare(array, array + 1).equal
    assert not compare(array, array[:, :1]).equal
    assert not compare(array, 1).equal


def test_a_value_that_cannot_be_compared_says_why() -> None:
    class Stubborn:
        def __eq__(self, other: object) -> bool:
            raise ValueError("not with\nme")

        def __repr__(self) -> str:
            raise RuntimeError

        __hash__ = None  # type: ignore[assignment]

    found = compare(Stubborn(), Stubborn())
    assert (found.equal, found.kind) == (False, "other")
    assert found.reason == "comparing them failed with ValueError: not with me"
    nested = compare({"x": Stubborn()}, {"x": Stubborn()})
    assert nested.remarks == [f"x cannot be compared: {found.reason}"]
    assert not compare(object(), object()).equal
    assert "object" in compare(object(), object()).reason


def test_long_values_are_cut() -> None:
    change = compare({"a": "x" * 1000}, {"a": "y" * 1000}).changes[0]
    assert change.before
    assert len(change.before) == 200
    assert len(compare(dict.fromkeys(range(500), 1), {}).changes) == values.MOST_CHANGES
