"""Pairs marimo notebooks with Dagster assets and jobs.

Importing this package imports neither dagster nor marimo: what it offers to
notebooks and definitions is loaded when it is first asked for.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from dagmar.export.index import link_reports
    from dagmar.pair.pair import Pair

__version__ = "0.2.0"

_PUBLIC: dict[str, str] = {"Pair": "dagmar.pair.pair", "link_reports": "dagmar.export.index"}
"""Public name → module that defines it."""

__all__ = ["Pair", "__version__", "link_reports"]


def __getattr__(name: str) -> object:
    if name in _PUBLIC:
        return getattr(importlib.import_module(_PUBLIC[name]), name)
    raise AttributeError(f"module 'dagmar' has no attribute {name!r}")


def __dir__() -> list[str]:
    # `dg list components` finds classes with dir().
    return sorted({*globals(), *_PUBLIC})
