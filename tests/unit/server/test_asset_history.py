"""What a server keeps of many assets, read in few requests."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from dagmar.asset_key import AssetKey
from dagmar.project.settings import Target
from dagmar.server.asset_history import (
    ASSETS_AT_ONCE,
    CHECKS_AT_ONCE,
    FIRST_EXECUTIONS,
    MOST_EXECUTIONS,
    AssetState,
    PartitionCounts,
    read_events,
    read_executions,
    read_states,
)
from dagmar.server.catalog import read_texts
from dagmar.server.client import DagsterClient
from dagmar.server.located import LocatedAsset
from support.http_server import Handler, Server, document, serve

OLD, NEW = ["partitionStats", "freshnessInfo"], ["freshnessStatusInfo", "internalFreshnessPolicy"]


def key(name: str) -> dict[str, Any]:
    return {"path": [name]}


class Recorded:
    """A server of `executions` per check, newest first, and of nodes by key."""

    def __init__(self, executions: int = 0, fields: list[str] = OLD, **nodes: Any) -> None:
        self.executions = executions
        self.fields = [*fields]
        self.nodes = nodes

    def __call__(self, handler: Handler) -> None:
        sent = handler.server.seen[-1].sent
        given, query = sent["variables"], sent["query"]
        name = sent["operationName"]
        if name == "TypeFields":
            data: Any = {"__type": {"fields": [{"name": field} for field in self.fields]}}
        elif name == "AssetStates":
            assert ("# if" in query) is (self.fields == OLD)
            nodes = [self.nodes[each["path"][0]] for each in given["keys"]]
            data = {"assetNodes": nodes}
        elif name == "AssetPaths":
            entries = [{"label": "path", "path": "/lake/a.csv"}, {"label": "note"}]
            events = [{"metadataEntries": entries}, None]
            infos = [
                {"assetKey": each, "latestMaterialization": event}
                for each, event in zip(given["keys"], events, strict=True)
            ]
            data = {
                "assetNodes": [
                    {
                        "assetKey": given["keys"][1],
                        "metadataEntries": [{"label": "uri", "text": "s3:b"}],
                    }
                ],
                "assetsLatestInfo": infos,
            }
        elif name == "CheckHistory":
            numbers = range(sum(1 for each in given if each.startswith("key_")))
            data = {
                f"each_{i}": self.page(given[f"limit_{i}"], given[f"cursor_{i}"]) for i in numbers
            }
        else:
            numbers = range(sum(1 for each in given if each.startswith("key_")))
            data = {f"each_{i}": self.events(given[f"key_{i}"]["path"][0]) for i in numbers}
        document({"data": data})(handler)

    def page(self, limit: int, cursor: str | None) -> list[dict[str, Any]]:
        newest = int(cursor or self.executions + 1) - 1
        return [
            {
                "id": str(id), "runId": f"r{id}", "timestamp": id * 10.0, "status": "SUCCEEDED",
                "evaluation": {"timestamp": id * 10.0 + 1, "severity": "WARN", "success": True},
            }
            for id in range(newest, max(newest - limit, 0), -1)
        ]  # fmt: skip

    def events(self, name: str) -> dict[str, Any]:
        entries = [
            {"__typename": "IntMetadataEntry", "label": "rows", "intRepr": "7"},
            {"__typename": "TextMetadataEntry", "label": "note"},
        ]
        made = {"runId": "r", "timestamp": "2500", "partition": "eu", "metadataEntries": entries}
        seen = {**made, "timestamp": "3500", "runId": ""}
        bare = {**made, "timestamp": "4000", "metadataEntries": []}
        return {
            "__typename": "Asset",
            "latest": [{"timestamp": "4000"}],
            "assetMaterializations": [bare, made],
            "assetObservations": [seen],
        }


def reading(recorded: Recorded) -> Iterator[tuple[Server, DagsterClient]]:
    with serve(recorded) as server, DagsterClient(Target("local", server.url)) as client:
        yield server, client


def test_assets_are_found_by_the_texts_in_their_metadata() -> None:
    for _, client in reading(Recorded()):
        texts = read_texts(client, [AssetKey("a"), AssetKey("b")])
        assert texts == {"/lake/a.csv": "a", "s3:b": "b"}


def test_executions_are_read_as_far_back_as_needed() -> None:
    for server, client in reading(Recorded(400)):
        check = (AssetKey("orders"), "rows")
        (executions,) = read_executions(client, [check], after=1001).values()
        assert [each.id for each in executions] == list(range(400, 99, -1))
        assert (executions[0].status, executions[0].severity) == ("passed", "WARN")
        limits = [seen.sent["variables"]["limit_0"] for seen in server.seen]
        assert limits == [FIRST_EXECUTIONS, 250, 250]


def test_executions_that_are_known_are_not_read_again() -> None:
    for server, client in reading(Recorded(400)):
        check = (AssetKey("orders"), "rows")
        (executions,) = read_executions(client, [check], after=0, known=lambda _: 390).values()
        assert [each.id for each in executions] == list(range(400, 390, -1))
        assert len(server.seen) == 1


def test_the_last_execution_stays_however_old_it_is() -> None:
    for _, client in reading(Recorded(3)):
        check = (AssetKey("orders"), "rows")
        (executions,) = read_executions(client, [check], after=1e9).values()
        assert [each.id for each in executions] == [3]


def test_a_check_that_ran_without_end_is_read_up_to_a_bound() -> None:
    for server, client in reading(Recorded(100_000)):
        check = (AssetKey("orders"), "rows")
        (executions,) = read_executions(client, [check], after=0).values()
        assert MOST_EXECUTIONS <= len(executions) < MOST_EXECUTIONS * 1.3
        assert len(server.seen) < 6


def test_many_checks_are_read_in_few_requests() -> None:
    for server, client in reading(Recorded(3)):
        checks = [(AssetKey(f"a{number}"), "rows") for number in range(1000)]
        assert len(read_executions(client, checks, after=0)) == 1000
        assert len(server.seen) == 1000 / CHECKS_AT_ONCE


def test_numbers_come_from_materializations_and_observations() -> None:
    for server, client in reading(Recorded()):
        names = [AssetKey(f"a{number}") for number in range(ASSETS_AT_ONCE + 1)]
        events = dict(read_events(client, dict.fromkeys(names, 1.5)))
        assert list(events) == names
        assert len(server.seen) == 2
        assert server.seen[0].sent["variables"]["after_0"] == "1500"
        assert events[names[0]].latest == 4
        numbers = [(past.at, past.run_id, past.partition) for past in events[names[0]].numbers]
        assert numbers == [(3.5, "", "eu"), (2.5, "r", "eu")]
        assert [past.numbers for past in events[names[0]].numbers] == [{"rows": 7}] * 2


NODE = {
    "assetChecksOrError": {
        "__typename": "AssetChecks",
        "checks": [{"name": "rows", "executionForLatestMaterialization": None}],
    }
}
STATS = {"numPartitions": 10, "numMaterialized": 4, "numMaterializing": 1, "numFailed": 2}


@pytest.mark.parametrize(
    ("fields", "node", "expected"),
    [
        (OLD, {"freshnessInfo": None}, AssetState(None, {"rows": None})),
        (
            OLD,
            {"freshnessInfo": {"currentMinutesLate": 0.0}},
            AssetState(None, {"rows": None}, "pass"),
        ),
        (
            OLD,
            {"freshnessInfo": {"currentMinutesLate": 3.0}},
            AssetState(None, {"rows": None}, "fail"),
        ),
        (
            OLD,
            {"freshnessInfo": {"currentMinutesLate": None}},
            AssetState(None, {"rows": None}, "unknown"),
        ),
        (
            NEW,
            {"freshnessInfo": None, "freshnessStatusInfo": {"freshnessStatus": "WARNING"}},
            AssetState(None, {"rows": None}, "warn"),
        ),
        (
            NEW,
            {
                "freshnessInfo": None,
                "freshnessStatusInfo": {"freshnessStatus": "UNKNOWN"},
                "internalFreshnessPolicy": {
                    "__typename": "TimeWindowFreshnessPolicy",
                    "failWindowSeconds": 20,
                    "warnWindowSeconds": None,
                },
            },
            AssetState(None, {"rows": None}, "unknown", (None, 20)),
        ),
    ],
)
def test_freshness_is_read_as_far_as_the_server_knows_policies(
    fields: list[str], node: dict[str, Any], expected: AssetState
) -> None:
    asset = LocatedAsset(AssetKey("orders"), "shop", "r")
    answer = {"assetKey": key("orders"), "partitionStats": None, **NODE, **node}
    for server, client in reading(Recorded(0, fields, orders=answer)):
        assert read_states(client, [asset]) == {asset: expected}
        assert read_states(client, [asset]) == {asset: expected}
        asked = [seen.sent["operationName"] for seen in server.seen]
        assert asked == ["TypeFields", "AssetStates", "AssetStates"]


@pytest.mark.parametrize(("failed", "missing"), [(2, 3), (9, 0)])
def test_partitions_that_are_being_materialized_are_not_missing(failed: int, missing: int) -> None:
    asset = LocatedAsset(AssetKey("orders"), "shop", "r")
    stats = {**STATS, "numFailed": failed}
    answer = {"assetKey": key("orders"), "partitionStats": stats, "freshnessInfo": None, **NODE}
    for _, client in reading(Recorded(0, OLD, orders=answer)):
        assert read_states(client, [asset])[asset].partitions == PartitionCounts(4, missing, failed)
