"""What a run logs, as lines on the page: its steps, its assets, and what the user's code says."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from html import escape
from typing import TYPE_CHECKING, Any

from dagmar.pair import drawing
from dagmar.server.runs import is_told

if TYPE_CHECKING:
    from dagmar.server.client import DagsterClient
    from dagmar.server.runs import Run

MOST_LINES = 200
MOST_LETTERS = 500
PAGES_AT_ONCE = 4
LEVELS = {
    "WARNING": drawing.COLORS["CANCELED"],
    "ERROR": drawing.COLORS["FAILURE"],
    "CRITICAL": drawing.COLORS["FAILURE"],
}
PANE = "max-height:14em;overflow:auto;display:flex;flex-direction:column-reverse"
LINE = f"{drawing.PRE};margin:0;font-family:monospace;font-size:0.8em"


@dataclass
class RunLog:
    """The newest lines of one run's log, read on from where the last look ended."""

    run_id: str
    more: bool = False
    _lines: deque[str] = field(default_factory=lambda: deque(maxlen=MOST_LINES))
    _told: int = 0
    _cursor: str | None = None

    def read(self, client: DagsterClient) -> Run:
        """Look at the run and read the news, a few pages at most; `more` says there are others.

        Raises Invalid where there is no such run, and Unreachable.
        """
        from dagmar.server.runs import read_run_and_logs

        for _ in range(PAGES_AT_ONCE):
            run, page = read_run_and_logs(client, self.run_id, self._cursor)
            for event in page["events"]:
                self._note(event)
            self._cursor, self.more = page["cursor"], page["hasMore"]
            if not self.more:
                break
        return run

    def _note(self, event: Mapping[str, Any]) -> None:
        if is_told(event):
            self._told += 1
            self._lines.append(draw_line(event, str(event.get("level"))))

    def draw(self) -> str:
        """Return the lines in a pane that stays at its end, as HTML; nothing for no lines."""
        if not self._lines:
            return ""
        left_out = self._told - len(self._lines)
        title = f"Log, the last {len(self._lines)} lines" if left_out else "Log"
        # In a reversed column a browser keeps the end in sight.
        return (
            f'<details open style="margin-top:8px"><summary style="{drawing.SMALL}">{title}'
            f'</summary><div style="{PANE}"><div>{"".join(self._lines)}</div></div></details>'
        )


def draw_line(event: Mapping[str, Any], level: str) -> str:
    """Return one event as a line of HTML; a long message is cut."""
    moment = datetime.fromtimestamp(int(event["timestamp"]) / 1000)
    step = f"{escape(str(event['stepKey']))} · " if event.get("stepKey") else ""
    text = str(event["message"]).strip()
    text = text if len(text) <= MOST_LETTERS else f"{text[:MOST_LETTERS]}…"
    color = f";color:{LEVELS[level]}" if level in LEVELS else ""
    return (
        f'<div style="{LINE}{color}"><span style="opacity:0.6">{moment:%H:%M:%S} {step}</span>'
        f"{escape(text)}</div>"
    )
