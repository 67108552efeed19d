"""What the cells of an execution show: outputs, prints and exceptions.

It is kept in a `SessionView`, as marimo does for its own exports.
"""

from __future__ import annotations

import io
import re
import time
import traceback
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dagmar.notebook.internals import CellId_t, SessionView

CONSOLE_LIMIT = 200_000
"""Characters of a cell's prints that a page keeps: half from the start, half from the end."""


class Capture:
    """Collects what cells show, cell by cell."""

    def __init__(self) -> None:
        from dagmar.notebook.internals import SessionView

        self.view: SessionView = SessionView()
        self._console: list[tuple[str, _Bounded]] = []
        self.stdout = _Writer(self, "stdout")
        self.stderr = _Writer(self, "stderr")

    def stream(self) -> Any:
        """Return the stream that marimo writes its messages to: `mo.output`, widgets."""
        from dagmar.notebook.internals import KernelMessage, Stream

        view = self.view

        class Collecting(Stream):
            def write(self, data: KernelMessage) -> None:
                view.add_raw_notification(data)

            def copy_for_thread(self) -> Stream:
                return self

        return Collecting()

    def note(self, channel: str, text: str) -> None:
        """Keep what the running cell prints."""
        if not self._console or self._console[-1][0] != channel:
            self._console.append((channel, _Bounded()))
        self._console[-1][1].add(text)

    def finish(self, cell: CellId_t, code: str, output: Any = None, errors: Any = ()) -> None:
        """Keep the result of a cell: `output` is an object to show, `errors` are marimo's."""
        from dagmar.notebook.internals import CellChannel, CellNotification, CellOutput

        shown, trace = (CellOutput.errors(list(errors)), "") if errors else _shown(output)
        if trace:
            self.note("stderr", trace)
        console = [
            CellOutput(CellChannel(channel), "text/plain", text.text())
            for channel, text in self._console
        ]
        self._console = []
        self.view.last_executed_code[cell] = code
        self.view.add_notification(
            CellNotification(
                cell_id=cell, status="idle", output=shown, console=console, timestamp=time.time()
            )
        )

    def shown(self) -> set[str]:
        """Return the ids of the cells that show something other than an error."""
        from dagmar.notebook.internals import CellChannel

        outputs = ((cell, each.output) for cell, each in self.view.cell_notifications.items())
        return {
            str(cell)
            for cell, output in outputs
            if output and output.data and output.channel is CellChannel.OUTPUT
        }

    def raised(self) -> dict[str, str]:
        """Return the classes of the exceptions that cells raised, by the cell's id."""
        from dagmar.notebook.internals import MarimoExceptionRaisedError

        notifications = self.view.cell_notifications.items()
        return {
            str(cell): error.exception_type
            for cell, each in notifications
            for error in (each.output.data if each.output else ())
            if isinstance(error, MarimoExceptionRaisedError)
        }

    def trace(self, cell: CellId_t, error: BaseException) -> None:
        """Keep the traceback of a finished cell, as marimo shows it."""
        from dagmar.notebook import internals

        # The page turns the file names in it into links to the cells.
        shown = internals.highlight_traceback("".join(traceback.format_exception(error)))
        console = internals.CellOutput(
            internals.CellChannel.STDERR, "application/vnd.marimo+traceback", shown
        )
        self.view.add_notification(internals.CellNotification(cell_id=cell, console=console))


def _shown(value: Any) -> tuple[Any, str]:
    """Return what marimo shows for a value, and the traceback if it cannot be shown."""
    from dagmar.notebook.internals import CellChannel, CellNotificationUtils, CellOutput, try_format

    if value is None:
        return None, ""  # keep what mo.output showed
    formatted = try_format(value)
    mimetype, data = CellNotificationUtils.maybe_truncate_output(formatted.mimetype, formatted.data)
    return CellOutput(CellChannel.OUTPUT, mimetype, data), formatted.traceback or ""


class _Bounded:
    """A text that keeps only its beginning and end."""

    def __init__(self) -> None:
        self._head, self._tail, self._left_out = "", "", 0

    def add(self, text: str) -> None:
        half = CONSOLE_LIMIT // 2
        if room := half - len(self._head):
            self._head += text[:room]
            text = text[room:]
        self._tail += text
        if len(self._tail) > 2 * half:  # not each time: many short prints must stay cheap
            self._cut(half)

    def _cut(self, size: int) -> None:
        self._left_out += max(len(self._tail) - size, 0)
        self._tail = self._tail[-size:]

    def text(self) -> str:
        self._cut(CONSOLE_LIMIT // 2)
        gap = f"\n… {self._left_out:,} characters left out …\n" if self._left_out else ""
        return self._head + gap + self._tail


class _Writer(io.TextIOBase):
    """A standard stream that keeps its text."""

    encoding = "utf-8"

    def __init__(self, capture: Capture, channel: str) -> None:
        self._capture, self._channel = capture, channel

    def writable(self) -> bool:
        return True

    def write(self, text: str) -> int:
        self._capture.note(self._channel, str(text))
        return len(text)


CELL_FILE = re.compile(r'File "[^"]*__marimo__cell_([^"]*?)_\.py", line (\d+)')


def as_text(error: BaseException, file: str, lines: Mapping[str, int]) -> str:
    """Return the traceback of a cell's exception, with lines of the notebook's file.

    `lines` are the numbers of the lines before the cells' code in `file`, by cell id.
    """

    def place(frame: re.Match[str]) -> str:
        line = lines.get(frame[1])
        return f'File "{file}", line {line + int(frame[2])}' if line else frame[0]

    return CELL_FILE.sub(place, "".join(traceback.format_exception(error))).rstrip()
