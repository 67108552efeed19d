"""A read-only target: everything that changes a server is known, and refused before it is sent."""

from __future__ import annotations

import ast
import os
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from dagmar.asset_key import AssetKey
from dagmar.errors import DagmarError, NotAllowed
from dagmar.export.attach import attach, check
from dagmar.pair import buttons, previewing, reloading
from dagmar.pair.backfilling import BackfillWatcher
from dagmar.pair.context import Context
from dagmar.pair.controls import LaunchOptions
from dagmar.pair.watching import Watcher
from dagmar.project import devfile
from dagmar.project.settings import Target, load
from dagmar.runs.run import RunRequest, run
from dagmar.server import backfills, launch, observations, runs
from dagmar.server.client import DOCUMENTS, DagsterClient
from dagmar.server.partitions import Choice
from dagmar.server.reloading import LoadedLocation, reload_location
from support.http_server import Handler, Server, document, serve
from support.project import Project
from support.source import SOURCE

OPERATION = re.compile(r"^(query|mutation|subscription)\b", re.MULTILINE)
TEXTS = {file.stem: file.read_text("utf-8") for file in DOCUMENTS.glob("*.graphql")}
KINDS = {name: OPERATION.findall(text) for name, text in TEXTS.items()}
MUTATIONS = {name for name, kinds in KINDS.items() if kinds != ["query"]}

STARTED = {
    "__typename": "Run", "runId": "r1", "status": "STARTED", "jobName": "job", "startTime": None,
    "endTime": None, "assetSelection": [], "assetChecks": [], "tags": [], "repositoryOrigin": None,
    "hasTerminatePermission": True,
}  # fmt: skip
ANSWERS: dict[str, Any] = {
    "runOrError": STARTED,
    "runsOrError": {"__typename": "Runs", "results": [{"runId": "r1", "status": "STARTED"}]},
    "logsForRun": {"__typename": "EventConnection", "cursor": "", "hasMore": False, "events": []},
    "partitionBackfillOrError": {
        "__typename": "PartitionBackfill", "id": "b1", "status": "REQUESTED",
        "numPartitions": 1, "assetBackfillData": None, "error": None,
    },
}  # fmt: skip
"""What the queries before a change are answered with: everything in progress may be cancelled."""


def answer(handler: Handler) -> None:
    document({"data": ANSWERS})(handler)


@dataclass
class Place:
    """A project whose only target is read-only, and the server there."""

    root: Path
    server: Server

    @property
    def target(self) -> Target:
        return load(self.root, {}, self.root).target()

    @property
    def context(self) -> Context:
        return Context(AssetKey("orders"), "", "", self.root)

    def client(self) -> DagsterClient:
        return DagsterClient(self.target)

    def run(self, **request: Any) -> object:
        with self.client() as client:
            return run(load(self.root, {}, self.root), client, RunRequest(**request))


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    with serve(answer) as server:
        settings = f"targets: {{local: {{url: '{server.url}', read_only: true}}}}\n"
        (tmp_path / "dagmar.yaml").write_text(settings)
        yield Place(tmp_path, server)


# By document


def test_every_document_has_one_operation_and_is_sent_as_what_it_is() -> None:
    assert {name: kinds for name, kinds in KINDS.items() if len(kinds) != 1} == {}
    sent: dict[str, set[str]] = {"query": set(), "query_each": set(), "mutate": set()}
    for file in SOURCE.rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text("utf-8"))):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.args:
                first = node.args[0]
                if node.func.attr in sent and isinstance(first, ast.Constant):
                    sent[node.func.attr].add(str(first.value))
    assert sent["mutate"] <= MUTATIONS
    assert (sent["query"] | sent["query_each"]) & MUTATIONS == set()


@pytest.mark.parametrize("name", sorted(MUTATIONS))
def test_no_mutation_reaches_a_read_only_target(name: str, place: Place) -> None:
    with place.client() as client, pytest.raises(NotAllowed, match="read_only"):
        client.mutate(name)
    assert place.server.seen == []


def test_requests_leave_through_the_client_only() -> None:
    """A request that passed the client by would pass its check by."""
    senders = {
        file.relative_to(SOURCE).as_posix()
        for file in SOURCE.rglob("*.py")
        for node in ast.walk(ast.parse(file.read_text("utf-8")))
        if HTTP & _imported(node)
    }
    # The other one asks the servers of `invoke dev` whether they are ready.
    assert senders == {"server/client.py", "dev/servers.py"}


HTTP = {"requests", "urllib3", "httpx", "aiohttp", "http.client", "urllib.request"}


def _imported(node: ast.AST) -> set[str]:
    """Return what an import may be of: `from a.b import c` of `a`, `a.b` and `a.b.c`."""
    names: list[str] = []
    if isinstance(node, ast.Import):
        names = [alias.name for alias in node.names]
    elif isinstance(node, ast.ImportFrom):
        names = [f"{node.module}.{alias.name}" for alias in node.names]
    parts = [name.split(".") for name in names]
    return {".".join(each[:end]) for each in parts for end in range(1, len(each) + 1)}


