"""What one `invoke run` launched: followed, cancelled, and told in the end."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
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
from dagmar.runs.following import Follower, add_reason, aside
from dagmar.runs.progress import Progress
from dagmar.server import backfills, launch, runs
from dagmar.server.backfills import Backfill
from dagmar.server.client import DagsterClient
from dagmar.server.launch import Launch
from dagmar.server.runs import NO_REASON, SUCCESS, Run

CANCEL_SECONDS = 60.0
BACKFILL_PACE = "Its runs are started by the Dagster daemon, which can take half a minute."
CANCEL_AGAIN_SECONDS = 3.0


@dataclass(frozen=True)
class Patience:
    """How long to look at what was launched, and what to show meanwhile."""

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


@dataclass
class Outcome:
    """The runs of one request as they stand, and what ended it early.

    `wanted` is the status that counts as success.
    """

    runs: list[Run] = field(default_factory=list)
    backfills: list[Backfill] = field(default_factory=list)
    error: DagmarError | None = None
    wanted: str = SUCCESS

    def as_document(self) -> dict[str, Any]:
        """Return the JSON document."""
        document: dict[str, Any] = {"runs": [run.as_document() for run in self.runs]}
        for backfill in self.backfills:
            document["backfill"] = backfill.as_document()
        return document

    def tell(self) -> None:
        """Print how each run stands."""
        for backfill in self.backfills:
            console.out(f"{backfill.status}  {backfill.backfill_id}  {backfill.url}")
        for run in self.runs:
            took = f"  {run.seconds:.1f} s" if run.seconds is not None else ""
            partition = f"  {run.partition}" if run.partition else ""
            console.out(f"{run.status}  {run.run_id}{took}{partition}  {run.url}")

    def finish(self) -> None:
        """Raise what ended it early, or RunFailed for the runs that did not end as wanted."""
        if self.error:
            raise self.error
        good = [backfill for backfill in self.backfills if self._as_wanted(backfill)]
        made = {run_id for backfill in good for run_id in backfill.runs}
        failed = [
            run
            for run in self.runs
            if run.final and run.status != self.wanted and run.run_id not in made
        ]
        stuck = [
            backfill
            for backfill in self.backfills
            if backfill.final and not self._as_wanted(backfill)
        ]
        messages = [_explanation(run) for run in failed]
        messages += [_reason(backfill) for backfill in stuck if backfill.error or not failed]
        if messages:
            pages = [*(backfill.url for backfill in stuck), *(run.url for run in failed)]
            able = [run.run_id for run in failed if run.status != SUCCESS and not stuck]
            again = [f"invoke run --retry {run_id}" for run_id in able[:1]]
            hint = f"Its page: {pages[0]}"
            raise RunFailed(
                "\n".join(messages), "\n  ".join([hint, *(f"To retry, type: {c}" for c in again)])
            )

    def _as_wanted(self, backfill: Backfill) -> bool:
        """Whether a backfill ended as it should; a cancelled one keeps what was made before."""
        if self.wanted == SUCCESS:
            return backfill.succeeded
        return backfill.status == self.wanted or self.wanted in backfill.runs.values()


def _explanation(run: Run) -> str:
    name = f"run {run.run_id}" + (f" ({run.partition})" if run.partition else "")
    if run.status == SUCCESS:
        return f"{name} was made before it could be cancelled"
    if run.status != "FAILURE":
        return f"{name} was cancelled"
    error = run.error or NO_REASON
    where = f" in step {error.place}" if error.place else ""
    return "\n".join(filter(None, [f"{name} failed{where}: {error.text}", error.trace]))


def _reason(backfill: Backfill) -> str:
    why = f": {backfill.error.text}" if backfill.error else f" is {backfill.status.lower()}"
    return f"backfill {backfill.backfill_id}{why}"


class Launched:
    """Runs and backfills that belong to one request."""

    def __init__(self, client: DagsterClient, poll_seconds: float, patience: Patience) -> None:
        self._client, self._poll_seconds, self._patience = client, poll_seconds, patience
        self._follower = Follower(client, Progress(), poll_seconds, logs=patience.logs)
        timeout = patience.timeout
        self._deadline = None if timeout is None else time.monotonic() + timeout
        self._runs: list[str] = []
        self._backfills: list[str] = []

    def launch(self, launches: Sequence[Launch]) -> Outcome:
        """Launch each once, and follow them unless told not to wait.

        Raises what the first launch raises; an error of a later one ends up in the outcome,
        beside what was launched before it.
        """
        failure: DagmarError | None = None
        for plan in launches:
            try:
                self._send(plan)
            except KeyboardInterrupt:
                return self._interrupted_launch(plan)
            except DagmarError as error:
                if not (self._runs or self._backfills):
                    raise
                # Told now: following what was launched before may take hours.
                console.complain(error)
                # Status 2, 6 and 7 say that nothing was launched, which is not so any more.
                lost = isinstance(error, Unreachable)
                failure = error if lost else RunFailed(error.message, error.hint)
                break
        outcome = self._see_through()
        outcome.error = outcome.error or failure
        return outcome

    def _interrupted_launch(self, plan: Launch) -> Outcome:
        """Say how to find out whether a launch arrived that Ctrl-C broke off."""
        before = [*self._runs, *self._backfills]
        outcome = self._as_it_stands()
        outcome.error = Interrupted(
            f"interrupted while {plan.what} was being launched; it may have been",
            f"To find out, type: invoke run --follow {plan.launch_id}"
            + (f"\n  What was launched before goes on. {_come_back(before)}" if before else ""),
        )
        return outcome

    def _send(self, plan: Launch) -> None:
        if plan.partitions:
            self._backfills.append(launch.launch_backfill(self._client, plan))
            url = f"{backfills.backfill_url(self._client, self._backfills[-1])}\n{BACKFILL_PACE}"
        else:
            self._runs.append(launch.launch_run(self._client, plan))
            url = runs.run_url(self._client, self._runs[-1])
        console.say(f"Launched {plan.description}: {url}")

    def come_back(self, name: str) -> Outcome:
        """Follow what `name` is: a run, a backfill, or a launch id whose answer was lost.

        Raises Invalid where there is no such thing.
        """
        self._find(name)
        return self._see_through()

    def cancel(self, name: str) -> Outcome:
        """Cancel a run or a backfill, and wait for its end.

        Raises Invalid where it is unknown or has ended, NotAllowed, AnswerLost.
        """
        self._find(name)
        found: list[tuple[str, Run | Backfill]] = [
            *(("run", runs.read_run(self._client, run_id)) for run_id in self._runs),
            *(("backfill", backfills.read_backfill(self._client, b)) for b in self._backfills),
        ]
        for kind, state in found:
            if state.final:
                raise Invalid(f"{kind} {name} has ended: {state.status.lower()}")
        if self._patience.wait:
            try:
                outcome = self._cancel_and_wait()
            except KeyboardInterrupt:
                outcome = self._as_it_stands()
                if going := self._going(outcome):
                    outcome.error = Interrupted(
                        "stopped waiting for what is being cancelled to end",
                        f"It may not be cancelled yet. {_come_back(going)}",
                    )
        else:
            self._cancel_backfills()
            if refusal := self._cancel_runs():
                raise Invalid(refusal)
            outcome = self._as_it_stands()
        outcome.wanted = "CANCELED"
        return outcome

    def _find(self, name: str) -> None:
        if found := launch.backfills_of(self._client, name):
            self._backfills = found
        elif found := launch.runs_of(self._client, name):
            self._runs = found
        else:
            try:
                self._runs = [runs.read_run(self._client, name).run_id]
            except Invalid as unknown:
                try:
                    self._backfills = [backfills.read_backfill(self._client, name).backfill_id]
                except Invalid:
                    raise unknown from None

    def _cancel_backfills(self) -> None:
        """Ask once: Dagster would call one that has ended meanwhile cancelled."""
        for backfill_id in self._backfills:
            if not backfills.read_backfill(self._client, backfill_id).final:
                backfills.cancel_backfill(self._client, backfill_id)

    def _cancel_runs(self) -> str:
        """Ask for the end of each run; return why Dagster refused, or an empty text."""
        refusal = ""
        for run_id in self._runs:
            try:
                runs.cancel_run(self._client, run_id)
            except Invalid as error:
                # One that has ended meanwhile needs no cancelling.
                if not runs.read_run(self._client, run_id).final:
                    refusal = error.message
        return refusal

    def _cancel_and_wait(self) -> Outcome:
        """Cancel everything and wait for its end; what has not ended then is told as it stands.

        Dagster forgets a cancellation that reaches a run while it starts, so it is repeated.
        """
        deadline = max(self._deadline or 0, time.monotonic() + CANCEL_SECONDS)
        self._cancel_backfills()
        while True:
            refusal = self._cancel_runs()
            patience = min(time.monotonic() + CANCEL_AGAIN_SECONDS, deadline)
            try:
                return self._follow(patience)
            except TimedOut as error:
                if time.monotonic() + self._poll_seconds > deadline:
                    outcome = self._as_it_stands()
                    outcome.error = TimedOut(refusal or error.message, error.hint)
                    return outcome

    def _see_through(self) -> Outcome:
        """Follow everything to its end, or to the end of patience."""
        if not self._patience.wait:
            return self._as_it_stands()
        try:
            return self._follow(self._deadline)
        except TimedOut as error:
            return self._stop_looking(error, self._patience.cancel_on_timeout)
        except KeyboardInterrupt:
            return self._stop_looking(Interrupted("stopped following"), _asked_to_cancel())
        except DagmarError as error:
            # It was launched: whatever is wrong now, its end is not known.
            lost = Unreachable(f"cannot follow what was launched: {error.message}")
            return self._stop_looking(lost, cancel=False)

    def _follow(self, deadline: float | None) -> Outcome:
        outcome = Outcome()
        with Progress() as progress:
            self._follower.progress, self._follower.deadline = progress, deadline
            outcome.runs = [self._follower.run(run_id) for run_id in self._runs]
            for backfill_id in self._backfills:
                ended = self._follower.backfill(backfill_id)
                outcome.backfills.append(ended)
                outcome.runs += self._runs_of(ended)
        return outcome

    def _stop_looking(self, error: DagmarError, cancel: bool) -> Outcome:
        """Look once more, after cancelling if that is wanted, and say how everything stands."""
        outcome, told = None, "It goes on."
        if cancel:
            told = "It may not be cancelled yet."
            try:
                outcome = self._cancel_and_wait()
            except KeyboardInterrupt:
                pass
            except DagmarError as failure:
                told = f"It could not be cancelled: {failure.message}."
        outcome = outcome or self._as_it_stands()
        ended = {run.status for run in outcome.runs} | {b.status for b in outcome.backfills}
        if going := self._going(outcome):
            if runs.UNKNOWN in ended:
                told = told.replace("It goes on", "It may go on")
            error.hint = f"{told} {_come_back(going)}"
        elif cancel and "CANCELED" in ended:
            error.hint = "It was cancelled." if len(ended) == 1 else "The rest was cancelled."
        else:
            # It ended by itself meanwhile, and how it ended is all that counts.
            outcome.error = None
            return outcome
        outcome.error = error
        return outcome

    def _going(self, outcome: Outcome) -> list[str]:
        """Return the names of what was launched, or came back to, and may not have ended."""
        states: list[tuple[str, Run | Backfill]] = [
            *((run.run_id, run) for run in outcome.runs if run.run_id in self._runs),
            *((backfill.backfill_id, backfill) for backfill in outcome.backfills),
        ]
        return [name for name, state in states if not state.final]

    def _as_it_stands(self) -> Outcome:
        """Look once at everything; what cannot be seen is told as unknown."""
        outcome = Outcome([self._look(run_id) for run_id in self._runs])
        for backfill_id in self._backfills:
            try:
                backfill = backfills.read_backfill(self._client, backfill_id)
            except DagmarError:
                url = backfills.backfill_url(self._client, backfill_id)
                backfill = Backfill(backfill_id, url, runs.UNKNOWN, 0, 0, 0, {})
            outcome.backfills.append(backfill)
            outcome.runs += self._runs_of(backfill)
        return outcome

    def _runs_of(self, backfill: Backfill) -> list[Run]:
        """Look at all runs of a backfill in one request, and at why the failed ones failed."""
        found = [
            Run(run_id, runs.run_url(self._client, run_id), status)
            for run_id, status in backfill.runs.items()
        ]
        if backfill.status != runs.UNKNOWN:
            with aside(f"more about the runs of backfill {backfill.backfill_id}"):
                tag = backfills.BACKFILL_TAG
                found = runs.read_tagged_runs(self._client, tag, backfill.backfill_id)
        for run in found:
            add_reason(self._client, run)
        return found

    def _look(self, run_id: str) -> Run:
        try:
            run = runs.read_run(self._client, run_id)
        except DagmarError:
            return Run(run_id, runs.run_url(self._client, run_id), runs.UNKNOWN)
        add_reason(self._client, run)
        return run


def _come_back(names: Sequence[str]) -> str:
    return "To come back to it, type:" + "".join(f"\n    invoke run --follow {n}" for n in names)


def _asked_to_cancel() -> bool:
    """Ask a person whether to cancel; without one, or at a second Ctrl-C, do not."""
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        return False
    try:
        print("\nCancel what was launched? [y/N] ", end="", file=sys.stderr, flush=True)
        return sys.stdin.readline().strip().lower() in ("y", "yes")
    except KeyboardInterrupt:
        return False
