"""Which notebook is paired with which asset, job or selection of assets.

It is read from the `dagmar.Pair(...)` call in the file, as syntax: nothing is run.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from dagmar.asset_key import AssetKey
from dagmar.errors import Invalid
from dagmar.notebook.cells import literal, read_source
from dagmar.project.layout import relative


@dataclass(frozen=True)
class Paired:
    """One `dagmar.Pair(...)` with a literal key, name or selection.

    A `target` that is not a literal is None.
    """

    asset: AssetKey
    job: str
    target: str | None
    line: int
    select: str = ""


@dataclass
class Pairings:
    """Paths of the notebooks, relative to the project, by asset key, job name and selection."""

    assets: dict[str, list[str]] = field(default_factory=dict)
    jobs: dict[str, list[str]] = field(default_factory=dict)
    selections: dict[str, list[str]] = field(default_factory=dict)


def read_pairings(root: Path, folder: Path) -> Pairings:
    """Read the pairs of all notebooks in `folder`; files that are not valid Python are ignored."""
    pairings = Pairings()
    for file in sorted(folder.rglob("*.py")):
        if "__marimo__" in file.parts:
            continue
        try:
            source = read_source(file)
        except Invalid:
            continue
        path = relative(file, root)
        for pair in read_pairs(source.tree):
            for name, paths in (
                (pair.asset, pairings.assets),
                (pair.job, pairings.jobs),
                (pair.select, pairings.selections),
            ):
                if name and path not in paths.setdefault(name, []):
                    paths[name].append(path)
    return pairings


def read_pairs(tree: ast.Module) -> Iterator[Paired]:
    """Yield the pairs of one notebook, in the order of its lines."""
    calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call) and _is_pair(node.func)]
    for call in sorted(calls, key=lambda call: call.lineno):
        values = {keyword.arg: literal(keyword.value) for keyword in call.keywords}
        asset, job = AssetKey(values.get("asset") or ""), values.get("job") or ""
        select = values.get("select") or ""
        if asset or job or select:
            yield Paired(asset, job, values.get("target", ""), call.lineno, select)


def paired_with(pairs: Sequence[Paired]) -> tuple[AssetKey | None, str | None]:
    """Return the first asset and the first job of a notebook's pairs."""
    asset = next((pair.asset for pair in pairs if pair.asset), None)
    return asset, next((pair.job for pair in pairs if pair.job), None)


def _is_pair(function: ast.expr) -> bool:
    if isinstance(function, ast.Attribute):
        return function.attr == "Pair"
    return isinstance(function, ast.Name) and function.id == "Pair"
