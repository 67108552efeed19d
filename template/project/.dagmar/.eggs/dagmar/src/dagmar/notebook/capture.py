"""What the cells of an execution show: outputs, prints and exceptions.

It is kept in a `SessionView`, as marimo does for its own exports.
"""

from __future__ import annotations

import re
import time
import traceback
from collections import deque
from collections.abc import Iterator, Mapping
from itertools import groupby
from typing import TYPE_CHECKING, Any

from dagmar.files import encodable
from dagmar.notebook.streams import Pipes, Streams

if TYPE_CHECKING:
    from dagmar.notebook.internals import CellId_t, SessionView

CONSOLE_LIMIT = 200_000
"""Characters of a cell's prints that a page keeps: half from the start, half from the end."""
ENTRY_SIZE = 100
"""Characters that each change between the two streams counts for."""


class Capture:
    """Collects what cells show, cell by cell."""

    def __init__(self, pipes: Pipes | None = None) -> None:
        from dagmar.notebook.internals import SessionView

        self.view: SessionView = SessionView()
        self._console = _Console()
        self.streams = Streams(self.note, pipes or Pipes())

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
        self._console.add(channel, text)

    def finish(self, cell: CellId_t, code: str, output: Any = None, errors: Any = ()) -> None:
        """Keep the result of a cell: `output` is an object to show, `errors` are marimo's."""
        from dagmar.notebook.internals import CellChannel, CellNotification, CellOutput

        shown, trace = (CellOutput.errors(list(errors)), "") if errors else _shown(output)
        if trace:
            self.note("stderr", trace)
        with self.streams.lock:
            self.streams.drain()
            printed, self._console = self._console.pieces(), _Console()
        console = [CellOutput(CellChannel(name), "text/plain", text) for name, text in printed]
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
            if isinstance(error, MarimoExceptionRaisedError) and error.raising_cell is None
        }

    def trace(self, cell: CellId_t, error: BaseException) -> None:
        """Keep the traceback of a finished cell, as marimo shows it."""
        from dagmar.notebook import internals

        # The page turns the file names in it into links to the cells.
        trace = encodable("".join(traceback.format_exception(error)))
        shown = internals.highlight_traceback(trace)
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
    if formatted.exception is not None:  # of marimo's own formatter, perhaps
        formatted = try_format(value, include_opinionated=False)
    mimetype, data = CellNotificationUtils.maybe_truncate_output(formatted.mimetype, formatted.data)
    data = encodable(data) if isinstance(data, str) else data
    return CellOutput(CellChannel.OUTPUT, mimetype, data), formatted.traceback or ""


class _Console:
    """What a cell prints, of which only the beginning and the end are kept."""

    def __init__(self) -> None:
        self._last = ""
        self._head: list[tuple[str, str]] = []
        self._tail: deque[tuple[str, str, int]] = deque()
        self._room, self._tail_size, self._left_out = CONSOLE_LIMIT // 2, 0, 0

    def add(self, channel: str, text: str) -> None:
        # A cell that writes to both streams in turn must not make a page of a million entries.
        entry, self._last = (0 if channel == self._last else ENTRY_SIZE), channel
        if text and self._room > 0:
            self._head.append((channel, text[: self._room]))
            text, self._room = text[self._room :], self._room - len(text) - entry
        if text:
            self._tail.append((channel, text, entry))
            self._tail_size += len(text) + entry
            while len(self._tail) > 1 and self._too_much() >= self._size(0):
                self._tail_size -= self._size(0)
                self._left_out += len(self._tail.popleft()[1])

    def _size(self, index: int) -> int:
        return len(self._tail[index][1]) + self._tail[index][2]

    def _too_much(self) -> int:
        return self._tail_size - CONSOLE_LIMIT // 2

    def pieces(self) -> Iterator[tuple[str, str]]:
        """Yield the channels and their texts in order."""
        tail = [(channel, text) for channel, text, _ in self._tail]
        if (more := self._too_much()) > 0:
            channel, text = tail[0]
            tail[0] = (channel, text[more:])
            self._left_out += min(more, len(text))
        if self._left_out:
            gap = f"\n… {self._left_out:,} characters left out …\n"
            tail.insert(0, (tail[0][0], gap))
        for channel, texts in groupby([*self._head, *tail], lambda piece: piece[0]):
            yield channel, "".join(text for _, text in texts)


CELL_FILE = re.compile(r'File "[^"]*__marimo__cell_([^"]*?)_\.py", line (\d+)')


def as_text(error: BaseException, file: str, lines: Mapping[str, int]) -> str:
    """Return the traceback of a cell's exception, with lines of the notebook's file.

    `lines` are the numbers of the lines before the cells' code in `file`, by cell id.
    """

    def place(frame: re.Match[str]) -> str:
        line = lines.get(frame[1])
        return f'File "{file}", line {line + int(frame[2])}' if line else frame[0]

    trace = CELL_FILE.sub(place, "".join(traceback.format_exception(error)))
    return encodable(trace.rstrip())
