"""The variables of the `inputs` cell, read from its syntax: what gives each of them its value."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from dagmar.notebook.cells import INPUTS, Source

FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)
SCOPES = (*FUNCTIONS, ast.ClassDef, ast.Lambda)
"""What has its own names."""
CHANGES = "changes the value that it had before"
OBSTACLES: Mapping[type[ast.AST], tuple[str, str]] = {
    ast.AugAssign: ("target", CHANGES),
    ast.For: ("target", "loops over its values"),
    ast.AsyncFor: ("target", "loops over its values"),
    ast.withitem: ("optional_vars", "opens it in a `with`"),
    ast.Delete: ("targets", "deletes it"),
    ast.FunctionDef: ("name", "defines it as a function"),
    ast.AsyncFunctionDef: ("name", "defines it as a function"),
    ast.ClassDef: ("name", "defines it as a class"),
    ast.ExceptHandler: ("name", "catches an exception as it"),
    ast.MatchAs: ("name", "matches a pattern with it"),
    ast.MatchStar: ("name", "matches a pattern with it"),
    ast.MatchMapping: ("rest", "matches a pattern with it"),
}
"""What binds a name other than by assigning it: the field with the name, and how."""


@dataclass(frozen=True)
class Binding:
    """One place that gives a variable a value.

    `value` is the expression that is its value, None if there is none; `obstacle` is why another
    value cannot take its place, as in "line 3 …", empty if it can.
    """

    name: str
    line: int
    value: ast.expr | None = None
    annotation: ast.expr | None = None
    obstacle: str = ""


def bindings(source: Source) -> dict[str, list[Binding]]:
    """Return the bindings of each variable of the `inputs` cell, in the order of their lines."""
    cells = [cell for cell in source.tree.body if isinstance(cell, FUNCTIONS)]
    return of_statements(node for cell in cells if cell.name == INPUTS for node in cell.body)


def of_statements(body: Iterable[ast.stmt]) -> dict[str, list[Binding]]:
    """Return the bindings of each variable in the statements of a cell."""
    found: dict[str, list[Binding]] = {}
    for statement in body:
        for node in _in_scope(statement):
            for binding in _of_node(node):
                # A name with an underscore is local to its cell.
                if not binding.name.startswith("_"):
                    found.setdefault(binding.name, []).append(binding)
    return found


def targets(target: ast.expr) -> Iterator[str]:
    """Yield the names that an assignment to `target` binds."""
    if isinstance(target, ast.Name):
        yield target.id
    elif isinstance(target, ast.Starred):
        yield from targets(target.value)
    elif isinstance(target, (ast.Tuple, ast.List)):
        for element in target.elts:
            yield from targets(element)


def paired(target: ast.expr, value: ast.expr) -> list[tuple[ast.expr, ast.expr]]:
    """Return the parts of `a, (b, c) = 1, (2, 3)`; the whole if they do not correspond."""
    sequences = (ast.Tuple, ast.List)
    if (
        isinstance(target, sequences)
        and isinstance(value, sequences)
        and len(target.elts) == len(value.elts)
        and not any(isinstance(part, ast.Starred) for part in (*target.elts, *value.elts))
    ):
        parts = zip(target.elts, value.elts, strict=True)
        return [pair for part, of in parts for pair in paired(part, of)]
    return [(target, value)]


def _in_scope(node: ast.AST) -> Iterator[ast.AST]:
    """Yield a node and those in it, but not what is in functions and classes."""
    yield node
    if not isinstance(node, SCOPES):
        for child in ast.iter_child_nodes(node):
            yield from _in_scope(child)


def _of_node(node: ast.AST) -> Iterator[Binding]:
    if isinstance(node, (ast.Assign, ast.AnnAssign, ast.NamedExpr)):
        for target in node.targets if isinstance(node, ast.Assign) else [node.target]:
            if node.value is not None:
                annotation = getattr(node, "annotation", None)
                for part, value in paired(target, node.value):
                    yield from _assigned(part, value, node.lineno, annotation)
    elif isinstance(node, ast.alias):
        name = node.asname or node.name.partition(".")[0]
        yield Binding(name, node.lineno, obstacle="imports it")
    elif type(node) in OBSTACLES:
        field, obstacle = OBSTACLES[type(node)]
        bound = getattr(node, field)
        for target in bound if isinstance(bound, list) else [bound]:
            line = getattr(node, "lineno", 0) or getattr(target, "lineno", 0)
            names = targets(target) if isinstance(target, ast.expr) else filter(None, [target])
            for name in names:
                yield Binding(name, line, obstacle=obstacle)
        inside = ast.walk(node) if isinstance(node, SCOPES) else ()
        for inner in (each for each in inside if isinstance(each, ast.Global)):
            for name in inner.names:
                yield Binding(name, inner.lineno, obstacle="changes it in a function")


def _assigned(
    target: ast.expr, value: ast.expr, line: int, annotation: ast.expr | None
) -> Iterator[Binding]:
    reads = {node.id for node in ast.walk(value) if isinstance(node, ast.Name)}
    for name in targets(target):
        alone = value if isinstance(target, ast.Name) else None
        yield Binding(name, line, alone, annotation, CHANGES if name in reads else "")
