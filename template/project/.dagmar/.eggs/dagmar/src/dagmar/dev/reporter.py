"""What `invoke dev` reports: for people on stderr, or as one line of JSON per event on stdout."""

from __future__ import annotations

import contextlib
import json
import os
import queue
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from dagmar import console
from dagmar.dev.logs import Calm, colored, plain
from dagmar.dev.servers import MARIMO, TITLES
from dagmar.errors import DagmarError, Interrupted, counted

COLORS = {"dagster": 36, "marimo": 32}
WIDTH = max(map(len, COLORS))
WAITING_LINES = 1000
LAST_SECONDS = 2.0
SHOWN_SECONDS, LOGGED_SECONDS = 5.0, 60.0  # between two lines of --watch
CLEAR = "\r\x1b[2K"  # of the line that the cursor is in
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
        self._status = ""
        self.watch_seconds = SHOWN_SECONDS if self._terminal or json else LOGGED_SECONDS
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
        if name == "stopping":
            self._waiting.put(lambda: setattr(self, "_status", ""))
        if self.json:
            document = json.dumps({"event": name, **fields})
            self._waiting.put(lambda: console.write(document, sys.stdout))
            return
        title = TITLES.get(fields.get("server", ""))
        if shown := text or TEXTS.get(name, "").format(title=title, **fields):
            self._waiting.put(lambda: console.say(shown))

    def used(self, servers: Mapping[str, Mapping[str, Any]]) -> None:
        """Report what the servers use: in the last line of a terminal, which stays there."""
        parts = []
        for name, use in servers.items():
            kernels = f", {counted(use['kernels'], 'kernel')}" if name == MARIMO else ""
            what = f"{use['cpu_percent']:.0f} % CPU, {use['memory_mb']:.0f} MB{kernels}"
            parts.append(f"{TITLES[name]} {what}")
        text = " · ".join(parts)
        if self.json or not self._terminal:
            self.event("resources", text, servers=servers)
        else:
            self._waiting.put(lambda: setattr(self, "_status", text))

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
                self._draw(CLEAR if self._status else "")
                write()
                self._draw(self._status[: max(shutil.get_terminal_size().columns - 1, 0)])
        with contextlib.suppress(OSError, ValueError):
            self._draw(CLEAR if self._status else "")

    def _draw(self, text: str) -> None:
        if text:
            sys.stderr.write(text)
            sys.stderr.flush()


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
