"""The buttons of a watched run: what a click sends, how often, and what the page shows."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest
from dagmar.asset_key import AssetKey
from dagmar.errors import AnswerLost, DagmarError, Invalid, NotAllowed, Unreachable
from dagmar.notebook.fallbacks import as_static
from dagmar.pair.context import Context
from dagmar.pair.controls import LaunchOptions
from dagmar.pair.started import StartedRuns
from dagmar.pair.watching import Watcher
from dagmar.project.settings import Target
from dagmar.scaffold import failed
from dagmar.scaffold.failed import OpenedRun
from dagmar.scaffold.notebooks import Notebook, Scaffolded, ScaffoldRequest
from dagmar.server.failed import FailedRun
from support.project import Project

RETRY, CANCEL = "<retry button>", "<cancel button>"


class Server:
    """Stands in for Dagster's client: runs by id, and the results of launching and cancelling."""

    def __init__(self) -> None:
        self.runs = {"old": "FAILURE", "new": "STARTED"}
        self.launched = self.cancelled = self.asked = 0
        self.log: list[str] = []
        self.launch: Callable[[], str] = lambda: "new"
        self.cancel: Callable[[], None] = lambda: None
        self.target = Target("local", "http://127.0.0.1")

    def retry(self, *_: object) -> str:
        self.launched += 1
        return self.launch()

    def query(self, name: str, **variables: Any) -> dict[str, Any]:
        self.asked += 1
        events = [
            {"__typename": "LogMessageEvent", "timestamp": "0", "message": line, "level": "INFO"}
            for line in self.log[int(variables.get("cursor") or 0) :]
        ]
        cursor = str(len(self.log))
        page = {
            "__typename": "EventConnection",
            "cursor": cursor,
            "hasMore": False,
            "events": events,
        }
        run = {
            "__typename": "Run",
            "runId": variables["id"],
            "status": self.runs[variables["id"]],
            "jobName": "job",
            "startTime": None,
            "endTime": None,
            "assetSelection": [],
            "assetChecks": [],
            "tags": [],
            "repositoryOrigin": None,
            "hasTerminatePermission": True,
        }
        return {"runOrError": run, "logsForRun": page}

    def mutate(self, name: str, **variables: Any) -> dict[str, Any]:
        assert name == "CancelRun"
        self.cancelled += 1
        self.cancel()
        return {"terminateRun": {"__typename": "TerminateRunSuccess"}}


@pytest.fixture
def server() -> Server:
    return Server()


def watch(
    project: Project, server: Any, run_id: str, started: StartedRuns | None = None
) -> Watcher:
    """Return a watcher whose cell was run, and that has looked once."""
    context = Context(AssetKey("a"), "", "", project.root)
    watcher = Watcher(context, run_id, started, server.retry, cancel_again_seconds=-1)
    watcher.buttons = {"retry": RETRY, "cancel": CANCEL}
    watcher.look(server)
    return watcher


def refuse(error: DagmarError) -> Callable[[], Any]:
    def act() -> None:
        raise error

    return act


def test_a_retry_on_its_way_is_not_sent_again(project: Project, server: Any) -> None:
    sending, answer = threading.Event(), threading.Event()

    def slow() -> str:
        sending.set()
        assert answer.wait(240)
        return "new"

    server.launch = slow
    started = StartedRuns()
    watcher, other = (watch(project, server, "old", started) for _ in range(2))
    assert RETRY in watcher.page()
    for each in (watcher, other):
        each.retry()
        assert RETRY not in each.page()
    thread = threading.Thread(target=watcher.look, args=(server,))
    thread.start()
    assert sending.wait(240)

    other.look(server)
    again = watch(project, server, "old", started)  # the cell is run again
    for each in (watcher, other, again):
        assert "retrying…" in each.page()
        assert RETRY not in each.page()
        each.retry()
    again.look(server)
    answer.set()
    thread.join()
    for each in (watcher, other, again):
        each.look(server)
        assert each.run_id == "new"
        assert CANCEL in each.page()
        assert "retrying" not in each.page()
    assert server.launched == 1


def test_a_retry_whose_answer_is_lost_is_not_sent_again(project: Project, server: Any) -> None:
    server.launch = refuse(AnswerLost("the connection broke", "look for it"))
    started = StartedRuns()
    watcher = watch(project, server, "old", started)
    watcher.retry()
    watcher.look(server)
    for each in (watcher, watch(project, server, "old", started)):
        each.retry()
        each.look(server)
        assert "the connection broke" in each.page()
        assert RETRY not in each.page()
        assert "retrying" not in each.page()
    assert server.launched == 1


@pytest.mark.parametrize("error", [Invalid("no"), NotAllowed("no"), Unreachable("no")])
def test_a_retry_that_was_refused_can_be_repeated(
    project: Project, server: Any, error: DagmarError
) -> None:
    server.launch = refuse(error)
    watcher = watch(project, server, "old")
    watcher.retry()
    for _ in range(2):
        watcher.look(server)
        assert ">no<" in as_static(watcher.page())
        assert RETRY in watcher.page()
    server.launch = lambda: "new"
    watcher.retry()
    assert ">no<" not in as_static(watcher.page())
    watcher.look(server)
    assert watcher.run_id == "new"


