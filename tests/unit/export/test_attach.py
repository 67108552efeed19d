"""Exports on assets: what the server is asked first, and what is sent to it and when."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from dagmar import console
from dagmar.asset_key import AssetKey
from dagmar.errors import DagmarError, Invalid, NotAllowed, StorageFailed
from dagmar.export import manifests
from dagmar.export.attach import attach, check
from dagmar.export.exporting import Exported, Problem
from dagmar.export.exports import Exports
from dagmar.export.manifests import Manifest
from dagmar.export.publish import Publisher
from dagmar.export.request import ExportRequest
from dagmar.project.settings import Settings, load
from dagmar.server.located import LocatedAsset
from support import http_server
from support.project import make_project

REPOSITORIES = {
    "repositoriesOrError": {"__typename": "RepositoryConnection", "nodes": [{"name": "a"}]}
}
BEFORE, AFTER = 1767225599.0, 1767225601.0  # the export is of the second between


@contextmanager
def server(allowed: bool = True, made_at: float = BEFORE) -> Iterator[http_server.Server]:
    """A Dagster with the asset `orders`, whose last run ended at `made_at`."""
    node = {
        "__typename": "AssetNode", "assetKey": {"path": ["orders"]}, "isMaterializable": True,
        "materializable": True,
        "description": None, "group": "g", "kinds": [], "owners": [], "jobNames": [],
        "partitionDefinition": None, "metadataEntries": [], "isPartitioned": True,
        "assetChecksOrError": {},
        "partitionKeysByDimension": [{"name": "default", "partitionKeys": ["red", "blue"]}],
        "repository": {"name": "__repository__", "location": {"name": "shop"}},
        "assetMaterializations": [
            {"runId": "run-1", "timestamp": f"{made_at * 1000:.0f}", "partition": "red",
             "metadataEntries": []}
        ],
    }  # fmt: skip
    reason = None if allowed else "Disabled by your administrator"
    permission = {
        "permission": "report_runless_asset_events", "value": allowed, "disabledReason": reason,
    }  # fmt: skip
    other = {"name": "other", "permissions": [{**permission, "value": not allowed}]}
    entries = [{"name": "shop", "permissions": [permission]}, other]
    graphql = http_server.dagster(
        {
            "AssetPlaces": {"assetNodes": [node], **REPOSITORIES},
            "AssetPartitionKeys": {"assetNodes": [node]},
            "PairedAsset": {"assetNodes": [node]},
            "AssetsToLaunch": {
                "assetNodes": [node],
                "workspaceOrError": {"__typename": "Workspace", "locationEntries": entries},
            },
        }
    )

    def answer(handler: http_server.Handler) -> None:
        (graphql if handler.path == "/graphql" else http_server.document({}))(handler)

    with http_server.serve(answer) as running:
        yield running


def sent(running: http_server.Server) -> list[dict[str, Any]]:
    """Return the observations that arrived."""
    return [seen.sent for seen in running.seen if "report_asset_observation" in seen.path]


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    monkeypatch.delenv("DAGSTER_HOME", raising=False)
    return load(make_project(tmp_path).root)


@pytest.fixture
def exported(tmp_path: Path) -> Exported:
    """An export without a page."""
    manifest = Manifest(
        notebook="notebooks/orders.py", notebook_sha256="0", name="orders",
        id="20260101T000000Z-00000000", status=manifests.OK, started_at="", ended_at="",
        duration_s=1.0, reported={"rows": 12, "report": "elsewhere"},
    )  # fmt: skip
    return Exported(manifest, tmp_path, "https://r.example.com/orders.html")


def put(
    settings: Settings, running: http_server.Server, exported: Exported, partition: str
) -> None:
    """Attach the export to the asset `orders`."""
    attach(settings, settings.target("", running.url), exported, "orders", partition)


def test_an_asset_gets_it_once_for_each_partition_and_server(
    settings: Settings, exported: Exported
) -> None:
    with server() as first, server() as second:
        for running in (first, second, first):
            for partition in ("red", "blue"):
                put(settings, running, exported, partition)
        for running in (first, second):
            assert [observation["partition"] for observation in sent(running)] == ["red", "blue"]
            assert sent(running)[0]["metadata"]["report"] == exported.url


def test_an_asset_that_refuses_it_does_not_stop_the_others_of_the_job(
    settings: Settings, exported: Exported, monkeypatch: pytest.MonkeyPatch
) -> None:
    assets = {LocatedAsset(AssetKey(key), "shop", "r"): None for key in ("bad", "orders")}
    monkeypatch.setattr("dagmar.export.attach._find", lambda *given: dict(assets))
    done: list[str] = []

    def observe(key: AssetKey, *given: Any) -> None:
        if key == "bad":
            raise NotAllowed("not this one", "Ask somebody.")
        done.append(key)

    monkeypatch.setattr("dagmar.export.attach._observer", lambda *given: observe)
    with server() as running, pytest.raises(NotAllowed) as caught:
        put(settings, running, exported, "")
    assert caught.value.message == "1 of 2 assets have no link to the report: bad: not this one"
    assert done == [link["asset"] for link in exported.manifest.attached] == ["orders"]


def test_a_server_that_does_not_allow_it_gets_nothing(
    settings: Settings, exported: Exported
) -> None:
    with server(allowed=False) as running:
        with pytest.raises(NotAllowed, match="on orders: Disabled by your administrator"):
            put(settings, running, exported, "red")
        assert sent(running) == []


def test_the_server_is_asked_before_an_export_and_one_that_is_down_does_not_prevent_it(
    settings: Settings,
) -> None:
    with server(allowed=False) as running, pytest.raises(NotAllowed, match="Disabled by"):
        check(settings.target("", running.url), "orders", "red")
    with server() as running:
        target = settings.target("", running.url)
        check(target, "orders", "red")
        with pytest.raises(Invalid, match="has no partition 'rad' — did you mean 'red'") as unknown:
            check(target, "orders", "rad")
        assert unknown.value.meant == {"rad": "red"}
        with pytest.raises(NotAllowed):
            check(replace(target, read_only=True), "orders", "red")
        assert sent(running) == []
    check(target, "orders", "rad")  # it is closed now


@pytest.mark.parametrize(
    ("meant", "attach", "again"),
    [
        ({"a b": "a c"}, "a b", " --attach 'a c' --partition red"),
        ({"red": "read"}, "x", " --attach x --partition read"),
        ({}, "x", ""),
    ],
)
def test_the_command_to_try_again_can_succeed(
    settings: Settings, exported: Exported, meant: dict[str, str], attach: str, again: str
) -> None:
    request = ExportRequest(notebooks=["orders.py"], attach=attach, partition="red")
    command = Publisher(settings, request).repeat(
        exported, "attach", Invalid("unknown", meant=meant)
    )
    assert command == (again and f"invoke export --existing 20260101T000000Z-00000000{again}")


@pytest.mark.parametrize(
    ("made_at", "partition", "known", "run_id"),
    [
        (BEFORE, "red", None, "run-1"),
        (BEFORE, "blue", None, None),
        (AFTER, "red", None, None),
        (BEFORE, "red", "run-0", "run-0"),
    ],
)
def test_the_run_is_the_last_one_before_the_export(
    settings: Settings, exported: Exported,
    made_at: float, partition: str, known: str | None, run_id: str | None,
) -> None:  # fmt: skip
    exported.manifest.run_id = known
    with server(made_at=made_at) as running:
        put(settings, running, exported, partition)
    assert exported.manifest.run_id == run_id


@pytest.mark.parametrize("count", [1, 2])
def test_the_command_to_try_again_can_be_pasted_for_one_notebook_and_for_several(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], count: int
) -> None:
    monkeypatch.setenv("UV", "/usr/bin/uv")
    problem = Problem("upload", StorageFailed("no answer"), "invoke export --existing 1")
    with pytest.raises(DagmarError) as failed:
        Exports(
            [
                Exported(manifests.unwritten(f"{number}.py", "ok"), Path(), problems=[problem])
                for number in range(count)
            ]
        ).raise_for_status()
    console.complain(failed.value)
    printed = capsys.readouterr().err
    assert printed.count("invoke export") == printed.count("To try again: uv run invoke export") > 0
