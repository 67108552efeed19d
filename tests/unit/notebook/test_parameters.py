"""Parameters: what their text becomes, and that everything derived from them fits."""

from __future__ import annotations

import datetime
import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from dagmar.errors import Invalid
from dagmar.notebook.cells import read_notebook
from dagmar.notebook.execute import Executed, execute
from dagmar.notebook.parameters import as_document, check_parameters, read_parameters
from support.export_project import write

KINDS = """kinds():
import datetime
import enum
import os
from datetime import date
from decimal import Decimal
from pathlib import Path

import marimo as mo


class Mode(enum.Enum):
    FAST = 1
    SLOW = "slow"


FIVE = 5
return"""


def run(folder: Path, body: str, **texts: str) -> Executed:
    """Run a notebook with this inputs cell, as an export does."""
    names = "Decimal, FIVE, Mode, Path, date, datetime, mo, os"
    file = write(folder, KINDS, f"inputs({names}):\n{body}")
    source = read_notebook(file)
    check_parameters(file, source, texts)
    executed = execute(file, read_parameters(source, texts))
    assert executed.failure is None
    return executed


def refusal(folder: Path, body: str, **texts: str) -> str:
    """Return the message of an inputs cell that does not take these parameters."""
    with pytest.raises(Invalid) as refused:
        run(folder, body, **texts)
    assert all(name in refused.value.message for name in texts)
    return refused.value.message


@pytest.mark.parametrize(
    ("default", "text", "value"),
    [
        ("'P1'", "007", "007"),
        ("'DE'", "NO", "NO"),
        ("'10:00'", "12:30", "12:30"),
        ("'2024-01-01'", "2024-02-01", "2024-02-01"),
        ("'1.0'", "1.10", "1.10"),
        ("'x'", "null", "null"),
        ("'x'", "", ""),
        ("'x'", " #a: [b", " #a: [b"),
        ("f'{1}'", "007", "007"),
        ("os.environ.get('NO_SUCH') or 'EU'", "1_0", "1_0"),
        ("mo.cli_args().get('x', 'P1')", "007", "007"),
        ("True", "no", False),
        ("False", "TRUE", True),
        ("10", "007", 7),
        ("60 * 60", "1_000", 1000),
        ("-1", "-5", -5),
        ("FIVE", "9", 9),
        ("0.5", "1e-3", 0.001),
        ("1.0", "2", 2.0),
        ("date(2024, 1, 1)", "2024-02-01", datetime.date(2024, 2, 1)),
        ("date.today()", "2024-02-01", datetime.date(2024, 2, 1)),
        (
            "datetime.datetime(2024, 1, 1)",
            "2024-02-01T10:30",
            datetime.datetime(2024, 2, 1, 10, 30),
        ),
        ("datetime.time(10)", "12:30", datetime.time(12, 30)),
        ("Decimal('1.50')", "1.10", Decimal("1.10")),
        ("Path('a')", "b/007", Path("b/007")),
        ("['EU']", "[NO, 007]", ["NO", "007"]),
        ("('EU', 1)", "[NO, 007, 5]", ("NO", "007", 5)),
        ("{'a': 'EU', 'b': 1}", "{a: 007, b: 010, c: 1.0}", {"a": "007", "b": 10, "c": 1.0}),
        ("[['EU']]", "[[NO], []]", [["NO"], []]),
        ("('EU', 1)", "[1.10, 007]", ("1.10", 7)),
        ("'P' + str(FIVE)", "1.10", "1.10"),
        ("'P%s' % mo.__version__", "1.10", "1.10"),
        ("datetime.datetime.now().strftime('%Y%m%d')", "20240201", "20240201"),
        ("os.environ['NO_SUCH'].upper()", "7", "7"),
        ("['P1', 'P2'][0]", "1.10", "1.10"),
        ("mo.cli_args()['x'] if 'x' in mo.cli_args() else 'P1'", "1.10", "1.10"),
        ("FIVE * 2", "007", 7),
        ("Decimal(1) if mo else 0", "1.10", Decimal("1.10")),
        ("date.today() - datetime.timedelta(days=1)", "2024-02-01", datetime.date(2024, 2, 1)),
        ("Path('a') / 'b'", "007", Path("007")),
        ("None", "01067", "01067"),
        ("None", "NO", "NO"),
        ("None", "5", 5),
        ("None", "[a, 1]", ["a", 1]),
        ("None", "Note: # 1", "Note: # 1"),
    ],
)
def test_the_type_of_the_default_decides_what_a_text_becomes(
    tmp_path: Path, default: str, text: str, value: Any
) -> None:
    executed = run(tmp_path, f"x = {default}", x=text)
    assert (executed.values["x"], type(executed.values["x"])) == (value, type(value))
    assert executed.parameters == {"x": as_document(value)}
    assert json.dumps(executed.parameters)


