"""Values as digests: equal values have equal ones, and a difference is named."""

from __future__ import annotations

import dataclasses
import datetime
import decimal
import enum
import json
import math
import random
import re
from collections import Counter, OrderedDict, defaultdict, namedtuple
from pathlib import Path
from typing import Any

import altair
import numpy as np
import pandas as pd
import plotly.graph_objects as go
import polars as pl
import pytest
from dagmar.notebook.fingerprints import describe, difference
from hypothesis import given
from hypothesis import strategies as st


@dataclasses.dataclass
class Order:
    price: float
    lines: list[int]


class Color(enum.Enum):
    RED = 1


Point = namedtuple("Point", "x y")

# A function that makes a value, one that makes another, and what is said about the difference.
PAIRS: dict[str, tuple[Any, Any, str]] = {
    "number": (lambda: 1, lambda: 2, "1 → 2"),
    "kind of number": (lambda: 1, lambda: 1.0, "1 (int) → 1.0 (float)"),
    "not a number": (lambda: math.nan, lambda: None, "nan (float) → None (NoneType)"),
    "text": (lambda: "a\ud800", lambda: "b", "'a\\ud800' → 'b'"),
    "list": (lambda: [1, [2, {"a": 3}]], lambda: [1, [2, {"a": 4}]], "[1][1]['a']: 3 → 4"),
    "long list": (lambda: list(range(1000)), lambda: [*range(999), 0], "1000 items, with another"),
    "order of keys": (lambda: {"a": 1, "b": 2}, lambda: {"b": 2, "a": 3}, "['a']: 1 → 3"),
    "key": (lambda: {"a": 1}, lambda: {"b": 1}, "1 keys, with another"),
    "set": (lambda: {"a", "b"}, lambda: {"a", "c"}, "{'a', 'b'} → {'a', 'c'}"),
    "counter": (lambda: Counter("ab"), lambda: Counter("aab"), "['a']: 1 → 2"),
    "ordered": (lambda: OrderedDict(a=1), lambda: {"a": 1}, "1 keys (dict)"),
    "dataclass": (lambda: Order(1.0, [1]), lambda: Order(1.0, [2]), ".lines[0]: 1 → 2"),
    "named tuple": (lambda: Point(1, 2), lambda: Point(1, 3), "[1]: 2 → 3"),
    "enum": (lambda: Color.RED, lambda: 1, "Color) → 1 (int)"),
    "date": (lambda: datetime.date(2026, 1, 2), lambda: datetime.date(2026, 1, 3), "2026, 1, 3"),
    "decimal": (lambda: decimal.Decimal("1.0"), lambda: decimal.Decimal("1.00"), "1.00"),
    "path": (lambda: Path("a/b"), lambda: Path("a/c"), "b"),
    "pattern": (lambda: re.compile("a"), lambda: re.compile("b"), "b"),
    "bytes": (lambda: b"a", lambda: bytearray(b"a"), "b'a' (bytes) → "),
    "array": (lambda: np.arange(4.0), lambda: np.array([0.0, 1, 2, 4]), "[3]: 3.0 → 4.0"),
    "dtype": (lambda: np.arange(4), lambda: np.arange(4.0), "int64) → 4 (numpy"),
    "shape": (lambda: np.zeros((2, 3)), lambda: np.zeros((3, 2)), "2 × 3 → 3 × 2"),
    "objects": (lambda: np.array([1, "a"], object), lambda: np.array([1, "b"], object), "'b'"),
    "numpy number": (lambda: np.float64(1), lambda: np.float64(2), "1.0 → 2.0"),
    "frame": (
        lambda: pd.DataFrame({"a": [1, 2], "b": ["x", None]}),
        lambda: pd.DataFrame({"a": [1, 3], "b": ["x", None]}),
        "['a'][1]: 2 → 3",
    ),
    "index": (
        lambda: pd.DataFrame({"a": [1, 2]}),
        lambda: pd.DataFrame({"a": [1, 2]}, index=[5, 6]),
        ".index[0]: 0 → 5",
    ),
    "columns": (
        lambda: pd.DataFrame({"a": [1]}),
        lambda: pd.DataFrame({"b": [1]}),
        "1 rows × 1 columns (a) → 1 rows × 1 columns (b)",
    ),
    "missing": (lambda: pd.Series([1, pd.NA]), lambda: pd.Series([1, 2], dtype=object), "→ 2 (i"),
    "times": (
        lambda: pd.Series(pd.to_datetime(["2026-01-01", None])),
        lambda: pd.Series(pd.to_datetime(["2026-01-01", "2026-01-02"])),
        "[1]",
    ),
    "category": (
        lambda: pd.Series(["a", "b"], dtype="category"),
        lambda: pd.Series(["a", "a"], dtype="category"),
        "'a'",
    ),
    "groups": (
        lambda: pd.DataFrame({"a": [1, 1], "b": [1, 2]}).groupby(["a", "b"]).size(),
        lambda: pd.DataFrame({"a": [1, 1], "b": [1, 3]}).groupby(["a", "b"]).size(),
        ".index",
    ),
    "polars": (
        lambda: pl.DataFrame({"a": [1, None], "b": [[1], [2]]}),
        lambda: pl.DataFrame({"a": [1, None], "b": [[1], [3]]}),
        "['b'][1][0]: 2 → 3",
    ),
    "polars dtype": (
        lambda: pl.Series([1], dtype=pl.Int8),
        lambda: pl.Series([1], dtype=pl.Int16),
        "(polars.Series of Int8) → 1 values (polars.Series of Int16)",
    ),
    "altair": (
        lambda: altair.Chart(pd.DataFrame({"a": [1]})).mark_bar().encode(x="a"),
        lambda: altair.Chart(pd.DataFrame({"a": [1]})).mark_line().encode(x="a"),
        "'bar' → 'line'",
    ),
    "plotly": (
        lambda: go.Figure(go.Bar(y=[1, 2])),
        lambda: go.Figure(go.Bar(y=[1, 3])),
        "[1]: 2 → 3",
    ),
    "random numbers": (lambda: random.Random(1), lambda: random.Random(2), ".__state__[1]"),
}  # fmt: skip


