"""The buttons beside a run: what a click sends, how often, and what is seen of it."""

from __future__ import annotations

import threading
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
from dagmar.errors import AnswerLost, DagmarError, Invalid, NotAllowed, Unreachable
from dagmar.pair import watching
from dagmar.pair.context import Context
from dagmar.pair.watching import Retries, Watcher
from dagmar.server.runs import Run
from support.project import Project

RETRY, CANCEL = "<retry button>", "<cancel button>"


class Server:
    """Stands for Dagster: runs by id, and what launching and cancelling come to."""

    def __init__(self) -> None:
        self.runs = {"old": "FAILURE", "new": "STARTED"}
        self.launched = self.cancelled = 0
        self.launch: Callable[[], str] = lambda: "new"
        self.cancel: Callable[[], None] = lambda: None

    def require_writable(self) -> None: ...

    def launch_run(self, *_: object) -> str:
        self.launched += 1
        return self.launch()

    def cancel_run(self, *_: object) -> None:
        self.cancelled += 1
        self.cancel()


class Log:
    """Stands for a run's log, which has nothing in it."""

    more = False

    def __init__(self, run_id: str) -> None:
        self.run_id = run_id

    def read(self, server: Server) -> Run:
        return Run(self.run_id, "http://127.0.0.1", server.runs[self.run_id], "job")

    def draw(self) -> str:
        return ""


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Server:
    server = Server()
    monkeypatch.setattr(watching, "RunLog", Log)
    monkeypatch.setattr("dagmar.server.runs.CANCEL_AGAIN_SECONDS", -1.0)
    monkeypatch.setattr("dagmar.server.runs.explain", lambda *_: None)
    monkeypatch.setattr("dagmar.server.runs.cancel_run", server.cancel_run)
    monkeypatch.setattr("dagmar.server.launch.launch_run", server.launch_run)
    monkeypatch.setattr("dagmar.runs.prepare.prepare", lambda *_: (None,))
    return server


def watch(project: Project, server: Any, run_id: str, retries: Retries | None = None) -> Watcher:
    """Return a watcher whose cell was run, and that has looked once."""
    watcher = Watcher(Context("a", "", "", project.root), run_id, retries)
    watcher._buttons = {
        "retry": SimpleNamespace(text=RETRY),
        "cancel": SimpleNamespace(text=CANCEL),
    }
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
        assert answer.wait(30)
        return "new"

    server.launch = slow
    retries = Retries()
    watcher = watch(project, server, "old", retries)
    assert RETRY in watcher.page()
    watcher._on_retry(1)
    assert RETRY not in watcher.page()
    thread = threading.Thread(target=watcher.look, args=(server,))
    thread.start()
    assert sending.wait(30)

    again = watch(project, server, "old", retries)  # the cell is run again
    for one in (watcher, again):
        assert "retrying…" in one.page()
        assert RETRY not in one.page()
        one._on_retry(1)
    assert not again._retry_wanted
    again._retry_wanted = True  # a click that was faster
    again.look(server)
    answer.set()
    thread.join()
    for one in (watcher, again):
        one.look(server)
        assert one._run_id == "new"
        assert CANCEL in one.page()
        assert "retrying" not in one.page()
    assert server.launched == 1


def test_a_retry_whose_answer_is_lost_is_not_sent_again(project: Project, server: Any) -> None:
    server.launch = refuse(AnswerLost("the connection broke", "look for it"))
    retries = Retries()
    watcher = watch(project, server, "old", retries)
    watcher._on_retry(1)
    watcher.look(server)
    for one in (watcher, watch(project, server, "old", retries)):
        one._on_retry(1)
        one.look(server)
        assert "the connection broke" in one.page()
        assert RETRY not in one.page()
        assert "retrying" not in one.page()
    assert server.launched == 1


@pytest.mark.parametrize("error", [Invalid("no"), NotAllowed("no"), Unreachable("no")])
def test_a_retry_that_was_refused_can_be_asked_for_again(
    project: Project, server: Any, error: DagmarError
) -> None:
    server.launch = refuse(error)
    watcher = watch(project, server, "old")
    watcher._on_retry(1)
    for _ in range(2):
        watcher.look(server)
        assert ">no<" in watcher.page()
        assert RETRY in watcher.page()
    server.launch = lambda: "new"
    watcher._on_retry(1)
    assert ">no<" not in watcher.page()
    watcher.look(server)
    assert watcher._run_id == "new"


@pytest.mark.parametrize("error", [Invalid("it cannot"), NotAllowed("it cannot")])
def test_a_refused_cancel_is_told_until_the_next_click_and_sent_once(
    project: Project, server: Any, error: DagmarError
) -> None:
    server.cancel = refuse(error)
    watcher = watch(project, server, "new")
    watcher._on_cancel(1)
    for _ in range(3):
        watcher.look(server)
        assert "it cannot" in watcher.page()
        assert CANCEL in watcher.page()
        assert "cancelling" not in watcher.page()
    assert server.cancelled == 1
    watcher._on_cancel(1)
    assert "it cannot" not in watcher.page()
    watcher.look(server)
    assert server.cancelled == 2
    server.runs["new"] = "SUCCESS"
    watcher.look(server)
    assert "it cannot" not in watcher.page()


def test_a_cancel_is_asked_for_again_while_the_run_only_starts(
    project: Project, server: Any
) -> None:
    server.cancel = refuse(Invalid("it cannot"))
    server.runs["new"] = "STARTING"
    watcher = watch(project, server, "new")
    watcher._on_cancel(1)
    for times in (1, 2):
        watcher.look(server)
        assert server.cancelled == times
        assert "cancelling" in watcher.page()
        assert "it cannot" not in watcher.page()
