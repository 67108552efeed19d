"""A watched run: its status, log and failure, with buttons to cancel and retry it.

A thread of the cell reads the run and updates the page. It ends with the cell.
"""

from __future__ import annotations

import copy
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from html import escape
from typing import TYPE_CHECKING, Any

from dagmar.console import format_duration, pasteable
from dagmar.errors import DagmarError, Invalid, NotAllowed, Unreachable, cut
from dagmar.pair import drawing
from dagmar.pair.buttons import launch_retry
from dagmar.pair.context import Context, live
from dagmar.pair.controls import LaunchOptions
from dagmar.pair.started import IDLE_SECONDS, StartedRuns
from dagmar.project.layout import relative
from dagmar.server import runs
from dagmar.server.client import DagsterClient

if TYPE_CHECKING:
    import marimo as mo
    from typing_extensions import Self

FIRST_LOOKS = 3
MOST_LINES = 200
MOST_LETTERS = 500
PAGES_AT_ONCE = 4
LEVELS = {"WARNING": drawing.ORANGE, "ERROR": drawing.RED, "CRITICAL": drawing.RED}
PANE = "max-height:14em;overflow:auto;display:flex;flex-direction:column-reverse"
LINE = f"{drawing.PRE};margin:0;font-family:monospace;font-size:0.8em"


@dataclass
class RunLog:
    """The newest lines of one run's log; each reading continues where the last one ended."""

    run_id: str
    more: bool = False
    # The lines, how many there were, and the cursor: replaced at once, so a copy is consistent.
    _known: tuple[Sequence[str], int, str | None] = ((), 0, None)

    def read(self, client: DagsterClient) -> runs.Run:
        """Read the run and what is new in its log, a few pages at most; `more` says if more is.

        Raises Invalid if there is no such run, and Unreachable.
        """
        for _ in range(PAGES_AT_ONCE):
            known, count, cursor = self._known
            run, page = runs.read_run_and_logs(client, self.run_id, cursor)
            new = [draw_line(event) for event in page["events"] if runs.is_shown(event)]
            self._known = [*known, *new][-MOST_LINES:], count + len(new), page["cursor"]
            self.more = page["hasMore"]
            if not self.more:
                break
        return run

    def draw(self) -> str:
        """Return the lines in a pane that shows its end, as HTML; nothing if there are none."""
        lines, count, _ = self._known
        if not lines:
            return ""
        title = f"Log, the last {len(lines)} lines" if count > len(lines) else "Log"
        # In a reversed column a browser keeps the end in view.
        return (
            f'<details open style="margin-top:8px"><summary style="{drawing.SMALL}">{title}'
            f'</summary><div style="{PANE}"><div>{"".join(lines)}</div></div></details>'
        )


def draw_line(event: Mapping[str, Any]) -> str:
    """Return one event as a line of HTML; a long message is cut."""
    moment = datetime.fromtimestamp(int(event["timestamp"]) / 1000)
    step = f"{escape(str(event['stepKey']))} · " if event.get("stepKey") else ""
    text = cut(str(event["message"]).strip(), MOST_LETTERS + 1)
    color = LEVELS.get(str(event.get("level")), "inherit")
    return (
        f'<div style="{LINE};color:{color}"><span style="opacity:0.6">{moment:%H:%M:%S} {step}'
        f"</span>{escape(text)}</div>"
    )


def draw_run(run: runs.Run, warning: str = "") -> str:
    """Return the state of a run, as HTML without its buttons."""
    partition = f" · {escape(run.partition)}" if run.partition else ""
    seconds = run.seconds
    if seconds is None and run.started and not run.final:
        seconds = time.time() - run.started
    running = f": {', '.join(run.steps_running)}" if run.steps_running else ""
    times = (format_duration(seconds), run.used)
    return (
        f"<div>{drawing.badge(run.status)} <b>{escape(', '.join(run.assets) or run.job)}</b>"
        f"{partition} · {drawing.link(run.url, run.run_id[:8])}</div>"
        f'<div><progress max="{run.steps_total}" value="{run.steps_done}"></progress> '
        f"{run.steps_done} of {run.steps_total} steps{escape(running)} "
        f'<span style="{drawing.SMALL}">{escape(" · ".join(filter(None, times)))}</span></div>'
        + (drawing.note(warning, kind="warn") if warning else "")
        + (drawing.failure(run.error) if run.error else "")
        + drawing.checks(run.checks or ())
    )


