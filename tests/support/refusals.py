"""The property that all input has: it is read, or refused with an error that says what to do."""

from __future__ import annotations

import io
from collections.abc import Callable
from contextlib import redirect_stderr
from typing import ParamSpec, TypeVar

from dagmar import console, errors
from dagmar.errors import DagmarError

P = ParamSpec("P")
T = TypeVar("T")
DOCUMENTED = {
    kind.exit_code
    for kind in vars(errors).values()
    if isinstance(kind, type) and issubclass(kind, DagmarError) and kind is not DagmarError
}


def refused(
    statuses: tuple[int, ...], read: Callable[P, T], *args: P.args, **kwargs: P.kwargs
) -> T | None:
    """Return what `read` returns, or None if it refuses; any other exception passes.

    A refusal has one of these statuses, a message, and a hint or a command, which can be printed.
    """
    try:
        return read(*args, **kwargs)
    except DagmarError as error:
        check_refusal(error, *statuses)
        return None


def check_refusal(error: DagmarError, *statuses: int) -> None:
    """Assert that an error says what is wrong and what to do, and has one of these statuses."""
    assert error.exit_code in (statuses or DOCUMENTED), error
    assert error.message.strip(), repr(error)
    assert error.hint or error.command, f"no hint: {error.message!r}"
    with redirect_stderr(io.StringIO()) as stderr:
        console.complain(error)
    assert "error: " in stderr.getvalue()
