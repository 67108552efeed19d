"""The user's own exception, out of what Dagster wraps around it."""

from __future__ import annotations

from typing import Any

import pytest
from dagmar.server.failures import users_exception

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
    found = users_exception(WRAPPED)
    assert found["class"] == "ValueError"
    assert found["message"] == "no sales: none"
    cause, raised = found["traceback"].split("\nwhich led to:\n\n")
    assert cause == frame("/home/ann/shop/days.py") + "KeyError: 'ninth'\n"
    assert raised == (
        frame("/home/ann/shop/assets.py", "sell()")
        + frame(f"{SITE}/pandas/core.py", "raise")
        + "ValueError: no sales: none\n"
    )


def test_an_error_without_a_chain_speaks_for_itself() -> None:
    plain = error("ImportError", "ImportError: no shop\n", frame("/home/ann/shop/defs.py"))
    chains: list[dict[str, Any]] = [{}, {"errorChain": []}, {"errorChain": None}]
    for chain in chains:
        found = users_exception({**plain, **chain})
        assert found["class"] == "ImportError"
        assert found["message"] == "no shop"
        assert found["traceback"] == frame("/home/ann/shop/defs.py") + "ImportError: no shop\n"


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
    found = users_exception(error("E", "E: x", frame(file), last))
    assert (frame(file) not in found["traceback"]) is dagsters
    assert last in found["traceback"]


def test_an_error_of_dagster_itself_keeps_its_frames() -> None:
    found = users_exception(error("CheckError", "CheckError: x", frame(f"{SITE}/dagster/a.py")))
    assert found["traceback"] == frame(f"{SITE}/dagster/a.py") + "CheckError: x\n"


def test_an_error_without_a_class_has_a_name_all_the_same() -> None:
    assert users_exception(error(None, "gone\n")) == {
        "class": "Error",
        "message": "gone",
        "traceback": "gone\n",
    }