@pytest.mark.parametrize(
    ("annotated", "text", "value"),
    [
        ("str = None", "007", "007"),
        ("str | None = None", "007", "007"),
        ("str | None = 'x'", "~", None),
        ("'int | None' = None", "007", 7),
        ("date | None = None", "2024-02-01", datetime.date(2024, 2, 1)),
        ("date | None = None", "null", None),
        ("Mode = None", "SLOW", "slow"),
        ("list[str] = []", "[1.10, NO]", ["1.10", "NO"]),
        ("tuple[str, ...] = ()", "[1.10, 7]", ("1.10", "7")),
        ("set[str] | None = None", "[1.10]", {"1.10"}),
        ("dict[str, list[float]] = {}", "{a: [1]}", {"a": [1.0]}),
    ],
)
def test_an_annotation_says_it_where_the_default_is_none(
    tmp_path: Path, annotated: str, text: str, value: Any
) -> None:
    executed = run(tmp_path, f"x: {annotated}\ny = getattr(x, 'value', x)", x=text)
    assert executed.values["y"] == value


def test_an_enum_is_given_by_the_name_or_the_value_of_a_member(tmp_path: Path) -> None:
    for text in ("SLOW", "slow"):
        executed = run(tmp_path, "x = Mode.FAST\ny = x.value", x=text)
        assert executed.values["y"] == "slow"
        assert executed.parameters == {"x": "SLOW"}


@pytest.mark.parametrize(
    ("default", "text", "message"),
    [
        ("10", "1.5", "--param x takes a whole number, not '1.5'"),
        ("10", "", "a whole number"),
        ("0.5", "much", "a number"),
        ("True", "maybe", "true or false"),
        ("date.today()", "2024-02-31", "a date, such as 2026-01-31"),
        ("Decimal('1')", "x", "--param x takes a Decimal, not 'x'"),
        ("Mode.FAST", "SLO", "did you mean 'SLOW'"),
        ("['EU']", "EU", "a list"),
        ("{}", "[1]", "a dict"),
        ("['EU']", "[EU", "not valid YAML"),
        ("[1]", "[x]", "a whole number"),
        ("datetime.timedelta(days=1)", "5", "is of type timedelta"),
        ("mo.ui.slider(1, 10)", "5", "is of type slider"),
        ("pair.load('raw/orders')", "5", "loads it from Dagster"),
    ],
)
def test_a_text_that_does_not_fit_is_refused_by_the_parameters_name(
    tmp_path: Path, default: str, text: str, message: str
) -> None:
    assert message in refusal(tmp_path, f"x = {default}", x=text)


