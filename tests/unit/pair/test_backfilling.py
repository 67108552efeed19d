"""A watched backfill: what the page shows of it, and what a click on its button sends."""

from __future__ import annotations

import re
from typing import Any

import pytest
from dagmar.asset_key import AssetKey
from dagmar.errors import Unreachable
from dagmar.pair.backfilling import BackfillWatcher
from dagmar.pair.buttons import Attempt
from dagmar.pair.context import Context
from dagmar.pair.started import StartedRuns
from dagmar.project.settings import Target
from support.project import Project

ORDERS = AssetKey("orders")


class Server:
    """Stands in for Dagster's client: one backfill of three partitions."""

    def __init__(self) -> None:
        self.status, self.runs = "REQUESTED", {"r1": "SUCCESS", "r2": "FAILURE", "r3": "STARTED"}
        self.cancelled = 0
        self.target = Target("local", "http://127.0.0.1")

    def query(self, name: str, **variables: Any) -> dict[str, Any]:
        assert name == "BackfillState"
        runs = [{"runId": id, "status": status} for id, status in self.runs.items()]
        backfill = {
            "__typename": "PartitionBackfill",
            "id": variables["id"],
            "status": self.status,
            "numPartitions": 3,
            "error": None,
            "assetBackfillData": None,
        }
        return {
            "partitionBackfillOrError": backfill,
            "runsOrError": {"__typename": "Runs", "results": runs},
        }

    def query_each(self, name: str, variables: list[dict[str, str]]) -> list[dict[str, Any]]:
        assert name == "RunMaterialized"
        deleted = {"__typename": "RunNotFoundError", "message": "gone"}
        run = {"__typename": "Run", "assetMaterializations": [{"assetKey": ORDERS}]}
        return [run if each["id"] == "r1" else deleted for each in variables]

    def mutate(self, name: str, **variables: Any) -> dict[str, Any]:
        assert (name, variables) == ("CancelBackfill", {"id": "fills"})
        self.cancelled += 1
        answer = {"__typename": "CancelBackfillSuccess", "backfillId": "fills"}
        return {"cancelPartitionBackfill": answer}


@pytest.fixture
def server() -> Any:
    return Server()


@pytest.fixture
def started() -> StartedRuns:
    started = StartedRuns()
    started.add(Attempt(backfill_id="fills"))
    return started


@pytest.fixture
def watcher(project: Project, started: StartedRuns) -> BackfillWatcher:
    watcher = BackfillWatcher(Context(ORDERS, "", "", project.root), "fills", started)
    watcher.buttons = {"cancel": "<cancel button>"}
    return watcher


def test_a_backfill_shows_its_partitions_and_its_runs_by_status(
    watcher: BackfillWatcher, server: Any
) -> None:
    assert "Waiting for Dagster" in watcher.page()
    watcher.look(server)
    text = re.sub("<[^>]*>", " ", watcher.page())
    for words in ("REQUESTED", "2 of 3 partitions, 1 failed", "FAILURE 1 STARTED 1 SUCCESS 1"):
        assert words in " ".join(text.split())
    assert "http://127.0.0.1/runs/b/fills" in watcher.page()
    assert "http://127.0.0.1/runs/r2" in watcher.page()
    assert "<cancel button>" in watcher.page()


def test_a_click_cancels_a_backfill_once(watcher: BackfillWatcher, server: Any) -> None:
    watcher.look(server)
    watcher.cancel()
    watcher.look(server)
    watcher.look(server)
    assert server.cancelled == 1
    server.status = "CANCELED"
    watcher.look(server)
    assert "<cancel button>" not in watcher.page()
    watcher.cancel()
    watcher.look(server)
    assert server.cancelled == 1


def test_the_end_of_a_backfill_changes_the_state_of_what_it_materialized(
    watcher: BackfillWatcher, server: Any, started: StartedRuns
) -> None:
    orders, others = started.materialized(ORDERS), started.materialized(AssetKey("others"))
    watcher.look(server)
    assert (orders(), others(), started.ended) == (0, 0, 0)
    server.status = "COMPLETED_FAILED"
    watcher.look(server)
    started.look(server, "fills")
    assert (orders(), others(), started.ended) == (1, 0, 1)
    assert "COMPLETED_FAILED" in watcher.again(None).page()


def test_a_server_that_goes_away_is_waited_for(
    watcher: BackfillWatcher, server: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def gone(*_: object, **__: object) -> None:
        raise Unreachable("nothing listens")

    monkeypatch.setattr(server, "query", gone)
    watcher.look(server)
    assert "Still trying" in watcher.page()
    assert watcher._moves
