"""Which notebook is paired with which asset or job.

The `dagmar.Pair(...)` call in the file, read as syntax, is the truth about it: nothing is run.
"""

from __future__ import annotations

import ast
import warnings
from dataclasses import dataclass, field
from pathlib import Path


@dataclass
class Pairings:
    """Paths of the notebooks, relative to the project, by asset key and by job name."""

    assets: dict[str, list[str]] = field(default_factory=dict)
    jobs: dict[str, list[str]] = field(default_factory=dict)


def read_pairings(root: Path, folder: Path) -> Pairings:
    """Read the pairs of all notebooks in `folder`; what is no Python is passed over."""
    pairings = Pairings()
    for file in sorted(folder.rglob("*.py")):
        if "__marimo__" in file.parts:
            continue
        try:
            text = file.read_text("utf-8")
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # Python's remarks on the user's code
                tree = ast.parse(text) if "Pair(" in text else None
        except (OSError, ValueError, SyntaxError):
            continue
        path = file.relative_to(root).as_posix() if file.is_relative_to(root) else str(file)
        for call in ast.walk(tree) if tree else ():
            if isinstance(call, ast.Call) and _is_pair(call.func):
                _note(pairings, call, path)
    return pairings


def _is_pair(function: ast.expr) -> bool:
    if isinstance(function, ast.Attribute):
        return function.attr == "Pair"
    return isinstance(function, ast.Name) and function.id == "Pair"


def _note(pairings: Pairings, call: ast.Call, path: str) -> None:
    places = {"asset": pairings.assets, "job": pairings.jobs}
    for argument in call.keywords:
        value = argument.value
        if (
            argument.arg in places
            and isinstance(value, ast.Constant)
            and isinstance(value.value, str)
        ):
            notebooks = places[argument.arg].setdefault(value.value, [])
            if path not in notebooks:
                notebooks.append(path)
