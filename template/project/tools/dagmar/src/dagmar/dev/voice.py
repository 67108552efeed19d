"""What `invoke dev` says: for people on stderr, or one line of JSON for each event on stdout."""

from __future__ import annotations

import contextlib
import os
import queue
import sys
import threading
from collections.abc import Callable
from typing import Any

from dagmar import console
from dagmar.dev.logs import Calm, colored, plain
from dagmar.errors import Interrupted

COLORS = {"dagster": 36, "marimo": 32, "dagmar": 35}
WIDTH = max(map(len, COLORS))
UNSAID_LINES = 1000
LAST_SECONDS = 2.0


class Voice:
    """Says events and passes on what servers print; callable from every thread.

    A terminal that is gone must not keep servers alive: nothing here raises. Nor must one that
    is held (Ctrl-S, a pager that nobody scrolls): a thread of its own writes, and only `line`
    waits for it.
    """

    def __init__(self, json: bool, log_level: str = "") -> None:
        """A terminal is kept calm, the most so until `ready`; with the level `debug` it is not."""
        self.json = json
        self._terminal = sys.stderr.isatty()
        calm = self._terminal and log_level != "debug"
        self._calm = Calm(ready=log_level == "info") if calm else None
        self._unsaid: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._room = threading.Semaphore(UNSAID_LINES)
        self._writer = threading.Thread(target=self._write, daemon=True)

    def __enter__(self) -> Voice:
        self._writer.start()
        return self

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        """Say what is left. Where nobody takes it, end the process: it would wait for ever."""
        self._unsaid.put(None)
        self._writer.join(LAST_SECONDS)
        if self._writer.is_alive():
            interrupted = isinstance(error, KeyboardInterrupt)
            status = Interrupted.exit_code if interrupted else getattr(error, "exit_code", 1)
            os._exit(status if error else 0)

    def event(self, name: str, text: str = "", **fields: Any) -> None:
        """Say what happened: `text` for people, name and fields as JSON."""
        if self.json:
            self._unsaid.put(lambda: console.event({"event": name, **fields}))
        elif text:
            self._unsaid.put(lambda: console.say(text))

    def warn(self, text: str) -> None:
        """Say what is not as it should be, and does not stop anything."""
        if self.json:
            self._unsaid.put(lambda: console.event({"event": "warning", "message": text}))
        self._unsaid.put(lambda: console.warn(text))

    def line(self, server: str, text: str) -> None:
        """Pass on a line that a server printed."""
        if (calm := self._calm) and not calm.shows(server, text):
            return
        self._room.acquire()
        self._unsaid.put(lambda: self._line(server, text))

    def ready(self) -> None:
        """Pass on more than trouble from now on."""
        if self._calm:
            self._calm.ready = True

    def _line(self, server: str, text: str) -> None:
        self._room.release()
        name = server.ljust(WIDTH)
        if self._terminal:
            shown = f"\x1b[{COLORS.get(server, 0)}m{name} │\x1b[0m {colored(text)}\x1b[0m"
        else:
            shown = f"{name} | {plain(text)}"
        encoding = sys.stderr.encoding or "utf-8"
        sys.stderr.write(shown.encode(encoding, "backslashreplace").decode(encoding) + "\n")
        sys.stderr.flush()

    def _write(self) -> None:
        while say := self._unsaid.get():
            with contextlib.suppress(OSError, ValueError):
                say()
