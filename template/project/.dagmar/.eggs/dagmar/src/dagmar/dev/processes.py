"""The processes of one `invoke dev`, known by a mark in their environment.

Each process that a server starts inherits the environment, whatever session or parent it moves
to, so the processes are read from the system and not from memory.
"""

from __future__ import annotations

import collections
import contextlib
import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

import psutil

from dagmar.errors import SetupError
from dagmar.project.installing import sync_command

MARK = "_DAGMAR_DEV"
QUIET_SECONDS = 0.05
LAST_LINES = 15
END_SECONDS = 10.0
_LINE_BYTES = 65536


def add_mark(environ: Mapping[str, str], mark: str) -> dict[str, str]:
    """Return the environment with the mark, after the mark of an outer `invoke dev`."""
    return {**environ, MARK: ":".join(filter(None, [environ.get(MARK), mark]))}


def marked(mark: str, sessions: Iterable[int] = ()) -> list[psutil.Process]:
    """Return the processes with the mark, and all in these sessions."""
    processes = []
    known = set(sessions)
    for pid in psutil.pids():
        with contextlib.suppress(psutil.Error, OSError):
            process = psutil.Process(pid)
            if pid == os.getpid() or process.status() == psutil.STATUS_ZOMBIE:
                continue
            in_session = bool(known) and os.getsid(pid) in known
            if in_session or mark in process.environ().get(MARK, "").split(":"):
                processes.append(process)
    return processes


def end_all(mark: str, sessions: Iterable[int] = ()) -> list[int]:
    """Kill every process with the mark or in these sessions, and their descendants.

    Returns the ids of those that still run after END_SECONDS.
    """
    deadline = time.monotonic() + END_SECONDS
    below: set[psutil.Process] = set()
    quiet = 0
    while True:
        above = marked(mark, sessions)
        for process in above:
            with contextlib.suppress(psutil.Error):
                below.update([process, *process.children(recursive=True)])
        for process in below:
            # psutil compares start times, so a reused id does not kill another process.
            with contextlib.suppress(psutil.Error):
                process.kill()
        below = {process for process in below if _runs(process)}
        # In the middle of exec a process shows no environment: look twice.
        quiet = 0 if above or below else quiet + 1
        if quiet == 2:
            return []
        if time.monotonic() > deadline:
            return sorted({process.pid for process in (*above, *below)})
        time.sleep(QUIET_SECONDS)


def _runs(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.Error:
        return False


def listens(mark: str, port: int) -> bool:
    """Whether a process with the mark listens on the port."""
    for process in marked(mark):
        with contextlib.suppress(psutil.Error):
            for connection in process.net_connections("tcp"):
                if connection.status == psutil.CONN_LISTEN and connection.laddr.port == port:
                    return True
    return False


class Child:
    """A program that runs until it is stopped.

    The caller must have handlers for SIGINT, SIGTERM and SIGHUP: only then does the program
    start with the defaults, and not with the signals ignored that a shell's `&` ignores.
    """

    def __init__(self, arguments: Sequence[str], folder: Path, environ: Mapping[str, str]) -> None:
        """Start `arguments` in `folder`. Raises SetupError if that cannot be done."""
        self.last: collections.deque[str] = collections.deque(maxlen=LAST_LINES)
        try:
            self._process = subprocess.Popen(
                arguments,
                cwd=folder,
                env=dict(environ),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        except OSError as error:
            reason = f"{arguments[0]} cannot be started: {error.strerror}"
            raise SetupError(reason, command=sync_command(folder)) from None

    def watch(self, printed: Callable[[str], None], ended: Callable[[int], None]) -> None:
        """Pass on each line as text, and its status once it has ended, from other threads.

        Everything that it printed is passed on before the status is.
        """
        pump = threading.Thread(target=self._pump, args=(printed,), daemon=True)
        pump.start()

        def wait() -> None:
            status = self._process.wait()
            # Orphans may hold the pipe open for as long as they like.
            pump.join(1.0)
            ended(status)

        threading.Thread(target=wait, daemon=True).start()

    @property
    def session(self) -> int:
        """The id of the program's session, process group and first process."""
        return self._process.pid

    @property
    def running(self) -> bool:
        """Whether the program itself runs; processes that it started may outlive it."""
        return self._process.returncode is None

    def send(self, number: signal.Signals) -> None:
        """Send a signal to the program only, which passes it on to its own children."""
        self._process.send_signal(number)

    def send_all(self, number: signal.Signals) -> None:
        """Send a signal to every process of the group."""
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.session, number)

    def _pump(self, printed: Callable[[str], None]) -> None:
        assert self._process.stdout
        with self._process.stdout as stream:
            for raw in iter(lambda: stream.readline(_LINE_BYTES), b""):
                line = raw.decode("utf-8", "replace").rstrip("\r\n")
                self.last.append(line)
                printed(line)
