"""The runs that one notebook started, and the cells that follow them.

When such a run has ended, cards are drawn again, and cells that name a state of marimo run again:
`materialized = pair.materialized()` is one. Nothing here launches anything by itself.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from dagmar.asset_key import AssetKey
from dagmar.errors import AnswerLost, DagmarError
from dagmar.pair.context import Context, live

if TYPE_CHECKING:
    import marimo as mo

    from dagmar.pair.buttons import Attempt
    from dagmar.server.client import DagsterClient

IDLE_SECONDS = 0.5
LOOK_SECONDS = 2.0


@dataclass
class StartedRuns:
    """The runs of one notebook, and their retries; it outlives the cells that show them.

    `sent` are the runs whose retry may have been launched, with the reason why it is not known.
    `ended` counts the runs that have ended.
    """

    sent: dict[str, AnswerLost | None] = field(default_factory=dict)
    ended: int = 0
    _retries: dict[str, str] = field(default_factory=dict)
    _running: set[str] = field(default_factory=set)
    _backfills: set[str] = field(default_factory=set)
    # By the assets that a state is about; None is the state of the end of any run.
    _states: dict[frozenset[AssetKey] | None, tuple[Callable[[], int], Callable[[int], None]]] = (
        field(default_factory=dict)
    )
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def materialized(self, *keys: AssetKey) -> Callable[[], int]:
        """Return a state of marimo, always the same for the same assets.

        It changes when a run has materialized one of them, or without any, one at all.
        """
        return self._state(frozenset(keys))

    def any_end(self) -> Callable[[], int]:
        """Return a state of marimo, always the same, that changes when a run has ended."""
        return self._state(None)

    def _state(self, wanted: frozenset[AssetKey] | None) -> Callable[[], int]:
        import marimo as mo

        with self._lock:
            if wanted not in self._states:
                self._states[wanted] = mo.state(0)
            return self._states[wanted][0]

    def add(self, attempt: Attempt) -> Attempt:
        """Take a run or a backfill into account: on the server, or one that has ended.

        Returns it.
        """
        if attempt.id and attempt.materialized is None:
            self._running.add(attempt.id)
            if attempt.backfill_id:
                self._backfills.add(attempt.id)
        elif attempt.run_id:
            self._end(attempt.materialized or ())
        return attempt

    def look(self, client: DagsterClient, run_id: str) -> None:
        """Note that a run or a backfill has ended, unless that is known. Raises DagmarError."""
        if run_id not in self._running:
            return
        from dagmar.server import backfills, runs

        if run_id in self._backfills:
            keys = backfills.read_materialized(client, run_id)
        else:
            keys = runs.read_materialized(client, run_id)
        with self._lock:
            known = run_id not in self._running
            self._running.discard(run_id)
        if not known:
            self._end(keys)

    def _end(self, keys: Iterable[AssetKey]) -> None:
        made = frozenset(keys)
        with self._lock:
            self.ended += 1
        for wanted, (_, change) in list(self._states.items()):
            if wanted is None or (made and (not wanted or wanted & made)):
                change(self.ended)

    def follow(self, context: Context) -> None:
        """Follow the runs on the server from a thread of this cell, until it runs again."""
        if not self._running or not live():
            return
        import marimo as mo

        from dagmar.server.backfills import read_backfill
        from dagmar.server.client import DagsterClient
        from dagmar.server.runs import read_run

        def follow() -> None:
            thread = mo.current_thread()
            with DagsterClient(context.target) as client:
                while self._running and not thread.should_exit:
                    for run_id in list(self._running):
                        with contextlib.suppress(DagmarError):
                            backfill = run_id in self._backfills
                            read = read_backfill if backfill else read_run
                            if read(client, run_id).final:
                                self.look(client, run_id)
                    time.sleep(max(context.settings.poll_seconds, IDLE_SECONDS))

        mo.Thread(target=follow, daemon=True).start()

    def redraw(
        self, context: Context, draw: Callable[[], mo.Html], look: Callable[[], bool] | None = None
    ) -> None:
        """Draw the cell again, by a thread of it, whenever a run has ended.

        What is about a selection is also drawn while runs go on, whenever it changes. `look` is
        called every other second, and returns whether the cell is to be drawn again.
        """
        if not live():
            return
        import marimo as mo

        ended = self.ended

        def follow() -> None:
            nonlocal ended
            thread, shown, next_look = mo.current_thread(), "", 0.0
            while not thread.should_exit:
                proceeding = bool(context.select and self._running)
                time.sleep(max(context.settings.poll_seconds if proceeding else 0, IDLE_SECONDS))
                stale = False
                if look and time.monotonic() >= next_look:
                    stale, next_look = look(), time.monotonic() + LOOK_SECONDS
                if stale or proceeding or ended != self.ended:
                    over, ended = stale or ended != self.ended, self.ended
                    drawn = draw()
                    if over or drawn.text != shown:
                        mo.output.replace(drawn)
                    shown = drawn.text

        mo.Thread(target=follow, daemon=True).start()

    def newest(self, run_id: str) -> str:
        """Return the last retry of a run, or the run itself if there is none."""
        while run_id in self._retries:
            run_id = self._retries[run_id]
        return run_id

    def retry(self, run_id: str, launch: Callable[[], str]) -> None:
        """Launch the retry of a run, unless an earlier attempt may have launched it.

        Raises what `launch` raises.
        """
        with self._lock:
            if run_id in self.sent:
                return
            self.sent[run_id] = None
        try:
            retry = launch()
        except AnswerLost as error:
            self.sent[run_id] = error
            raise
        except DagmarError:
            del self.sent[run_id]
            raise
        self._running.add(retry)
        self._retries[run_id] = retry
