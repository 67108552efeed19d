"""What one `invoke dev` holds from start to end: its lock, mark, scratch folder and guard."""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import secrets
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from dagmar.dev import guard, processes
from dagmar.errors import Conflict, SetupError
from dagmar.files import write_atomically
from dagmar.project import devfile
from dagmar.project.layout import DAGMAR, LOGIN_PAGE, SCRATCH, SESSION_NOTE, make_folder

LOCK_SECONDS = 12.0
GUARD_SECONDS = 15.0
GUARD_TRIES = 5


class Session:
    """One `invoke dev` at a time in a project, which leaves no process and no file behind.

    The guard is started before anything else, and holds the lock while it cleans up.
    """

    def __init__(self, root: Path) -> None:
        """Take the lock.

        Raises Conflict if another one runs, SetupError if nothing can be written.
        """
        self.root = root
        self.mark = secrets.token_hex(8)
        # Short, because Dagster's code servers keep sockets there, whose paths are limited.
        self.scratch = _temporary() / f"dagmar-{self.mark}"
        self.folder = root / DAGMAR
        self.page = root / LOGIN_PAGE
        self._note = root / SESSION_NOTE
        self._sessions: set[int] = set()
        self._guard: subprocess.Popen[bytes] | None = None
        self._tries = 0
        with self._writing():
            self.folder.mkdir(parents=True, exist_ok=True)
            make_folder(root / SCRATCH)
            self._lock = os.open(self.folder, os.O_RDONLY)
        try:
            self._take_lock()
        except BaseException:
            os.close(self._lock)
            raise

    def open(self) -> None:
        """Start the guard, then create the scratch folder. Raises SetupError."""
        self._clean_up_killed()
        self._start_guard()
        with self._writing():
            self.scratch.mkdir(mode=0o700)
            write_atomically(self._note, str(self.scratch), 0o600)

    def add(self, session: int) -> None:
        """Let the guard end this process session too, even if its environment lacks the mark."""
        self._sessions.add(session)
        self._tell_guard(f"+{session}\n")

    def discard(self, session: int) -> None:
        """Forget a process session that has ended."""
        self._sessions.discard(session)
        self._tell_guard(f"-{session}\n")

    def keep_guard(self, warn: Callable[[str], None]) -> None:
        """Start another guard if it has ended; after GUARD_TRIES warn once instead."""
        if not self._guard or self._guard.poll() is None or self._tries > GUARD_TRIES:
            return
        self._tries += 1
        if self._tries > GUARD_TRIES:
            warn(
                "the clean-up process keeps exiting "
                f"(status {self._guard.returncode}): stop with Ctrl-C, not with kill -9"
            )
            return
        with contextlib.suppress(OSError):  # too many processes: perhaps at the next tick
            self._start_guard()

    def write_devfile(self, running: devfile.Running) -> None:
        """Write `.dagmar/tmp/dev.json`. Raises SetupError."""
        with self._writing():
            devfile.write(self.root, running)

    def close(self) -> bool:
        """Let the guard kill what still runs and remove the files. Returns whether all is gone."""
        gone = True
        if self._guard and self._guard.stdin:
            self._guard.stdin.close()
            try:
                gone = self._guard.wait(GUARD_SECONDS) == 0
            except subprocess.TimeoutExpired:
                self._guard.kill()
                gone = False
            if not gone:  # the guard itself may have been killed
                gone = not guard.clean_up(self._leavings(), self._sessions)
        os.close(self._lock)
        return gone

    def _clean_up_killed(self) -> None:
        """Remove what an earlier session left if its guard was killed too: the lock is free now."""
        try:
            scratch = Path(self._note.read_text("utf-8"))
        except (OSError, ValueError):
            return
        named = re.fullmatch(r"dagmar-([0-9a-f]{16})", scratch.name)
        ours = os.environ.get(processes.MARK, "").split(":")
        if named and scratch.is_absolute() and named[1] not in ours:
            processes.end_all(named[1])
            if not scratch.is_symlink():
                shutil.rmtree(scratch, ignore_errors=True)

    def _leavings(self) -> list[str]:
        files = (self.scratch, self.page, self._note)
        return [self.mark, str(self.root), str(os.getpid()), *map(str, files)]

    def _start_guard(self) -> None:
        before = self._guard
        self._guard = subprocess.Popen(
            [sys.executable, "-m", guard.__name__, *self._leavings()],
            bufsize=0,
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            pass_fds=[self._lock],
            start_new_session=True,
        )
        if before and before.stdin:
            before.stdin.close()
        for session in self._sessions:
            self._tell_guard(f"+{session}\n")

    def _tell_guard(self, line: str) -> None:
        if self._guard and self._guard.stdin:
            with contextlib.suppress(BrokenPipeError):
                self._guard.stdin.write(line.encode())

    def _take_lock(self) -> None:
        deadline = time.monotonic() + LOCK_SECONDS
        while True:
            try:
                fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return
            except OSError as error:
                running = devfile.read(self.root)
                if running is None and not isinstance(error, BlockingIOError):
                    return  # a file system without locks
            if running is not None:
                raise _already_running(running)
            # The other one is just starting, or its guard is cleaning up.
            if time.monotonic() > deadline:
                raise Conflict(
                    "another `invoke dev` of this project is starting or ending",
                    "Try again in a moment.",
                )
            time.sleep(0.1)

    @contextlib.contextmanager
    def _writing(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            place = error.filename or self.folder
            raise SetupError(
                f"{place} cannot be written: {error.strerror}",
                "invoke dev keeps its files in .dagmar/ of the project.",
            ) from None


def _temporary() -> Path:
    """Return the system's folder for temporary files. Raises SetupError if there is none."""
    try:
        return Path(tempfile.gettempdir())
    except OSError as error:  # it tries to write into each candidate
        raise SetupError(
            f"no temporary file can be written: {error.strerror}",
            "Free some space there (see: df -h), or use another folder: export TMPDIR=DIR",
        ) from None


def _already_running(running: devfile.Running) -> Conflict:
    places = {
        "Dagster": running.dagster_url,
        "marimo": running.marimo_url,
        "reports": running.reports_url,
    }
    where = ", ".join(f"{name} at {url}" for name, url in places.items() if url)
    return Conflict(
        f"invoke dev already runs in this project (process {running.pid}): {where}",
        f"Use that one, or stop it: kill {running.pid}",
    )
