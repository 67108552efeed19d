"""The runner's source, read as syntax: which module imports which."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import dagmar

SOURCE = Path(dagmar.__file__).parent
ROOT = Path(__file__).parents[2]


def imports() -> Iterator[tuple[str, str]]:
    """Yield each module of the runner with each of the runner's modules that it imports.

    Imports inside functions count; those for type checking only do not run, and do not count.
    """
    modules = {module_name(file): file for file in SOURCE.rglob("*.py")}
    for module, file in modules.items():
        for node in running(ast.parse(file.read_text("utf-8"))):
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


def running(node: ast.AST) -> Iterator[ast.AST]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.If) and ast.unparse(child.test) == "TYPE_CHECKING":
            continue
        yield child
        yield from running(child)


def module_name(file: Path) -> str:
    parts = file.relative_to(SOURCE.parent).with_suffix("").parts
    return ".".join(parts).removesuffix(".__init__")
