"""One server as a child process in its own session, and what it prints."""

from __future__ import annotations

import collections
import contextlib
import os
import signal
import subprocess
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from dagmar.errors import SetupError

LAST_LINES = 15
_LINE_BYTES = 65536


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
