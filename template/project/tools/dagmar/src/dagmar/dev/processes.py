"""The processes of one `invoke dev`, known by a mark in their environment.

Each process that a server starts inherits the environment, whatever session or parent it moves
to, so they are read from the system and not from memory.
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

from dagmar.errors import SetupError

MARK = "_DAGMAR_DEV"
QUIET_SECONDS = 0.05
LAST_LINES = 15
_LINE_BYTES = 65536


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


class Child:
    """A program that runs until it is stopped.

    `printed` gets each line as text, from a thread of its own; `ended` is called with the
    child and its status once the program has ended and everything it printed was passed on.
    The caller must have handlers for SIGINT, SIGTERM and SIGHUP: only then does the program
    start with their defaults, and not with what a shell's `&` made of them.
    """

    def __init__(self, arguments: Sequence[str], folder: Path, environ: Mapping[str, str]) -> None:
        """Prepare to start `arguments` in `folder`; nothing runs yet."""
        self.arguments = arguments
        self.last: collections.deque[str] = collections.deque(maxlen=LAST_LINES)
        self._folder = folder
        self._environ = environ
        self._process: subprocess.Popen[bytes] | None = None

    def start(self, printed: Callable[[str], None], ended: Callable[[Child, int], None]) -> None:
        """Start the program. Raises SetupError where it cannot be started."""
        try:
            process = subprocess.Popen(
                self.arguments,
                cwd=self._folder,
                env=dict(self._environ),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        except OSError as error:
            reason = f"{self.arguments[0]} cannot be started: {error.strerror}"
            raise SetupError(reason, "Type: uv sync") from None
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
        """Send a signal to the program, which tells its own children."""
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
