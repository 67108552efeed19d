"""What a notebook takes from outside: the variables of its `inputs` cell."""

from __future__ import annotations

import ast
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dagmar.errors import Invalid, did_you_mean
from dagmar.notebook.cells import INPUTS

if TYPE_CHECKING:
    from types import CodeType

    from dagmar.notebook.internals import InternalApp

VALUES = "__dagmar_parameters__"
"""The global variable that holds the parameters while the `inputs` cell runs."""


def input_names(app: InternalApp) -> set[str]:
    """Return the variables of the `inputs` cell."""
    manager = app.cell_manager
    return {
        name
        for cell, data in zip(manager.cell_ids(), manager.cell_data(), strict=True)
        if data.name == INPUTS
        for name in app.graph.cells[cell].defs
    }


def check_parameters(path: Path, app: InternalApp, parameters: Mapping[str, Any]) -> None:
    """Raise Invalid for a parameter that the notebook would ignore."""
    if any("cli_args" in data.code for data in app.cell_manager.cell_data()):
        return  # it may read any
    known = input_names(app)
    for name in parameters:
        if name not in known:
            message = f"{path.name} takes no parameter '{name}'{did_you_mean(name, known)}"
            hint = f"Define it in a cell called `{INPUTS}`, or read mo.cli_args()."
            if known:
                hint = f"Its inputs cell defines: {', '.join(sorted(known))}."
            raise Invalid(message, hint)


def with_parameters(code: str, body: CodeType, names: Collection[str]) -> CodeType:
    """Compile a cell's statements so that these variables are read from VALUES.

    What the cell derives from them further down then fits: the partition of an input, for example.
    """
    module = ast.parse(code)
    if isinstance(module.body[-1], ast.Expr):
        module.body.pop()  # marimo compiles it separately, as the cell's output
    start = min((line for _, _, line in body.co_lines() if line), default=0)
    for statement in module.body:
        if not isinstance(statement, (ast.Assign, ast.AnnAssign)) or statement.value is None:
            continue
        (target, *more) = (
            statement.targets if isinstance(statement, ast.Assign) else [statement.target]
        )
        if isinstance(target, ast.Name) and target.id in names and not more:
            statement.value = ast.parse(f"{VALUES}[{target.id!r}]", mode="eval").body
            for node in ast.walk(statement.value):
                ast.copy_location(node, statement)
    if start and module.body:
        ast.increment_lineno(module, start - module.body[0].lineno)
    flags = ast.PyCF_ALLOW_TOP_LEVEL_AWAIT
    compiled: CodeType = compile(module, body.co_filename, "exec", flags=flags, dont_inherit=True)
    return compiled
