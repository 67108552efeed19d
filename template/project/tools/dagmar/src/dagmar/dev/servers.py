"""The two servers of `invoke dev`: how each is started and known, and how far it is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dagmar.dev import environment
from dagmar.dev.child import Child
from dagmar.dev.editor import Editor
from dagmar.dev.ports import HOST
from dagmar.dev.readiness import Lookout, is_dagster, is_marimo

DAGSTER, MARIMO = "dagster", "marimo"
DAGSTER_PORT, MARIMO_PORT = 3000, 2718


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
    lookout: Lookout | None = None

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
