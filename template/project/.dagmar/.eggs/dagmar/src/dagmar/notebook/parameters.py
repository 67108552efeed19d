"""The values that a notebook is run with instead of those that its `inputs` cell assigns.

The cell itself is run, with each value in the place of the expression that it replaces. So whatever
the cell derives from it fits; where that cannot be, the parameter is refused.
"""

from __future__ import annotations

import ast
import enum
import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from datetime import date, time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dagmar.errors import Invalid, did_you_mean
from dagmar.notebook import defaults
from dagmar.notebook.cells import INPUTS, PARTITION, Source
from dagmar.notebook.commandline import read_command_line
from dagmar.notebook.inputs import SCOPES, Binding, bindings, of_statements, paired, targets
from dagmar.scalars import NULLS, Plain

if TYPE_CHECKING:
    from dagmar.notebook.internals import CellImpl

GIVEN = "__dagmar_given__"
"""The global variable that holds the `Given` values while the `inputs` cell runs."""
LOADED = "pair.load"


def check_parameters(path: Path, source: Source, names: Collection[str]) -> None:
    """Raise Invalid for a parameter that the notebook would ignore, or could not apply."""
    found, line = bindings(source), read_command_line(source)
    for name in names:
        if name in found:
            _check_bindings(path, name, found[name])
        elif not line.takes(name):
            known = sorted(found.keys() | line.names)
            message = f"{path.name} takes no parameter '{name}'{did_you_mean(name, known)}"
            hint = f"Define it in a cell called `{INPUTS}`, or read mo.cli_args()."
            raise Invalid(message, f"It takes: {', '.join(known)}." if known else hint)


def _check_bindings(path: Path, name: str, found: Collection[Binding]) -> None:
    for binding in found:
        place = f"line {binding.line} of {path.name}"
        if binding.obstacle:
            raise Invalid(
                f"'{name}' cannot be set: {place} {binding.obstacle}",
                f"A parameter replaces assignments, `{name} = …`: give what changes another name.",
            )
        called = binding.value.func if isinstance(binding.value, ast.Call) else None
        if called is not None and ast.unparse(called) == LOADED:
            raise Invalid(
                f"'{name}' cannot be set: {place} loads it from Dagster",
                "If it is partitioned, --partition KEY chooses what is loaded.",
            )


def read_parameters(source: Source, texts: Mapping[str, str]) -> dict[str, Any]:
    """Return the values of the variables of the `inputs` cell that these texts stand for.

    A type that only the running cell knows is left open: such a value is `Plain`. Raises Invalid
    for a text that does not fit the type.
    """
    values: dict[str, Any] = {}
    for name, found in bindings(source).items():
        if name not in texts:
            continue
        text = texts[name]
        default = defaults.Default(str) if name == PARTITION else defaults.of_bindings(found)
        if text and text in NULLS and defaults.may_be_none(found):
            values[name] = None
        else:
            values[name] = default.fit(name, text) if default else Plain(text)
    return values


@dataclass
class Given:
    """The parameters of one execution. `used` are those that took effect, as JSON has them."""

    values: dict[str, Any]
    used: dict[str, Any] = field(default_factory=dict)
    refusal: Invalid | None = None

    def __call__(self, name: str, probe: Any = None) -> Any:
        """Return a value in the running cell; `probe` returns what shows its type.

        Raises Invalid for a text that does not fit the type.
        """
        value = self.values[name]
        if isinstance(value, Plain):
            try:
                self.values[name] = _typed(name, str(value), probe)
            except Invalid as error:
                self.refusal = error  # the cell may catch it
                raise
        self.used.setdefault(name, as_document(self.values[name]))  # before the cell changes it
        return self.values[name]

    def check(self, path: Path, names: Collection[str]) -> None:
        """Raise Invalid if a cell that assigns these has run, and has not used one of them."""
        for name in names:
            if name not in self.used:
                raise Invalid(
                    f"'{name}' cannot be set: {path.name} does not assign it in this case",
                    f"Assign it in any case, or leave --param {name} out.",
                )


def _typed(name: str, text: str, probe: Any) -> Any:
    try:
        default = defaults.of_value(probe()) if probe else None
    except Exception:
        default = None  # the notebook does not get to it
    return default.fit(name, text) if default else defaults.guess(name, text)


