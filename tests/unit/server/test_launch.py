"""What is sent for a backfill, and which config is refused before anything is sent."""

from __future__ import annotations

import re
from typing import Any

import pytest
from dagmar.asset_key import AssetKey
from dagmar.errors import Invalid, Unreachable, UsageError
from dagmar.project.settings import Target
from dagmar.server.client import DagsterClient
from dagmar.server.launch import Launch, given_tags, launch_backfill, refusals, validate
from dagmar.server.launchable import find_failed
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


def test_tags_that_dagster_or_dagmar_sets_are_refused_by_name() -> None:
    from dagster._core.storage import tags as known
    from dagster._utils.tags import is_private_system_tag_key

    prefixes = (known.SYSTEM_TAG_PREFIX, known.HIDDEN_TAG_PREFIX)
    names = {text for text in vars(known).values() if isinstance(text, str)} - {*prefixes}
    of_dagster = {name for name in names if name.startswith(prefixes)}
    # Dagster itself reads these from the tags of a run, or limits its runs by them.
    more = {known.GLOBAL_CONCURRENCY_TAG, "dagster/run_metrics"}
    for name in sorted(of_dagster | set(known.USER_EDITABLE_SYSTEM_TAGS) | more):
        if name in more or not (is_private_system_tag_key(name) or name.startswith(".")):
            assert given_tags([(name, "1")], "") == {name: "1"}
            continue
        with pytest.raises(UsageError, match=f"the tag '{re.escape(name)}' cannot be given"):
            given_tags([("tier", "gold"), (name, "1")], "")
    ours = ("launch-id", "git-revision", "here", "version.dagster")
    for name in ("user", *(f"dagmar/{each}" for each in ours)):
        with pytest.raises(UsageError, match=f"'{name}' cannot be given: dagmar sets it"):
            given_tags([(name, "1")], "")
    theirs = {"dagster-k8s/config": "{}", "ecs/cpu": "256", "users": "3", "dagster": "yes"}
    assert given_tags(theirs.items(), "") == theirs


@pytest.mark.parametrize(
    "tag", ["dagster/partition", "dagster/partition/day", "dagster/asset_partition_range_end"]
)
def test_a_refused_tag_of_a_partition_says_how_to_choose_one(tag: str) -> None:
    with pytest.raises(UsageError) as caught:
        given_tags([(tag, "2026-01-06")], "Choose it here.")
    assert caught.value.hint == "Choose it here."


def test_a_retry_keeps_the_tags_that_a_user_may_give_and_those_of_its_partition() -> None:
    kept = {"tier": "gold", "dagster/max_retries": "2", "dagster/partition/day": "monday"}
    own = {
        "user": "ann",
        "dagmar/here": "true",
        "dagmar/version.polars": "1.0",  # of the launcher then
        "dagster/backfill": "b",
        ".dagster/repository": "r",
    }
    run = {
        "__typename": "Run", "status": "FAILURE", "jobName": "nightly", "rootRunId": None,
        "runConfigYaml": "", "solidSelection": None, "assetSelection": None,
        "assetCheckSelection": None, "hasReExecutePermission": True,
        "repositoryOrigin": {"repositoryLocationName": "shop", "repositoryName": "r"},
        "tags": [{"key": key, "value": value} for key, value in {**kept, **own}.items()],
    }  # fmt: skip
    with (
        serve(dagster({"RunToRetry": {"runOrError": run}})) as server,
        DagsterClient(Target("local", server.url)) as client,
    ):
        tags = find_failed(client, "r-1").launch.tags
    assert tags == {**kept, "dagster/is_resume_retry": "true"}


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


def test_a_code_location_whose_process_is_gone_is_named() -> None:
    answer = {"__typename": "PythonError", "message": "DagsterUserCodeUnreachableError: no pipe\n"}
    error = refusals(backfill("orders"))["PythonError"](answer)
    assert isinstance(error, Unreachable)
    assert error.message == "the code location 'shop' does not answer: its process is gone"
    assert "when the code location is reloaded" in error.hint
