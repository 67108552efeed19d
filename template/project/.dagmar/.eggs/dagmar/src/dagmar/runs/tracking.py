"""The runs of one `invoke run`: launched and followed, or cancelled, with their result.

Launches are prepared by `runs/prepare.py`, and sent by `server/launch.py`.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from dagmar import console
from dagmar.errors import (
    DagmarError,
    Interrupted,
    Invalid,
    RunFailed,
    Terminated,
    TimedOut,
    Unreachable,
    UsageError,
)
from dagmar.runs.following import Follower, RunProgress, add_outcome, warn_on_error
from dagmar.server import backfills, launch, runs
from dagmar.server.backfills import Backfill
from dagmar.server.checks import ERROR, FAIL_ON, Check
from dagmar.server.client import DagsterClient
from dagmar.server.launch import Launch
from dagmar.server.runs import NO_REASON, SUCCESS, Run

CANCELED = "CANCELED"
CANCEL_SECONDS = 60.0
MOST_PASSED = 10
BACKFILL_PACE = "Its runs are started by the Dagster daemon, which can take half a minute."


@dataclass(frozen=True)
class FollowOptions:
    """How long to follow what was launched, and what to show of it.

    With `usual` the time-out is twice what is launched usually takes.
    """

    wait: bool = True
    timeout: float | None = None
    usual: bool = False
    cancel_on_timeout: bool = False
    logs: bool = False
    fail_on_checks: str = ""

    def __post_init__(self) -> None:
        """Raise UsageError for flags that contradict each other."""
        if self.cancel_on_timeout and self.timeout is None and not self.usual:
            raise UsageError("--cancel-on-timeout needs --timeout", "For example: --timeout 600")
        if not self.wait and (self.timeout is not None or self.usual or self.logs):
            message = "--no-wait does not fit --timeout or --logs"
            raise UsageError(message, "Leave --no-wait out to follow the run.")
        if self.fail_on_checks not in ("", *FAIL_ON):
            raise UsageError(
                f"--fail-on-checks takes {', '.join(FAIL_ON)}, not '{self.fail_on_checks}'",
                "For example: --fail-on-checks never",
            )


@dataclass(frozen=True)
class RunResult:
    """The runs of one request, and their backfill, if any, with their status.

    `error` is what ended the request early; `goal` is the status that they are to end with.
    `fail_on_checks` says which failed asset checks count: `error`, `warn` or `never`.
    """

    runs: Sequence[Run] = ()
    backfill: Backfill | None = None
    error: DagmarError | None = None
    goal: str = SUCCESS
    fail_on_checks: str = ERROR

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
            for line in _lines(run.checks or ()):
                console.out(f"  {line}")

    def raise_for_status(self) -> None:
        """Raise the error that ended it early, or RunFailed for runs that missed the goal."""
        if self.error:
            raise self.error
        settled = set(self.backfill.runs) if self.backfill and self._reached else set()
        failed = [
            run
            for run in self.runs
            if run.final and run.status != self.goal and run.run_id not in settled
        ]
        unsound = [run for run in self.runs if self._failed_checks(run)]
        messages = [_explanation(run) for run in failed]
        messages += [
            f"{_name(run)}: {check.text}" for run in unsound for check in self._failed_checks(run)
        ]
        pages = [run.url for run in (*failed, *unsound)]
        retry = next((run.run_id for run in failed if run.status != SUCCESS), "")
        if self.backfill and self.backfill.final and not self._reached:
            if self.backfill.error or not failed:
                error, status = self.backfill.error, self.backfill.status.lower()
                reason = f": {error.text}" if error else f" is {status}"
                messages.append(f"backfill {self.backfill.backfill_id}{reason}")
            pages, retry = [self.backfill.url], ""
        if messages:
            page = f"Its page: {pages[0]}"
            if not failed and unsound:
                page += "\n  To ignore failed checks, add: --fail-on-checks never"
            if retry:
                page, command = f"{page}\n  To retry, type:", f"invoke run --retry {retry}"
            raise RunFailed("\n".join(messages), page, command if retry else "")

    def _failed_checks(self, run: Run) -> list[Check]:
        """Return the failed checks that count; why a run itself failed is its own message."""
        if run.status != SUCCESS or self.goal != SUCCESS:
            return []
        return [check for check in run.checks or () if check.fails(self.fail_on_checks)]

    @property
    def _reached(self) -> bool:
        """Whether the backfill reached the goal; a cancelled one keeps what it completed."""
        if self.backfill is None or self.goal == SUCCESS:
            return bool(self.backfill and self.backfill.succeeded)
        return self.goal in (self.backfill.status, *self.backfill.runs.values())


def _lines(checks: Sequence[Check]) -> list[str]:
    """Return a line for each check; those that passed are counted if there are many."""
    passed = [check for check in checks if check.passed]
    shown = (
        checks if len(passed) <= MOST_PASSED else [check for check in checks if not check.passed]
    )
    rest = [f"{len(passed)} checks passed"] if len(shown) < len(checks) else []
    return [*(check.text for check in shown), *rest]


def _name(run: Run) -> str:
    return f"run {run.run_id}" + (f" ({run.partition})" if run.partition else "")


def _explanation(run: Run) -> str:
    name = _name(run)
    if run.status == SUCCESS:
        return f"{name} finished before it could be cancelled"
    if run.status != "FAILURE":
        return f"{name} was cancelled"
    error = run.error or NO_REASON
    step = f" in step {error.place}" if error.place else ""
    return "\n".join(filter(None, [f"{name} failed{step}: {error.text}", error.trace]))


class TrackedRuns:
    """The runs of one request, and their backfill, if any: launched, followed, cancelled."""

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
        return [name for name in (*self.runs, self.backfill) if name]

    def _find(self, name: str) -> None:
        """Track a run or a backfill by its id, or by the id of its launch. Raises Invalid."""
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

    def _follow_until(self, deadline: float | None) -> RunResult:
        """Follow all of them to their end. Raises TimedOut at the deadline, and Unreachable."""
        with RunProgress() as progress:
            self._follower.progress, self._follower.deadline = progress, deadline
            ended = [self._follower.run(run_id) for run_id in self.runs]
            if not self.backfill:
                return RunResult(ended)
            backfill = self._follower.backfill(self.backfill)
            return RunResult([*ended, *self._runs_of(backfill)], backfill)

    def _look(self) -> RunResult:
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
        add_outcome(self.client, run)
        return run

    def _runs_of(self, backfill: Backfill) -> list[Run]:
        """Return all runs of a backfill, read in one request; failed ones have their reason."""
        members = [
            Run(run_id, runs.run_url(self.client, run_id), status)
            for run_id, status in backfill.runs.items()
        ]
        if backfill.status != runs.UNKNOWN:
            with warn_on_error(f"more about the runs of backfill {backfill.backfill_id}"):
                tag = launch.BACKFILL_TAG
                members = runs.read_tagged_runs(self.client, tag, backfill.backfill_id)
        for run in members:
            add_outcome(self.client, run)
        return members

    def _going(self, result: RunResult) -> list[str]:
        """Return the ids of those that may not have ended."""
        ids = [run.run_id for run in result.runs if run.run_id in self.runs and not run.final]
        if result.backfill and not result.backfill.final:
            ids.append(result.backfill.backfill_id)
        return ids

    def launch(self, launches: Sequence[Launch]) -> RunResult:
        """Launch each once, and follow them unless the options say not to wait.

        Raises what the first launch raises; the error of a later one is in the result, with
        what was launched before it.
        """
        failure: DagmarError | None = None
        for prepared in launches:
            try:
                place = f" in the code location {prepared.location}" if len(launches) > 1 else ""
                self._launch(prepared, place)
            except KeyboardInterrupt:
                return self._interrupted_launch(prepared)
            except DagmarError as error:
                if not self.names:
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
        self._find(name)
        return self._follow()

    def _launch(self, prepared: Launch, place: str = "") -> None:
        if prepared.partitions:
            self.backfill = launch.launch_backfill(self.client, prepared)
            url = f"{backfills.backfill_url(self.client, self.backfill)}\n{BACKFILL_PACE}"
        else:
            self.runs.append(launch.launch_run(self.client, prepared))
            url = runs.run_url(self.client, self.runs[-1])
        console.say(f"Launched {prepared.description}{place}: {url}")

    def _interrupted_launch(self, prepared: Launch) -> RunResult:
        """Return the result of a launch that Ctrl-C interrupted: it may have arrived."""
        hint = "To find out, type:"
        if self.names:
            follow = ", ".join(f"`invoke run --follow {name}`" for name in self.names)
            hint = f"What was launched before goes on; to come back to it: {follow}.\n  {hint}"
        error = Interrupted(
            f"interrupted while {prepared.what} was being launched; it may have been",
            hint,
            f"invoke run --follow {prepared.launch_id}",
        )
        return replace(self._look(), error=error)

    def _follow(self) -> RunResult:
        if not self.options.wait:
            return self._look()
        try:
            return self._follow_until(self.deadline)
        except TimedOut as error:
            return self._stop(TimedOut, error.message, self.options.cancel_on_timeout)
        except Terminated:
            return self._stop(Interrupted, "stopped following", cancel=False)
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
                result = self._cancel_and_wait()
            except KeyboardInterrupt:
                pass
            except DagmarError as failure:
                remark = f"It could not be cancelled: {failure.message}."
        result = result or self._look()
        statuses = {state.status for state in (*result.runs, result.backfill) if state}
        if going := self._going(result):
            remark = remark or ("It may go on." if runs.UNKNOWN in statuses else "It goes on.")
            return replace(result, error=_goes_on(kind, message, remark, going))
        if cancel and CANCELED in statuses:
            remark = "It was cancelled." if len(statuses) == 1 else "The rest was cancelled."
            return replace(result, error=kind(message, remark))
        # It ended by itself in the meantime, and only its own status counts.
        return replace(result, error=None)

    def cancel(self, name: str) -> RunResult:
        """Cancel a run or a backfill, and wait for its end.

        Raises Invalid if it is unknown or has ended, NotAllowed, AnswerLost.
        """
        self._find(name)
        self._require_going(name)
        if not self.options.wait:
            self._cancel_backfill()
            if refusal := self._cancel_runs():
                raise Invalid(
                    refusal, "To see how it goes on, type:", f"invoke run --follow {name}"
                )
            return replace(self._look(), goal=CANCELED)
        try:
            return replace(self._cancel_and_wait(), goal=CANCELED)
        except KeyboardInterrupt:
            result = self._look()
            error = None
            if going := self._going(result):
                message = "stopped waiting for what is being cancelled to end"
                error = _goes_on(Interrupted, message, "It may not be cancelled yet.", going)
            return replace(result, error=error, goal=CANCELED)

    def _cancel_and_wait(self) -> RunResult:
        """Cancel everything and wait for its end, or return what has not ended with an error.

        Dagster drops a cancellation that reaches a run while it starts, so it is repeated.
        """
        deadline = max(self.deadline or 0, time.monotonic() + CANCEL_SECONDS)
        self._cancel_backfill()
        while True:
            refusal = self._cancel_runs()
            try:
                again = time.monotonic() + runs.CANCEL_AGAIN_SECONDS
                return self._follow_until(min(again, deadline))
            except TimedOut as error:
                if time.monotonic() + self.poll_seconds > deadline:
                    late = TimedOut(refusal or error.message, error.hint, error.command)
                    return replace(self._look(), error=late)

    def _require_going(self, name: str) -> None:
        states: list[Run | Backfill] = [runs.read_run(self.client, run_id) for run_id in self.runs]
        if self.backfill:
            states.append(backfills.read_backfill(self.client, self.backfill))
        for state in states:
            if state.final:
                kind = "run" if isinstance(state, Run) else "backfill"
                message = f"{kind} {name} has ended: {state.status.lower()}"
                raise Invalid(message, "To see its result, type:", f"invoke run --follow {name}")

    def _cancel_backfill(self) -> None:
        """Cancel it once: Dagster would mark a backfill that has ended by then as cancelled."""
        backfill = self.backfill
        if backfill and not backfills.read_backfill(self.client, backfill).final:
            backfills.cancel_backfill(self.client, backfill)

    def _cancel_runs(self) -> str:
        """Cancel each run; return why Dagster refused, or an empty text."""
        refusal = ""
        for run_id in self.runs:
            try:
                runs.cancel_run(self.client, run_id)
            except Invalid as error:
                # A run that has ended by then does not need it.
                if not runs.read_run(self.client, run_id).final:
                    refusal = error.message
        return refusal


def _goes_on(
    kind: type[DagmarError], message: str, remark: str, names: Sequence[str]
) -> DagmarError:
    """Return the error for runs that go on without us."""
    commands = "\n".join(f"invoke run --follow {name}" for name in names)
    return kind(message, f"{remark} To come back to it, type:", commands)


def _asked_to_cancel() -> bool:
    """Ask on a terminal whether to cancel; without one, or at a second Ctrl-C, do not."""
    try:
        return console.asks() and console.ask("\nCancel what was launched?")
    except KeyboardInterrupt:
        return False
