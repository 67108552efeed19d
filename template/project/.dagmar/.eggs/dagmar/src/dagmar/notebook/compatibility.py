"""Which version of marimo is installed, which are tested, and the error for others.

Notebooks are executed and read with private names of marimo. Only `notebook/internals.py`
imports them; this module is light, and says whether that may be done.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from dagmar.errors import SetupError
from dagmar.project.installing import add_command, installed_version
from dagmar.project.versions import MARIMO, OLDEST_MARIMO, as_requirement, minor, numbers

TESTED_MARIMO = as_requirement("marimo", (OLDEST_MARIMO, *MARIMO))


def marimo_version() -> str:
    """Return the installed version of marimo. Raises SetupError if there is none."""
    if version := installed_version("marimo"):
        return version
    raise SetupError("marimo is not installed", command=add_command("marimo"))


def is_tested(version: str) -> bool:
    """Whether a version of marimo is one that dagmar's tests run with."""
    return minor(version) in MARIMO and numbers(version) >= numbers(OLDEST_MARIMO)


def unsupported(reason: str, instead: str = "") -> SetupError:
    """Return the error for a version of marimo that dagmar is not tested with."""
    message = f"dagmar does not support marimo {marimo_version()}: {reason}"
    install = add_command(TESTED_MARIMO)
    hint = instead or f"Or install a tested version: `{install}`."
    return SetupError(message, hint, install if instead else "invoke update")


@contextlib.contextmanager
def guarded() -> Iterator[None]:
    """Turn the exceptions of a changed signature into an error about marimo.

    Exceptions of cells never get here. Raises SetupError.
    """
    try:
        yield
    except (ImportError, AttributeError, TypeError, KeyError) as error:
        raise unsupported(f"{type(error).__name__}: {error}") from error
