"""Which notebook is paired with which asset or job.

The `dagmar.Pair(...)` call in the file, read as syntax, is the truth about it: nothing is run.
"""

from __future__ import annotations

import ast
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from dagmar.asset_key import AssetKey
from dagmar.project.layout import relative

if TYPE_CHECKING:
    from dagmar.server.catalog import Catalog


@dataclass(frozen=True)
class Paired:
    """One `dagmar.Pair(...)` with its key or name written out; `target` is None if it is not."""

    asset: AssetKey
    job: str
    target: str | None
    line: int


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
        path = relative(file, root)
        for pair in read_pairs(tree) if tree else ():
            for name, places in ((pair.asset, pairings.assets), (pair.job, pairings.jobs)):
                if name and path not in places.setdefault(name, []):
                    places[name].append(path)
    return pairings


def read_pairs(tree: ast.Module) -> Iterator[Paired]:
    """Yield the pairs of one notebook, in the order of its lines."""
    calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call) and _is_pair(node.func)]
    for call in sorted(calls, key=lambda call: call.lineno):
        given = {one.arg: one.value for one in call.keywords}
        asset, job = AssetKey(_text(given.get("asset")) or ""), _text(given.get("job")) or ""
        if asset or job:
            yield Paired(
                asset, job, _text(given["target"]) if "target" in given else "", call.lineno
            )


def _is_pair(function: ast.expr) -> bool:
    if isinstance(function, ast.Attribute):
        return function.attr == "Pair"
    return isinstance(function, ast.Name) and function.id == "Pair"


def _text(value: ast.expr | None) -> str | None:
    """Return a text that is written out, None for anything else."""
    if isinstance(value, ast.Constant) and isinstance(value.value, str):
        return value.value
    return None


def has_job(catalog: Catalog, name: str) -> bool:
    """Say whether there is a job `name`, or `name@location` where several places have one."""
    wanted, _, location = name.partition("@")
    if not catalog.url:  # the project's definitions do not tell what their location is called
        location = ""
    return any(
        job["name"] == wanted and location in ("", job.get("location")) for job in catalog.jobs
    )