class Watcher:
    """Watches one run, and its retries.

    `buttons` is the HTML of the buttons `cancel`, `retry`, `change` and `open`; it is empty if
    nobody can click. `change` retries with what is chosen in the controls.
    """

    def __init__(
        self,
        context: Context,
        run_id: str,
        started: StartedRuns | None = None,
        launch: Callable[[Context, DagsterClient, str, LaunchOptions | None], str] = launch_retry,
        cancel_again_seconds: float = runs.CANCEL_AGAIN_SECONDS,
        chosen: Callable[[], LaunchOptions] | None = None,
        note: str = "",
    ) -> None:
        """Watch a run, or its last retry; `chosen` reads the controls, if there are some.

        `note` is shown above the run, but not above a retry.
        """
        self._context = context
        self._started = started or StartedRuns()
        self._launch, self._cancel_again_seconds = launch, cancel_again_seconds
        self.buttons: Mapping[str, str] = {}
        self._clicked = threading.Event()
        self._retry_wanted = self._open_wanted = False
        self._chosen, self._changes = chosen, LaunchOptions()
        self._note = run_id, note
        self._watch(run_id)

    def again(self, chosen: Callable[[], LaunchOptions] | None) -> Self:
        """Return a watcher that goes on from here, for a cell that runs again.

        That is with every key that is typed in the controls: it neither asks for what is known nor
        shows less. A click that was not sent yet is sent once all the same.
        """
        other = copy.copy(self)
        other._log = copy.copy(self._log)
        other._clicked = threading.Event()
        other._chosen, other._open_wanted = chosen, False
        return other

    def _watch(self, run_id: str) -> None:
        self.run_id = self._started.newest(run_id)
        self._run: runs.Run | None = None
        self._log = RunLog(self.run_id)
        self._refused: dict[str, DagmarError] = {}
        self._trouble: DagmarError | None = None
        self._warning = self._opened = ""
        self._since = time.monotonic()
        self._cancel_wanted, self._cancelled_at = False, 0.0

    def look(self, client: DagsterClient) -> None:
        """Read the run, after sending the retry and before sending the cancellation."""
        try:
            if self._retry_wanted:
                self._send_retry(client)
            if self._open_wanted:
                self._open(client)
            if self._retried:
                self._watch(self.run_id)
            if self._moves:
                known, self._run = self._run, self._log.read(client)
                if known and known.checks is not None:
                    self._run.error, self._run.checks = known.error, known.checks
                elif self._run.final:
                    self._started.look(client, self.run_id)
                    runs.read_outcome(client, self._run)
                self._warn(client, self._run.status)
            if self._cancel_wanted and self._run and not self._run.final:
                self._send_cancel(client, self._run)
            self._trouble = None
        except DagmarError as error:
            self._trouble = error

    def _send_cancel(self, client: DagsterClient, run: runs.Run) -> None:
        """Cancel the run; Dagster forgets what reaches a run while it starts, so repeat it."""
        if time.monotonic() - self._cancelled_at <= self._cancel_again_seconds:
            return
        self._cancelled_at = time.monotonic()
        try:
            runs.cancel_run(client, self.run_id)
        except (Invalid, NotAllowed) as error:
            # A run that is starting or ending is refused too, but not for long.
            if isinstance(error, NotAllowed) or run.status == "STARTED":
                self._cancel_wanted, self._cancelled_at = False, 0.0
                self._refused["cancel"] = error

    def _send_retry(self, client: DagsterClient) -> None:
        failed = self.run_id
        try:
            self._started.retry(
                failed, lambda: self._launch(self._context, client, failed, self._changes)
            )
        except DagmarError as error:
            self._refused["retry"] = error
        finally:
            self._retry_wanted = False

    def _open(self, client: DagsterClient) -> None:
        """Create the notebook of what failed, unless there is one, and link to it."""
        from dagmar.scaffold.failed import open_run
        from dagmar.scaffold.notebooks import ScaffoldRequest

        try:
            made = open_run(self._context.settings, client, ScaffoldRequest(run=self.run_id))
            path = relative(made.notebook.file, made.scaffolded.root)
            # Relative to this page: its browser has logged in to the editor.
            self._opened = (
                f'<div><a href="{escape(made.link)}" target="_blank" style="color:{drawing.LINK};'
                f'text-decoration:underline">Open {escape(path)} with the values of this run</a> '
                f'<span style="{drawing.SMALL}">or in a terminal: '
                f"{escape(pasteable('', made.command))}</span></div>"
            )
        except DagmarError as error:
            self._refused["open"] = error
        finally:
            self._open_wanted = False

    def _warn(self, client: DagsterClient, status: str) -> None:
        if status not in runs.DAEMONS:
            self._warning = ""
        elif not self._warning and time.monotonic() - self._since > runs.WARN_AFTER_SECONDS:
            waits = runs.lacks_daemon(client, status)
            self._warning = f"It {runs.NO_DAEMON}." if waits else ""

    def page(self) -> str:
        """Return the run as it is known now, as HTML."""
        run_id, note = self._note
        parts = [drawing.note(note)] if note and run_id == self.run_id else []
        drawn = self._draw()
        if drawn:
            parts += drawn
        elif self._trouble is None:
            parts.append("<div>Waiting for Dagster…</div>")
        if isinstance(self._trouble, Unreachable):
            text = f"{self._trouble.message}. Still trying; the run may go on."
            parts.append(drawing.note(text, self._trouble.suggestion, "warn"))
        elif self._trouble is not None:
            parts.append(drawing.refusal(self._trouble))
        if self._run is not None:
            parts += self._draw_button(self._run)
        return drawing.box(*parts, label="Run")

    def _draw(self) -> list[str]:
        """Return the state as it is known now; nothing before it was read."""
        if self._run is None:
            return []
        return [draw_run(self._run, self._warning), self._log.draw()]

    def _draw_button(self, run: runs.Run) -> list[str]:
        """Return the button that applies now, and the result of the last click on it."""
        button = self._button
        retry = self._started.sent.get(self.run_id) or self._refused.get("retry")
        refused = retry if run.final else self._refused.get("cancel")
        parts = [drawing.refusal(error) for error in (refused, self._refused.get("open")) if error]
        if button:
            also = " cancelling…" if self._cancel_wanted and button == "cancel" else ""
            names = [button]
            if button == "retry":
                names += ["change", "open"] if run.status == "FAILURE" else ["change"]
                also = " opening…" if self._open_wanted else ""
            shown = " ".join(self.buttons[name] for name in names if name in self.buttons)
            parts.append(f"<div>{shown}{also}</div>{self._opened}")
        elif self._retry_wanted or (self.run_id in self._started.sent and not refused):
            parts.append("<div>retrying…</div>")
        return parts

    @property
    def _moves(self) -> bool:
        """Whether there may be news of the run."""
        run = self._run
        ended = run is not None and run.final and run.checks is not None
        return not ended or self._log.more or self._retried

    @property
    def _retried(self) -> bool:
        """Whether a retry was launched, by any cell."""
        return self._started.newest(self.run_id) != self.run_id

    @property
    def _button(self) -> str:
        if not self.buttons or self._run is None or self._context.target.read_only:
            return ""
        if not self._run.final:
            return "cancel"
        sent = self._retry_wanted or self.run_id in self._started.sent
        return "retry" if self._run.status != "SUCCESS" and not sent else ""

    def show(self) -> mo.Html:
        """Return the run as it is now, and update it if somebody views the notebook."""
        import marimo as mo

        if not live():
            with DagsterClient(self._context.target) as client:
                self.look(client)
            return mo.Html(self.page())
        cancel = mo.ui.button(label="Cancel", kind="danger", on_change=lambda _: self.cancel())
        retry = mo.ui.button(label="Retry", kind="warn", on_change=lambda _: self.retry())
        elements = {"cancel": cancel, "retry": retry}
        if self._chosen:
            elements["change"] = mo.ui.button(
                label="Retry with the config and tags of the controls",
                on_change=lambda _: self.retry(changed=True),
            )
        if mo.app_meta().mode == "edit":  # an app creates no files
            elements["open"] = mo.ui.button(
                label="Open as a notebook", on_change=lambda _: self.open()
            )
        self._elements = elements  # marimo keeps no strong reference to them
        self.buttons = {name: element.text for name, element in elements.items()}
        mo.Thread(target=self._follow, daemon=True).start()
        return mo.Html(self.page())

    def cancel(self) -> None:
        """Cancel the run at the next look."""
        self._refused = {}
        self._cancel_wanted = True
        self._clicked.set()

    def retry(self, changed: bool = False) -> None:
        """Retry the run at the next look, if it can be retried and was not yet.

        With `changed` its config and tags are merged with those that are chosen now.
        """
        if self._button != "retry":
            return
        self._refused = {}
        try:
            self._changes = self._chosen() if changed and self._chosen else LaunchOptions()
            self._retry_wanted = True
        except DagmarError as error:
            self._refused["retry"] = error
        self._clicked.set()

    def open(self) -> None:
        """Open the notebook of what failed at the next look."""
        self._refused = {}
        self._open_wanted = True
        self._clicked.set()

    def _follow(self) -> None:
        """Update the page whenever the run changes, until the cell runs again."""
        import marimo as mo

        thread = mo.current_thread()
        shown, looks = "", 0

        def draw() -> None:
            nonlocal shown, looks
            page = self.page()
            looks += 1
            # What the cell itself returned may arrive after the first updates.
            if (page != shown or looks <= FIRST_LOOKS) and not thread.should_exit:
                mo.output.replace(mo.Html(page))
                shown = page

        with DagsterClient(self._context.target) as client:
            while not thread.should_exit:
                wanted = self._retry_wanted or self._open_wanted
                if wanted:  # it may take long
                    draw()
                if self._moves or wanted:
                    self.look(client)
                draw()
                pause = self._context.settings.poll_seconds if self._moves else IDLE_SECONDS
                self._clicked.wait(pause)
                self._clicked.clear()
