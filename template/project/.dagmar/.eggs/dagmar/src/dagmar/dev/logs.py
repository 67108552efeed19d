"""What servers print: which lines are shown, and the rotated files that keep them all."""

from __future__ import annotations

import logging
import re
import sys
from collections.abc import Callable
from logging.handlers import RotatingFileHandler
from pathlib import Path

from dagmar.console import COLOR
from dagmar.project.layout import make_folder

MAX_BYTES = 5_000_000
BACKUPS = 4
# As Dagster and uvicorn write it, or marimo: `[W 261124 04:08:52 module:12]`.
_LEVEL = re.compile(r"\b(DEBUG|INFO|WARN(?:ING)?|ERROR|CRITICAL|FATAL)\b|^\[([DIWEC]) \d")
_TROUBLE = re.compile(
    r"^Traceback \(|^\W*(?:warning|error|fatal)\b|(?:Error|Exception|Warning): ", re.I
)
# Everything else that controls a terminal: other sequences whole, other control characters.
_CONTROL = re.compile(
    r"\x1b(?!\[[0-9;]*m)(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)|[0-~]?)"
    r"|[\x00-\x08\x0b-\x1a\x1c-\x1f\x7f-\x9f\ud800-\udfff]"
)


def plain(text: str) -> str:
    """Return text without colours and everything else that controls a terminal."""
    return COLOR.sub("", colored(text))


def colored(text: str) -> str:
    """Return text with its colours, and nothing else that controls a terminal."""
    return _CONTROL.sub("", text)


class Calm:
    """The filter for a terminal: only warnings and errors while servers start.

    Once `ready`, it shows all but DEBUG, the level of Dagster's own events of a run. While servers
    start, a line without a level belongs to the one before it; later it may be a user's print.
    """

    def __init__(self, ready: bool = False) -> None:
        self.ready = ready
        self._loud: dict[str, bool] = {}

    def shows(self, server: str, line: str) -> bool:
        """Whether to show the line that the server printed next."""
        text = plain(line)
        match = _LEVEL.search(text)
        level = (match[1] or match[2])[0] if match else ""
        if self.ready:
            return level != "D"
        if level:
            self._loud[server] = level not in "DI"
        elif _TROUBLE.search(text):
            self._loud[server] = True
        return self._loud.get(server, False)


class LogFile(RotatingFileHandler):
    """The log of one server under `.dagmar/logs/`, rotated at each start and when it is large.

    If it cannot be written, `complain` is called once with the reason, and the rest is lost.
    """

    def __init__(self, file: Path, complain: Callable[[str], None]) -> None:
        super().__init__(
            file, maxBytes=MAX_BYTES, backupCount=BACKUPS, encoding="utf-8", delay=True
        )
        self._complain: Callable[[str], None] | None = complain
        try:
            make_folder(file.parent)
            if file.is_file() and file.stat().st_size:
                self.doRollover()
        except OSError as error:
            self._give_up(error)

    def write(self, line: str) -> None:
        """Add a line."""
        if self._complain:
            self.handle(logging.makeLogRecord({"msg": line}))

    def close(self) -> None:
        """Close the file."""
        try:
            super().close()
        except OSError as error:
            self._give_up(error)

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802  logging's name
        """Report what kept the record from being written."""
        if error := sys.exc_info()[1]:
            self._give_up(error)

    def _give_up(self, error: BaseException) -> None:
        if self._complain:
            reason = getattr(error, "strerror", None) or error
            self._complain(f"{self.baseFilename} is not written any more: {reason}")
        self._complain = None
