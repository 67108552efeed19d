"""The runs of one `invoke run`: launched and followed, or cancelled, with their result.

Launches are prepared by `runs/prepare.py`, and sent by `server/launch.py`.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import Enum
from typing import Any

from dagmar import console
from dagmar.errors import (
    DagmarError,
    Interrupted,
    Invalid,
    RunFailed,
    TimedOut,
    Unreachable,
    UsageError,
)
from dagmar.runs.following import Follower, RunProgress, add_reason, warn_on_error
from dagmar.server import backfills, launch, runs
from dagmar.server.backfills import Backfill
from dagmar.server.client import DagsterClient
from dagmar.server.launch import Launch
from dagmar.server.runs import NO_REASON, SUCCESS, Run

CANCEL_SECONDS = 60.0
BACKFILL_PACE = "Its runs are started by the Dagster daemon, which can take half a minute."


@dataclass(frozen=True)
class FollowOptions:
    """How long to follow what was launched, and what to show of it."""

    wait: bool = True
    timeout: float | None = None
    cancel_on_timeout: bool = False
    logs: bool = False

    def __post_init__(self) -> None:
        """Raise UsageError for flags that contradict each other."""
        if self.cancel_on_timeout and self.timeout is None:
            raise UsageError("--cancel-on-timeout needs --timeout", "For example: --timeout 600")
        if not self.wait and (self.timeout is not None or self.logs):
            raise UsageError("--no-wait does not fit --timeout or --logs")


class Goal(Enum):
    """The status that runs are to end with."""

    SUCCESS = runs.SUCCESS
    CANCELED = "CANCELED"


class Standing(Enum):
    """The status of everything together, as a sentence for messages."""

    GOING = "It goes on."
    UNKNOWN = "It may go on."
    CANCELED = "It was cancelled."
    PARTLY_CANCELED = "The rest was cancelled."
    ENDED = "It has ended."


@dataclass(frozen=True)
class RunResult:
    """The runs of one request, and their backfill, if any, with their status.

    `error` is what ended the request early.
    """

    runs: Sequence[Run] = ()
    backfill: Backfill | None = None
    error: DagmarError | None = None
    goal: Goal = Goal.SUCCESS

    def as_document(self) -> dict[str, Any]:
        """Return the JSON document."""
        document: dict[str, Any] = {"runs": [run.as_document() for run in self.runs]}
        if self.backfill:
            document["backfill"] = self.backfill.as_document()
        return document

    def show(self) -> None:
        """Print the status of each run."""
        if self.backfill:
            backfill = self.backfill
            console.out(f"{backfill.status}  {backfill.backfill_id}  {backfill.url}")
        for run in self.runs:
            seconds = f"  {run.seconds:.1f} s" if run.seconds is not None else ""
            partition = f"  {run.partition}" if run.partition else ""
            console.out(f"{run.status}  {run.run_id}{seconds}{partition}  {run.url}")

    def raise_for_status(self) -> None:
        """Raise the error that ended it early, or RunFailed for runs that missed the goal."""
        if self.error:
            raise self.error
        settled = set(self.backfill.runs) if self.backfill and self._reached else set()
        failed = [
            run
            for run in self.runs
            if run.final and run.status != self.goal.value and run.run_id not in settled
        ]
        messages = [_explanation(run) for run in failed]
        pages = [run.url for run in failed]
        retry = next((run.run_id for run in failed if run.status != SUCCESS), "")
        if self.backfill and self.backfill.final and not self._reached:
            if self.backfill.error or not failed:
                error, status = self.backfill.error, self.backfill.status.lower()
                reason = f": {error.text}" if error else f" is {status}"
                messages.append(f"backfill {self.backfill.backfill_id}{reason}")
            pages, retry = [self.backfill.url], ""
        if messages:
            page = f"Its page: {pages[0]}"
            if retry:
                page, command = f"{page}\n  To retry, type:", f"invoke run --retry {retry}"
            raise RunFailed("\n".join(messages), page, command if retry else "")

    @property
    def _reached(self) -> bool:
        """Whether the backfill reached the goal; a cancelled one keeps what it completed."""
        if self.backfill is None or self.goal is Goal.SUCCESS:
            return bool(self.backfill and self.backfill.succeeded)
        goal = self.goal.value
        return self.backfill.status == goal or goal in self.backfill.runs.values()


def _explanation(run: Run) -> str:
    name = f"run {run.run_id}" + (f" ({run.partition})" if run.partition else "")
    if run.status == SUCCESS:
        return f"{name} finished before it could be cancelled"
    if run.status != "FAILURE":
        return f"{name} was cancelled"
    error = run.error or NO_REASON
    step = f" in step {error.place}" if error.place else ""
    return "\n".join(filter(None, [f"{name} failed{step}: {error.text}", error.trace]))


class TrackedRuns:
    """The runs, and the backfill if there is one, that belong to one request."""

    def __init__(self, client: DagsterClient, poll_seconds: float, options: FollowOptions) -> None:
        """Track nothing yet; the timeout of `options` starts now."""
        self.client, self.poll_seconds, self.options = client, poll_seconds, options
        self.deadline = None if options.timeout is None else time.monotonic() + options.timeout
        self.runs: list[str] = []
        self.backfill = ""
        self._follower = Follower(client, RunProgress(), poll_seconds, logs=options.logs)

    @property
    def names(self) -> list[str]:
        """The ids of the runs and the backfill."""
        return [*self.runs, self.backfill] if self.backfill else [*self.runs]

    def find(self, name: str) -> None:
        """Track a run or a backfill by its id, or by the id of its launch.

        Raises Invalid if it does not exist.
        """
        if ids := launch.backfills_of(self.client, name):
            self.backfill = ids[0]
        elif ids := launch.runs_of(self.client, name):
            self.runs = ids
        else:
            try:
                self.runs = [runs.read_run(self.client, name).run_id]
            except Invalid as unknown:
                try:
                    self.backfill = backfills.read_backfill(self.client, name).backfill_id
                except Invalid:
                    raise unknown from None

    def follow(self, deadline: float | None) -> RunResult:
        """Follow all of them to their end. Raises TimedOut at the deadline, and Unreachable."""
        with RunProgress() as progress:
            self._follower.progress, self._follower.deadline = progress, deadline
            ended = [self._follower.run(run_id) for run_id in self.runs]
            if not self.backfill:
                return RunResult(ended)
            backfill = self._follower.backfill(self.backfill)
            return RunResult([*ended, *self._runs_of(backfill)], backfill)

    def look(self) -> RunResult:
        """Read all of them once; what cannot be read has the status UNKNOWN."""
        current = [self._look_at(run_id) for run_id in self.runs]
        if not self.backfill:
            return RunResult(current)
        try:
            backfill = backfills.read_backfill(self.client, self.backfill)
        except DagmarError:
            url = backfills.backfill_url(self.client, self.backfill)
            backfill = Backfill(self.backfill, url, runs.UNKNOWN, 0, 0, 0, {})
        return RunResult([*current, *self._runs_of(backfill)], backfill)

    def _look_at(self, run_id: str) -> Run:
        try:
            run = runs.read_run(self.client, run_id)
        except DagmarError:
            return Run(run_id, runs.run_url(self.client, run_id), runs.UNKNOWN)
        add_reason(self.client, run)
        return run

    def _runs_of(self, backfill: Backfill) -> list[Run]:
        """Return all runs of a backfill, read in one request; failed ones have their reason."""
        members = [
            Run(run_id, runs.run_url(self.client, run_id), status)
            for run_id, status in backfill.runs.items()
        ]
        if backfill.status != runs.UNKNOWN:
            with warn_on_error(f"more about the runs of backfill {backfill.backfill_id}"):
                tag = backfills.BACKFILL_TAG
                members = runs.read_tagged_runs(self.client, tag, backfill.backfill_id)
        for run in members:
            add_reason(self.client, run)
        return members

    def going(self, result: RunResult) -> list[str]:
        """Return the ids of those that may not have ended."""
        ids = [run.run_id for run in result.runs if run.run_id in self.runs and not run.final]
        if result.backfill and not result.backfill.final:
            ids.append(result.backfill.backfill_id)
        return ids

    def standing(self, result: RunResult) -> Standing:
        """Return the status of all of them together."""
        statuses = {run.status for run in result.runs}
        if result.backfill:
            statuses.add(result.backfill.status)
        if self.going(result):
            return Standing.UNKNOWN if runs.UNKNOWN in statuses else Standing.GOING
        if Goal.CANCELED.value in statuses:
            return Standing.CANCELED if len(statuses) == 1 else Standing.PARTLY_CANCELED
        return Standing.ENDED


class RunTracker:
    """Launches runs, or comes back to them, and follows them as the options say."""

    def __init__(self, tracked: TrackedRuns) -> None:
        """Keep in `tracked` what is launched or followed again."""
        self._tracked = tracked

    def launch(self, launches: Sequence[Launch]) -> RunResult:
        """Launch each once, and follow them unless the options say not to wait.

        Raises what the first launch raises; the error of a later one is in the result, with
        what was launched before it.
        """
        failure: DagmarError | None = None
        for prepared in launches:
            try:
                self._send(prepared)
            except KeyboardInterrupt:
                return self._interrupted_launch(prepared)
            except DagmarError as error:
                if not self._tracked.names:
                    raise
                # Printed now: following what was launched before may take hours.
                console.complain(error)
                # Status 2, 6 and 7 mean that nothing was launched, which is no longer true.
                lost = isinstance(error, Unreachable)
                failure = error if lost else RunFailed(error.message, error.hint, error.command)
                break
        result = self._follow()
        return replace(result, error=result.error or failure)

    def come_back(self, name: str) -> RunResult:
        """Follow a run or a backfill by its id, or by the id of its launch.

        Raises Invalid if it does not exist.
        """
        self._tracked.find(name)
        return self._follow()

    def _send(self, prepared: Launch) -> None:
        tracked, client = self._tracked, self._tracked.client
        if prepared.partitions:
            tracked.backfill = launch.launch_backfill(client, prepared)
            url = f"{backfills.backfill_url(client, tracked.backfill)}\n{BACKFILL_PACE}"
        else:
            tracked.runs.append(launch.launch_run(client, prepared))
            url = runs.run_url(client, tracked.runs[-1])
        console.say(f"Launched {prepared.description}: {url}")

    def _interrupted_launch(self, prepared: Launch) -> RunResult:
        """Return the result of a launch that Ctrl-C interrupted: it may have arrived."""
        before = self._tracked.names
        hint = "To find out, type:"
        if before:
            follow = ", ".join(f"`invoke run --follow {name}`" for name in before)
            hint = f"What was launched before goes on; to come back to it: {follow}.\n  {hint}"
        error = Interrupted(
            f"interrupted while {prepared.what} was being launched; it may have been",
            hint,
            f"invoke run --follow {prepared.launch_id}",
        )
        return replace(self._tracked.look(), error=error)

    def _follow(self) -> RunResult:
        options = self._tracked.options
        if not options.wait:
            return self._tracked.look()
        try:
            return self._tracked.follow(self._tracked.deadline)
        except TimedOut as error:
            return self._stop(TimedOut, error.message, options.cancel_on_timeout)
        except KeyboardInterrupt:
            return self._stop(Interrupted, "stopped following", _asked_to_cancel())
        except DagmarError as error:
            # It was launched: whatever fails now, it may go on.
            message = f"cannot follow what was launched: {error.message}"
            return self._stop(Unreachable, message, cancel=False)

    def _stop(self, kind: type[DagmarError], message: str, cancel: bool) -> RunResult:
        """Read everything once more, after cancelling if wanted, and return it with the error."""
        result, remark = None, ""
        if cancel:
            remark = "It may not be cancelled yet."
            try:
                result = Cancellation(self._tracked).send_and_wait()
            except KeyboardInterrupt:
                pass
            except DagmarError as failure:
                remark = f"It could not be cancelled: {failure.message}."
        result = result or self._tracked.look()
        standing = self._tracked.standing(result)
        if going := self._tracked.going(result):
            return replace(result, error=_going(kind, message, remark or standing.value, going))
        if cancel and standing in (Standing.CANCELED, Standing.PARTLY_CANCELED):
            return replace(result, error=kind(message, standing.value))
        # It ended by itself in the meantime, and only its own status counts.
        return replace(result, error=None)


class Cancellation:
    """Cancels runs, and the backfill if there is one."""

    def __init__(self, tracked: TrackedRuns) -> None:
        """Cancel what `tracked` holds."""
        self._tracked, self._client = tracked, tracked.client

    def cancel(self, name: str) -> RunResult:
        """Cancel a run or a backfill, and wait for its end.

        Raises Invalid if it is unknown or has ended, NotAllowed, AnswerLost.
        """
        self._tracked.find(name)
        self._require_going(name)
        if not self._tracked.options.wait:
            return replace(self._send(), goal=Goal.CANCELED)
        try:
            return replace(self.send_and_wait(), goal=Goal.CANCELED)
        except KeyboardInterrupt:
            result = self._tracked.look()
            error = None
            if going := self._tracked.going(result):
                message = "stopped waiting for what is being cancelled to end"
                error = _going(Interrupted, message, "It may not be cancelled yet.", going)
            return replace(result, error=error, goal=Goal.CANCELED)

    def send_and_wait(self) -> RunResult:
        """Cancel everything and wait for its end, or return what has not ended with an error.

        Dagster drops a cancellation that reaches a run while it starts, so it is repeated.
        """
        tracked = self._tracked
        deadline = max(tracked.deadline or 0, time.monotonic() + CANCEL_SECONDS)
        self._cancel_backfill()
        while True:
            refusal = self._cancel_runs()
            try:
                return tracked.follow(min(time.monotonic() + runs.CANCEL_AGAIN_SECONDS, deadline))
            except TimedOut as error:
                if time.monotonic() + tracked.poll_seconds > deadline:
                    late = TimedOut(refusal or error.message, error.hint, error.command)
                    return replace(tracked.look(), error=late)

    def _send(self) -> RunResult:
        """Cancel everything without waiting for its end."""
        self._cancel_backfill()
        if refusal := self._cancel_runs():
            raise Invalid(refusal)
        return self._tracked.look()

    def _require_going(self, name: str) -> None:
        states: list[tuple[str, Run | Backfill]] = [
            ("run", runs.read_run(self._client, run_id)) for run_id in self._tracked.runs
        ]
        if backfill := self._tracked.backfill:
            states.append(("backfill", backfills.read_backfill(self._client, backfill)))
        for kind, state in states:
            if state.final:
                raise Invalid(f"{kind} {name} has ended: {state.status.lower()}")

    def _cancel_backfill(self) -> None:
        """Cancel it once: Dagster would mark a backfill that has ended by then as cancelled."""
        backfill = self._tracked.backfill
        if backfill and not backfills.read_backfill(self._client, backfill).final:
            backfills.cancel_backfill(self._client, backfill)

    def _cancel_runs(self) -> str:
        """Cancel each run; return why Dagster refused, or an empty text."""
        refusal = ""
        for run_id in self._tracked.runs:
            try:
                runs.cancel_run(self._client, run_id)
            except Invalid as error:
                # A run that has ended by then does not need it.
                if not runs.read_run(self._client, run_id).final:
                    refusal = error.message
        return refusal


def _going(kind: type[DagmarError], message: str, remark: str, names: Sequence[str]) -> DagmarError:
    """Return the error for runs that go on without us."""
    commands = "\n".join(f"invoke run --follow {name}" for name in names)
    return kind(message, f"{remark} To come back to it, type:", commands)


def _asked_to_cancel() -> bool:
    """Ask on a terminal whether to cancel; without one, or at a second Ctrl-C, do not."""
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        return False
    try:
        print("\nCancel what was launched? [y/N] ", end="", file=sys.stderr, flush=True)
        return sys.stdin.readline().strip().lower() in ("y", "yes")
    except KeyboardInterrupt:
        return False
