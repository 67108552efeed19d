"""Processes that belong to one `invoke dev`, told by a mark in their environment.

Each process that a server starts inherits the environment, whatever session or parent it
moves to. So what is ours is read from the system, and not from what we remember.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterable, Mapping

MARK = "_DAGMAR_DEV"
QUIET_SECONDS = 0.05


def add_mark(environ: Mapping[str, str], mark: str) -> dict[str, str]:
    """Return the environment with the mark, beside those of an `invoke dev` that this one is in."""
    return {**environ, MARK: ":".join(filter(None, [environ.get(MARK), mark]))}


def marked(mark: str, sessions: Iterable[int] = ()) -> list[int]:
    """Return the ids of the processes with the mark, and of all in these sessions."""
    import psutil

    found = []
    known = set(sessions)
    for pid in psutil.pids():
        with contextlib.suppress(psutil.Error, OSError):
            process = psutil.Process(pid)
            if pid == os.getpid() or process.status() == psutil.STATUS_ZOMBIE:
                continue
            in_session = bool(known) and os.getsid(pid) in known
            if in_session or mark in process.environ().get(MARK, "").split(":"):
                found.append(pid)
    return found


def end_all(mark: str, sessions: Iterable[int] = (), seconds: float = 10.0) -> list[int]:
    """Kill every process with the mark, in these sessions, or below such a one.

    Returns the ids of those that are still there after `seconds`.
    """
    import psutil

    deadline = time.monotonic() + seconds
    below: set[psutil.Process] = set()
    quiet = 0
    while True:
        found = marked(mark, sessions)
        for pid in found:
            with contextlib.suppress(psutil.Error):
                process = psutil.Process(pid)
                below.update([process, *process.children(recursive=True)])
        for process in below:
            # psutil compares start times: a number that was given to another process is safe.
            with contextlib.suppress(psutil.Error):
                process.kill()
        below = {process for process in below if _runs(process)}
        # A process that was just being replaced by exec shows no environment: look twice.
        quiet = 0 if found or below else quiet + 1
        if quiet == 2:
            return []
        if time.monotonic() > deadline:
            return sorted({*found, *(process.pid for process in below)})
        time.sleep(QUIET_SECONDS)


def _runs(process: object) -> bool:
    import psutil

    assert isinstance(process, psutil.Process)
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.Error:
        return False


def listens(mark: str, port: int) -> bool:
    """Whether a process with the mark listens on the port."""
    import psutil

    for pid in marked(mark):
        with contextlib.suppress(psutil.Error):
            for connection in psutil.Process(pid).net_connections("tcp"):
                if connection.status == psutil.CONN_LISTEN and connection.laddr.port == port:
                    return True
    return False
