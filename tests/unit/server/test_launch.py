"""What is sent for a backfill, and which config is refused before anything is sent."""

from __future__ import annotations

from typing import Any

import pytest
from dagmar.asset_key import AssetKey
from dagmar.errors import Invalid
from dagmar.project.settings import Target
from dagmar.server.client import DagsterClient
from dagmar.server.launch import Launch, launch_backfill, validate
from support.http_server import dagster, serve


def backfill(*assets: str, config: dict[str, Any] | None = None) -> Launch:
    partitions = tuple(str(number) for number in range(31))
    place = ("shop", "__repository__", "__ASSET_JOB")
    keys = tuple(AssetKey(key) for key in assets)
    return Launch(*place, keys, config=config or {}, partitions=partitions)


def title_of(launch: Launch) -> str:
    success = {"__typename": "LaunchBackfillSuccess", "backfillId": "b-1"}
    with (
        serve(dagster({"LaunchBackfill": {"launchPartitionBackfill": success}})) as server,
        DagsterClient(Target("local", server.url)) as client,
    ):
        assert launch_backfill(client, launch) == "b-1"
    return str(server.seen[0].sent["variables"]["params"]["title"])


@pytest.mark.parametrize(
    "assets", [("orders",), ("a" * 200,), tuple(f"sales/{i}" for i in range(40)), ('100 % "*"',)]
)
def test_the_title_of_a_backfill_is_one_that_dagster_takes(assets: tuple[str, ...]) -> None:
    from dagster._core.definitions.utils import check_valid_title

    title = title_of(backfill(*assets))
    assert check_valid_title(title) == title
    assert title.startswith(assets[0][:80].translate(str.maketrans("", "", '%*"')))
    assert title.endswith(" (31 partitions)")


def test_config_for_a_backfill_is_refused_if_the_server_cannot_take_it() -> None:
    old = {"__type": {"inputFields": [{"name": "assetSelection"}, {"name": "tags"}]}}
    launch = backfill("orders", config={"execution": {"config": {"in_process": {}}}})
    with (
        serve(dagster({"BackfillParams": old})) as server,
        DagsterClient(Target("local", server.url)) as client,
        pytest.raises(Invalid, match="no run config for several partitions") as caught,
    ):
        validate(client, launch)
    assert "1.11" in caught.value.hint
    assert [seen.sent["operationName"] for seen in server.seen] == ["BackfillParams"]


def test_config_that_cannot_be_sent_is_refused_before_any_query() -> None:
    launch = backfill("orders", config={"ops": {"orders": {"config": {"share": float("nan")}}}})
    with (
        serve(dagster({})) as server,
        DagsterClient(Target("local", server.url)) as client,
        pytest.raises(Invalid, match=r"ops\.orders\.config\.share: nan cannot be sent"),
    ):
        validate(client, launch)
    assert server.seen == []
