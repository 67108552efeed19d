"""The exit status of each error is the one that is documented."""

from __future__ import annotations

import inspect
import re

import pytest
from dagmar import errors
from dagmar.errors import DagmarError, did_you_mean, typed

LINE = re.compile(r"^    (?P<indent>[ │├└─]*)(?P<name>[A-Z]\w+) +(?P<code>\d+) {3}\S", re.MULTILINE)


def documented() -> dict[str, tuple[int, str]]:
    """Return name → (exit status, name of the class above it), out of the docstring's tree."""
    found: dict[str, tuple[int, str]] = {}
    above: list[tuple[int, str]] = [(0, "DagmarError")]
    for line in LINE.finditer(errors.__doc__ or ""):
        depth = len(line["indent"])
        while len(above) > 1 and above[-1][0] >= depth:
            above.pop()
        found[line["name"]] = (int(line["code"]), above[-1][1])
        above.append((depth, line["name"]))
    return found


def test_the_docstring_draws_the_classes_as_they_are() -> None:
    classes = {
        name: (kind.exit_code, kind.__bases__[0].__name__)
        for name, kind in inspect.getmembers(errors, inspect.isclass)
        if issubclass(kind, DagmarError) and kind is not DagmarError
    }
    assert len(classes) > 10
    assert documented() == classes


def test_only_interrupted_and_a_bug_lie_outside_two_to_nine() -> None:
    codes = {code for code, _ in documented().values()}
    assert codes == {*range(2, 10), 130}
    assert DagmarError.exit_code == 1


def test_every_error_says_what_it_is() -> None:
    for name in documented():
        assert (getattr(errors, name).__doc__ or "").strip().endswith((".", "there."))


def test_an_error_shows_message_and_hint() -> None:
    assert str(DagmarError("no")) == "no"
    assert str(DagmarError("no", "Type: yes")) == "no\nType: yes"


@pytest.mark.parametrize(
    ("name", "meant"),
    [("raw/order", "raw/orders"), ("RAW/ORDERS", "raw/orders"), ("Sales", "sales"), ("xyz", "")],
)
def test_the_nearest_name_is_offered(name: str, meant: str) -> None:
    expected = f" — did you mean '{meant}'?" if meant else ""
    assert did_you_mean(name, ["raw/orders", "sales"]) == expected


def test_nothing_is_offered_where_nothing_is_known() -> None:
    assert did_you_mean("x", []) == ""


@pytest.mark.parametrize(
    ("hint", "pasted"),
    [
        ("Type: invoke doctor --fix", "Type: uv run invoke doctor --fix"),
        ("start it with `invoke dev`.", "start it with `uv run invoke dev`."),
        ("type:\n    invoke run --follow x", "type:\n    uv run invoke run --follow x"),
        ("To see why, type: dg check defs", "To see why, type: uv run dg check defs"),
        ("Type: uv run invoke doctor", "Type: uv run invoke doctor"),
        ("Type: uv sync (or: invoke dev)", "Type: uv sync (or: uv run invoke dev)"),
        ("invoke dev keeps its files here", "invoke dev keeps its files here"),
        ("whoever reinvoked: dagster is gone", "whoever reinvoked: dagster is gone"),
        ("Type: git status", "Type: git status"),
    ],
)
def test_a_hint_can_be_pasted_by_users_of_uv_run_and_by_others(
    hint: str, pasted: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("UV", "/usr/bin/uv")
    assert typed(hint) == pasted
    monkeypatch.delenv("UV")
    assert typed(hint) == hint
