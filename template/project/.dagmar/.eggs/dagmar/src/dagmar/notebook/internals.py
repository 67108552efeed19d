"""The private names of marimo that dagmar uses; no other module imports any.

Importing this module raises SetupError for a version of marimo that dagmar is not tested with, or
that has moved one of them. Import it inside functions only: it takes a second.
"""
# ruff: noqa: F401

from __future__ import annotations

import contextlib
from collections.abc import Iterable

from dagmar.notebook.compatibility import is_tested, marimo_version, unsupported

if not is_tested(marimo_version()):
    raise unsupported("this version is not tested")
try:
    from marimo._ast.app import InternalApp
    from marimo._ast.cell import CellImpl
    from marimo._ast.compiler import compile_cell, ends_with_semicolon
    from marimo._ast.errors import CycleError, ImportStarError, MultipleDefinitionError
    from marimo._ast.load import load_app
    from marimo._ast.parse import MarimoFileError, NonMarimoPythonScriptError
    from marimo._ast.visitor import ScopedVisitor
    from marimo._config.manager import get_default_config_manager
    from marimo._convert.converters import MarimoConvert
    from marimo._dependencies.dependencies import DependencyManager
    from marimo._export.exporter import Exporter
    from marimo._export.requests import HTMLExportRequest, IPYNBExportRequest
    from marimo._export.serialization import serialize_notebook_snapshot
    from marimo._lint.validate_graph import check_for_errors
    from marimo._messaging.cell_output import CellChannel, CellOutput
    from marimo._messaging.errors import ImportStarError as MarimoImportStarError
    from marimo._messaging.errors import (
        MarimoAncestorStoppedError,
        MarimoExceptionRaisedError,
        MarimoSyntaxError,
    )
    from marimo._messaging.notification import CellNotification
    from marimo._messaging.notification_utils import CellNotificationUtils
    from marimo._messaging.tracebacks import _highlight_traceback as highlight_traceback
    from marimo._messaging.types import KernelMessage, Stream
    from marimo._output.formatters.formatters import register_formatters
    from marimo._output.formatting import try_format
    from marimo._runtime.context.script_context import initialize_script_context
    from marimo._runtime.context.types import get_context, teardown_context
    from marimo._runtime.control_flow import MarimoStopError
    from marimo._runtime.dataflow import topological_sort, transitive_closure
    from marimo._runtime.exceptions import MarimoRuntimeException
    from marimo._runtime.executor import Evaluator, resolve_executor
    from marimo._runtime.layout.layout import layout_config_to_data_uri, read_layout_config
    from marimo._runtime.patches import create_main_module, patch_main_module_context
    from marimo._schemas.export_options import HTMLExportOptions, IPYNBExportOptions
    from marimo._schemas.serialization import (
        AppInstantiation,
        CellDef,
        NotebookSerializationV1,
        SetupCell,
    )
    from marimo._session.state.session_view import SessionView
    from marimo._types.ids import CellId_t
except ImportError as error:
    raise unsupported(str(error)) from None


def read_graph(app: InternalApp) -> None:
    """Build the graph of a notebook's cells, also if some of them cannot be run."""
    app._app._unparsable = False  # or marimo refuses the whole notebook
    with contextlib.suppress(CycleError, MultipleDefinitionError):
        app.graph  # noqa: B018  built on first access


def notebook_of(setup: str, cells: Iterable[tuple[str, str, bool]]) -> str:
    """Return the text of a notebook: its setup cell, and code, name and "hidden" of the others."""
    defined = [
        CellDef(code=code, name=name, options={"hide_code": hide}) for code, name, hide in cells
    ]
    app = AppInstantiation(options={"width": "medium"})
    everything = [SetupCell(code=setup, name="setup"), *defined]
    return MarimoConvert.from_ir(NotebookSerializationV1(app, cells=everything)).to_py()


def close_figures() -> None:
    """Close matplotlib's open figures, if a cell has imported it."""
    if DependencyManager.matplotlib.imported():
        from marimo._output.mpl import close_figures

        close_figures()
