"""The exit status of each error is the one that is documented."""

from __future__ import annotations

import ast
import copy
import inspect
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from dagmar import console, errors
from dagmar.errors import (
    Conflict,
    DagmarError,
    Invalid,
    NotAllowed,
    RunFailed,
    all_of,
    counted,
    cut,
    did_you_mean,
    some,
    suggestion,
)
from dagmar.tasks import namespace

TYPE = "Type: "  # what `suggestion` puts before a command
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
    assert str(DagmarError("no", "Or not.", "yes")) == "no\nType: yes\n  Or not."
    assert repr(Conflict("no", "Or not.")) == "Conflict('no')"


def test_an_error_knows_which_names_were_meant() -> None:
    meant = {"raw/order": "raw/orders"}
    error = Invalid("no such asset", meant=meant)
    assert error.meant == meant
    meant.clear()
    assert error.meant == {"raw/order": "raw/orders"}
    assert Invalid("no such asset").meant == {}


@pytest.mark.parametrize(
    ("text", "shown"), [("", ""), ("abc", "abc"), ("abcd", "ab…"), ("äöüßé", "äö…")]
)
def test_a_text_is_cut_to_as_many_characters_as_it_may_have(text: str, shown: str) -> None:
    assert cut(text, 3) == shown


def test_errors_of_several_things_have_the_status_that_they_share() -> None:
    conflicts = [Conflict("in the way"), Conflict("in the way, too")]
    assert (all_of(conflicts, 3).message, all_of(conflicts, 3).exit_code) == (
        "2 of 3 notebooks failed",
        8,
    )
    assert all_of([*conflicts, NotAllowed("no")], 3).exit_code == RunFailed.exit_code
    assert RunFailed("it is not changed for others").exit_code == 4


@pytest.mark.parametrize(
    ("names", "text"),
    [
        (["a", "b"], "a, b"),
        (["a", "b", "c"], "a, b, c"),
        (["a", "b", "c", "d", "e"], "a, b, c and 2 more"),
    ],
)
def test_a_long_list_of_names_is_cut_after_three(names: list[str], text: str) -> None:
    assert some(names) == text


@pytest.mark.parametrize(("number", "text"), [(0, "0 runs"), (1, "1 run"), (2, "2 runs")])
def test_a_number_of_things_is_plural_unless_it_is_one(number: int, text: str) -> None:
    assert counted(number, "run") == text


@pytest.mark.parametrize(
    ("name", "meant"),
    [("raw/order", "raw/orders"), ("RAW/ORDERS", "raw/orders"), ("Sales", "sales"), ("xyz", "")],
)
def test_the_nearest_name_is_offered(name: str, meant: str) -> None:
    expected = f" — did you mean '{meant}'?" if meant else ""
    assert did_you_mean(name, ["raw/orders", "sales"]) == expected


def test_nothing_is_offered_where_nothing_is_known() -> None:
    assert did_you_mean("x", []) == ""


def test_a_hint_with_a_colon_leads_to_the_command_and_a_sentence_follows_it() -> None:
    assert suggestion("", "git status") == "Type: git status"
    assert suggestion("To see why, type:", "dg check defs") == "To see why, type: dg check defs"
    assert suggestion("Or wait.", "invoke dev") == "Type: invoke dev\n  Or wait."
    assert suggestion("Two:", "invoke dev\ndg dev") == "Two:\n    invoke dev\n    dg dev"


