"""One line on stderr that changes while something goes on: for a person, nothing for a pipe."""

from __future__ import annotations

import sys
import threading
from types import TracebackType
from typing import TYPE_CHECKING

from dagmar.console import tame

if TYPE_CHECKING:
    from rich.progress import Progress as Bars
    from rich.progress import TaskID
    from typing_extensions import Self


class LiveLine:
    """A context with a spinner, a text, a bar and the time; `counted` adds how many of how many.

    With `after` the line appears only when it takes longer than that many seconds.
    """

    def __init__(
        self, text: str, total: int | None = None, counted: bool = False, after: float = 0
    ) -> None:
        self._text, self._total, self._counted = text, total, counted
        self._bars: Bars | None = None
        self._line: TaskID | None = None
        self._later = threading.Timer(after, self._start) if after else None

    def __enter__(self) -> Self:
        if sys.stderr.isatty():
            if self._later:
                self._later.daemon = True
                self._later.start()
            else:
                self._start()
        return self

    def _start(self) -> None:
        from rich import progress
        from rich.console import Console

        self._bars = progress.Progress(
            progress.SpinnerColumn(),
            *([progress.MofNCompleteColumn()] if self._counted else []),
            progress.TextColumn("{task.description}", markup=False),
            progress.BarColumn(),
            progress.TimeElapsedColumn(),
            console=Console(stderr=True),
            transient=True,
        )
        self._line = self._bars.add_task(self._text, total=self._total)
        self._bars.start()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._later and self._later.ident:
            self._later.cancel()
            self._later.join()  # it may just be starting
        if self._bars is not None:
            self._bars.stop()
            self._bars = None

    def put(self, text: str, done: int, total: int | None) -> None:
        """Change what stands there."""
        if self._bars is not None and self._line is not None:
            self._bars.update(self._line, description=tame(text), completed=done, total=total)
