"""The side effects of Dagster on its process: silenced, or undone.

The output of a run in a kernel is written where the Dagster UI looks for it. Dagster captures the
output of a step through file descriptors, and starts four processes for each step to show it at the
same time. A kernel has its own `sys.stdout`, which such a capture does not see: the files would
stay empty.
"""

from __future__ import annotations

import contextlib
import functools
import logging
import signal
import sys
import threading
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from dagmar.errors import UnknownDagster
from dagmar.orchestration.internals import internal, replaced

if TYPE_CHECKING:
    from dagster import DagsterInstance


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Silence what IO managers log about every file that they read, and Dagster's warnings."""
    before = logging.root.manager.disable
    logging.disable(max(before, logging.DEBUG))
    try:
        with no_warnings():
            yield
    finally:
        logging.disable(before)


@contextlib.contextmanager
def no_warnings() -> Iterator[None]:
    """Silence Dagster's warnings about beta parameters and the like: its server logs them too."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module=r"dagster(_shared)?\.")
        yield


@contextlib.contextmanager
def failure_unlogged() -> Iterator[None]:
    """Leave out of Dagster's log on the console why a run fails: its caller reports it.

    Only the first step that fails is reported, so further ones are logged.
    """
    create, failed = internal("create_console_logger"), list[object]()

    def shown(record: logging.LogRecord) -> bool:
        event = getattr(record, "dagster_meta", {}).get("dagster_event")
        if event is None or not event.is_failure:
            return True
        failed.extend([event] if event.is_step_failure else [])
        return bool(event.is_step_failure and failed[1:])

    def create_filtered(*args: Any, **options: Any) -> Any:
        logger = create(*args, **options)
        logger.addFilter(shown)
        return logger

    with replaced("create_console_logger", create_filtered):
        yield


def one_line(error: BaseException) -> str:
    """Return an exception in one line."""
    (first, *_) = str(error).strip().splitlines() or [""]
    return f"{type(error).__name__}: {first}" if first else type(error).__name__


@contextlib.contextmanager
def sigterm_kept() -> Iterator[None]:
    """Restore the handler of SIGTERM.

    Dagster replaces it with that of SIGINT: a kernel would not end when marimo stops it, and an
    export would wait for it forever.
    """
    before = signal.getsignal(signal.SIGTERM)
    try:
        yield
    finally:
        # Only the main thread may set handlers; in another, Dagster has set none.
        if before is not None and threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, before)


@contextlib.contextmanager
def prints_kept(instance: DagsterInstance) -> Iterator[None]:
    """Write the output of each step into the step's log files as well, inside the block.

    An instance that does not keep its logs in local files is left as it is.
    """
    manager: Any = instance.compute_log_manager
    try:
        known = type(manager) is internal("LocalComputeLogManager")
    except UnknownDagster:
        known = False
    if not known or "capture_logs" in vars(manager):  # a run inside another
        yield
        return
    manager.capture_logs = functools.partial(_captured, manager, threading.get_ident())
    try:
        yield
    finally:
        del manager.capture_logs


@contextlib.contextmanager
def _captured(manager: Any, owner: int, key: Sequence[str]) -> Iterator[Any]:
    """Do what LocalComputeLogManager.capture_logs does, without file descriptors."""
    stream = internal("ComputeIOType")
    with (
        manager.open_log_stream(key, stream.STDOUT) as out,
        manager.open_log_stream(key, stream.STDERR) as err,
        contextlib.ExitStack() as stack,
    ):
        if threading.get_ident() == owner:
            stack.enter_context(contextlib.redirect_stdout(_Both(sys.stdout, out)))
            stack.enter_context(contextlib.redirect_stderr(_Both(sys.stderr, err)))
        yield internal("CapturedLogContext")(key)
    Path(manager.complete_artifact_path(key)).touch()  # the capture is complete


class _Both:
    """A stream whose text is also written to a file."""

    def __init__(self, shown: Any, kept: IO[str]) -> None:
        self._shown = shown
        self._kept = kept

    def __getattr__(self, name: str) -> Any:
        return getattr(self._shown, name)

    def write(self, text: str) -> int:
        with contextlib.suppress(OSError, ValueError):  # a full disk, or the step has ended
            self._kept.write(text)
        return int(self._shown.write(text) or len(text))

    def writelines(self, lines: Any) -> None:
        for line in lines:
            self.write(line)
