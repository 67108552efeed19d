"""A notebook file as syntax: its cells, what they define and use. Nothing is run."""

from __future__ import annotations

import ast
import builtins
import re
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dagmar.asset_key import AssetKey
from dagmar.errors import Invalid

VERSION_LINE = re.compile(r'^__generated_with = ".*"$', re.MULTILINE)
CORRECT_IT = "Correct the file, then try again."
CONFLICT = re.compile(r"^<{7} ", re.MULTILINE)
PRIVATE = re.compile(r"_[^_]")
INPUTS = "inputs"
"""The cell whose variables can be set from outside."""
PARTITION = "partition_key"
"""The variable of the `inputs` cell that says which partition a notebook is about."""
# Names that every notebook's module has.
PREDEFINED = frozenset({*dir(builtins), "__file__", "__name__", "__doc__"})


@dataclass(frozen=True)
class Load:
    """One `pair.load("…")` with a literal key."""

    key: AssetKey
    line: int
    in_inputs: bool


@dataclass(frozen=True)
class Source:
    """The text of a notebook, parsed."""

    text: str
    tree: ast.Module

    @property
    def is_notebook(self) -> bool:
        """Whether the file creates a marimo app, outside of functions."""
        return any(
            next(_calls(statement, "marimo", "App"), None)
            for statement in self.tree.body
            if not isinstance(statement, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef))
        )

    @property
    def title(self) -> str:
        """The title of the app, if it is a literal."""
        for call in _calls(self.tree, "marimo", "App"):
            for keyword in call.keywords:
                if keyword.arg == "app_title" and isinstance(keyword.value, ast.Constant):
                    return str(keyword.value.value or "")
        return ""

    def _in_inputs(self) -> list[ast.AST]:
        return [
            node
            for cell in self.tree.body
            if isinstance(cell, (ast.FunctionDef, ast.AsyncFunctionDef)) and cell.name == INPUTS
            for node in ast.walk(cell)
        ]

    def loads(self) -> list[Load]:
        """Return what the notebook loads from Dagster, in the order of its lines."""
        inside = set(map(id, self._in_inputs()))
        loads = [
            Load(AssetKey(key), call.lineno, id(call) in inside)
            for call in _calls(self.tree, "pair", "load")
            if call.args and (key := literal(call.args[0])) is not None
        ]
        return sorted(loads, key=lambda load: load.line)


def _calls(tree: ast.AST, owner: str, name: str) -> Iterator[ast.Call]:
    """Yield the calls of `owner.name`."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and dotted(node.func) == f"{owner}.{name}":
            yield node


def dotted(node: ast.expr) -> str:
    """Return `a.b.c` for such a chain of names, and an empty text for anything else."""
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute) and (owner := dotted(node.value)):
        return f"{owner}.{node.attr}"
    return ""


def literal(value: ast.expr) -> str | None:
    """Return a literal text, None for anything else."""
    return value.value if isinstance(value, ast.Constant) and isinstance(value.value, str) else None


def read_source(file: Path) -> Source:
    """Read a file. Raises Invalid if it cannot be read or is not valid Python.

    The error's cause is a SyntaxError if marimo may be able to read the cells that are valid.
    """
    try:
        text = file.read_bytes().decode()
    except (OSError, ValueError) as error:
        raise Invalid(f"{file.name} is not valid Python: {error}", CORRECT_IT) from error
    return parse_source(text, file.name)


def parse_source(text: str, name: str) -> Source:
    """Return the source of the file `name`. Raises Invalid as `read_source` does."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Python's warnings about the user's code
            return Source(text, ast.parse(text))
    except (ValueError, SyntaxError, RecursionError, MemoryError) as error:
        line = getattr(error, "lineno", None)
        reason = getattr(error, "msg", error) or "it is nested too deeply"
        message, hint = f"is not valid Python: {reason}", CORRECT_IT
        conflict = CONFLICT.search(text)
        if conflict:
            line = text.count("\n", 0, conflict.start()) + 1
            message = "has conflict markers of a merge"
            hint = "Keep one side, or parts of both, and remove the markers."
        place = f", line {line}" if line else ""
        raise Invalid(f"{name} {message}{place}", hint) from (None if conflict else error)


def read_notebook(file: Path) -> Source:
    """Read a notebook. Raises Invalid if it cannot be read or is not a marimo notebook."""
    source = read_source(file)
    if not source.is_notebook:
        message = f"{file.name} is not a marimo notebook: it has no marimo.App"
        raise Invalid(message, "Create one with `invoke scaffold`, or `marimo edit`.")
    return source


def read_for_marimo(file: Path) -> tuple[Source, Invalid | None]:
    """Read a notebook of which marimo may be able to read more cells than Python.

    The syntax of such a file is empty, and the reason is returned too. Raises Invalid for any
    other file that is not a notebook, also for one with the conflict markers of a merge.
    """
    try:
        return read_notebook(file), None
    except Invalid as error:
        if not isinstance(error.__cause__, SyntaxError):
            raise
        return Source(file.read_text("utf-8"), ast.parse("")), error


def undefined_names(text: str) -> list[tuple[str, int]]:
    """Return each name that a cell uses and no cell defines, with its first line.

    marimo's own checks do not look for them. Raises Invalid for text that is not a notebook.
    """
    from dagmar.notebook.internals import CellId_t, compile_cell

    cells = []
    for number, cell in enumerate(_converted(text).to_ir().cells):
        try:
            cells.append((compile_cell(cell.code, cell_id=CellId_t(str(number))), cell.lineno))
        except SyntaxError:
            continue  # marimo's checks report it
    defined = PREDEFINED.union(*(cell.defs for cell, _ in cells))
    lines: dict[str, int] = {}
    for cell, line in cells:
        for name in sorted({*cell.refs, *_private_names(ast.parse(cell.code))}):
            # In a SQL cell, `schema.table` may be a table that the database knows.
            python = cell.language == "python" or name.startswith("_")
            if python and name.isidentifier() and name not in defined:
                lines.setdefault(name, line)
    return list(lines.items())


def _private_names(cell: ast.Module) -> set[str]:
    """Return the names with one leading underscore that a cell uses and does not define.

    They are local to their cell: marimo does not list them as used, and no other cell has them.
    """
    used: set[str] = set()
    defined: set[str | None] = set()
    for node in ast.walk(cell):
        if isinstance(node, ast.Name):
            (used if isinstance(node.ctx, ast.Load) else defined).add(node.id)
        elif not isinstance(node, (ast.Attribute, ast.keyword)):
            # Arguments, imports, definitions, exceptions, patterns.
            defined |= {getattr(node, field, None) for field in ("arg", "asname", "name", "rest")}
    return {name for name in used - defined if PRIVATE.match(name)}


def canonical(text: str) -> str:
    """Return a notebook as marimo would save it, with the version of marimo that it has now.

    Raises Invalid for text that is not a notebook.
    """
    saved = _converted(text).to_py()
    version = VERSION_LINE.search(text)
    return VERSION_LINE.sub(lambda _: version[0], saved, count=1) if version else saved


def _converted(text: str) -> Any:
    from dagmar.notebook.internals import MarimoConvert, MarimoFileError, NonMarimoPythonScriptError

    try:
        return MarimoConvert.from_py(text)
    except (MarimoFileError, NonMarimoPythonScriptError) as error:
        message = f"marimo does not read this as a notebook: {error}"
        raise Invalid(message, "It looks for: app = marimo.App()") from None
