"""One execution of a notebook in this process: its values, and everything its cells show.

A failing cell prevents only its dependents from running. Not for threads: marimo replaces
`sys.modules["__main__"]` during the run.
"""

from __future__ import annotations

import ast
import asyncio
import contextlib
import os
import shlex
import sys
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dagmar.errors import DagmarError, Invalid
from dagmar.failure import Failure, user_frames
from dagmar.files import encodable
from dagmar.notebook import broken
from dagmar.notebook.capture import Capture, as_text
from dagmar.notebook.cells import INPUTS, Source, read_for_marimo
from dagmar.notebook.commandline import refusal
from dagmar.notebook.nocode import Code
from dagmar.notebook.parameters import GIVEN, Given, with_parameters
from dagmar.notebook.streams import Pipes

if TYPE_CHECKING:
    from dagmar.notebook.internals import CellId_t, CellImpl, InternalApp

SETUP = "setup"


@dataclass
class Executed:
    """The result of an execution. `values` are the notebook's variables by name, `parameters`
    the values that it was run with, as JSON records them.

    If it was `interrupted`, `failure` is that of the interrupted cell.
    """

    path: Path
    app: InternalApp
    capture: Capture
    values: dict[str, Any] = field(default_factory=dict)
    parameters: dict[str, Any] = field(default_factory=dict)
    failure: Failure | None = None
    interrupted: bool = False

    @cached_property
    def code(self) -> Code:
        """The code of the notebook."""
        return Code(self.app.to_py(), cell_names(self.app))


def cell_names(app: InternalApp) -> list[str]:
    """Return the names of a notebook's cells."""
    return [str(data.name) for data in app.cell_manager.cell_data()]


def apply_settings(path: Path) -> None:
    """Apply `pythonpath` and `dotenv` of `[tool.marimo.runtime]`, as the editor's kernel does.

    They change the whole process, which should run nothing else.
    """
    from dotenv import load_dotenv

    from dagmar.notebook import internals

    manager = internals.get_default_config_manager(current_path=str(path))
    runtime = manager.get_config(hide_secrets=False)["runtime"]
    sys.path[:0] = [str(folder) for folder in runtime.get("pythonpath") or ()]
    for file in runtime.get("dotenv") or ():
        load_dotenv(file)


def load(path: Path) -> InternalApp:
    """Read a notebook without running any of it; cells that cannot be run do not matter.

    Raises Invalid for a file that is not a marimo notebook, SetupError for an untested marimo.
    """
    from dagmar.notebook import internals

    unreadable = (internals.MarimoFileError, internals.NonMarimoPythonScriptError)
    _, reason = read_for_marimo(path)
    try:
        app = internals.load_app(str(path))
    except (SyntaxError, ValueError, *unreadable) as error:
        raise reason or _unusable(path, f"marimo cannot read {path.name}", error) from None
    if app is None:
        raise reason or _unusable(path, f"marimo cannot read {path.name}")
    notebook = internals.InternalApp(app)
    internals.read_graph(notebook)
    return notebook


def source_of(path: Path, app: InternalApp) -> Source:
    """Return the syntax of a notebook that was loaded.

    A cell that is not valid Python is a quoted text in it, as in what marimo would save.
    """
    source, reason = read_for_marimo(path)
    if reason:
        text = app.to_py()
        source = Source(text, ast.parse(text))
    return source


def _unusable(path: Path, what: str, error: Exception | None = None) -> Invalid:
    lines = str(error).strip().splitlines() or [type(error).__name__]
    message = f"{what}: {lines[0]}" if error else what
    return Invalid(message, command=f"invoke check --path {shlex.quote(os.path.relpath(path))}")


def execute(
    path: Path,
    parameters: Mapping[str, Any] | None = None,
    argv: Sequence[str] = (),
    on_cell: Callable[[str], None] = lambda name: None,
    interruption: Interruption | None = None,
    app: InternalApp | None = None,
    pipes: Pipes | None = None,
    after: Callable[[CellId_t, Any], None] | None = None,
) -> Executed:
    """Run a notebook once, and return its variables and outputs.

    `parameters` replace values of the `inputs` cell, if they are `Plain` by values of the type that
    they have there; `argv` is what `mo.cli_args()` reads;
    `on_cell` is called with each cell's name before the cell runs; `interruption` is the handler
    of SIGINT; `app` is the notebook if it is already loaded; `pipes` are those of this process if
    another one helps to empty them; `after` is called with each cell that ran and the object that
    it shows. Raises Invalid, also for a parameter that turns out not to fit.
    """
    app = app or load(path)
    executed = Executed(path, app, Capture(pipes))
    given = Given(dict(parameters or {}))
    runner = _Runner(executed, given, on_cell, interruption or Interruption(), after)
    with _as_main(path, argv, executed.capture):
        values = runner.run()
    executed.parameters = given.used
    names = {name for cell in app.graph.cells.values() for name in cell.defs}
    executed.values = {name: values[name] for name in names if name in values}
    return executed


