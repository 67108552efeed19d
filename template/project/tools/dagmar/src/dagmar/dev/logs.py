"""What servers print: cleaned, kept in rotated files, shown with the server's name before it."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable
from logging.handlers import RotatingFileHandler
from pathlib import Path

MAX_BYTES = 5_000_000
BACKUPS = 4
_COLOR = re.compile(r"\x1b\[[0-9;]*m")
# As Dagster and uvicorn write it, or marimo: `[W 261124 04:08:52 module:12]`.
_LEVEL = re.compile(r"\b(DEBUG|INFO|WARN(?:ING)?|ERROR|CRITICAL|FATAL)\b|^\[([DIWEC]) \d")
_TROUBLE = re.compile(
    r"^Traceback \(|^\W*(?:warning|error|fatal)\b|(?:Error|Exception|Warning): ", re.I
)
# Everything else that steers a terminal: other sequences whole, other control characters.
_STEERING = re.compile(
    r"\x1b(?!\[[0-9;]*m)(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)|[0-~]?)"
    r"|[\x00-\x08\x0b-\x1a\x1c-\x1f\x7f-\x9f\ud800-\udfff]"
)


def plain(text: str) -> str:
    """Return text without colours and everything else that steers a terminal."""
    return _COLOR.sub("", colored(text))


def colored(text: str) -> str:
    """Return text with its colours, and nothing else that steers a terminal."""
    return _STEERING.sub("", text)


class Calm:
    """Tells which lines of a server somebody needs: warnings and errors while servers start.

    Later, when `ready`, all but DEBUG, as which Dagster tells a run's every event. While servers
    start, a line that names no level belongs to the one before it; later it may be a user's.
    """

    def __init__(self, ready: bool = False) -> None:
        self.ready = ready
        self._loud: dict[str, bool] = {}

    def shows(self, server: str, line: str) -> bool:
        """Whether to show the line that the server printed next."""
        text = plain(line)
        level = (found := _LEVEL.search(text)) and (found[1] or found[2])[0]
        if self.ready:
            return level != "D"
        if level:
            self._loud[server] = level not in "DI"
        elif _TROUBLE.search(text):
            self._loud[server] = True
        return self._loud.get(server, False)


class LogFile:
    """The log of one server under `.dagmar/logs/`, rotated at each start and when it is large.

    Where it cannot be written, `complain` is called once with the reason, and the rest is lost.
    """

    def __init__(self, file: Path, complain: Callable[[str], None]) -> None:
        self._file = file
        self._complain: Callable[[str], None] | None = complain
        self._handler: RotatingFileHandler | None = None
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
            handler = _Handler(file, maxBytes=MAX_BYTES, backupCount=BACKUPS, encoding="utf-8")
            handler.failed = self._failed
            if file.is_file() and file.stat().st_size:
                handler.doRollover()
            self._handler = handler
        except OSError as error:
            self._failed(error)

    def write(self, line: str) -> None:
        """Add a line."""
        if self._handler:
            self._handler.handle(logging.makeLogRecord({"msg": line}))

    def close(self) -> None:
        """Close the file."""
        if self._handler:
            try:
                self._handler.close()
            except OSError as error:
                self._failed(error)

    def _failed(self, error: BaseException) -> None:
        if self._complain:
            reason = getattr(error, "strerror", None) or error
            self._complain(f"{self._file} is not written any more: {reason}")
        self._complain = self._handler = None


class _Handler(RotatingFileHandler):
    failed: Callable[[BaseException], None]

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802  logging's name
        import sys

        error = sys.exc_info()[1]
        if error:
            self.failed(error)
