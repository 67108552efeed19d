"""Whatever a notebook's code and its parameters are: they are read, or refused by their names."""

from __future__ import annotations

import ast
import sys
import textwrap
from pathlib import Path
from typing import Any

import pytest
from dagmar.notebook import defaults
from dagmar.notebook.cells import parse_source
from dagmar.notebook.commandline import read_command_line
from dagmar.notebook.parameters import as_document, check_parameters, read_parameters
from hypothesis import given
from hypothesis import strategies as st
from support.export_project import HEAD
from support.refusals import refused
from support.texts import PLAIN, TEXTS

INVALID = (7,)
VALUES = (
    "5", "-5", "0.5", "True", "None", '"EU"', "[1, 2]", '["a"]', "{'a': 1}", "(1, 2)", "{1}",
    "date(2026, 1, 1)", "datetime.date(2026, 1, 1)", "Path('x')", "f()", "1e999", "b'x'", "...",
    "Color.RED", "-x", "[]", "{}", "lambda: 1", "a if b else c", "pair.load('x')",
)  # fmt: skip
TARGETS = (
    "a",
    "a: int",
    "a: str | None",
    "a: list[int]",
    "a, b",
    "(a, *b)",
    "a = b",
    "a[0]",
    "a.b",
)
LINES = st.tuples(st.sampled_from(TARGETS), st.sampled_from(VALUES)).map(" = ".join) | (
    st.sampled_from(
        [
            "import argparse", "parser = argparse.ArgumentParser()", "args = parser.parse_args()",
            "parser.add_argument('--rows', type=int)", "parser.add_argument('names', nargs='*')",
            "parser.add_argument('-v', action='count')", "parser.add_argument(*flags)",
            "parser.add_argument('--on', action='store_true')", "import sys, marimo as mo",
            "region = mo.cli_args().get('region', 'EU')", "which = sys.argv[1]", "del a",
            "parser.add_argument('--x', action=argparse.BooleanOptionalAction)", "global a",
            "for a in range(3): pass", "with open('x') as a: pass", "def a(): return 1",
            "if (a := 3): b = 4", "a += 1", "import a", "match a:\n    case [b]: pass",
        ]
    )
)  # fmt: skip
NAMES = st.sampled_from(["a", "b", "rows", "names", "v", "on", "x", "region", "args"])
GIVEN = st.dictionaries(NAMES | TEXTS, TEXTS | st.sampled_from([*VALUES, "null", "[1,", "{"]),
                        max_size=3)  # fmt: skip


@given(st.lists(LINES, max_size=6), GIVEN)
def test_parameters_are_applied_or_refused(lines: list[str], texts: dict[str, str]) -> None:
    body = textwrap.indent("\n".join([*lines, "return"]), "    ")
    source = parse_source(f"{HEAD}\n@app.cell\ndef inputs():\n{body}\n", "x.py")
    refused(INVALID, check_parameters, Path("x.py"), source, texts)
    values = refused(INVALID, read_parameters, source, texts)
    assert values is None or values.keys() <= texts.keys()
    arguments = refused(INVALID, read_command_line(source).arguments, texts)
    assert arguments is None or all(isinstance(argument, str) for argument in arguments)


SCALARS = (
    st.booleans()
    | st.integers(-(10**12), 10**12)
    | st.text("abc déf", min_size=1)
    | (st.floats(allow_nan=False, allow_infinity=False))
)


@given(SCALARS | st.dates() | st.lists(st.integers(), min_size=1))
def test_a_value_that_is_recorded_comes_back_as_it_was(value: Any) -> None:
    default = defaults.of_value(value)
    assert default is not None
    recorded = as_document(value)
    text = recorded.strip() if isinstance(recorded, str) else str(recorded)
    expected = value.strip() if isinstance(value, str) else value
    assert refused(INVALID, default.fit, "a", text) == expected


@given(SCALARS | st.dates() | st.datetimes() | PLAIN, TEXTS)
def test_any_text_fits_the_type_of_a_default_or_is_refused(value: Any, text: str) -> None:
    if default := defaults.of_value(value):
        fitted = refused(INVALID, default.fit, "a", text)
        assert fitted is None or isinstance(fitted, (type(value), type(None)))
    refused(INVALID, defaults.guess, "a", text)


CODE = st.lists(
    st.sampled_from(["(", ")", "[", "def f():", "\n", "    ", "x = 1", "-" , "lambda: ", "'", '"""',
                     "\\", "\x00", "\f", "import marimo\n", "app = marimo.App()\n", "@app.cell\n",
                     "<<<<<<< a\n", "é", "0" * 5000, "(" * 300, "-" * 20_000])
    | st.text(max_size=5),
    max_size=8,
).map("".join)  # fmt: skip


@given(CODE)
def test_code_is_parsed_or_refused(text: str) -> None:
    source = refused(INVALID, parse_source, text, "x.py")
    if source is not None:
        read_command_line(source)
        assert isinstance(source.is_notebook, bool)


@pytest.mark.parametrize("text", ["-" * 50_000 + "1", "(" * 5_000, "x" + "+x" * 20_000])
def test_code_that_is_too_deep_for_python_is_refused(text: str) -> None:
    try:
        ast.parse(text)
    except (SyntaxError, RecursionError, MemoryError):
        pass
    else:  # Python 3.10 has no limit for it, and neither has what reads it
        assert sys.version_info < (3, 11)
        assert read_command_line(parse_source(text, "x.py")).options == ()
        return
    assert refused(INVALID, parse_source, text, "x.py") is None
