"""`.dagmar/dev.json`: where the `invoke dev` of a project is, while it runs."""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass
from datetime import datetime, timezone
from pathlib import Path

from dagmar.files import write_atomically
from dagmar.project.layout import DEV_FILE

# Clocks of a process's start and of a file differ by some ticks.
SLACK_SECONDS = 2.0


@dataclass(frozen=True)
class Running:
    """An `invoke dev` that runs; addresses are None for a server that it was told to leave out.

    `env_file` is the path that `--env-file` named: what is in that file is not kept.
    """

    pid: int
    started_at: str
    dagster_url: str | None = None
    marimo_url: str | None = None
    reports_url: str | None = None
    env_file: str | None = None


def path(root: Path) -> Path:
    """Return the file's place in the project."""
    return root / DEV_FILE


def now() -> str:
    """Return the time as the file holds it: ISO 8601 in UTC."""
    return datetime.now(timezone.utc).isoformat()


def write(root: Path, running: Running) -> None:
    """Write the file, readable for its owner only. Raises OSError."""
    write_atomically(path(root), json.dumps(asdict(running)), 0o600)


def read(root: Path) -> Running | None:
    """Return what runs, or None where nothing does: no file, a malformed or a stale one."""
    try:
        found = json.loads(path(root).read_text("utf-8"))
        running = Running(
            int(found["pid"]),
            str(found.get("started_at") or ""),
            *(
                _text(found.get(name))
                for name in ("dagster_url", "marimo_url", "reports_url", "env_file")
            ),
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError, OverflowError):
        return None
    return running if _alive(running) else None


def remove(root: Path, pid: int) -> None:
    """Remove the file where it is that of process `pid`, and no other's."""
    try:
        if json.loads(path(root).read_text("utf-8"))["pid"] == pid:
            path(root).unlink()
    except (OSError, ValueError, KeyError, TypeError):
        return


def _text(value: object) -> str | None:
    return value if isinstance(value, str) else None


def _alive(running: Running) -> bool:
    """Whether the process is there, and is not a later one with the same number."""
    if running.pid <= 0:  # no process, but a group of them
        return False
    try:
        os.kill(running.pid, 0)
    except PermissionError:
        pass  # it runs, as somebody else
    except (OSError, OverflowError):
        return False
    try:
        started = datetime.fromisoformat(running.started_at).timestamp()
    except (ValueError, OverflowError):
        return True  # written by hand, without a time to compare with
    import psutil

    try:
        process = psutil.Process(running.pid)
        if process.status() == psutil.STATUS_ZOMBIE:
            return False
        return bool(process.create_time() <= started + SLACK_SECONDS)
    except psutil.NoSuchProcess:
        return False
    except psutil.Error:
        return True
