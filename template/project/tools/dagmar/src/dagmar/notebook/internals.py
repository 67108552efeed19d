"""The private names of marimo that dagmar uses; no other module imports any.

Importing this module raises SetupError for a version of marimo that dagmar is not tested with, or
that has moved one of them. Import it inside functions only: it takes a second.
"""
# ruff: noqa: F401

from __future__ import annotations

from dagmar.notebook.compatibility import is_tested, marimo_version, unsupported

if not is_tested(marimo_version()):
    raise unsupported("this version is not tested")
try:
    from marimo._ast.app import InternalApp
    from marimo._ast.cell import CellImpl
    from marimo._ast.compiler import compile_cell, ends_with_semicolon
    from marimo._ast.errors import CycleError, MultipleDefinitionError
    from marimo._ast.load import load_app
    from marimo._ast.parse import MarimoFileError, NonMarimoPythonScriptError
    from marimo._ast.visitor import ScopedVisitor
    from marimo._config.manager import get_default_config_manager
    from marimo._convert.converters import MarimoConvert
    from marimo._dependencies.dependencies import DependencyManager
    from marimo._export.exporter import Exporter
    from marimo._export.requests import HTMLExportRequest, IPYNBExportRequest
    from marimo._export.serialization import serialize_notebook_snapshot
    from marimo._messaging.cell_output import CellChannel, CellOutput
    from marimo._messaging.errors import (
        MarimoAncestorPreventedError,
        MarimoAncestorStoppedError,
        MarimoExceptionRaisedError,
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
    from marimo._runtime.dataflow import transitive_closure
    from marimo._runtime.exceptions import MarimoRuntimeException
    from marimo._runtime.executor import Evaluator, resolve_executor
    from marimo._runtime.layout.layout import read_layout_config
    from marimo._runtime.patches import create_main_module, patch_main_module_context
    from marimo._schemas.export_options import HTMLExportOptions, IPYNBExportOptions
    from marimo._session.state.session_view import SessionView
    from marimo._types.ids import CellId_t
except ImportError as error:
    raise unsupported(str(error)) from None


def close_figures() -> None:
    """Close matplotlib's open figures, if a cell has imported it."""
    if DependencyManager.matplotlib.imported():
        from marimo._output.mpl import close_figures

        close_figures()
