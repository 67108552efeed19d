"""Tokens that a command prints, for logins whose tokens expire within minutes."""

from __future__ import annotations

import atexit
import contextlib
import functools
import os
import re
import select
import signal
import subprocess
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import IO

from dagmar.errors import DagmarError, NotAllowed, SetupError

TIMEOUT_SECONDS = 60.0
POLL_SECONDS = 0.05
CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff]")
"""What no HTTP header can hold."""
LARGEST = 65_536
"""Bytes that are read at a time."""
_HINT = "Type the command that is listed there, to see what it prints."


class TokenCommand:
    """A command that prints a token, which is kept in this process only.

    Neither the command nor what it prints is in `repr` or in an error: both may be secret.
    """

    def __init__(self, command: tuple[str, ...], folder: Path, key: str, header: str) -> None:
        """Run `command` in `folder`; errors name the setting `key`.

        `header` is what is sent, as in `Authorization: Bearer {}`.
        """
        self._command, self._folder, self._key = command, folder, key
        self._name, _, self._value = header.partition(": ")
        self._token = ""
        self._lock = threading.Lock()

    def header(self, refused: Mapping[str, str] | None = None) -> dict[str, str]:
        """Return the header with the token, another one than a server has `refused`.

        The command runs for the first token, and after that only if one is refused. Raises
        SetupError if it cannot be started, NotAllowed if it prints no token.
        """
        with self._lock:  # of several threads that a server refuses, one runs the command
            if not self._token or self._shown() == refused:
                self._token = ""
                self._token = self._run()
            return self._shown()

    def _shown(self) -> dict[str, str]:
        return {self._name: self._value.replace("{}", self._token)}

    def _run(self) -> str:
        try:
            process = subprocess.Popen(
                self._command,
                cwd=self._folder,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                start_new_session=True,
                bufsize=0,
            )
        except OSError as error:
            message = f"{self._key}: the command cannot be started: {error.strerror}"
            hint = "It is a list of a program and its arguments, without a shell: no `~`, no `$`."
            raise SetupError(message, hint) from None
        assert process.stdout
        kill = functools.partial(_kill, process)
        atexit.register(kill)  # a daemon thread, as of `invoke doctor`, does not get to `finally`
        try:
            output = _output(process, process.stdout)
        except subprocess.TimeoutExpired:
            raise self._none(f"did not end within {TIMEOUT_SECONDS:g} s") from None
        finally:
            kill()
            atexit.unregister(kill)
            process.stdout.close()
        if process.returncode:
            raise self._none(f"ended with status {process.returncode}")
        token = output.decode("utf-8", "surrogateescape").strip()
        if not token:
            raise self._none("printed nothing")
        if CONTROL.search(token):
            raise self._none("printed more than one line, or characters that no token has")
        return token

    def _none(self, problem: str) -> DagmarError:
        return NotAllowed(f"{self._key}: the command {problem}, so there is no token", _HINT)


def _output(process: subprocess.Popen[bytes], pipe: IO[bytes]) -> bytes:
    """Return what the command prints until it ends, also if what it has started goes on.

    Raises TimeoutExpired.
    """
    deadline = time.monotonic() + TIMEOUT_SECONDS
    os.set_blocking(pipe.fileno(), False)
    ready = select.poll()
    ready.register(pipe, select.POLLIN)
    output = b""
    while True:
        ended = process.poll() is not None  # before the last of it is read
        while news := pipe.read(LARGEST):
            output += news
        if ended:
            return output
        left = deadline - time.monotonic()
        if left < 0 or news == b"":  # the end of the file: nobody can print any more
            process.wait(max(left, 0))
        else:
            ready.poll(min(left, POLL_SECONDS) * 1000)


def _kill(process: subprocess.Popen[bytes]) -> None:
    """Kill the command with everything that it has started, unless it has ended."""
    if process.poll() is None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


@functools.cache
def token_command(command: tuple[str, ...], folder: Path, key: str, header: str) -> TokenCommand:
    """Return the one TokenCommand of this process for a setting: its token serves every client."""
    return TokenCommand(command, folder, key, header)