def with_parameters(cell: CellImpl, names: Collection[str]) -> CellImpl:
    """Return the `inputs` cell with these variables read from GIVEN wherever it assigns them."""
    from dagmar.notebook import internals

    assert cell.body is not None
    module = ast.parse(cell.code)
    found = of_statements(module.body)
    values = {name: _read(name, found.get(name, ())) for name in names}
    module = ast.fix_missing_locations(_Replacing(values).visit(module))
    # Names with an underscore become names of the cell alone.
    internals.ScopedVisitor(f"cell_{cell.cell_id}").visit(module)
    if isinstance(module.body[-1], ast.Expr) and not internals.ends_with_semicolon(cell.code):
        module.body.pop()  # marimo compiles it separately, as the cell's output
    start = min((line for _, _, line in cell.body.co_lines() if line), default=0)
    if start and module.body:
        ast.increment_lineno(module, start - module.body[0].lineno)
    flags = ast.PyCF_ALLOW_TOP_LEVEL_AWAIT
    name = cell.body.co_filename
    return replace(cell, body=compile(module, name, "exec", flags=flags, dont_inherit=True))


def _read(name: str, found: Collection[Binding]) -> ast.expr:
    """Return the expression that reads a parameter in the cell."""
    probe = defaults.probe(found)
    shown = f", lambda: {ast.unparse(probe)}" if probe else ""
    return ast.parse(f"{GIVEN}({name!r}{shown})", mode="eval").body


@dataclass
class _Replacing(ast.NodeTransformer):
    """Puts an expression in the place of what is assigned to a variable."""

    values: Mapping[str, ast.expr]

    def visit(self, node: ast.AST) -> Any:
        return node if isinstance(node, SCOPES) else super().visit(node)

    def visit_Assign(self, node: ast.Assign) -> ast.stmt | list[ast.stmt]:
        self.generic_visit(node)
        bound = [name for target in node.targets for name in targets(target)]
        if all(isinstance(target, ast.Name) for target in node.targets) and bound:
            if all(name in self.values for name in bound):
                return [self._assign(name, node) for name in bound]
        elif len(node.targets) == 1:
            parts = paired(node.targets[0], node.value)
            swaps = {
                id(value): self._read(target.id, value)
                for target, value in parts
                if isinstance(target, ast.Name) and target.id in self.values
            }
            _Swapping(swaps).visit(node)
            bound = [
                name
                for target, value in parts
                if id(value) not in swaps
                for name in targets(target)
            ]
        elif any(isinstance(target, (ast.Subscript, ast.Attribute)) for target in node.targets):
            # `options["limit"] = limit = 5`: what is read from `options` fits, too.
            given = (target.id for target in node.targets if isinstance(target, ast.Name))
            if name := next((name for name in given if name in self.values), ""):
                node.value = self._read(name, node.value)
        return [node, *(self._assign(name, node) for name in bound if name in self.values)]

    def visit_AnnAssign(self, node: ast.AnnAssign) -> ast.AST:
        return self._valued(node)

    def visit_NamedExpr(self, node: ast.NamedExpr) -> ast.AST:
        return self._valued(node)

    def _valued(self, node: ast.AnnAssign | ast.NamedExpr) -> ast.AST:
        target = node.target
        if isinstance(target, ast.Name) and target.id in self.values and node.value is not None:
            node.value = self._read(target.id, node.value)
            return node
        return self.generic_visit(node)

    def _assign(self, name: str, place: ast.stmt) -> ast.stmt:
        target = ast.Name(name, ast.Store())
        assigned = ast.Assign([target], self._read(name, place))
        return ast.copy_location(assigned, place)

    def _read(self, name: str, place: ast.expr | ast.stmt) -> ast.expr:
        expression = ast.parse(ast.unparse(self.values[name]), mode="eval").body
        for node in ast.walk(expression):
            ast.copy_location(node, place)
        return expression


@dataclass
class _Swapping(ast.NodeTransformer):
    """Replaces the nodes that have these ids."""

    swaps: Mapping[int, ast.expr]

    def visit(self, node: ast.AST) -> ast.AST:
        return self.swaps.get(id(node)) or self.generic_visit(node)


def as_document(value: Any) -> Any:
    """Return a value as JSON records it: what JSON does not have is text."""
    if isinstance(value, enum.Enum):
        return value.name
    if value is None or isinstance(value, (bool, int, str)):
        return value
    if isinstance(value, float) and math.isfinite(value):
        return value
    if isinstance(value, Mapping):
        return {str(name): as_document(part) for name, part in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [as_document(part) for part in value]
    return value.isoformat() if isinstance(value, (date, time)) else str(value)
