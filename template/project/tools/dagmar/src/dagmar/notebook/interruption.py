"""A SIGINT while cells run: the one that runs ends, and no other is begun.

A cell may make nothing of it: marimo takes it for an error of the cell, or of what the cell shows.
So it is also noted, and in which cell it came.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dagmar.notebook.internals import CellId_t


class Interruption:
    """A handler of SIGINT. `cell` is the one that ran when it was `heard`, if any did."""

    def __init__(self) -> None:
        self.heard = False
        self.cell: CellId_t | None = None
        self._running: CellId_t | None = None
        self._task: asyncio.Task[Any] | None = None

    def __call__(self, number: int, frame: Any) -> None:
        """Interrupt the cell that runs. Raises KeyboardInterrupt in it."""
        self.heard = True
        if self._running is None:
            return
        self.cell = self.cell or self._running
        if self._task is not None:
            loop = self._task.get_loop()
            if asyncio.current_task(loop) is not self._task:
                # The cell waits. Raised here, it would end the loop with all that was shown.
                loop.call_soon_threadsafe(self._task.cancel)
                return
        raise KeyboardInterrupt

    @contextmanager
    def during(self, cell: CellId_t, task: asyncio.Task[Any] | None = None) -> Iterator[None]:
        """Let a cell be interrupted, which runs in `task` where it is asynchronous."""
        self._running, self._task = cell, task
        try:
            yield
        finally:
            self._running = self._task = None
