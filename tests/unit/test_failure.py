"""The user's own exception, out of what Dagster wraps around it."""

from __future__ import annotations

from typing import Any

import pytest
from dagmar.failure import Failure

SITE = "/venv/lib/python3.12/site-packages"


def frame(file: str, line: str = "x()") -> str:
    return f'  File "{file}", line 1, in f\n    {line}\n'


def error(kind: str | None, message: str, *stack: str, **more: Any) -> dict[str, Any]:
    return {"className": kind, "message": message, "stack": list(stack), **more}


WRAPPED = error(
    "DagsterExecutionStepExecutionError",
    "dagster._core.errors.DagsterExecutionStepExecutionError: Error occurred\n",
    frame(f"{SITE}/dagster/_core/execution/plan.py"),
    errorChain=[
        {
            "error": error(
                "ValueError",
                "ValueError: no sales: none\n",
                frame(f"{SITE}/dagster/_core/utils.py", "run()"),
                frame("<frozen runpy>"),
                frame("/home/ann/shop/assets.py", "sell()"),
                frame(f"{SITE}/pandas/core.py", "raise"),
            )
        },
        {"error": error("KeyError", "KeyError: 'ninth'\n", frame("/home/ann/shop/days.py"))},
    ],
)


def test_what_was_raised_comes_first_and_what_it_came_from_is_told() -> None:
    found = Failure.from_graphql(WRAPPED, "sell")
    assert found.place == "sell"
    assert found.kind == "ValueError"
    assert found.message == "no sales: none"
    cause, raised = found.traceback.split("\nwhich led to:\n\n")
    assert cause == frame("/home/ann/shop/days.py") + "KeyError: 'ninth'\n"
    assert raised == (
        frame("/home/ann/shop/assets.py", "sell()")
        + frame(f"{SITE}/pandas/core.py", "raise")
        + "ValueError: no sales: none\n"
    )


def test_a_syntax_error_that_is_raised_again_is_shown_once() -> None:
    library = compile(
        "try:\n compile('x = (1 2)', 'shop.py', 'exec')\n"
        "except SyntaxError as error:\n raise SyntaxError(*error.args)",
        f"{SITE}/dagster/load.py",
        "exec",
    )
    with pytest.raises(SyntaxError) as raised:
        exec(library)
    trace = Failure.from_exception(raised.value).trace
    assert trace.count("x = (1 2)") == 1
    assert "exec(library)" in trace


def raised(source: str, file: str = f"{SITE}/dagster/load.py", **names: Any) -> Exception:
    """Return what code in a file raises; by default none of its frames is the user's."""
    try:
        exec(compile(source, file, "exec"), names)
    except Exception as error:
        return error
    raise AssertionError("nothing was raised")


def test_an_exception_is_shown_with_its_class_its_message_and_all_frames_of_the_user() -> None:
    inner = compile("def sell():\n  raise KeyError('sales')", "/home/ann/shop/sales.py", "exec")
    names: dict[str, Any] = {}
    exec(inner, names)
    outer = "def close():\n  sell()\nclose()"
    found = Failure.from_exception(raised(outer, "/home/ann/shop/close.py", **names))
    assert (found.kind, found.message, found.place) == ("KeyError", "'sales'", None)
    frames = [line.strip() for line in found.trace.splitlines() if "/home/ann/" in line]
    assert frames == [
        'File "/home/ann/shop/close.py", line 3, in <module>',
        'File "/home/ann/shop/close.py", line 2, in close',
        'File "/home/ann/shop/sales.py", line 2, in sell',
    ]
    assert found.trace.endswith("\nKeyError: 'sales'")


AGAIN = """
try:
    {first}
except ValueError as error:
    raise ValueError("no sales")
"""


@pytest.mark.parametrize(
    ("first", "file", "shown"),
    [
        ("raise ValueError('no sales')", f"{SITE}/dagster/load.py", 1),
        ("raise ValueError('no sales')", "/home/ann/shop/sales.py", 2),  # it has a frame to show
        ("raise ValueError('no orders')", f"{SITE}/dagster/load.py", 2),
        ("raise UnicodeError('no sales')", f"{SITE}/dagster/load.py", 2),
    ],
)
def test_an_error_that_only_repeats_another_one_is_shown_once(
    first: str, file: str, shown: int
) -> None:
    trace = Failure.from_exception(raised(AGAIN.format(first=first), file)).trace
    assert len([line for line in trace.splitlines() if "Error: no " in line]) == shown


def test_what_led_to_an_error_that_is_repeated_is_shown() -> None:
    first = "raise KeyError('ninth')"
    source = "try:\n {first}\nexcept KeyError:\n{again}".format(
        first=first,
        again="\n".join(
            f"  {line}" for line in AGAIN.format(first="raise ValueError('no sales')").splitlines()
        ),
    )
    trace = Failure.from_exception(raised(source)).trace
    assert trace.count("ValueError: no sales") == 1
    assert "KeyError: 'ninth'" in trace


def test_errors_that_name_each_other_as_their_cause_end() -> None:
    first, second = ValueError("first"), KeyError("second")
    first.__cause__, second.__cause__ = second, first
    assert "KeyError: 'second'" in Failure.from_exception(first).trace
    alone = ValueError("alone")
    alone.__context__ = alone
    assert Failure.from_exception(alone).trace == "ValueError: alone"


