"""Cells that marimo cannot run: not valid Python, a name that two cells define, a cycle.

The other cells are run, as in marimo's editor.
"""

from __future__ import annotations

import traceback
from typing import TYPE_CHECKING, Any

from dagmar.failure import Failure

if TYPE_CHECKING:
    from dagmar.notebook.internals import CellId_t, InternalApp


def errors_of(app: InternalApp) -> dict[CellId_t, list[Any]]:
    """Return marimo's errors of the cells that cannot be run, in the order of the cells."""
    from dagmar.notebook import internals

    in_graph = internals.check_for_errors(app.graph)
    errors = {}
    for cell, data in zip(app.cell_manager.cell_ids(), app.cell_manager.cell_data(), strict=True):
        if cell in in_graph:
            errors[cell] = list(in_graph[cell])
        elif data.cell is None and (error := _syntax_error(data.code, cell)):
            errors[cell] = [_as_marimo_shows(error)]
    return errors


def failure_of(
    app: InternalApp, cell: CellId_t, error: Any, name: str, file: str, line: int
) -> Failure:
    """Return the failure of a cell called `name`, whose code is after this line of `file`."""
    raised = _syntax_error(app.cell_manager.cell_data_at(cell).code, cell)
    if raised is None:
        others = getattr(error, "cells", ())
        names = [app.cell_manager.cell_data_at(other).name for other in others]
        also = f": {', '.join(names)}" if names else ""
        return Failure(f"{error.describe()}{also}", type(error).__name__, place=name)
    message = raised.msg.partition("SyntaxError: ")[2] or raised.msg
    raised.filename, raised.lineno = file, line + (raised.lineno or 1)
    trace = "".join(traceback.format_exception_only(raised)).rstrip()
    return Failure(message, type(raised).__name__, trace, name)


def _syntax_error(code: str, cell: CellId_t) -> SyntaxError | None:
    from dagmar.notebook import internals

    try:
        internals.compile_cell(code, cell_id=cell)
    except SyntaxError as error:
        return error
    return None


def _as_marimo_shows(error: SyntaxError) -> Any:
    from dagmar.notebook import internals

    if isinstance(error, internals.ImportStarError):
        return internals.MarimoImportStarError(msg=str(error), lineno=error.lineno)
    shown = "".join(traceback.format_exception_only(error))
    return internals.MarimoSyntaxError(msg=shown[shown.find("line") :], lineno=error.lineno)
