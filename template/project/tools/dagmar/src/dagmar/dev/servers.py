"""The servers of `invoke dev`: the state of each, and whether it has its port and is ready."""

from __future__ import annotations

import http.client
import json
import re
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dagmar.dev import environment
from dagmar.dev.editor import Editor
from dagmar.dev.ports import HOST, held, taken
from dagmar.dev.processes import Child, listens

DAGSTER, MARIMO = "dagster", "marimo"
DAGSTER_PORT, MARIMO_PORT = 3000, 2718
POLL_SECONDS = 0.1
READY, FOREIGN = "ready", "foreign"
_BUSY = re.compile(r"errno (48|98)\b|address already in use", re.IGNORECASE)


@dataclass
class Server:
    """Dagster or marimo, and its state."""

    name: str
    wanted: int
    path: str
    good: Callable[[Any], bool]
    command: Callable[[int], list[str]]
    port: int = 0
    tries: int = 0
    ready: bool = False
    silent: int = 0
    child: Child | None = None
    probe: ReadinessProbe | None = None

    @property
    def title(self) -> str:
        """Its name in messages."""
        return "Dagster" if self.name == DAGSTER else self.name

    def loads(self, line: str) -> bool:
        """Whether the server prints this line when it begins to load code locations."""
        return self.name == DAGSTER and "Launching Dagster services" in line

    @property
    def url(self) -> str:
        """Its address."""
        return f"http://{HOST}:{self.port}"


def dagster(root: Path, port: int, log_level: str) -> Server:
    """Return the Dagster of the project in `root`, not started yet."""
    return Server(
        DAGSTER,
        port,
        "/server_info",
        is_dagster,
        lambda port: environment.dagster_command(root, port, log_level),
    )


def marimo(editor: Editor, port: int, log_level: str) -> Server:
    """Return the marimo server for `editor`, not started yet."""
    return Server(
        MARIMO,
        port,
        "/health",
        is_marimo,
        lambda port: environment.marimo_command(editor.target, port, editor.token_file, log_level),
    )


def is_dagster(answer: Any) -> bool:
    """Whether this is Dagster's answer at `/server_info`."""
    return isinstance(answer, dict) and "dagster_version" in answer


def is_marimo(answer: Any) -> bool:
    """Whether this is the answer of a healthy marimo at `/health`."""
    return isinstance(answer, dict) and answer.get("status") == "healthy"


def _answers(port: int, path: str, good: Callable[[Any], bool]) -> bool:
    """Whether the answer to `GET path` is JSON that `good` accepts."""
    connection = http.client.HTTPConnection(HOST, port, timeout=5)
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        return answer.status == 200 and good(json.loads(answer.read()))
    except (OSError, ValueError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def says_busy(line: str) -> bool:
    """Whether the line says that an address is in use; it may not say which one."""
    return bool(_BUSY.search(line))


def lost_port(mark: str, port: int, line: str) -> bool:
    """Whether the server that printed such a line has lost its port to another program.

    Users' own code prints such lines too: another program must hold the port, or the line must
    name it, as that program may have released it since.
    """
    if listens(mark, port):
        return False
    return held(port) or f"('{HOST}', {port})" in line


class ReadinessProbe(threading.Thread):
    """Watches a port until our server is ready there, or another program answers.

    `report` is called once, with READY or FOREIGN. Only processes with `mark` are ours: another
    Dagster gives the same answers.
    """

    def __init__(self, mark: str, server: Server, report: Callable[[str], None]) -> None:
        super().__init__(daemon=True)
        self._mark = mark
        self._server = server
        self._port = server.port  # the server may move to another one
        self._report = report
        self._stopped = threading.Event()

    def stop(self) -> None:
        """Stop watching; `report` may still be called once."""
        self._stopped.set()

    def run(self) -> None:
        """Watch until there is an answer."""
        ours = False
        while not self._stopped.wait(POLL_SECONDS):
            if not ours and taken(self._port):
                ours = listens(self._mark, self._port)
                if not ours and taken(self._port) and not listens(self._mark, self._port):
                    self._report(FOREIGN)
                    return
            if ours and _answers(self._port, self._server.path, self._server.good):
                self._report(READY)
                return
