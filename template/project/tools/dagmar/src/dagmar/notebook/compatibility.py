"""Which marimo is installed, which ones are tested, and what is said of one that does not fit.

Notebooks are executed and read with names of marimo that are not public. `notebook/internals.py`
is the only module that imports them; this one is light, and says whether that may be done.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator
from importlib import metadata

from dagmar.errors import SetupError

TESTED = ("0.25", "0.26")
"""The tested versions of marimo: from the first up to and without the second."""
INSTALL_TESTED = f"Type: uv add 'marimo>={TESTED[0]},<{TESTED[1]}'"


def marimo_version() -> str:
    """Return the installed version of marimo. Raises SetupError if there is none."""
    try:
        return metadata.version("marimo")
    except metadata.PackageNotFoundError:
        raise SetupError("marimo is not installed", "Type: uv add marimo") from None


def is_tested(version: str) -> bool:
    """Whether a version of marimo is one that dagmar's tests run with."""
    first, beyond = map(_numbers, TESTED)
    return first <= _numbers(version) < beyond


def _numbers(version: str) -> list[int]:
    return [int(part) for part in re.findall(r"\d+", version)[:2]]


def require_tested() -> None:
    """Raise SetupError if dagmar is not tested with the installed marimo."""
    if not is_tested(marimo_version()):
        raise unsupported("this version is not tested")


def unsupported(why: str, instead: str = "") -> SetupError:
    """Return the error for a marimo whose internals are not what dagmar knows."""
    return SetupError(
        f"dagmar does not fit marimo {marimo_version()}: {why}",
        f"{instead or 'Type: invoke update'}\n  {INSTALL_TESTED}",
    )


@contextlib.contextmanager
def guarded() -> Iterator[None]:
    """Turn what a changed signature raises in here into an error about marimo.

    What a cell raises never comes here. Raises SetupError.
    """
    try:
        yield
    except (ImportError, AttributeError, TypeError, KeyError) as error:
        raise unsupported(f"{type(error).__name__}: {error}") from error