@pytest.mark.parametrize(
    "text",
    [
        "import requests",
        "from requests.adapters import HTTPAdapter",
        "from urllib.request import urlopen",
        "from urllib import request",
        "import http.client as web",
        "from http.client import HTTPConnection",
    ],
)
def test_each_way_to_import_what_sends_requests_is_seen(text: str) -> None:
    assert HTTP & _imported(ast.parse(text).body[0])


# By what a user does

CHANGES: dict[str, tuple[str, Callable[[Place], object]]] = {
    "invoke run --asset": ("runs/tracking.py", lambda place: place.run(assets=("orders",))),
    "invoke run --select": ("runs/tracking.py", lambda place: place.run(select="group:sales")),
    "invoke run --job": ("runs/tracking.py", lambda place: place.run(job="nightly")),
    "invoke run --all-partitions": (
        "runs/tracking.py",
        lambda place: place.run(assets=("orders",), partitions=Choice(all=True)),
    ),
    "invoke run --retry": ("runs/tracking.py", lambda place: place.run(retry="r1")),
    "invoke run --cancel": ("runs/tracking.py", lambda place: place.run(cancel="r1")),
    "invoke run --cancel, a backfill": ("runs/tracking.py", lambda place: place.run(cancel="b1")),
    "invoke export --attach, before": (
        "export/attach.py",
        lambda place: check(place.target, "orders", ""),
    ),
    "invoke export --attach, after": (
        "export/attach.py",
        lambda place: attach(
            load(place.root, {}, place.root), place.target, _exported(), "orders", ""
        ),
    ),
    "pair.launch": (
        "pair/buttons.py",
        lambda place: buttons.launch(place.context, LaunchOptions()),
    ),
    "pair.launch, several partitions": (
        "pair/buttons.py",
        lambda place: buttons.launch(place.context, LaunchOptions(partitions=("a", "b"))),
    ),
    "Retry": ("pair/buttons.py", lambda place: _retry(place)),
    "Materialize here": (
        "pair/buttons.py",
        lambda place: buttons.materialize_here(place.context, LaunchOptions()),
    ),
    "Keep": ("pair/previewing.py", lambda place: _keep(place)),
}
"""What is refused before anything at all is sent, with the module that would change something."""


def _exported() -> Any:
    now = datetime.now(timezone.utc)
    manifest = SimpleNamespace(reported={}, notebook="n.py", id="1", attached=[], started=now)
    return SimpleNamespace(manifest=manifest, url="http://127.0.0.1/r")


def _retry(place: Place) -> str:
    with place.client() as client:
        return buttons.launch_retry(place.context, client, "r1")


def _keep(place: Place) -> None:
    shown: Any = SimpleNamespace(_preview=SimpleNamespace(kept=None), _tags={})
    error = previewing.keep(place.context, shown).error
    assert error
    raise error


@pytest.mark.parametrize("change", [change for _, change in CHANGES.values()], ids=CHANGES)
def test_what_a_user_does_is_refused_before_any_request(
    change: Callable[[Place], object], place: Place
) -> None:
    with pytest.raises(NotAllowed, match="read_only"):
        change(place)
    assert place.server.seen == []


LATER: dict[str, tuple[str, Callable[[Place, DagsterClient], object]]] = {
    "Cancel, a run": (
        "pair/watching.py",
        lambda place, client: _cancel(Watcher, "r1", place, client),
    ),
    "Cancel, a backfill": (
        "pair/backfilling.py",
        lambda place, client: _cancel(BackfillWatcher, "b1", place, client),
    ),
    "Reload, of a kernel": ("pair/reloading.py", lambda place, client: _reload(place)),
    "launch_run": ("server/launch.py", lambda _, client: launch.launch_run(client, _launch())),
    "launch_backfill": (
        "server/launch.py",
        lambda _, client: launch.launch_backfill(client, _launch()),
    ),
    "cancel_run": ("server/runs.py", lambda _, client: runs.cancel_run(client, "r1")),
    "cancel_runs_of_code_server": (
        "server/runs.py",
        lambda _, client: runs.cancel_runs_of_code_server(client, "/socket"),
    ),
    "cancel_backfill": (
        "server/backfills.py",
        lambda _, client: backfills.cancel_backfill(client, "b1"),
    ),
    "reload_location": ("server/reloading.py", lambda _, client: reload_location(client, "shop")),
    "observe": (
        "server/observations.py",
        lambda _, client: observations.observe(client, AssetKey("orders"), {}, "", None),
    ),
}
"""What may ask the server something first, and is refused before it changes anything."""


def _launch() -> launch.Launch:
    return launch.Launch("shop", "__repository__", "job")


def _cancel(kind: type[Watcher], run_id: str, place: Place, client: DagsterClient) -> None:
    """Click a button of a page from before the setting."""
    watcher = kind(place.context, run_id)
    watcher.buttons = {"cancel": "<cancel>"}
    watcher.look(client)
    assert "STARTED" in watcher.page() or "REQUESTED" in watcher.page()
    assert "<cancel>" not in watcher.page(), "no button is shown"
    watcher.cancel()
    watcher.look(client)
    raise watcher._refused["cancel"]


