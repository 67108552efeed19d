"""A notebook file read as syntax: its cells, what they define and use. Nothing is run."""

from __future__ import annotations

import ast
import builtins
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dagmar.asset_key import AssetKey
from dagmar.errors import Invalid

VERSION_LINE = re.compile(r'^__generated_with = ".*"$', re.MULTILINE)
CONFLICT = re.compile(r"^<{7} ", re.MULTILINE)
PRIVATE = re.compile(r"_[^_]")
PARTITION = "partition_key"
"""The variable of the `inputs` cell that says which partition a notebook is about."""
# Names that Python and marimo put into a notebook's module.
GIVEN = frozenset({*dir(builtins), "__file__", "__name__", "__doc__"})


@dataclass(frozen=True)
class Load:
    """One `pair.load("…")` with the key written out."""

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
        """Whether the file makes a marimo app, elsewhere than in a function."""
        return any(
            isinstance(call, ast.Call)
            and isinstance(call.func, ast.Attribute)
            and call.func.attr == "App"
            and isinstance(call.func.value, ast.Name)
            and call.func.value.id == "marimo"
            for statement in self.tree.body
            if not isinstance(statement, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef))
            for call in ast.walk(statement)
        )

    def _inputs(self) -> list[ast.FunctionDef | ast.AsyncFunctionDef]:
        return [
            node
            for node in self.tree.body
            if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)) and node.name == "inputs"
        ]

    def input_names(self) -> set[str]:
        """Return the variables that the `inputs` cell sets."""
        return {
            node.id
            for cell in self._inputs()
            for node in ast.walk(cell)
            if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)
        }

    def input_values(self, name: str) -> list[ast.expr]:
        """Return what the `inputs` cell assigns to a variable."""
        return [
            node.value
            for cell in self._inputs()
            for node in ast.walk(cell)
            if isinstance(node, (ast.Assign, ast.AnnAssign)) and node.value is not None
            for target in (node.targets if isinstance(node, ast.Assign) else [node.target])
            if isinstance(target, ast.Name) and target.id == name
        ]

    @property
    def title(self) -> str:
        """The title of the app, if it is written out."""
        for call in ast.walk(self.tree):
            if isinstance(call, ast.Call) and ast.unparse(call.func) == "marimo.App":
                for keyword in call.keywords:
                    if keyword.arg == "app_title" and isinstance(keyword.value, ast.Constant):
                        return str(keyword.value.value or "")
        return ""

    def loads(self) -> list[Load]:
        """Return what the notebook loads from Dagster, in the order of its lines."""
        inside = {id(node) for cell in self._inputs() for node in ast.walk(cell)}
        return sorted(
            (
                Load(AssetKey(call.args[0].value), call.lineno, id(call) in inside)
                for call in ast.walk(self.tree)
                if isinstance(call, ast.Call)
                and isinstance(call.func, ast.Attribute)
                and call.func.attr == "load"
                and isinstance(call.func.value, ast.Name)
                and call.func.value.id == "pair"
                and call.args
                and isinstance(call.args[0], ast.Constant)
                and isinstance(call.args[0].value, str)
            ),
            key=lambda load: load.line,
        )


def read_source(file: Path) -> Source:
    """Read a file. Raises Invalid for one that cannot be read or is no Python."""
    import warnings

    text = ""
    try:
        text = file.read_bytes().decode()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Python's remarks on the user's code
            return Source(text, ast.parse(text))
    except (OSError, ValueError, SyntaxError) as error:
        if conflict := CONFLICT.search(text):
            place = text.count("\n", 0, conflict.start()) + 1
            raise Invalid(
                f"{file.name} has conflict markers of a merge, line {place}",
                "Keep one side, or some of both, and take the markers out.",
            ) from None
        line = getattr(error, "lineno", None)
        raise Invalid(
            f"{file.name} is no Python: {getattr(error, 'msg', error)}"
            + (f", line {line}" if line else "")
        ) from None


def undefined_names(text: str) -> list[tuple[str, int]]:
    """Return each name that a cell uses and no cell defines, with a line where it stands.

    marimo's own checks do not look for them. Raises Invalid for what marimo takes for no notebook.
    """
    from dagmar.notebook.internals import CellId_t, compile_cell

    cells = []
    for number, cell in enumerate(_converted(text).to_ir().cells):
        try:
            cells.append((compile_cell(cell.code, cell_id=CellId_t(str(number))), cell.lineno))
        except SyntaxError:
            continue  # marimo's checks tell it
    defined = set().union(*(cell.defs for cell, _ in cells)) if cells else set()
    found = [
        (name, line)
        for cell, line in cells
        for name in sorted({*cell.refs, *_private_names(ast.parse(cell.code))})
        # `schema.table` stands for a table in a SQL cell, which a database may know.
        if name.isidentifier()
        and name not in defined
        and name not in GIVEN
        and (cell.language == "python" or name.startswith("_"))
    ]
    return list(dict(reversed(found)).items())[::-1]


def _private_names(cell: ast.Module) -> set[str]:
    """Return the names with one underscore before them that a cell uses and nowhere makes.

    They belong to their cell: marimo does not tell them as used, and another cell has none.
    """
    used: set[str] = set()
    made: set[str | None] = set()
    for node in ast.walk(cell):
        if isinstance(node, ast.Name):
            (used if isinstance(node.ctx, ast.Load) else made).add(node.id)
        elif not isinstance(node, (ast.Attribute, ast.keyword)):
            # Arguments, imports, definitions, exceptions, patterns.
            made |= {getattr(node, field, None) for field in ("arg", "asname", "name", "rest")}
    return {name for name in used - made if PRIVATE.match(name)}


def canonical(text: str) -> str:
    """Return the file as marimo would save it, with the version of marimo that it has now.

    Raises Invalid for what marimo takes for no notebook.
    """
    saved = _converted(text).to_py()
    version = VERSION_LINE.search(text)
    return VERSION_LINE.sub(lambda _: version[0], saved, count=1) if version else saved


def _converted(text: str) -> Any:
    from dagmar.notebook.internals import MarimoConvert, MarimoFileError, NonMarimoPythonScriptError

    try:
        return MarimoConvert.from_py(text)
    except (MarimoFileError, NonMarimoPythonScriptError) as error:
        raise Invalid(
            f"marimo takes this for no notebook: {error}", "It looks for: app = marimo.App()"
        ) from None
