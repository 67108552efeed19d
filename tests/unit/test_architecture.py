"""Which room of the runner may call which."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

from support.source import ROOT, SOURCE, imports, module_name

FLOORS = (
    "__main__",
    "tasks",
    "upkeep",
    "dev",
    "discover",
    "pair",
    "migrate",
    "export",
    "scaffold",
    "runs",
    "stats",
    "notebook",
    "diff",
    "orchestration",
    "server",
    "project",
    "console",
    "files",
    "asset_key",
    "failure",
    "flags",
    "scalars",
    "errors",
    "__init__",
)
"""Rooms and modules at the top, from the one that users call to those that everything calls."""


def test_every_room_has_its_floor() -> None:
    rooms = {
        path.stem
        for path in SOURCE.iterdir()
        if path.suffix == ".py" or (path / "__init__.py").is_file()
    }
    assert rooms == set(FLOORS)


def test_calls_go_down_from_room_to_room() -> None:
    upwards = [
        f"{module} imports {imported}"
        for module, imported in imports()
        if FLOORS.index(_room(module)) > FLOORS.index(_room(imported))
    ]
    assert upwards == []


def test_no_module_imports_itself_through_others() -> None:
    edges: dict[str, set[str]] = {}
    for module, imported in imports():
        edges.setdefault(module, set()).add(imported)

    def reached(start: str) -> set[str]:
        seen: set[str] = set()
        waiting = [start]
        while waiting:
            for module in edges.get(waiting.pop(), set()) - seen:
                seen.add(module)
                waiting.append(module)
        return seen

    assert [module for module in sorted(edges) if module in reached(module)] == []


def test_nothing_of_our_own_is_renamed_where_it_is_imported() -> None:
    renamed = [
        f"{module_name(file)}, line {node.lineno}"
        for file in SOURCE.rglob("*.py")
        for node in ast.walk(ast.parse(file.read_text("utf-8")))
        if isinstance(node, ast.ImportFrom)
        and (node.module or "").startswith("dagmar")
        and any(alias.asname for alias in node.names)
    ]
    assert renamed == []


def test_private_names_of_marimo_are_in_one_module() -> None:
    files = [*SOURCE.rglob("*.py"), *(ROOT / "hooks").rglob("*.py"), ROOT / "tasks.py"]
    users = [file.relative_to(ROOT) for file in files if "marimo._" in file.read_text("utf-8")]
    assert users == [(SOURCE / "notebook/internals.py").relative_to(ROOT)]


def test_dagsters_private_api_has_one_door() -> None:
    private = {
        module_name(file)
        for file in SOURCE.rglob("*.py")
        for node in ast.walk(ast.parse(file.read_text("utf-8")))
        for name in _libraries(node)
        if re.match(r"dagster(_\w+)?(\.\w+)*\._", name)
    }
    assert private == set()


def _libraries(node: ast.AST) -> Iterator[str]:
    if isinstance(node, ast.ImportFrom) and node.module:
        yield from (f"{node.module}.{alias.name}" for alias in node.names)
    elif isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names)


def test_no_asset_key_is_written_or_read_without_its_escapes() -> None:
    unescaped = {"to_user_string", "from_user_string"}
    users = [
        f"{module_name(file)}, line {node.lineno}"
        for file in SOURCE.rglob("*.py")
        for node in ast.walk(ast.parse(file.read_text("utf-8")))
        if isinstance(node, ast.Attribute) and node.attr in unescaped
    ]
    assert users == []


def _room(module: str) -> str:
    return module.split(".")[1] if "." in module else "__init__"
