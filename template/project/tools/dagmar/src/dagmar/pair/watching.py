"""A run on the page: how it stands, its log, why it failed, and buttons to cancel and retry it.

A thread of the cell looks at the run and draws it anew. It ends with the cell.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from html import escape
from typing import TYPE_CHECKING, Any

from dagmar.errors import AnswerLost, DagmarError, Invalid, NotAllowed, Unreachable
from dagmar.pair import drawing
from dagmar.pair.buttons import launch_retry
from dagmar.pair.context import Context, live
from dagmar.server.runs import is_told

if TYPE_CHECKING:
    import marimo as mo

    from dagmar.server.client import DagsterClient
    from dagmar.server.runs import Run

IDLE_SECONDS = 0.5
FIRST_LOOKS = 3
MOST_LINES = 200
MOST_LETTERS = 500
PAGES_AT_ONCE = 4
LEVELS = {
    "WARNING": drawing.ORANGE,
    "ERROR": drawing.RED,
    "CRITICAL": drawing.RED,
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


def draw_run(run: Run, warning: str = "", now: float | None = None) -> str:
    """Return how a run stands, as HTML without its buttons."""
    now = time.time() if now is None else now
    what = ", ".join(run.assets) or run.job
    head = (
        f"<div>{drawing.badge(run.status)} <b>{escape(what)}</b>"
        f"{f' · {escape(run.partition)}' if run.partition else ''} · "
        f"{drawing.link(run.url, run.run_id[:8])}</div>"
    )
    seconds = run.seconds
    if seconds is None and run.started and not run.final:
        seconds = now - run.started
    running = f": {', '.join(run.steps_running)}" if run.steps_running else ""
    steps = (
        f'<div><progress max="{run.steps_total}" value="{run.steps_done}"></progress> '
        f"{run.steps_done} of {run.steps_total} steps{escape(running)} "
        f"<span style='{drawing.SMALL}'>{drawing.took(seconds)}</span></div>"
    )
    body = drawing.failure(run.error) if run.error else ""
    return head + steps + (drawing.note(warning) if warning else "") + body


def draw_at_the_end(
    context: Context, run_ids: Sequence[str], retries: Retries, draw: Callable[[], Any]
) -> None:
    """Draw the cell anew when one of the runs has ended, and when a retry of it has."""
    import marimo as mo

    from dagmar.server import runs
    from dagmar.server.client import DagsterClient

    def follow() -> None:
        thread = mo.current_thread()
        ended: set[str] = set()
        with DagsterClient(context.target) as client:
            while not thread.should_exit:
                for run_id in {retries.newest(run_id) for run_id in run_ids} - ended:
                    with contextlib.suppress(DagmarError):
                        if runs.read_run(client, run_id).final:
                            ended.add(run_id)
                            mo.output.replace(draw())
                time.sleep(max(context.settings.poll_seconds, IDLE_SECONDS))

    mo.Thread(target=follow, daemon=True).start()


class Watcher:
    """Looks at one run, and at its retries."""

    def __init__(self, context: Context, run_id: str, retries: Retries | None = None) -> None:
        """Watch a run, or its last retry."""
        self._context = context
        self._retries = retries or Retries()
        self._run_id = self._retries.newest(run_id)
        self._run: Run | None = None
        self._log = RunLog(self._run_id)
        self._refused: dict[str, DagmarError] = {}
        self._trouble: DagmarError | None = None
        self._warning = ""
        self._since = time.monotonic()
        self._cancel_wanted = False
        self._cancelled_at = 0.0
        self._retry_wanted = False
        self._wake = threading.Event()
        self._buttons: dict[str, Any] = {}

    def look(self, client: DagsterClient) -> None:
        """See how the run stands, and do what the buttons ask for."""
        from dagmar.server import runs

        try:
            if self._retry_wanted:
                self._retry(client)
            if self._retried:
                self._go_on()
            if self._moves:
                known = self._run and self._run.error
                self._run = self._log.read(client)
                if self._run.status == "FAILURE":
                    self._run.error = known or runs.explain(client, self._run_id)
                self._warn(client)
            if self._cancel_wanted and self._run and not self._run.final:
                self._cancel(client)
            self._trouble = None
        except DagmarError as error:
            self._trouble = error

    def _cancel(self, client: DagsterClient) -> None:
        """Ask for the end; Dagster forgets what reaches a run while it starts, so ask again."""
        from dagmar.server import runs

        if time.monotonic() - self._cancelled_at <= runs.CANCEL_AGAIN_SECONDS:
            return
        self._cancelled_at = time.monotonic()
        try:
            runs.cancel_run(client, self._run_id)
        except (Invalid, NotAllowed) as error:
            # A run that only starts, or ends already, is refused too: that passes.
            if isinstance(error, NotAllowed) or (self._run and self._run.status == "STARTED"):
                self._cancel_wanted, self._cancelled_at = False, 0.0
                self._refused["cancel"] = error

    def _retry(self, client: DagsterClient) -> None:
        failed = self._run_id
        try:
            self._retries.send(failed, lambda: launch_retry(self._context, client, failed))
        except DagmarError as error:
            self._refused["retry"] = error
        finally:
            self._retry_wanted = False

    def _go_on(self) -> None:
        """Look at the retry from now on."""
        self._run_id = self._retries.newest(self._run_id)
        self._run, self._log = None, RunLog(self._run_id)
        self._refused = {}
        self._cancel_wanted, self._since = False, time.monotonic()

    def _warn(self, client: DagsterClient) -> None:
        from dagmar.server import runs

        run = self._run
        if run is None or run.status != "QUEUED":
            self._warning = ""
        elif not self._warning and time.monotonic() - self._since > runs.WARN_AFTER_SECONDS:
            waits = runs.waits_for_nobody(client, run.status)
            self._warning = f"It {runs.NO_DAEMON}." if waits else ""

    def page(self) -> str:
        """Return what is to be seen now."""
        parts = []
        if self._run is not None:
            parts.append(draw_run(self._run, self._warning) + self._log.draw())
        elif self._trouble is None:
            parts.append(drawing.note("Waiting for Dagster…"))
        if isinstance(self._trouble, Unreachable):
            parts.append(
                drawing.note(
                    f"{self._trouble.message}. Looking on; the run may go on meanwhile.",
                    self._trouble.hint,
                    drawing.COLORS["CANCELED"],
                )
            )
        elif self._trouble is not None:
            parts.append(drawing.refusal(self._trouble))
        parts += self._about_the_buttons()
        return drawing.box(*parts, label="Run")

    def _about_the_buttons(self) -> list[str]:
        """Return the button that fits now, and what came of the last click on it."""
        if self._run is None:
            return []
        button = self._button()
        asked = "retry" if self._run.final else "cancel"
        refused = self._refused.get(asked)
        if asked == "retry":
            refused = self._retries.lost(self._run_id) or refused
        parts = [drawing.refusal(refused)] if refused else []
        if button is not None:
            also = " cancelling…" if self._cancel_wanted and button == "cancel" else ""
            parts.append(f"<div>{self._buttons[button].text}{also}</div>")
        elif self._retry_wanted or (self._retries.sent(self._run_id) and not refused):
            parts.append("<div>retrying…</div>")
        return parts

    @property
    def _moves(self) -> bool:
        """Whether there may be news of the run."""
        return self._run is None or not self._run.final or self._log.more or self._retried

    @property
    def _retried(self) -> bool:
        """Whether a retry was made, by whichever cell."""
        return self._retries.newest(self._run_id) != self._run_id

    def _button(self) -> str | None:
        """Return which button fits now."""
        if not self._buttons or self._run is None or self._context.target.read_only:
            return None
        if not self._run.final:
            return "cancel"
        asked = self._retry_wanted or self._retries.sent(self._run_id)
        return "retry" if self._run.status != "SUCCESS" and not asked else None

    def show(self) -> mo.Html:
        """Return the run as it stands, and keep it up to date where somebody looks on."""
        import marimo as mo

        from dagmar.server.client import DagsterClient

        if not live():
            with DagsterClient(self._context.target) as client:
                self.look(client)
            return mo.Html(self.page())
        self._buttons = {
            "cancel": mo.ui.button(label="Cancel", kind="danger", on_change=self._on_cancel),
            "retry": mo.ui.button(label="Retry", kind="warn", on_change=self._on_retry),
        }
        mo.Thread(target=self._follow, daemon=True).start()
        return mo.Html(self.page())

    def _on_cancel(self, _: Any) -> None:
        self._refused = {}
        self._cancel_wanted = True
        self._wake.set()

    def _on_retry(self, _: Any) -> None:
        if self._button() == "retry":
            self._refused = {}
            self._retry_wanted = True
            self._wake.set()

    def _follow(self) -> None:
        """Draw the run anew whenever it changes, until the cell is run again."""
        import marimo as mo

        from dagmar.server.client import DagsterClient

        thread = mo.current_thread()
        shown, looks = "", 0

        def draw() -> None:
            nonlocal shown, looks
            page = self.page()
            looks += 1
            # What the cell itself returned may arrive after the first drawings.
            if (page != shown or looks <= FIRST_LOOKS) and not thread.should_exit:
                mo.output.replace(mo.Html(page))
                shown = page

        with DagsterClient(self._context.target) as client:
            while not thread.should_exit:
                if self._retry_wanted:  # it may be on its way for long
                    draw()
                if self._moves or self._retry_wanted:
                    self.look(client)
                draw()
                self._wake.wait(
                    self._context.settings.poll_seconds if self._moves else IDLE_SECONDS
                )
                self._wake.clear()
