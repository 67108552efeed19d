"""Which runs were retried from a notebook: each of them once, whatever cell is run meanwhile."""

from __future__ import annotations

import threading
from collections.abc import Callable

from dagmar.errors import AnswerLost, DagmarError


class Retries:
    """The retries of one notebook's runs; it outlives the cells that show them."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._made: dict[str, str] = {}
        # Of those that were sent and are not known to be made: why, where that is known.
        self._sent: dict[str, AnswerLost | None] = {}

    def newest(self, run_id: str) -> str:
        """Return the last retry of a run, or the run itself where there is none."""
        while run_id in self._made:
            run_id = self._made[run_id]
        return run_id

    def sent(self, run_id: str) -> bool:
        """Whether a retry of the run was sent, and may be made or on its way."""
        return run_id in self._sent

    def lost(self, run_id: str) -> AnswerLost | None:
        """Return why it is not known whether the run's retry was made."""
        return self._sent.get(run_id)

    def send(self, run_id: str, launch: Callable[[], str]) -> None:
        """Launch the retry of a run, unless that was tried before and may have come to something.

        Raises what `launch` raises.
        """
        with self._lock:
            if run_id in self._sent:
                return
            self._sent[run_id] = None
        try:
            self._made[run_id] = launch()
        except AnswerLost as error:
            self._sent[run_id] = error
            raise
        except DagmarError:
            del self._sent[run_id]
            raise
