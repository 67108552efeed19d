"""What `invoke dev` reports: for people on stderr, or as one line of JSON per event on stdout."""

from __future__ import annotations

import contextlib
import os
import queue
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from dagmar import console
from dagmar.dev.editor import Editor
from dagmar.dev.logs import Calm, colored, plain
from dagmar.dev.servers import MARIMO, Server
from dagmar.errors import Interrupted, TimedOut

COLORS = {"dagster": 36, "marimo": 32, "dagmar": 35}
WIDTH = max(map(len, COLORS))
WAITING_LINES = 1000
LAST_SECONDS = 2.0
START_SECONDS = 300.0
PATIENCE_SECONDS = 20.0


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
        """Write what is left. If the terminal is paused, end the process: it would wait forever."""
        self._waiting.put(None)
        self._writer.join(LAST_SECONDS)
        if self._writer.is_alive():
            interrupted = isinstance(error, KeyboardInterrupt)
            status = Interrupted.exit_code if interrupted else getattr(error, "exit_code", 1)
            os._exit(status if error else 0)

    def event(self, name: str, text: str = "", **fields: Any) -> None:
        """Report an event: `text` for people, or name and fields as JSON."""
        if self.json:
            self._waiting.put(lambda: console.event({"event": name, **fields}))
        elif text:
            self._waiting.put(lambda: console.say(text))

    def warn(self, text: str) -> None:
        """Report a problem that does not stop anything."""
        if self.json:
            self._waiting.put(lambda: console.event({"event": "warning", "message": text}))
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
        encoding = sys.stderr.encoding or "utf-8"
        sys.stderr.write(shown.encode(encoding, "backslashreplace").decode(encoding) + "\n")
        sys.stderr.flush()

    def _write(self) -> None:
        while write := self._waiting.get():
            with contextlib.suppress(OSError, ValueError):
                write()


class Stages:
    """Reports the progress of the servers until all are ready, with the seconds since the start."""

    def __init__(self, reporter: Reporter) -> None:
        """Count the time from here."""
        self._reporter = reporter
        self._began = time.monotonic()
        self._patient = PATIENCE_SECONDS

    def seconds(self) -> float:
        """The seconds since the start."""
        return round(time.monotonic() - self._began, 3)

    def taken(self, server: Server, port: int) -> None:
        """Report that another program has the port that a server was to get."""
        self._reporter.event(
            "port_taken",
            f"Port {port} is taken by another program: {server.title} gets {server.port}.",
            server=server.name,
            wanted=port,
            port=server.port,
        )

    def starting(self, server: Server, pid: int) -> None:
        """Report that a server was started."""
        self._reporter.event(
            "starting",
            f"Starting {server.title} on port {server.port}",
            server=server.name,
            port=server.port,
            pid=pid,
        )

    def loading(self, server: Server) -> None:
        """Report that a server is up and loads the project's definitions."""
        self._report("loading", server, "is up, loading code locations")

    def ready(self, server: Server) -> None:
        """Report that a server is ready."""
        self._report("server_ready", server, "is ready", url=server.url)

    def _report(self, name: str, server: Server, state: str, **fields: Any) -> None:
        seconds = self.seconds()
        text = f"{server.title} {state} ({seconds:.0f} s)"
        self._reporter.event(name, text, server=server.name, **fields, seconds=seconds)

    def waiting(self, servers: Sequence[Server]) -> None:
        """Report every PATIENCE_SECONDS which servers are not ready yet. Raises TimedOut."""
        late = [server for server in servers if not server.ready]
        seconds = self.seconds()
        if not late or seconds < self._patient:
            return
        names = " and ".join(server.title for server in late)
        if seconds > START_SECONDS:
            raise TimedOut(
                f"{names} did not get ready within {START_SECONDS:g} s",
                "The logs are in .dagmar/logs/.",
            )
        self._patient = seconds + PATIENCE_SECONDS
        self._reporter.event(
            "waiting",
            f"Still waiting for {names} ({seconds:.0f} s); the logs are in .dagmar/logs/.",
            servers=[server.name for server in late],
            seconds=seconds,
        )

    def all_ready(
        self, servers: Sequence[Server], editor: Editor | None, reports: str, once: bool
    ) -> list[str]:
        """Report that all are ready, and where; more of their lines is shown from now on.

        Returns the addresses to open in a browser.
        """
        self._reporter.ready()
        places = {server.title: server.url for server in servers}
        fields = {f"{server.name}_url": server.url for server in servers}
        pages = {server.name: server.url for server in servers}
        if editor:
            pages[MARIMO] = fields["marimo_page"] = page = editor.page.as_uri()
            places[MARIMO] = f"{page}  (at {fields['marimo_url']}, logs you in)"
        places["Reports"] = fields["reports_url"] = reports
        lines = [f"Ready after {self.seconds():.1f} s.", ""]
        lines += [f"  {name:8} {place}" for name, place in places.items()]
        lines += [] if once else ["", "Ctrl-C stops everything."]
        self._reporter.event("ready", "\n".join(lines), **fields, seconds=self.seconds())
        return list(pages.values())


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
    if sys.platform == "darwin" or os.environ.get("BROWSER"):
        return True
    return bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))
