"""Looking at runs and backfills until they end: progress, logs, warnings.

A server that is restarted is waited for: what was launched goes on without it.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Protocol, TypeVar

from dagmar import console
from dagmar.errors import DagmarError, TimedOut, Unreachable
from dagmar.failure import Failure
from dagmar.runs.progress import RunProgress
from dagmar.server import runs
from dagmar.server.backfills import Backfill, read_backfill
from dagmar.server.client import DagsterClient
from dagmar.server.runs import Run, explain, is_shown, lacks_daemon, read_run, read_run_and_logs

UNREAD = Failure("its page tells why")
LOST_SECONDS = 120.0


class _State(Protocol):
    @property
    def status(self) -> str: ...
    @property
    def final(self) -> bool: ...


State = TypeVar("State", bound=_State)


@dataclass
class Follower:
    """Follows runs and backfills on one server.

    `deadline` is a `time.monotonic()` value; `logs` prints what Dagster logs meanwhile.
    """

    client: DagsterClient
    progress: RunProgress
    poll_seconds: float = 0.5
    deadline: float | None = None
    logs: bool = False
    _warned: set[str] = field(default_factory=set)
    _logs: dict[str, _Log] = field(default_factory=dict)

    def run(self, run_id: str) -> Run:
        """Follow a run to its end; a failure is explained in it.

        Raises TimedOut at the deadline, and Unreachable when the server stays away.
        """
        log = self._logs.setdefault(run_id, _Log(self.client, run_id))
        look = log.read if self.logs else lambda: read_run(self.client, run_id)
        run = self._until_final(look, f"Run {run_id}", run_id)
        if self.logs:
            with aside(f"the rest of the log of run {run_id}"):
                log.finish()
        add_reason(self.client, run)
        return run

    def backfill(self, backfill_id: str) -> Backfill:
        """Follow a backfill to its end. Raises as `run` does."""
        return self._until_final(
            lambda: read_backfill(self.client, backfill_id), f"Backfill {backfill_id}", backfill_id
        )

    def _until_final(self, look: Callable[[], State], what: str, name: str) -> State:
        seen = first = time.monotonic()
        come_back = f"To come back to it, type: invoke run --follow {name}"
        while True:
            looked = time.monotonic()
            try:
                state = look()
            except DagmarError as error:
                # A login page or a strange answer may stand there while Dagster restarts.
                if looked - seen > LOST_SECONDS:
                    raise Unreachable(f"{error.message}; {what} may go on", come_back) from None
                self._warn_once(
                    "lost", f"{error.message}. Still trying; {what} may go on meanwhile."
                )
            else:
                seen = looked
                self._warned.discard("lost")
                self.progress.show(state)
                if state.final:
                    return state
                if looked - first > runs.WARN_AFTER_SECONDS:
                    self._warn_unwatched(state)
            pause = max(looked + self.poll_seconds - time.monotonic(), 0)
            if self.deadline is not None and time.monotonic() + pause > self.deadline:
                raise TimedOut(f"{what} has not ended in the time allowed", come_back)
            time.sleep(pause)

    def _warn_unwatched(self, state: _State) -> None:
        """Warn if a run waits for a daemon that is not running."""
        if state.status in self._warned:
            return
        self._warned.add(state.status)
        waits = False
        with aside("whether a Dagster daemon is running"):
            waits = lacks_daemon(self.client, state.status)
        if waits:
            console.warn(f"it {runs.NO_DAEMON}")

    def _warn_once(self, kind: str, text: str) -> None:
        if kind not in self._warned:
            self._warned.add(kind)
            console.warn(text)


@contextlib.contextmanager
def aside(what: str) -> Iterator[None]:
    """Turn an error in optional extra output into a warning, so that it never hides the status."""
    try:
        yield
    except DagmarError as error:
        console.warn(f"{what} cannot be read: {error.message}")


def add_reason(client: DagsterClient, run: Run) -> None:
    """Find out why a run failed, if it did."""
    if run.status == "FAILURE":
        run.error = UNREAD
        with aside(f"why run {run.run_id} failed"):
            run.error = explain(client, run.run_id)


class _Log:
    """What Dagster logs about a run, printed once as it comes."""

    def __init__(self, client: DagsterClient, run_id: str) -> None:
        self._client, self._run_id = client, run_id
        self._cursor: str | None = None
        self._files: list[str] = []

    def read(self) -> Run:
        """Look at the run and print the news about it, in one request."""
        run, page = read_run_and_logs(self._client, self._run_id, self._cursor)
        self._print(page)
        return run

    def finish(self) -> None:
        """Print what came last, and what the steps themselves printed."""
        more = True
        while more:
            _, page = read_run_and_logs(self._client, self._run_id, self._cursor)
            self._print(page)
            more = page["hasMore"]
        for file in self._files:
            key = [self._run_id, "compute_logs", file]
            captured = self._client.query("CapturedLogs", key=key)["capturedLogs"]
            for stream in ("stdout", "stderr"):
                for line in (captured[stream] or "").splitlines():
                    # Dagster's own log goes there too, and was printed already.
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
