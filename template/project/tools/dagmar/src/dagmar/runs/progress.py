"""How far a run or a backfill is, on stderr: live for a person, nothing for a pipe."""

from __future__ import annotations

from dagmar.console import LiveLine, tame
from dagmar.server.backfills import Backfill
from dagmar.server.runs import Run

PHASES = {
    "NOT_STARTED": "waiting to start",
    "QUEUED": "queued",
    "STARTING": "starting",
    "STARTED": "running",
    "CANCELING": "cancelling",
    "REQUESTED": "running",
}


class RunProgress(LiveLine):
    """A context with a live line for the run or backfill that it showed last."""

    def __init__(self) -> None:
        super().__init__("launched")

    def show(self, state: object) -> None:
        """Show how a run or a backfill stands."""
        done, total = 0, 0
        if isinstance(state, Run):
            done, total = state.steps_done, state.steps_total
        elif isinstance(state, Backfill):
            done, total = state.done, state.total
        self.put(describe(state), done, total or None)


def describe(state: object) -> str:
    """Return a state in one line: its phase, how much is done of how much, what goes on."""
    if isinstance(state, Run):
        steps = f" · {state.steps_done}/{state.steps_total} steps" if state.steps_total else ""
        now = f" · {', '.join(state.steps_running[:3])}" if state.steps_running else ""
        return tame(f"{_phase(state.status)}{steps}{now}")
    if isinstance(state, Backfill):
        failed = f" · {state.failed} failed" if state.failed else ""
        return f"{_phase(state.status)} · {state.done}/{state.total} partitions{failed}"
    return ""


def _phase(status: str) -> str:
    return PHASES.get(status, status.lower())
