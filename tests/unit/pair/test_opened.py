"""The run that a notebook shows when it is opened: which one, and when none."""

from __future__ import annotations

from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any

import pytest
from dagmar.asset_key import AssetKey
from dagmar.pair import buttons, opened
from dagmar.pair.context import Context
from dagmar.pair.started import StartedRuns
from support.project import Project

TAGS = {"dagster/partition": "monday", "user": "ada", "tier": "gold"}
CONFIG = "resources: {warehouse: {config: {rows: 3, password: sesame}}}"


class Server:
    """Stands in for Dagster's client: its newest run, and the run that it knows."""

    def __init__(self, status: str = "SUCCESS", known: str = "last") -> None:
        self.status, self.known, self.asked = status, known, []  # type: ignore[var-annotated]
        self.target = type("", (), {"url": "http://dagster"})

    def __enter__(self) -> Server:
        return self

    def __exit__(self, *_: object) -> None: ...

    def query(self, name: str, **variables: Any) -> Mapping[str, Any]:
        self.asked.append(name)
        tags = [{"key": key, "value": value} for key, value in TAGS.items()]
        run = {"__typename": "Run", "tags": tags, "runConfigYaml": CONFIG}
        if name == "RunToRetry":
            missing = {"__typename": "RunNotFoundError", "message": "gone"}
            return {"runOrError": run if variables["id"] == self.known else missing}
        assert (name, variables["limit"]) == ("TaggedRuns", 1)
        assert {"key": "dagmar/notebook", "value": "notebooks/daily sales.py"} in variables["tags"]
        assert {"user"} < {tag["key"] for tag in variables["tags"]}
        run |= {"runId": "last", "status": self.status, "jobName": "nightly"}
        none = dict.fromkeys(("repositoryOrigin", "assetSelection", "startTime", "endTime"))
        return {"runsOrError": {"__typename": "Runs", "results": [run | none]}}


@pytest.fixture
def context(project: Project, monkeypatch: pytest.MonkeyPatch) -> Context:
    """Return the context of a job's notebook in an editor."""
    file = project.root / "notebooks" / "daily sales.py"
    file.parent.mkdir(exist_ok=True)
    file.touch()
    monkeypatch.setattr(opened, "_edited", lambda: True)
    return Context(AssetKey(""), "nightly", "", project.root, "", str(file))


def connect(monkeypatch: pytest.MonkeyPatch, server: Server) -> None:
    monkeypatch.setattr(Context, "client", lambda _: server)


def test_the_last_run_is_looked_up_once_and_its_values_are_offered(
    context: Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    server: Any = Server()
    connect(monkeypatch, server)
    values = opened.read_values(context, server)
    assert values
    assert (values.partition, values.tags) == ("monday", {"tier": "gold"})
    assert values.config == {"resources": {"warehouse": {"config": {"rows": 3}}}}
    run = buttons.opened_run(context, started := StartedRuns())
    assert run
    assert (run.run_id, run.earlier, started._running) == ("last", True, set())
    assert server.asked == ["TaggedRuns", "RunToRetry"]


def test_what_this_copy_has_launched_comes_first_and_the_address_before_all(
    context: Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    server: Any = Server(known="own")
    context.last.own = "own"
    assert opened.read_values(context, server)
    monkeypatch.setattr("sys.argv", ["", "--partition_key", "friday"])
    values = opened.read_values(context, server)
    assert values
    assert values.partition is None  # the notebook's own
    assert server.asked == ["RunToRetry"] * 2


def test_a_run_in_progress_is_followed(context: Context, monkeypatch: pytest.MonkeyPatch) -> None:
    connect(monkeypatch, Server("STARTED"))
    assert buttons.opened_run(context, started := StartedRuns())
    assert started._running == {"last"}


def test_without_a_server_or_its_run_nothing_is_shown(
    context: Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    (context.root / "dagmar.yaml").write_text("targets: {local: {url: 'http://127.0.0.1:9'}}\n")
    assert buttons.opened_run(context, StartedRuns()) is None
    gone: Any = Server(known="")
    assert opened.read_values(context, gone) is None


def test_an_app_and_an_unsaved_notebook_look_for_nothing(
    context: Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    server: Any = Server()
    connect(monkeypatch, server)
    unsaved = Context(AssetKey(""), "nightly", "", context.root)
    assert buttons.opened_run(unsaved, StartedRuns()) is None
    monkeypatch.setattr(opened, "_edited", lambda: False)
    assert buttons.opened_run(context, StartedRuns()) is None
    assert opened.read_values(context, server) is None
    assert server.asked == []
    # And its runs are not found later by who edits it.
    monkeypatch.setattr("marimo.app_meta", lambda: SimpleNamespace(mode="run"))
    assert context.tags == {"dagmar/app": "notebooks/daily sales.py"}
