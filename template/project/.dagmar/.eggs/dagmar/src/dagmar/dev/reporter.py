"""What `invoke dev` reports: for people on stderr, or as one line of JSON per event on stdout."""

from __future__ import annotations

import contextlib
import json
import os
import queue
import subprocess
import sys
import threading
from collections.abc import Callable, Iterable
from typing import Any

from dagmar import console
from dagmar.dev.logs import Calm, colored, plain
from dagmar.dev.servers import TITLES
from dagmar.errors import DagmarError, Interrupted

COLORS = {"dagster": 36, "marimo": 32}
WIDTH = max(map(len, COLORS))
WAITING_LINES = 1000
LAST_SECONDS = 2.0
# What people read of an event, with its fields and the title of its server.
TEXTS = {
    "starting": "Starting {title} on port {port}",
    "port_taken": "Port {wanted} is taken by another program: {title} gets {port}.",
    "loading": "{title} is up, loading code locations ({seconds:.0f} s)",
    "server_ready": "{title} is ready ({seconds:.0f} s)",
    "stopping": "Stopping …",
    "stopped": "Stopped; no process is left.",
}


class Reporter:
    """Reports events and passes on what servers print; callable from every thread.

    A closed terminal must not keep servers alive: nothing here raises. Nor must a paused one
    (Ctrl-S, a pager that nobody scrolls): another thread writes, and only `line` waits for it.
    """

    def __init__(self, json: bool, log_level: str = "") -> None:
        """Filter what a terminal shows, most of all until `ready`; the level `debug` shows all."""
        self.json = json
        self._terminal = sys.stderr.isatty()
        calm = self._terminal and log_level != "debug"
        self._calm = Calm(ready=log_level == "info") if calm else None
        self._waiting: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._room = threading.Semaphore(WAITING_LINES)
        self._writer = threading.Thread(target=self._write, daemon=True)

    def __enter__(self) -> Reporter:
        self._writer.start()
        return self

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        """Report the error, and write what is left.

        If the terminal is paused, end the process: it would wait forever.
        """
        if isinstance(error, DagmarError):
            hint, status = error.suggestion, error.exit_code
            self.event("failed", message=error.message, hint=hint, status=status)
        self._waiting.put(None)
        self._writer.join(LAST_SECONDS)
        if self._writer.is_alive():
            interrupted = isinstance(error, KeyboardInterrupt)
            status = Interrupted.exit_code if interrupted else getattr(error, "exit_code", 1)
            os._exit(status if error else 0)

    def event(self, name: str, text: str = "", **fields: Any) -> None:
        """Report an event: name and fields as JSON, or for people `text` or that of TEXTS."""
        if self.json:
            document = json.dumps({"event": name, **fields})
            self._waiting.put(lambda: console.write(document, sys.stdout))
            return
        title = TITLES.get(fields.get("server", ""))
        if shown := text or TEXTS.get(name, "").format(title=title, **fields):
            self._waiting.put(lambda: console.say(shown))

    def warn(self, text: str) -> None:
        """Report a problem that does not stop anything."""
        if self.json:
            self.event("warning", message=text)
        self._waiting.put(lambda: console.warn(text))

    def line(self, server: str, text: str) -> None:
        """Pass on a line that a server printed."""
        if (calm := self._calm) and not calm.shows(server, text):
            return
        self._room.acquire()
        self._waiting.put(lambda: self._line(server, text))

    def ready(self) -> None:
        """Show more than warnings and errors from now on."""
        if self._calm:
            self._calm.ready = True

    def _line(self, server: str, text: str) -> None:
        self._room.release()
        name = server.ljust(WIDTH)
        if self._terminal:
            shown = f"\x1b[{COLORS.get(server, 0)}m{name} │\x1b[0m {colored(text)}\x1b[0m"
        else:
            shown = f"{name} | {plain(text)}"
        console.write(shown, sys.stderr)

    def _write(self) -> None:
        while write := self._waiting.get():
            with contextlib.suppress(OSError, ValueError):
                write()


def open_pages(pages: Iterable[str]) -> None:
    """Open each page in a browser window; do nothing without a terminal or a display.

    Returns at once. The browser does not share this terminal, and stays open when this ends.
    """
    if not may_open():
        return
    for page in pages:
        subprocess.Popen(
            [sys.executable, "-m", "webbrowser", page],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )


def may_open() -> bool:
    """Whether a person uses the terminal and a browser would not take it over."""
    if not sys.stderr.isatty() or os.environ.get("CI"):
        return False
    windows = ("BROWSER", "DISPLAY", "WAYLAND_DISPLAY")
    return sys.platform == "darwin" or any(os.environ.get(name) for name in windows)
