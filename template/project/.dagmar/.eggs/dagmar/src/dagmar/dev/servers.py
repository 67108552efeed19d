"""The servers of `invoke dev`: the state of each, and whether it has its port and is ready."""

from __future__ import annotations

import http.client
import json
import re
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from dagmar.dev.ports import HOST, bindable, taken
from dagmar.dev.processes import Child, listens

DAGSTER, MARIMO = "dagster", "marimo"
TITLES = {DAGSTER: "Dagster", MARIMO: "marimo"}
HEALTH = {DAGSTER: "/server_info", MARIMO: "/health"}
# What Dagster prints when it begins to load code locations.
LOADING = "Launching Dagster services"
POLL_SECONDS = 0.1
READY, FOREIGN = "ready", "foreign"
_BUSY = re.compile(r"errno (48|98)\b|address already in use", re.IGNORECASE)


@dataclass
class Server:
    """Dagster or marimo, and its state; `command` is what starts it on a port."""

    name: str
    command: Callable[[int], list[str]]
    port: int
    tries: int = 0
    ready: bool = False
    was_ready: bool = False
    silent: int = 0
    child: Child | None = None
    restarts: list[float] = field(default_factory=list)

    @property
    def title(self) -> str:
        """Its name in messages."""
        return TITLES[self.name]

    @property
    def url(self) -> str:
        """Its address."""
        return f"http://{HOST}:{self.port}"


def is_healthy(name: str, answer: Any) -> bool:
    """Whether this is the answer at HEALTH of a server of that name that is ready."""
    if not isinstance(answer, dict):
        return False
    return "dagster_version" in answer if name == DAGSTER else answer.get("status") == "healthy"


def _is_ready(name: str, port: int) -> bool:
    connection = http.client.HTTPConnection(HOST, port, timeout=5)
    try:
        connection.request("GET", HEALTH[name])
        answer = connection.getresponse()
        return answer.status == 200 and is_healthy(name, json.loads(answer.read()))
    except (OSError, ValueError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def says_busy(line: str) -> bool:
    """Whether the line says that an address is in use; it may not say which one."""
    return bool(_BUSY.search(line))


def lost_port(mark: str, port: int, line: str) -> bool:
    """Whether the server that printed this line has lost its port to another program.

    Users' own code prints such lines too: another program must hold the port, or the line must
    name it, as that program may have released it since.
    """
    if not says_busy(line) or listens(mark, port):
        return False
    return bindable(port) is None or f"('{HOST}', {port})" in line


def probe(mark: str, server: Server, is_wanted: Callable[[], bool]) -> str:
    """Wait until our server is ready (READY), or another program answers on its port (FOREIGN).

    Returns an empty text once it is not wanted any more. Only processes with `mark` are ours:
    another Dagster gives the same answers.
    """
    port = server.port  # the server may move to another one
    ours = False
    while is_wanted():
        if not ours and taken(port):
            ours = listens(mark, port)
            if not ours and taken(port) and not listens(mark, port):
                return FOREIGN
        if ours and _is_ready(server.name, port):
            return READY
        time.sleep(POLL_SECONDS)
    return ""
