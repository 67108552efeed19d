"""The servers of `invoke dev`, how far each is, and whether it is ours that answers on a port."""

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
    """One of the two, and how far it is."""

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
        """What people call it."""
        return "Dagster" if self.name == DAGSTER else self.name

    def loads(self, line: str) -> bool:
        """Whether the server says in this line that it begins to load code locations."""
        return self.name == DAGSTER and "Launching Dagster services" in line

    @property
    def url(self) -> str:
        """Where it answers."""
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
    """Return the marimo that serves what `editor` opens, not started yet."""
    return Server(
        MARIMO,
        port,
        "/health",
        is_marimo,
        lambda port: environment.marimo_command(editor.target, port, editor.token_file, log_level),
    )


def is_dagster(answer: Any) -> bool:
    """Whether this is what Dagster says at `/server_info`."""
    return isinstance(answer, dict) and "dagster_version" in answer


def is_marimo(answer: Any) -> bool:
    """Whether this is what marimo says at `/health`."""
    return isinstance(answer, dict) and answer.get("status") == "healthy"


def ask(port: int, path: str, good: Callable[[Any], bool]) -> bool:
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
    """Whether the line tells of a port that is taken; whose it is and which one, it may not say."""
    return bool(_BUSY.search(line))


def lost_port(mark: str, port: int, line: str) -> bool:
    """Whether a server of ours that printed such a line cannot have its port any more.

    Users' own code prints such lines too: somebody else must have the port, or the line be about
    this very port, which its holder may have given back since.
    """
    if listens(mark, port):
        return False
    return held(port) or f"('{HOST}', {port})" in line


class ReadinessProbe(threading.Thread):
    """Looks at a port until our server is ready there, or somebody else's is found.

    `found` is called once, with READY or FOREIGN. Only processes with `mark` are ours: another
    Dagster gives the same answers.
    """

    def __init__(
        self,
        mark: str,
        port: int,
        path: str,
        good: Callable[[Any], bool],
        found: Callable[[str], None],
    ) -> None:
        super().__init__(daemon=True)
        self._mark = mark
        self._port = port
        self._path = path
        self._good = good
        self._found = found
        self._stopped = threading.Event()

    def stop(self) -> None:
        """End the looking; `found` may still be called once."""
        self._stopped.set()

    def run(self) -> None:
        """Look until there is an answer."""
        ours = False
        while not self._stopped.wait(POLL_SECONDS):
            if not ours and taken(self._port):
                ours = listens(self._mark, self._port)
                if not ours and taken(self._port) and not listens(self._mark, self._port):
                    self._found(FOREIGN)
                    return
            if ours and ask(self._port, self._path, self._good):
                self._found(READY)
                return
