"""`.dagmar/tmp/dev.json`: the process and addresses of a project's `invoke dev` while it runs."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from datetime import datetime, timezone
from pathlib import Path

from dagmar.files import UNREADABLE, unusable, write_atomically
from dagmar.project.layout import DEV_FILE, make_folder

# The clocks of a process's start and of this file differ by some ticks.
SLACK_SECONDS = 2.0


@dataclass(frozen=True)
class Running:
    """A running `invoke dev`; the address of a server that it does not start is None."""

    pid: int
    started_at: str
    dagster_url: str | None = None
    marimo_url: str | None = None
    reports_url: str | None = None
    env_file: str | None = None  # the path that `--env-file` named: its content is not kept
    dagster_home: str | None = None  # the instance of its servers, whatever named it


def now() -> str:
    """Return the time in the format of the file: ISO 8601 in UTC."""
    return datetime.now(timezone.utc).isoformat()


def write(root: Path, running: Running) -> None:
    """Write the file, readable for its owner only. Raises OSError."""
    make_folder((root / DEV_FILE).parent)
    write_atomically(root / DEV_FILE, json.dumps(asdict(running)), 0o600)


def read(root: Path) -> Running | None:
    """Return what runs, or None: there is no file, or it is malformed or stale."""
    try:
        document = json.loads((root / DEV_FILE).read_text("utf-8"))
        names = ("dagster_url", "marimo_url", "reports_url", "env_file", "dagster_home")
        texts = {name: document[name] for name in names if isinstance(document.get(name), str)}
        running = Running(int(document["pid"]), str(document.get("started_at") or ""), **texts)
    except (OSError, *UNREADABLE):
        return None
    return running if not [*unusable(texts)] and _alive(running) else None


def remove(root: Path, pid: int) -> None:
    """Remove the file if it is that of process `pid`."""
    try:
        if json.loads((root / DEV_FILE).read_text("utf-8"))["pid"] == pid:
            (root / DEV_FILE).unlink()
    except (OSError, *UNREADABLE):
        return


def _alive(running: Running) -> bool:
    """Whether the process runs, and is not a later one with the same id."""
    import psutil

    if running.pid <= 0:  # not a process, but a group of them
        return False
    try:
        process = psutil.Process(running.pid)
        if process.status() == psutil.STATUS_ZOMBIE:
            return False
        started = datetime.fromisoformat(running.started_at).timestamp()
        return bool(process.create_time() <= started + SLACK_SECONDS)
    except psutil.NoSuchProcess:
        return False
    except (psutil.Error, ValueError, OverflowError):
        return True  # of another user, or written by hand, without a time to compare with