@pytest.mark.parametrize("name", PAIRS)
def test_equal_values_are_equal_and_a_difference_is_named(name: str) -> None:
    make, other, said = PAIRS[name]
    one, same, another = (json.loads(json.dumps(describe(each()))) for each in (make, make, other))
    assert difference(one, same) == ""
    assert said in difference(one, another)
    assert difference(another, one)


def test_a_value_in_itself_has_an_end() -> None:
    def make(number: int) -> list[Any]:
        ring: list[Any] = [number]
        ring.append(ring)
        return ring

    assert difference(describe(make(1)), describe(make(1))) == ""
    assert difference(describe(make(1)), describe(make(2))) == "[0]: 1 → 2"


class Broken:
    def __reduce_ex__(self, protocol: object) -> Any:
        raise ValueError("no")


@pytest.mark.parametrize(
    ("value", "why"),
    [
        ((number for number in range(3)), "a generator has no content to compare"),
        ([(number for number in range(3))], "a generator has no content to compare"),
        ({"f": lambda: 1}, "a function of the notebook"),
        (Broken(), "ValueError: no"),
        (pl.LazyFrame({"a": [1]}), "not collected"),
    ],
)
def test_what_has_no_content_has_a_reason(value: Any, why: str) -> None:
    assert why in describe(value)["why"]


def test_a_default_dictionary_of_lists_is_compared() -> None:
    value = defaultdict(list, {"a": [1]})
    assert difference(describe(value), describe(defaultdict(list, {"a": [2]}))) == "['a'][0]: 1 → 2"


PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner) | st.tuples(inner),
    max_leaves=20,
)


@given(PLAIN, PLAIN)
def test_digests_are_equal_exactly_if_the_values_are(one: Any, other: Any) -> None:
    def exact(value: Any) -> str:
        if isinstance(value, dict):
            return f"{{{sorted((key, exact(item)) for key, item in value.items())}}}"
        if isinstance(value, list | tuple):
            return f"{type(value)}{[exact(item) for item in value]}"
        return f"{type(value)}{value!r}"

    assert (difference(describe(one), describe(other)) == "") == (exact(one) == exact(other))
