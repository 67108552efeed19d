"""What the runner and the hooks import is declared, and where."""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

import dagmar
from support.source import ROOT, SOURCE, imports, module_name, running

OPTIONAL = {"altair", "ipykernel", "jupyter_client", "nbclient", "vl_convert"}
"""Used if the project has them; their absence is handled, or says what to install."""
DISTRIBUTIONS = metadata.packages_distributions()


def test_everything_that_the_runner_imports_is_declared() -> None:
    declared = _declared("core") | _declared("cli")
    undeclared = [
        f"{file.relative_to(SOURCE)}: {package}"
        for file in SOURCE.rglob("*.py")
        for package, _ in _packages(file)
        if package not in OPTIONAL and not _is_of(package, declared)
    ]
    assert undeclared == []


def test_what_is_public_loads_without_the_extra_for_the_command_line() -> None:
    core = _declared("core")
    edges: dict[str, set[str]] = {}
    for module, imported in imports():
        edges.setdefault(module, set()).add(imported)
    reached: set[str] = set()
    waiting = [f"dagmar.{name}" if "." not in name else name for name in dagmar._PUBLIC.values()]
    while waiting:
        module = waiting.pop()
        if module not in reached:
            reached.add(module)
            waiting += edges.get(module, ())
    assert len(reached) > 20
    beyond = [
        f"{module_name(file)}: {package}"
        for file in SOURCE.rglob("*.py")
        if module_name(file) in reached
        for package, inside in _packages(file)
        if not inside and not _is_of(package, core)
    ]
    assert beyond == []


def test_hooks_need_only_python_and_what_copier_depends_on() -> None:
    copier = {"copier", *(_normal(line) for line in metadata.requires("copier") or ())}
    files = list((ROOT / "hooks").rglob("*.py"))
    hooks = {file.stem for file in files}
    beyond = [
        f"{file.name}: {package}"
        for file in files
        for package, _ in _packages(file)
        if package not in hooks and not _is_of(package, copier)
    ]
    assert beyond == []


def _declared(part: str) -> set[str]:
    """Return the distributions that the runner declares: its core, or the extra `cli`."""
    lines = metadata.requires("dagmar") or ()
    return {_normal(line) for line in lines if ("extra ==" in line) == (part == "cli")}


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", re.split(r"[ \[<>=!~;(]", name, maxsplit=1)[0]).lower()


def _is_of(package: str, distributions: set[str]) -> bool:
    names = DISTRIBUTIONS.get(package, [package])  # tomli: not installed on a newer Python
    return bool({_normal(name) for name in names} & distributions)


def _packages(file: Path) -> Iterator[tuple[str, bool]]:
    """Yield each foreign package that a file imports, and whether inside a function."""
    tree = ast.parse(file.read_text("utf-8"))
    inside = {
        id(node)
        for function in ast.walk(tree)
        if isinstance(function, (ast.FunctionDef, ast.AsyncFunctionDef))
        for node in ast.walk(function)
    }
    for node in running(tree):
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        if isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names = [node.module]
        for name in {name.partition(".")[0] for name in names}:
            if name not in sys.stdlib_module_names and name != "dagmar":
                yield name, id(node) in inside