def test_an_error_without_a_chain_speaks_for_itself() -> None:
    plain = error("ImportError", "ImportError: no shop\n", frame("/home/ann/shop/defs.py"))
    chains: list[dict[str, Any]] = [{}, {"errorChain": []}, {"errorChain": None}]
    for chain in chains:
        found = Failure.from_graphql({**plain, **chain})
        assert found.kind == "ImportError"
        assert found.message == "no shop"
        assert found.traceback == frame("/home/ann/shop/defs.py") + "ImportError: no shop\n"


@pytest.mark.parametrize(
    ("file", "dagsters"),
    [
        (f"{SITE}/dagster/_core/a.py", True),
        (f"{SITE}/dagster_shared/a.py", True),
        (f"{SITE}/dagster_graphql/a.py", True),
        ("/usr/lib/python3/dist-packages/dagster/a.py", True),
        (r"C:\venv\Lib\site-packages\dagster\a.py", True),
        ("/pex/installed_wheels/ab12/dagster-1.13.whl/dagster/a.py", True),
        ("<frozen importlib._bootstrap>", True),
        ("/home/ann/dagster/shop/assets.py", False),
        ("/opt/dagster/app/assets.py", False),
        (f"{SITE}/dagster_dbt/a.py", False),
        (f"{SITE}/pandas/a.py", False),
    ],
)
def test_frames_of_dagster_above_the_users_are_left_out(file: str, dagsters: bool) -> None:
    last = frame("/home/ann/shop/last.py")
    found = Failure.from_graphql(error("E", "E: x", frame(file), last))
    assert (frame(file) not in found.traceback) is dagsters
    assert last in found.traceback


IMPORTING = [
    frame("/usr/lib/python3.12/importlib/__init__.py", "return _bootstrap._gcd_import()"),
    frame("<frozen importlib._bootstrap>"),
    frame("<frozen importlib._bootstrap_external>"),
]
SYNTAX = (
    'File "/home/ann/shop/assets.py", line 4\n    def x(:\n          ^\nSyntaxError: invalid syntax'
)


@pytest.mark.parametrize(
    ("stack", "message", "shown"),
    [
        ([], SYNTAX, []),
        ([frame("/home/ann/shop/defs.py"), *IMPORTING], SYNTAX, ["/home/ann/shop/defs.py"]),
        (
            [frame("/home/ann/shop/defs.py"), *IMPORTING, frame("/home/ann/shop/assets.py")],
            "ValueError: x",
            ["/home/ann/shop/defs.py", "/home/ann/shop/assets.py"],
        ),
        ([frame("/home/ann/importlib/__init__.py")], SYNTAX, ["/home/ann/importlib/__init__.py"]),
    ],
)
def test_frames_of_imports_above_the_users_are_left_out(
    stack: list[str], message: str, shown: list[str]
) -> None:
    kind = message.splitlines()[-1].partition(":")[0]
    dagsters = frame(f"{SITE}/dagster/a.py")
    found = Failure.from_graphql(error(kind, f"{message}\n", dagsters, *IMPORTING, *stack))
    assert found.traceback == "".join([*map(frame, shown), message, "\n"])


def test_frames_of_an_import_that_fails_below_the_users_are_kept() -> None:
    users = frame("/home/ann/shop/defs.py")
    found = Failure.from_graphql(error("E", "E: x", *IMPORTING, users, *IMPORTING))
    assert found.traceback == "".join([users, *IMPORTING, "E: x\n"])


def test_an_error_of_dagster_itself_keeps_its_frames() -> None:
    found = Failure.from_graphql(
        error("CheckError", "CheckError: x", frame(f"{SITE}/dagster/a.py"))
    )
    assert found.traceback == frame(f"{SITE}/dagster/a.py") + "CheckError: x\n"


def test_an_error_without_a_class_has_a_name_all_the_same() -> None:
    assert Failure.from_graphql(error(None, "gone\n")) == Failure("gone", "Error", "gone\n")


def test_a_document_calls_the_place_a_step_or_a_cell() -> None:
    failure = Failure("no sales", "ValueError", "…", "sell")
    document = {"class": "ValueError", "message": "no sales", "traceback": "…"}
    assert failure.as_document("step") == {"step": "sell", **document}
    assert failure.as_document() == document
    assert Failure.from_document({"cell": "sell", **document}, "cell") == failure
    assert Failure.from_document(document) == Failure("no sales", "ValueError", "…")


@pytest.mark.parametrize(
    "changed", [{"message": None}, {"class": 3}, {"traceback": []}, {"cell": 1}]
)
def test_a_document_of_another_shape_is_refused(changed: dict[str, Any]) -> None:
    with pytest.raises(TypeError):
        Failure.from_document({**Failure("m").as_document("cell"), **changed}, "cell")


@pytest.mark.parametrize(
    ("failure", "text", "line"),
    [
        (Failure("no sales", "ValueError"), "ValueError: no sales", "ValueError: no sales"),
        (Failure("killed"), "killed", "killed"),
        (Failure("\n a\nb", "E"), "E: \n a\nb", "E: a"),
        (Failure("", "E"), "E: ", "E: "),
    ],
)
def test_a_failure_is_told_in_full_or_on_one_line(failure: Failure, text: str, line: str) -> None:
    assert (failure.text, failure.line) == (text, line)


def test_the_message_of_a_syntax_error_is_what_is_wrong() -> None:
    place = '  File "/home/ann/shop/defs.py", line 4\n    def x(:\n          ^\n'
    failure = Failure.from_graphql(error("SyntaxError", f"{place}SyntaxError: invalid syntax\n"))
    assert failure.line == "SyntaxError: invalid syntax"
    assert 'defs.py", line 4' in failure.trace
