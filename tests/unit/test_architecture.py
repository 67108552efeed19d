"""Which room of the runner may call which."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import dagmar

SOURCE = Path(dagmar.__file__).parent
FLOORS = (
    "tasks",
    "upkeep",
    "dev",
    "discover",
    "pair",
    "export",
    "scaffold",
    "runs",
    "notebook",
    "orchestration",
    "server",
    "project",
    "console",
    "files",
    "asset_key",
    "failure",
    "flags",
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
        for module, imported in _imports()
        if FLOORS.index(_room(module)) > FLOORS.index(_room(imported))
    ]
    assert upwards == []


def test_no_module_imports_itself_through_others() -> None:
    imports: dict[str, set[str]] = {}
    for module, imported in _imports():
        imports.setdefault(module, set()).add(imported)

    def reached(start: str) -> set[str]:
        seen: set[str] = set()
        waiting = [start]
        while waiting:
            for module in imports.get(waiting.pop(), set()) - seen:
                seen.add(module)
                waiting.append(module)
        return seen

    assert [module for module in sorted(imports) if module in reached(module)] == []


def test_dagsters_private_api_has_one_door() -> None:
    private = {
        _name(file)
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


def _room(module: str) -> str:
    return module.split(".")[1] if "." in module else "__init__"


def _imports() -> Iterator[tuple[str, str]]:
    """Yield each module of the runner with each of the runner's modules that it imports.

    Imports inside functions count; those for type checking only do not run, and do not count.
    """
    modules = {_name(file): file for file in SOURCE.rglob("*.py")}
    for module, file in modules.items():
        for node in _running(ast.parse(file.read_text("utf-8"))):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("dagmar"):
                for alias in node.names:
                    submodule = f"{node.module}.{alias.name}"
                    imported = submodule if submodule in modules else str(node.module)
                    if imported != module:
                        yield module, imported
            elif isinstance(node, ast.Import):
                for alias in node.names:
                    if alias.name in modules and alias.name != module:
                        yield module, alias.name


def _running(node: ast.AST) -> Iterator[ast.AST]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.If) and ast.unparse(child.test) == "TYPE_CHECKING":
            continue
        yield child
        yield from _running(child)


def _name(file: Path) -> str:
    parts = file.relative_to(SOURCE.parent).with_suffix("").parts
    return ".".join(parts).removesuffix(".__init__")
