"""Following runs and backfills to their end: progress, logs, warnings.

If the server goes away, it is waited for: what was launched goes on without it.
"""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, TypeVar

from dagmar import console
from dagmar.console import LiveLine, tame
from dagmar.errors import DagmarError, TimedOut, Unreachable
from dagmar.failure import Failure
from dagmar.server import runs
from dagmar.server.backfills import Backfill, read_backfill
from dagmar.server.client import DagsterClient
from dagmar.server.runs import (
    Run,
    is_shown,
    lacks_daemon,
    read_outcome,
    read_run,
    read_run_and_logs,
)
from dagmar.server.shapes import next_cursor

UNREAD = Failure("its page has the reason")
LOST_SECONDS = 120.0
SAY_EVERY_SECONDS = 60.0  # a CI may cancel a job that is silent for some minutes
PHASES = {
    "NOT_STARTED": "waiting to start",
    "QUEUED": "queued",
    "STARTING": "starting",
    "STARTED": "running",
    "CANCELING": "cancelling",
    "REQUESTED": "running",
}
State = TypeVar("State", Run, Backfill)


class RunProgress(LiveLine):
    """A live line for the current run or backfill; in a log file, one line per minute."""

    def __init__(self) -> None:
        super().__init__("launched")
        self._said = time.monotonic()

    def show(self, state: Run | Backfill) -> None:
        """Show the phase of a run or backfill, and how much of it is done."""
        phase = PHASES.get(state.status, state.status.lower())
        if isinstance(state, Run):
            done, total = state.steps_done, state.steps_total
            steps = f" · {done}/{total} steps" if total else ""
            running = f" · {', '.join(state.steps_running[:3])}" if state.steps_running else ""
            text = f"{phase}{steps}{running}"
        else:
            done, total = state.done, state.total
            failed = f" · {state.failed} failed" if state.failed else ""
            text = f"{phase} · {done:,}/{total:,} partitions{failed}"
        self.put(tame(text), done, total or None)
        if not sys.stderr.isatty() and time.monotonic() - self._said >= SAY_EVERY_SECONDS:
            self._said = time.monotonic()
            console.say(f"{datetime.now():%H:%M:%S}  {text}")


@dataclass
class Follower:
    """Follows runs and backfills on one server.

    `deadline` is a `time.monotonic()` value; `logs` is whether to print the log.
    """

    client: DagsterClient
    progress: RunProgress
    poll_seconds: float = 0.5
    deadline: float | None = None
    logs: bool = False
    _warned: set[str] = field(default_factory=set)
    _logs: dict[str, _Log] = field(default_factory=dict)

    def run(self, run_id: str) -> Run:
        """Follow a run to its end; it then has its asset checks, and the reason if it failed.

        Raises TimedOut at the deadline, and Unreachable if the server stays away.
        """
        log = self._logs.setdefault(run_id, _Log(self.client, run_id))
        read = log.read if self.logs else lambda: read_run(self.client, run_id)
        run = self._until_final(read, f"Run {run_id}", run_id)
        if self.logs:
            with warn_on_error(f"the rest of the log of run {run_id}"):
                log.finish()
        add_outcome(self.client, run)
        return run

    def backfill(self, backfill_id: str) -> Backfill:
        """Follow a backfill to its end. Raises as `run` does."""
        return self._until_final(
            lambda: read_backfill(self.client, backfill_id), f"Backfill {backfill_id}", backfill_id
        )

    def _until_final(self, read: Callable[[], State], what: str, name: str) -> State:
        seen = first = time.monotonic()
        come_back = "To come back to it, type:", f"invoke run --follow {name}"
        while True:
            now = time.monotonic()
            try:
                state = read()
            except DagmarError as error:
                # A proxy may answer with a login page while Dagster restarts.
                if now - seen > LOST_SECONDS:
                    raise Unreachable(f"{error.message}; {what} may go on", *come_back) from None
                if "lost" not in self._warned:
                    self._warned.add("lost")
                    console.warn(f"{error.message}. Still trying; {what} may go on.")
            else:
                seen = now
                self._warned.discard("lost")
                self.progress.show(state)
                if state.final:
                    return state
                if now - first > runs.WARN_AFTER_SECONDS:
                    self._warn_without_daemon(state.status)
            pause = max(now + self.poll_seconds - time.monotonic(), 0)
            if self.deadline is not None and time.monotonic() + pause > self.deadline:
                raise TimedOut(f"{what} has not ended in the time allowed", *come_back)
            time.sleep(pause)

    def _warn_without_daemon(self, status: str) -> None:
        """Warn once if a run of this status waits for a daemon that is not running."""
        if status not in self._warned:
            self._warned.add(status)
            with warn_on_error("whether a Dagster daemon is running"):
                if lacks_daemon(self.client, status):
                    console.warn(f"it {runs.NO_DAEMON}")


@contextlib.contextmanager
def warn_on_error(what: str) -> Iterator[None]:
    """Turn an error in optional extra output into a warning, so that it never hides the status."""
    try:
        yield
    except DagmarError as error:
        console.warn(f"{what} cannot be read: {error.message}")


def add_outcome(client: DagsterClient, run: Run) -> None:
    """Add why it failed, and its asset checks, to a run that has ended."""
    if not run.final:
        return
    what = f"the asset checks of run {run.run_id}"
    if run.status == "FAILURE":
        run.error, what = UNREAD, f"why run {run.run_id} failed"
    with warn_on_error(what):
        read_outcome(client, run)


class _Log:
    """The log of a run, each line printed once, as it comes."""

    def __init__(self, client: DagsterClient, run_id: str) -> None:
        self._client, self._run_id = client, run_id
        self._cursor: str | None = None
        self._files: list[str] = []

    def read(self) -> Run:
        """Return the run and print what is new in its log, in one request."""
        run, page = read_run_and_logs(self._client, self._run_id, self._cursor)
        self._print(page)
        return run

    def finish(self) -> None:
        """Print the rest of the log, and the output of the steps."""
        more = True
        while more:
            before = self._cursor
            _, page = read_run_and_logs(self._client, self._run_id, before)
            self._print(page)
            if more := page["hasMore"]:
                next_cursor(before, page["cursor"])
        for file in self._files:
            key = [self._run_id, "compute_logs", file]
            captured = self._client.query("CapturedLogs", key=key)["capturedLogs"]
            for stream in ("stdout", "stderr"):
                for line in (captured[stream] or "").splitlines():
                    # Dagster's own log, which was printed already, is in it, too.
                    if self._run_id not in line:
                        console.say(f"{stream}  {line}")

    def _print(self, page: dict[str, Any]) -> None:
        self._cursor = page["cursor"]
        for event in page["events"]:
            if event.get("fileKey"):
                self._files.append(event["fileKey"])
            if not is_shown(event):
                continue
            moment = datetime.fromtimestamp(int(event["timestamp"]) / 1000)
            step = f"{event['stepKey']}  " if event["stepKey"] else ""
            console.say(f"{moment:%H:%M:%S}  {event['level']:<8} {step}{event['message']}")