def _reload(place: Place) -> None:
    """Reload for a file that is newer, as if the check of the target were not there."""
    known = {"shop": LoadedLocation("shop", 0.0)}
    assert reloading._older(place.context, known) == {}, "a kernel does not even try"
    reloading._reload(place.context, "shop")


@pytest.mark.parametrize("change", [change for _, change in LATER.values()], ids=LATER)
def test_what_asks_first_is_refused_before_it_changes_anything(
    change: Callable[[Place, DagsterClient], object],
    place: Place,
) -> None:
    with place.client() as client, pytest.raises(DagmarError) as caught:
        change(place, client)
    assert isinstance(caught.value, NotAllowed), repr(caught.value)
    assert "read_only" in caught.value.message
    sent = {seen.sent["operationName"] for seen in place.server.seen if seen.path == "/graphql"}
    assert sent & MUTATIONS == set()
    assert [seen.path for seen in place.server.seen if seen.path != "/graphql"] == []


def test_every_module_that_changes_something_has_its_case() -> None:
    """A new caller of a change needs a row in CHANGES or LATER."""
    changes = {
        "client.mutate", "client.report", "launch_run", "launch.launch_run", "launch_backfill",
        "launch.launch_backfill", "runs.cancel_run", "cancel_run", "backfills.cancel_backfill",
        "cancel_backfill", "cancel_runs_of_code_server", "reload_location", "here.materialize",
        "keep", "observe", "observations.observe", "instance.observe",
    }  # fmt: skip
    callers = {
        file.relative_to(SOURCE).as_posix()
        for file in SOURCE.rglob("*.py")
        for node in ast.walk(ast.parse(file.read_text("utf-8")))
        if isinstance(node, ast.Call)
        and (
            ast.unparse(node.func) in changes
            or (isinstance(node.func, ast.Attribute) and node.func.attr == "mutate")
        )
    }
    covered = {module for module, _ in (*CHANGES.values(), *LATER.values())}
    # `invoke dev` owns the servers that it starts.
    own = {"dev/reloads.py", "dev/own_dagster.py"}
    assert callers == covered | own


def test_an_address_of_a_read_only_target_is_read_only_by_its_address_too(place: Place) -> None:
    (place.root / "dagmar.yaml").write_text(
        f"targets:\n  local: {{}}\n  prod: {{url: '{place.server.url}/team', read_only: true}}\n"
    )
    settings = load(place.root, {}, place.root)
    port = place.server.port
    for url, protected in (
        (f"http://127.0.0.1:{port}/team", True),
        (f"HTTP://127.0.0.1:{port}/team/graphql", True),
        (f"http://localhost:{port}/team", True),
        (f"http://[::1]:{port}/team", True),
        (f"http://0.0.0.0:{port}/team", True),
        (f"http://127.0.0.1.:{port}/team", True),
        (f"http://127.0.0.1.example:{port}/team", False),
        (f"http://127.0.0.1:{port}/other", False),
        (f"http://127.0.0.1:{port + 1}/team", False),
    ):
        assert settings.target(url=url).read_only is protected, url


def test_a_read_only_target_without_an_address_is_where_invoke_dev_runs(place: Place) -> None:
    (place.root / "dagmar.yaml").write_text(
        "targets:\n  local: {read_only: true}\n  prod: {url: 'https://dagster.example'}\n"
    )
    settings = load(place.root, {}, place.root)
    assert not settings.target("prod", place.server.url).read_only
    running = devfile.Running(os.getpid(), devfile.now(), dagster_url=place.server.url)
    devfile.write(place.root, running)
    assert settings.target("prod", place.server.url).read_only_by == "local"


def test_a_refusal_names_the_target_that_is_read_only(place: Place) -> None:
    url = place.server.url
    (place.root / "dagmar.yaml").write_text(
        f"targets:\n  local: {{url: '{url}'}}\n  frozen: {{url: '{url}', read_only: true}}\n"
        f"  own: {{url: '{url}', read_only: true}}\n"
    )
    settings = load(place.root, {}, place.root)
    for target, name in (
        (settings.target("local", url), "frozen"),
        (settings.target("own", url), "own"),
        (settings.target("own"), "own"),
    ):
        with DagsterClient(target) as client, pytest.raises(NotAllowed) as caught:
            client.require_writable()
        assert f"The target '{name}' is read_only" in str(caught.value)
        assert f"targets.{name}.read_only" in caught.value.hint
        assert "false" not in caught.value.hint  # to lift it is for who set it
    with DagsterClient(settings.target("local")) as client:
        client.require_writable()


def test_the_command_line_ends_with_status_6(place: Place) -> None:
    (place.root / "tasks.py").write_text(
        "from dagmar.tasks import namespace\n\nns = namespace(__file__)\n"
    )
    for flags in (("run", "--asset", "orders"), ("run", "--cancel", "r1")):
        done = Project(place.root).invoke(*flags)
        assert (done.returncode, done.stdout) == (6, ""), done.stderr
        assert "read_only" in done.stderr
    assert place.server.seen == []