@pytest.mark.parametrize(
    ("body", "texts", "values"),
    [
        ("low, high = 1, 10\nwidth = high - low", {"high": "20"}, {"low": 1, "width": 19}),
        ("low = high = 5\nwidth = high - low", {"high": "20"}, {"low": 5, "width": 15}),
        ("low = high = 5\nwidth = high - low", {"low": "1", "high": "3"}, {"width": 2}),
        (
            "(a, (b, c)), d = (1, (2, 3)), 4\nall_ = a + b + c + d",
            {"b": "20", "d": "1"},
            {"all_": 25},
        ),
        ("kept = {}\nkept['n'] = n = 5\nx = kept['n']", {"n": "7"}, {"n": 7, "x": 7}),
        ("low, high = sorted([1, 10])\nwidth = high - low", {"high": "20"}, {"width": 19}),
        ("first, *rest = [1, 2, 3]\nsize = len(rest)", {"rest": "[1]"}, {"first": 1, "size": 1}),
        (
            "if os.sep:\n    limit = 100\nelse:\n    limit = 5\npages = limit * 2",
            {"limit": "7"},
            {"pages": 14},
        ),
        (
            "region = None\nif region is None:\n    region = 'EU'\nlower = region.lower()",
            {"region": "US"},
            {"region": "US", "lower": "us"},
        ),
        (
            "try:\n    r = os.environ['NO']\nexcept KeyError:\n    r = 'EU'\nlower = r.lower()",
            {"r": "US"},
            {"lower": "us"},
        ),
        ("if (n := 10) > 5:\n    big = True\nelse:\n    big = False", {"n": "3"}, {"big": False}),
        ("_by = 2\nlimit = 5\nwidth = limit * _by\n_by", {"limit": "7"}, {"width": 14}),
        (
            "limit = 5\ndef f(n=limit):\n    limit = 3\n    return n\nx = f()",
            {"limit": "7"},
            {"limit": 7, "x": 7},
        ),
        ("names = ['a']\nnames.append('b')", {"names": "[x]"}, {"names": ["x", "b"]}),
        ("base = 2\nwidth = base * 3\nall_ = width + 1", {"width": "1"}, {"base": 2, "all_": 2}),
        ("limit = 5\nseen = [limit]\nseen.append(limit);", {"limit": "7"}, {"seen": [7, 7]}),
        (
            "with open(os.devnull) as _file:\n    limit = 5\n    double = limit * 2",
            {"limit": "7"},
            {"double": 14},
        ),
        ("for _n in (1, 2):\n    limit = 5\nall_ = limit * _n", {"limit": "7"}, {"all_": 14}),
    ],
)
def test_whatever_the_inputs_cell_derives_from_a_parameter_fits_it(
    tmp_path: Path, body: str, texts: dict[str, str], values: dict[str, Any]
) -> None:
    executed = run(tmp_path, body, **texts)
    assert {name: executed.values[name] for name in values} == values


def test_a_value_is_recorded_as_it_was_given(tmp_path: Path) -> None:
    assert run(tmp_path, "x = ['a']\nx.append('b')", x="[NO]").parameters == {"x": ["NO"]}


def test_an_asynchronous_inputs_cell_takes_parameters(tmp_path: Path) -> None:
    file = write(
        tmp_path,
        "async inputs():\nimport asyncio\nlow = await asyncio.sleep(0, 1)\nhigh = low + 1",
    )
    assert execute(file, {"low": 5}).values["high"] == 6


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("x = 5\nx += 1", "line 29 of notebook.py changes the value that it had before"),
        ("x = 5\nx = min(x, 3)", "line 29 of notebook.py changes the value that it had before"),
        ("a, x = 1, 2\na, x = sorted([a, x])", "line 29 of notebook.py changes the value"),
        ("for x in (1, 2):\n    y = x", "line 28 of notebook.py loops over its values"),
        ("with open(os.devnull) as x:\n    y = 1", "opens it in a `with`"),
        ("import json as x", "imports it"),
        ("def x():\n    pass", "defines it as a function"),
        ("class x:\n    pass", "defines it as a class"),
        ("x = 5\ndel x", "deletes it"),
        ("x = 5\ndef f():\n    global x\n    x = 3\nf()", "line 30 of notebook.py changes it"),
        ("match 5:\n    case x:\n        y = 1", "matches a pattern with it"),
        ("if not os.sep:\n    x = 5", "does not assign it in this case"),
    ],
)
def test_what_could_not_be_consistent_is_refused_with_its_line(
    tmp_path: Path, body: str, message: str
) -> None:
    assert message in refusal(tmp_path, body, x="7")


def test_names_of_functions_and_private_names_are_no_parameters(tmp_path: Path) -> None:
    body = "def f():\n    inner = 1\n    return inner\n_private = 1\nx = [n for n in (1,)]"
    for name in ("inner", "_private", "n"):
        assert "takes no parameter" in refusal(tmp_path, body, **{name: "1"})
