"""A watched backfill: its status, its runs by state, the failed ones, and a button to cancel it."""

from __future__ import annotations

from collections import Counter
from html import escape

from dagmar.errors import DagmarError, counted
from dagmar.pair import drawing
from dagmar.pair.watching import Watcher
from dagmar.server import backfills
from dagmar.server.backfills import Backfill
from dagmar.server.client import DagsterClient

MOST_FAILED = 10
COLORS = {
    "COMPLETED_SUCCESS": drawing.COLORS["SUCCESS"],
    "COMPLETED_FAILED": drawing.COLORS["FAILURE"],
    "FAILED": drawing.COLORS["FAILURE"],
    "CANCELED": drawing.COLORS["CANCELED"],
    "CANCELING": drawing.COLORS["CANCELED"],
}


def draw_backfill(backfill: Backfill, warning: str = "") -> str:
    """Return the state of a backfill and of its runs, as HTML without its buttons."""
    color = COLORS.get(backfill.status, drawing.BUSY)
    if backfill.status == "COMPLETED":
        color = drawing.COLORS["SUCCESS" if backfill.succeeded else "FAILURE"]
    base = backfill.url.rpartition("/b/")[0]
    counts = Counter(backfill.runs.values())
    states = " ".join(
        f"{drawing.badge(status)} {number}" for status, number in sorted(counts.items())
    )
    failed = [id for id, status in backfill.runs.items() if status == "FAILURE"]
    links = ", ".join(drawing.link(f"{base}/{id}", id[:8]) for id in failed[:MOST_FAILED])
    more = f" and {len(failed) - MOST_FAILED} more" if len(failed) > MOST_FAILED else ""
    done = f"{backfill.done:,} of {counted(backfill.total, 'partition')}"
    return (
        f"<div>{drawing.badge(backfill.status, color)} <b>backfill</b> · "
        f"{drawing.link(backfill.url, backfill.backfill_id)}</div>"
        f'<div><progress max="{backfill.total}" value="{backfill.done}"></progress> {done}'
        f"{f', {backfill.failed} failed' if backfill.failed else ''}</div>"
        + (f"<div>runs: {states}</div>" if states else "")
        + (f"<div>failed: {links}{escape(more)}</div>" if failed else "")
        + (drawing.note(warning, kind="warn") if warning else "")
        + (drawing.failure(backfill.error) if backfill.error else "")
    )


class BackfillWatcher(Watcher):
    """Watches one backfill until it ends; its runs are retried from their own pages."""

    _backfill: Backfill | None = None

    def look(self, client: DagsterClient) -> None:
        """Read the backfill, before sending the cancellation."""
        try:
            if self._moves:
                self._backfill = known = backfills.read_backfill(client, self.run_id)
                if known.final:
                    self._started.look(client, self.run_id)
                self._warn(client, known.status)
                if self._cancel_wanted and not known.final:
                    self._cancel_wanted = False
                    self._send(client)
            self._trouble = None
        except DagmarError as error:
            self._trouble = error

    def _send(self, client: DagsterClient) -> None:
        try:
            backfills.cancel_backfill(client, self.run_id)
        except DagmarError as error:
            self._refused["cancel"] = error

    def _draw(self) -> list[str]:
        if self._backfill is None:
            return []
        refused = self._refused.get("cancel")
        parts = [draw_backfill(self._backfill, self._warning)]
        parts += [drawing.refusal(refused)] if refused else []
        return [*parts, f"<div>{self.buttons['cancel']}</div>" if self._button else ""]

    @property
    def _moves(self) -> bool:
        return self._backfill is None or not self._backfill.final

    @property
    def _button(self) -> str:
        known = self._backfill is not None and self._moves
        return "cancel" if self.buttons and known and not self._context.target.read_only else ""
