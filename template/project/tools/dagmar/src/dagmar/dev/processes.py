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
from typing import TYPE_CHECKING

from dagmar.errors import SetupError

if TYPE_CHECKING:
    import psutil

MARK = "_DAGMAR_DEV"
QUIET_SECONDS = 0.05
LAST_LINES = 15
END_SECONDS = 10.0
_LINE_BYTES = 65536


def add_mark(environ: Mapping[str, str], mark: str) -> dict[str, str]:
    """Return the environment with the mark, after the mark of an outer `invoke dev`."""
    return {**environ, MARK: ":".join(filter(None, [environ.get(MARK), mark]))}


def marked(mark: str, sessions: Iterable[int] = ()) -> list[int]:
    """Return the ids of the processes with the mark, and of all in these sessions."""
    import psutil

    marked_pids = []
    known = set(sessions)
    for pid in psutil.pids():
        with contextlib.suppress(psutil.Error, OSError):
            process = psutil.Process(pid)
            if pid == os.getpid() or process.status() == psutil.STATUS_ZOMBIE:
                continue
            in_session = bool(known) and os.getsid(pid) in known
            if in_session or mark in process.environ().get(MARK, "").split(":"):
                marked_pids.append(pid)
    return marked_pids


def end_all(mark: str, sessions: Iterable[int] = ()) -> list[int]:
    """Kill every process with the mark or in these sessions, and their descendants.

    Returns the ids of those that still run after END_SECONDS.
    """
    import psutil

    deadline = time.monotonic() + END_SECONDS
    below: set[psutil.Process] = set()
    quiet = 0
    while True:
        pids = marked(mark, sessions)
        for pid in pids:
            with contextlib.suppress(psutil.Error):
                process = psutil.Process(pid)
                below.update([process, *process.children(recursive=True)])
        for process in below:
            # psutil compares start times, so a reused id does not kill another process.
            with contextlib.suppress(psutil.Error):
                process.kill()
        below = {process for process in below if _runs(process)}
        # In the middle of exec a process shows no environment: look twice.
        quiet = 0 if pids or below else quiet + 1
        if quiet == 2:
            return []
        if time.monotonic() > deadline:
            return sorted({*pids, *(process.pid for process in below)})
        time.sleep(QUIET_SECONDS)


def _runs(process: psutil.Process) -> bool:
    import psutil

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


class Child:
    """A program that runs until it is stopped.

    `printed` gets each line as text, in another thread; `ended` is called with the child and
    its status once the program has ended and everything it printed was passed on.
    The caller must have handlers for SIGINT, SIGTERM and SIGHUP: only then does the program
    start with the defaults, and not with the signals ignored that a shell's `&` ignores.
    """

    def __init__(self, arguments: Sequence[str], folder: Path, environ: Mapping[str, str]) -> None:
        """Prepare to start `arguments` in `folder`; nothing runs yet."""
        self._arguments = arguments
        self.last: collections.deque[str] = collections.deque(maxlen=LAST_LINES)
        self._folder = folder
        self._environ = environ
        self._process: subprocess.Popen[bytes] | None = None

    def start(self, printed: Callable[[str], None], ended: Callable[[Child, int], None]) -> None:
        """Start the program. Raises SetupError if it cannot be started."""
        try:
            process = subprocess.Popen(
                self._arguments,
                cwd=self._folder,
                env=dict(self._environ),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        except OSError as error:
            reason = f"{self._arguments[0]} cannot be started: {error.strerror}"
            raise SetupError(reason, command="uv sync") from None
        self._process = process
        pump = threading.Thread(target=self._pump, args=(process, printed), daemon=True)
        pump.start()
        threading.Thread(target=self._wait, args=(process, pump, ended), daemon=True).start()

    @property
    def session(self) -> int:
        """The id of the program's session, process group and first process."""
        assert self._process, "not started"
        return self._process.pid

    @property
    def running(self) -> bool:
        """Whether the program itself runs; processes that it started may outlive it."""
        return self._process is not None and self._process.returncode is None

    def send(self, number: signal.Signals) -> None:
        """Send a signal to the program only, which passes it on to its own children."""
        if self.running:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.session, number)

    def send_all(self, number: signal.Signals) -> None:
        """Send a signal to every process of the group."""
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.session, number)

    def _pump(self, process: subprocess.Popen[bytes], printed: Callable[[str], None]) -> None:
        assert process.stdout
        with process.stdout as stream:
            for raw in iter(lambda: stream.readline(_LINE_BYTES), b""):
                line = raw.decode("utf-8", "replace").rstrip("\r\n")
                self.last.append(line)
                printed(line)

    def _wait(
        self,
        process: subprocess.Popen[bytes],
        pump: threading.Thread,
        ended: Callable[[Child, int], None],
    ) -> None:
        status = process.wait()
        # Orphans may hold the pipe open for as long as they like.
        pump.join(1.0)
        ended(self, status)
