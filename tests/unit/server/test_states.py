"""The state of an asset, from what Dagster reports about it and about its last run."""

from __future__ import annotations

from typing import Any

import pytest
from dagmar.server.states import AssetState, state_of


def made(run: str = "one", seconds: int = 50) -> dict[str, Any]:
    return {"latestMaterialization": {"runId": run, "timestamp": f"{seconds}000"}}


def ran(run: str, status: str, ended: float = 60) -> dict[str, Any]:
    return {"latestRun": {"runId": run, "status": status, "endTime": ended}}


PARTS = {"numPartitions": 3, "numMaterialized": 2, "numMaterializing": 0, "numFailed": 0}


@pytest.mark.parametrize(
    ("node", "latest", "state"),
    [
        ({}, {}, AssetState("missing")),
        ({}, made(), AssetState("materialized", 50, "one")),
        ({"staleStatus": "STALE"}, made(), AssetState("stale", 50, "one")),
        ({}, made() | ran("one", "SUCCESS"), AssetState("materialized", 50, "one")),
        ({}, made() | ran("two", "FAILURE"), AssetState("failed", 50, "two")),
        ({}, ran("two", "FAILURE"), AssetState("failed", None, "two")),
        # Another step of the run failed, or somebody repaired it later.
        ({}, made("two") | ran("two", "FAILURE"), AssetState("materialized", 50, "two")),
        ({}, made("", 70) | ran("two", "FAILURE"), AssetState("materialized", 70)),
        ({}, made() | {"inProgressRunIds": ["two"]}, AssetState("running", 50, "two")),
        ({}, {"unstartedRunIds": ["two"]}, AssetState("queued", None, "two")),
        ({"materializable": False}, {}, AssetState("external")),
        ({"partitionStats": PARTS}, made(), AssetState("materialized", 50, "one", (3, 2))),
        (
            {"partitionStats": PARTS | {"numFailed": 1}},
            made(),
            AssetState("failed", 50, "one", (3, 2)),
        ),
    ],
)
def test_a_state_is_that_of_dagsters_own_pages(
    node: dict[str, Any], latest: dict[str, Any], state: AssetState
) -> None:
    known = {"materializable": True, "staleStatus": "FRESH", "partitionStats": None}
    assert state_of(known | node, latest) == state
