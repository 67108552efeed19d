"""What a run prints in a kernel, kept where the Dagster UI looks for it.

Dagster captures what a step prints through file descriptors, and starts four processes for each
step that show it meanwhile. A kernel shows prints by itself, through a `sys.stdout` of its own that
such a capture does not see: the files would stay empty.
"""

from __future__ import annotations

import contextlib
import functools
import sys
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dagster import DagsterInstance

_BUSY = threading.Lock()


@contextlib.contextmanager
def prints_kept(instance: DagsterInstance) -> Iterator[None]:
    """Write what Python prints in each step into the step's log files as well, inside the block.

    An instance that keeps its logs elsewhere than in local files is left as it is.
    """
    from dagster._core.storage.local_compute_log_manager import LocalComputeLogManager

    manager: Any = instance.compute_log_manager
    known = type(instance.compute_log_manager) is LocalComputeLogManager
    # One run at a time: two sessions of an app share a process, and its `sys.stdout`.
    if not known or not _BUSY.acquire(blocking=False):
        yield
        return
    manager.capture_logs = functools.partial(_captured, manager, threading.get_ident())
    try:
        yield
    finally:
        del manager.capture_logs
        _BUSY.release()


@contextlib.contextmanager
def _captured(manager: Any, owner: int, key: Sequence[str]) -> Iterator[Any]:
    """Do what LocalComputeLogManager.capture_logs does, without file descriptors."""
    from dagster._core.storage.compute_log_manager import CapturedLogContext, ComputeIOType

    with (
        manager.open_log_stream(key, ComputeIOType.STDOUT) as out,
        manager.open_log_stream(key, ComputeIOType.STDERR) as err,
        contextlib.ExitStack() as stack,
    ):
        if threading.get_ident() == owner:
            stack.enter_context(contextlib.redirect_stdout(_Both(sys.stdout, out)))
            stack.enter_context(contextlib.redirect_stderr(_Both(sys.stderr, err)))
        yield CapturedLogContext(key)
    Path(manager.complete_artifact_path(key)).touch()  # the capture is complete


class _Both:
    """A stream that writes into a file what it shows; all else is the stream's own."""

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
