"""One Dagster server as a child process: started, waited for, stopped with all its children."""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType

from dagmar.dev.ports import HOST, free_port
from dagmar.errors import SetupError, TimedOut

INTERRUPT_SECONDS = 15.0
TERMINATE_SECONDS = 5.0
_PR_SET_PDEATHSIG = 1


class DagsterServer:
    """A Dagster webserver with all that it starts, as a context manager.

    `command` is run in `folder`; `{port}` in it becomes the port. What it prints goes to `log`.
    """

    def __init__(
        self,
        command: Sequence[str],
        folder: Path,
        log: Path,
        environ: Mapping[str, str] | None = None,
        port: int | None = None,
        path_prefix: str = "",
    ) -> None:
        self.port = free_port(port)
        self.url = f"http://{HOST}:{self.port}{path_prefix}"
        self.log = log
        self._command = [part.replace("{port}", str(self.port)) for part in command]
        self._folder = folder
        self._environ = {**os.environ, **(environ or {})}
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> DagsterServer:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    def start(self) -> None:
        """Start the process. Raises SetupError where its program is missing."""
        self.log.parent.mkdir(parents=True, exist_ok=True)
        try:
            with self.log.open("wb") as log:
                self._process = subprocess.Popen(
                    self._command,
                    cwd=self._folder,
                    env=self._environ,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    start_new_session=True,
                    preexec_fn=die_with_tests,
                )
        except FileNotFoundError:
            raise SetupError(
                f"{self._command[0]} is not installed",
                "Type: uv sync",
            ) from None

    @property
    def group(self) -> int | None:
        """The id of the process group of the server and its children, while it runs."""
        return self._process.pid if self._process else None

    def wait(self, seconds: float = 120.0) -> None:
        """Wait until code locations have loaded and the server answers.

        Raises SetupError with the last lines of its log where it ends before that, TimedOut.
        """
        import requests

        deadline = time.monotonic() + seconds
        with requests.Session() as session:
            session.trust_env = False
            while time.monotonic() < deadline:
                if self._process is None or self._process.poll() is not None:
                    raise SetupError(f"Dagster ended before it was ready:\n{self.last_lines()}")
                with contextlib.suppress(requests.RequestException, ValueError):
                    answer = session.get(f"{self.url}/server_info", timeout=5)
                    if answer.ok and "dagster_version" in answer.json():
                        return
                time.sleep(0.1)
        raise TimedOut(f"Dagster was not ready after {seconds:g} s:\n{self.last_lines()}")

    def last_lines(self, count: int = 15) -> str:
        """Return the end of the log."""
        lines = self.log.read_text("utf-8", "replace").splitlines()
        return "\n".join(lines[-count:])

    def stop(self) -> None:
        """Stop the server and everything in its process group: INT, then TERM, then KILL."""
        process, self._process = self._process, None
        if process is None:
            return
        for number, seconds in (
            (signal.SIGINT, INTERRUPT_SECONDS),
            (signal.SIGTERM, TERMINATE_SECONDS),
            (signal.SIGKILL, TERMINATE_SECONDS),
        ):
            # The leader first: it ends its children in order.
            target = os.kill if number == signal.SIGINT else os.killpg
            with contextlib.suppress(ProcessLookupError):
                target(process.pid, number)
            if _wait_for_group(process, seconds):
                return


def _wait_for_group(process: subprocess.Popen[bytes], seconds: float) -> bool:
    """Wait until no process of the group is left."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        process.poll()  # reaps the leader, which would count as alive
        try:
            os.killpg(process.pid, 0)
        except ProcessLookupError:
            return True
        time.sleep(0.05)
    return False


def die_with_tests() -> None:
    """Let the program that a child becomes hear SIGINT, and SIGTERM once this process is gone."""
    # Dagster started with SIGINT ignored (`invoke … &`) would ignore SIGTERM as well.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    if sys.platform == "linux":
        # If this process is killed, the server must not stay and hold the port.
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