class Interruption:
    """A handler of SIGINT. `cell` is the cell that was running when it was `received`, if any."""

    def __init__(self) -> None:
        self.received = False
        self.cell: CellId_t | None = None
        self._running: CellId_t | None = None
        self._task: asyncio.Task[Any] | None = None

    def __call__(self, number: int, frame: Any) -> None:
        """Interrupt the running cell. Raises KeyboardInterrupt in it."""
        self.received = True
        if self._running is None:
            return
        self.cell = self.cell or self._running
        if self._task is not None:
            loop = self._task.get_loop()
            if asyncio.current_task(loop) is not self._task:
                # The cell is waiting. An exception here would end the loop, and lose all outputs.
                loop.call_soon_threadsafe(self._task.cancel)
                return
        raise KeyboardInterrupt

    @contextlib.contextmanager
    def during(self, cell: CellId_t, task: asyncio.Task[Any] | None = None) -> Iterator[None]:
        """Let a cell be interrupted; `task` runs it if it is asynchronous."""
        self._running, self._task = cell, task
        try:
            yield
        finally:
            self._running = self._task = None


@contextlib.contextmanager
def _as_main(path: Path, argv: Sequence[str], capture: Capture) -> Iterator[None]:
    """Set argv and the import path as for a script, and keep what the notebook prints."""
    saved = sys.argv, list(sys.path)
    sys.argv = [str(path), *argv]
    sys.path.insert(0, str(path.parent))
    try:
        with capture.streams.redirected():
            yield
    finally:
        sys.argv, sys.path[:] = saved