@pytest.mark.parametrize("error", [Invalid("it cannot"), NotAllowed("it cannot")])
def test_a_refused_cancel_is_shown_until_the_next_click_and_sent_once(
    project: Project, server: Any, error: DagmarError
) -> None:
    server.cancel = refuse(error)
    watcher = watch(project, server, "new")
    watcher.cancel()
    for _ in range(3):
        watcher.look(server)
        assert "it cannot" in watcher.page()
        assert CANCEL in watcher.page()
        assert "cancelling" not in watcher.page()
    assert server.cancelled == 1
    watcher.cancel()
    assert "it cannot" not in watcher.page()
    watcher.look(server)
    assert server.cancelled == 2
    server.runs["new"] = "SUCCESS"
    watcher.look(server)
    assert "it cannot" not in watcher.page()


def test_a_cancel_is_repeated_while_the_run_starts(project: Project, server: Any) -> None:
    server.cancel = refuse(Invalid("it cannot"))
    server.runs["new"] = "STARTING"
    watcher = watch(project, server, "new")
    watcher.cancel()
    for times in (1, 2):
        watcher.look(server)
        assert server.cancelled == times
        assert "cancelling" in watcher.page()
        assert "it cannot" not in watcher.page()


def test_a_retry_has_what_is_in_the_controls_when_it_is_clicked(
    project: Project, server: Any
) -> None:
    sent, chosen = [], [LaunchOptions(config={"ops": {"a": {}}})]

    def launch(*given: Any) -> str:
        sent.append(given[-1])
        return "new"

    def choose() -> LaunchOptions:
        if not chosen:
            raise Invalid("this is not a mapping")
        return chosen.pop()

    for changed, options in ((True, chosen[0]), (False, LaunchOptions())):
        watcher = Watcher(Context(AssetKey("a"), "", "", project.root), "old", launch=launch)
        watcher._chosen, watcher.buttons = choose, {"retry": RETRY, "change": "<change>"}
        watcher.look(server)
        assert RETRY in watcher.page()
        watcher.retry(changed)
        watcher.look(server)
        assert sent.pop() == options
    watcher = Watcher(Context(AssetKey("a"), "", "", project.root), "old", launch=launch)
    watcher._chosen, watcher.buttons = choose, {"retry": RETRY, "change": "<change>"}
    watcher.look(server)
    watcher.retry(changed=True)
    watcher.look(server)
    assert "this is not a mapping" in watcher.page()
    assert "<change>" in watcher.page()
    assert sent == []


def test_a_failed_run_is_opened_by_a_link_that_needs_no_token(
    project: Project, server: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    watcher = watch(project, server, "old")
    watcher.buttons = {"retry": RETRY, "open": "<open>"}
    assert "<open>" in watcher.page()

    def open_run(settings: Any, client: Any, request: ScaffoldRequest) -> OpenedRun:
        run = FailedRun(request.run, "shop", "", (), {}, None)
        file = project.root / "notebooks" / "a.py"
        made = Scaffolded(project.root, [Notebook({"asset": "a"}, file, None, "default")])
        return OpenedRun(made, run, (), "?file=a.py&run=old", "http://127.0.0.1:2718/x")

    monkeypatch.setattr(failed, "open_run", open_run)
    watcher.open()
    assert "opening…" in watcher.page()
    watcher.look(server)
    assert 'href="?file=a.py&amp;run=old"' in watcher.page()
    assert "marimo edit notebooks/a.py -- --run old" in watcher.page()
    monkeypatch.setattr(failed, "open_run", lambda *_: refuse(Invalid("it was renamed"))())
    watcher.open()
    watcher.look(server)
    assert "it was renamed" in watcher.page()
    server.runs["old"] = "CANCELED"
    assert "<open>" not in watch(project, server, "old").page()


def test_a_cell_that_runs_again_shows_at_once_what_was_known(project: Project, server: Any) -> None:
    server.log = ["first", "second"]
    watcher = watch(project, server, "old")
    page = watcher.page()
    assert "second" in page
    asked = server.asked
    for _ in range(3):  # keys that are typed in the controls
        watcher = watcher.again(None)
        assert watcher.page() == page
        watcher.look(server)
    assert server.asked == asked  # the run has ended, and nothing is new
    assert watcher.page() == page


def test_the_log_of_a_run_that_goes_on_has_no_line_twice(project: Project, server: Any) -> None:
    server.log = ["first"]
    before = watch(project, server, "new")
    after = before.again(None)
    server.log = ["first", "second"]
    for each in (before, after):  # the thread of the cell's last run has not ended yet
        each.look(server)
        assert [each.page().count(line) for line in server.log] == [1, 1]


def test_a_click_just_before_the_cell_runs_again_is_sent_once(
    project: Project, server: Any
) -> None:
    before = watch(project, server, "old")
    before.retry()
    after = before.again(None)
    for each in (after, before):
        each.look(server)
    assert server.launched == 1
    assert (before.run_id, after.run_id) == ("new", "new")