@pytest.mark.parametrize(
    ("hint", "command", "pasted"),
    [
        ("", "invoke doctor --fix", "Type: uv run invoke doctor --fix"),
        ("start it with `invoke dev`.", "", "start it with `uv run invoke dev`."),
        ("type:", "invoke run\ndg dev", "type:\n    uv run invoke run\n    uv run dg dev"),
        ("Start it:", "dagster-daemon run", "Start it: uv run dagster-daemon run"),
        ("", "uv run invoke doctor", "Type: uv run invoke doctor"),
        (
            "Or go without: `invoke dev`.",
            "uv sync",
            "Type: uv sync\n  Or go without: `uv run invoke dev`.",
        ),
        (
            "to see why, type: invoke dev keeps its files",
            "",
            "to see why, type: invoke dev keeps its files",
        ),
        ("`reinvoked` and `dagster` stay", "", "`reinvoked` and `dagster` stay"),
        ("", "git status", "Type: git status"),
    ],
)
def test_a_command_can_be_pasted_by_users_of_uv_run_and_by_others(
    hint: str, command: str, pasted: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("UV", "/usr/bin/uv")
    assert console.pasteable(hint, command) == pasted
    monkeypatch.delenv("UV")
    assert console.pasteable(hint, command) == suggestion(hint, command)


@pytest.mark.parametrize(
    ("variable", "pasted"),
    [
        ("PDM_RUN_CWD", "Type: pdm run dagster definitions validate && pdm run invoke dev"),
        ("PIPENV_ACTIVE", "Type: pipenv run dagster definitions validate && pipenv run invoke dev"),
    ],
)
def test_a_command_starts_as_the_package_manager_started_this_one(
    variable: str, pasted: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    command = "dagster definitions validate && invoke dev"
    monkeypatch.setenv(variable, "1")
    assert console.pasteable("", command) == pasted
    monkeypatch.delenv(variable)
    monkeypatch.setattr(sys, "prefix", "/home/me/.cache/pypoetry/virtualenvs/etl-py3.12")
    assert console.pasteable("See `invoke dev`.") == "See `poetry run invoke dev`."


@pytest.mark.parametrize(
    ("files", "starter"),
    [
        (("poetry.lock",), "poetry run"),  # although `uvx poetry` has set UV
        (("poetry.lock", "uv.lock"), "uv run"),
        (("deployments/local/pyproject.toml",), "uv run --project deployments/local"),
    ],
)
def test_the_place_of_the_environment_says_how_a_command_starts(
    files: tuple[str, ...], starter: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in files:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("UV", "/usr/bin/uv")
    monkeypatch.setattr(sys, "prefix", str((tmp_path / files[0]).parent / ".venv"))
    assert console.pasteable("", "invoke dev") == f"Type: {starter} invoke dev"


def texts() -> Iterator[tuple[str, str]]:
    """Yield each text of the program with its place; a field of an f-string is an X."""
    for file in sorted(Path(errors.__file__).parent.rglob("*.py")):
        tree = ast.parse(file.read_text("utf-8"))
        nodes = list(ast.walk(tree))
        left_out = {node.value for node in nodes if isinstance(node, ast.Expr)}
        for node in nodes:
            if node in left_out:
                continue
            if isinstance(node, ast.JoinedStr):
                left_out.update(node.values)
                parts = [getattr(part, "value", "X") for part in node.values]
                text = "".join(part if isinstance(part, str) else "X" for part in parts)
                yield f"{file.name}:{node.lineno}", text
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                yield f"{file.name}:{node.lineno}", node.value


def test_commands_are_fields_of_their_own_and_not_a_part_of_messages_and_hints() -> None:
    """A text that says what to type is followed by the command, or has it in backticks."""
    found = list(texts())
    assert len(found) > 1000
    in_text = re.compile(r"^Type:|\b[Tt]ype( again)?: +\w|: (invoke|dg) [a-z-]")
    assert [
        text for text in found if in_text.search(text[1]) and text[1] not in (TYPE, f"{TYPE}X")
    ] == []


def test_each_task_and_flag_that_a_text_says_to_type_exists() -> None:
    # A copy, since Invoke takes the help texts out of a task when it is asked for the flags.
    tasks = copy.deepcopy(namespace("tasks.py"))
    flags = {task.name: set(task.flags) for task in tasks.to_contexts()}
    typed = [
        (place, task, flag)
        for place, text in texts()
        for task, rest in re.findall(r"\binvoke ([a-z]+)((?:(?! invoke )[^`\n])*)", text)
        for flag in ["", *re.findall(r"(?<![\w-])--?[a-z][a-z-]*(?![\w-])", rest)]
        if flag != "--no-"  # in `--no-{name}`
    ]
    assert len(typed) > 70
    wrong = [each for each in typed if each[2] not in {"", *flags.get(each[1], ())}]
    assert (wrong, {each[1] for each in typed} - flags.keys()) == ([], set())