@dataclass
class _Runner:
    """Runs the cells of one notebook in the order of their dependencies."""

    executed: Executed
    given: Given
    on_cell: Callable[[str], None]
    interruption: Interruption
    after: Callable[[CellId_t, Any], None] | None
    blamed: dict[CellId_t, Any] = field(default_factory=dict)
    broken: dict[CellId_t, list[Any]] = field(default_factory=dict)

    def run(self) -> dict[str, Any]:
        """Run all cells, and return the globals."""
        from dagmar.notebook import internals

        internals.register_formatters()  # before the notebook imports altair or plotly
        path = str(self.executed.path)
        internals.initialize_script_context(self.executed.app, self.executed.capture.stream(), path)
        evaluator = internals.Evaluator(executor=internals.resolve_executor(), lifecycles=[])
        try:
            main = internals.create_main_module(file=path, input_override=None)
            with internals.patch_main_module_context(main) as module:
                values = module.__dict__
                self._mark_broken()
                if any(cell.is_coroutine() for cell in self.executed.app.graph.cells.values()):
                    asyncio.run(self._run_async(evaluator, values))
                else:
                    for cell in self._cells():
                        with self._interruptible(cell):
                            result = evaluator.evaluate_sync(self._cell(cell, values), values)
                            self._finish(cell, result, values)
                return dict(values)
        finally:
            internals.teardown_context()

    async def _run_async(self, evaluator: Any, values: dict[str, Any]) -> None:
        for cell in self._cells():
            with self._interruptible(cell, asyncio.current_task()):
                result = await evaluator.evaluate(self._cell(cell, values), values)
                self._finish(cell, result, values)

    @contextlib.contextmanager
    def _interruptible(
        self, cell: CellId_t, task: asyncio.Task[Any] | None = None
    ) -> Iterator[None]:
        """Let a cell be interrupted, and fail it then, even if it catches the exception."""
        from dagmar.notebook import internals

        error: BaseException = KeyboardInterrupt()
        try:
            with self.interruption.during(cell, task), internals.get_context().with_cell_id(cell):
                yield
        except (KeyboardInterrupt, asyncio.CancelledError) as raised:
            if not self.interruption.received:
                raise
            error = _as_interrupt(raised)
        if self.interruption.cell == cell and not self.executed.interrupted:
            self._fail(cell, error)

    def _cell(self, cell: CellId_t, values: dict[str, Any]) -> CellImpl:
        """Return a cell; in the `inputs` cell, values that parameters replace are not evaluated."""
        implementation = self.executed.app.graph.cells[cell]
        names = self._replaced(cell)
        if not names or implementation.body is None:
            return implementation
        values[GIVEN] = self.given
        return with_parameters(implementation, names)

    def _replaced(self, cell: CellId_t) -> Collection[str]:
        """Return the variables of a cell that parameters replace."""
        if self._name(cell) != INPUTS:
            return ()
        return self.executed.app.graph.cells[cell].defs & self.given.values.keys()

    def _mark_broken(self) -> None:
        """Finish the cells that cannot be run."""
        app, capture = self.executed.app, self.executed.capture
        for cell, data in zip(
            app.cell_manager.cell_ids(), app.cell_manager.cell_data(), strict=True
        ):
            capture.view.last_executed_code[cell] = data.code  # also of what is disabled
        self.broken = broken.errors_of(app)
        for cell, errors in self.broken.items():
            capture.finish(cell, self._data(cell).code, errors=errors)
            if self.executed.failure is None:
                # The line before is that of the decorator.
                line = self._lines()[str(cell)] + 1
                place = (self._name(cell), self.executed.path.name, line)
                self.executed.failure = broken.failure_of(app, cell, errors[0], *place)

    def _cells(self) -> Iterator[CellId_t]:
        """Yield the cells to run in their order, and finish those that are prevented."""
        from dagmar.notebook import internals

        graph = self.executed.app.graph
        order = internals.topological_sort(graph, [c for c in graph.cells if c not in self.broken])
        # The sort is stable: only the setup cell moves to the front.
        for cell in sorted(order, key=lambda cell: cell != SETUP):
            if self.executed.app.graph.is_disabled(cell):
                continue
            if cell in self.blamed:
                code, reason = self._data(cell).code, self.blamed[cell]
                self.executed.capture.finish(cell, code, errors=[reason])
                continue
            self.on_cell(self._name(cell))
            if self.interruption.received:
                self._fail(cell, KeyboardInterrupt())
            else:
                yield cell

    def _finish(self, cell: CellId_t, result: Any, values: dict[str, Any]) -> None:
        from dagmar.notebook import internals

        code, error = self._data(cell).code, result.exception
        if isinstance(error, internals.MarimoRuntimeException):
            error = error.__cause__ or error
        if self.interruption.cell == cell:
            error = _as_interrupt(error)
        values.pop(GIVEN, None)
        if self.given.refusal:
            raise self.given.refusal
        if isinstance(error, internals.MarimoStopError):
            message = "This cell wasn't run because an ancestor was stopped with `mo.stop`: "
            self._block(cell, internals.MarimoAncestorStoppedError(msg=message, raising_cell=cell))
            self.executed.capture.finish(cell, code, error.output)
        elif isinstance(error, SystemExit) and (refused := refusal(error)):
            message = f"{self.executed.path.name} refuses its command line: {refused}"
            raise Invalid(message, "An option is given with --param NAME=VALUE.")
        elif error is not None:
            self._fail(cell, error)
        else:
            self.given.check(self.executed.path, self._replaced(cell))
            if self.after:
                self.after(cell, result.output)
            self.executed.capture.finish(cell, code, result.output)
        internals.close_figures()

    def _fail(self, cell: CellId_t, error: BaseException) -> None:
        from dagmar.notebook import internals

        kind, message = type(error).__name__, encodable(str(error))
        if isinstance(error, SystemExit):
            message = f"the cell called sys.exit({'' if error.code is None else repr(error.code)})"
        if isinstance(error, DagmarError):  # says what to do; where dagmar raised it does not help
            error = error.with_traceback(user_frames(error.__traceback__))
        trace = as_text(error, self.executed.path.name, self._lines())
        shown = internals.MarimoExceptionRaisedError(
            msg=message or f"This cell raised an exception: {kind}",
            exception_type=kind,
            raising_cell=None,
        )
        self.executed.capture.finish(cell, self._data(cell).code, errors=[shown])
        self.executed.capture.trace(cell, error)
        prevented = internals.MarimoExceptionRaisedError(
            msg=f"An ancestor raised an exception ({kind}): ",
            exception_type="Ancestor raised",
            raising_cell=cell,
        )
        self._block(cell, prevented)
        interrupted = isinstance(error, KeyboardInterrupt)
        if self.executed.failure is None or interrupted:
            self.executed.failure = Failure(message, kind, trace, self._name(cell))
        if interrupted:  # by a time-out or by the user
            self.executed.interrupted = True
            for other in self.executed.app.graph.cells:
                self.blamed.setdefault(other, prevented)

    def _block(self, cell: CellId_t, reason: Any) -> None:
        """Prevent the dependents of `cell` from running."""
        from dagmar.notebook import internals

        for other in internals.transitive_closure(self.executed.app.graph, {cell}):
            if other != cell:
                self.blamed.setdefault(other, reason)

    def _lines(self) -> dict[str, int]:
        """Return the number of the line before each cell's code."""
        from dagmar.notebook import internals

        text = self.executed.path.read_text("utf-8")
        cells = internals.MarimoConvert.from_py(text).to_ir().cells
        ids = self.executed.app.cell_manager.cell_ids()
        return {str(id): cell.lineno for id, cell in zip(ids, cells, strict=False)}

    def _data(self, cell: CellId_t) -> Any:
        return self.executed.app.cell_manager.cell_data_at(cell)

    def _name(self, cell: CellId_t) -> str:
        """Return a cell's name, or its number if it has none."""
        if cell == SETUP:
            return SETUP
        name = str(self._data(cell).name)
        if name in ("_", "__"):
            return f"cell {list(self.executed.app.cell_manager.cell_ids()).index(cell) + 1}"
        return name


def _as_interrupt(error: BaseException | None) -> KeyboardInterrupt:
    """Return the failure of an interrupted cell; what it raised instead is the cause."""
    if isinstance(error, KeyboardInterrupt):
        return error
    interrupt = KeyboardInterrupt()
    interrupt.__cause__ = error
    return interrupt
