"""`invoke run` for one partition, several, ranges, and those that are missing or failed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from dagmar.asset_key import AssetKey
from dagmar.runs.prepare import LaunchSpec, prepare
from dagmar.runs.run import FLAGS
from dagmar.server.client import DagsterClient
from dagmar.server.partitions import Choice
from support.dagster_server import backfills_tagged, logged, runs_tagged, tags_of
from support.project import Project, run


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        pytest.param(
            ("--asset", "daily_sales", "--partition", "2026-01-02"),
            {"dagster/partition": "2026-01-02"},
            marks=pytest.mark.nightly,
        ),
        (("--asset", "daily_sales", "--latest"), {"dagster/partition": "2026-01-10"}),
        (
            ("--asset", "grid", "--partition", "red|2026-01-05"),
            {
                "dagster/partition": "red|2026-01-05",
                "dagster/partition/color": "red",
                "dagster/partition/day": "2026-01-05",
            },
        ),
        pytest.param(
            ("--asset", "grid", "--partition", "day=2026-01-06|color=blue"),
            {"dagster/partition": "blue|2026-01-06"},
            marks=pytest.mark.nightly,
        ),
        (("--job", "daily_job", "--partition", "2026-01-03"), {"dagster/partition": "2026-01-03"}),
    ],
)
def test_one_partition_is_one_run_for_it(
    live: Project,
    client: DagsterClient,
    tag: str,
    flags: tuple[str, ...],
    expected: dict[str, str],
) -> None:
    status, document, talk = run(live, tag, *flags)
    assert status == 0, talk
    (ended,) = document["runs"]
    assert ended["status"] == "SUCCESS"
    assert ended["partition"] == expected["dagster/partition"]
    assert expected.items() <= tags_of(client, ended["run_id"]).items()
    assert runs_tagged(client, tag) == [ended["run_id"]]


def test_a_single_run_policy_makes_a_range_one_run(
    live: Project, client: DagsterClient, tag: str
) -> None:
    flags = ("--asset", "ranged", "--partition-range", "2026-01-02...2026-01-04")
    status, document, talk = run(live, tag, *flags)
    assert status == 0, talk
    (ended,) = document["runs"]
    assert ended["partition"] == "2026-01-02...2026-01-04"
    keys = "keys: ['2026-01-02', '2026-01-03', '2026-01-04']"
    assert keys in logged(client, ended["run_id"])
    assert backfills_tagged(client, tag) == []


@pytest.mark.parametrize("what", [{"assets": [AssetKey("grid")]}, {"job": "grid_job"}])
def test_a_range_over_two_dimensions_is_a_rectangle(
    live: Project, client: DagsterClient, what: dict[str, Any]
) -> None:
    partitions = Choice(range="blue|2026-01-02...green|2026-01-03")
    (launch,) = prepare(client, live.root, LaunchSpec(**what, partitions=partitions), FLAGS)
    assert launch.partitions == (
        "blue|2026-01-02", "blue|2026-01-03", "green|2026-01-02", "green|2026-01-03"
    )  # fmt: skip


def test_a_partitioned_job_runs_with_the_config_of_its_partition(
    live: Project, client: DagsterClient, tag: str
) -> None:
    flags = ("--job", "weekly_greeting", "--partition", "tuesday")
    status, document, talk = run(live, tag, *flags, "--set", "ops.greet.config.times=2")
    assert status == 0, talk
    log = logged(client, document["runs"][0]["run_id"])
    assert log.count("hello tuesday") == 2


def status_of(live: Project, tag: str, *flags: str) -> str:
    """Run to the end, which may be a failure, and return the status."""
    status, document, talk = run(live, tag, *flags)
    (ended,) = document["runs"]
    assert status == (0 if ended["status"] == "SUCCESS" else 4), talk
    return str(ended["status"])


@pytest.mark.nightly
def test_a_job_has_missing_and_failed_partitions_and_a_date_stays_text(
    live: Project, client: DagsterClient, tag: str
) -> None:
    job = ("--job", "morning_greeting")
    assert status_of(live, tag, *job, "--partition", "2026-01-01") == "SUCCESS"
    (run_id,) = runs_tagged(client, tag)
    assert "hello 2026-01-01" in logged(client, run_id)
    never = ("--set", "ops.greet.config.times=-1")
    assert status_of(live, tag, *job, "--partition", "2026-01-02", *never) == "FAILURE"
    _, _, talk = run(live, tag, *job, "--failed", "--validate-only")
    assert "Valid: job morning_greeting for 2026-01-02." in talk
    _, _, talk = run(live, tag, *job, "--missing", "--validate-only")
    assert "Valid: job morning_greeting for 2026-01-03." in talk


@pytest.mark.nightly
def test_an_asset_of_two_dimensions_has_missing_and_failed_partitions(
    live: Project, tag: str, dagster_home: Path
) -> None:
    asset = ("--asset", "checkered")
    for key in ("a|1", "b|1"):
        assert status_of(live, tag, *asset, "--partition", key) == "SUCCESS"
    fails = dagster_home / "second-fails"
    fails.touch()
    try:
        assert status_of(live, tag, *asset, "--partition", "a|2") == "FAILURE"
    finally:
        fails.unlink()
    _, _, talk = run(live, tag, *asset, "--failed", "--validate-only")
    assert "Valid: checkered for a|2." in talk
    # Dagster calls a partition that was never made missing, whether its last run failed or not.
    _, _, talk = run(live, tag, *asset, "--missing", "--validate-only")
    assert "Valid: checkered for b|2." in talk


@pytest.mark.nightly
def test_a_backfill_crosses_code_locations(live: Project, client: DagsterClient, tag: str) -> None:
    keys = ("--partition", "red", "--partition", "blue")
    status, document, talk = run(live, tag, "--asset", "colored", "--asset", "tinted", *keys)
    assert status == 0, talk
    assert backfills_tagged(client, tag) == [document["backfill"]["id"]]
    launched = {(run["location"], run["partition"]) for run in document["runs"]}
    assert launched == {(place, key) for place in ("pipelines", "other") for key in ("red", "blue")}


@pytest.mark.nightly
def test_config_goes_to_every_run_of_a_backfill(
    live: Project, client: DagsterClient, tag: str
) -> None:
    flags = ("--asset", "dosed", "--all-partitions", "--set", "ops.dosed.config.label=all")
    status, document, talk = run(live, tag, *flags)
    assert status == 0, talk
    logs = "".join(logged(client, run["run_id"]) for run in document["runs"])
    for color in ("blue", "green", "red"):
        assert f"{color}: label=all" in logs


def test_several_partitions_are_one_backfill_with_its_failures_explained(
    live: Project, client: DagsterClient, tag: str
) -> None:
    flags = ("--asset", "daily_sales", "--partition", "2026-01-09", "--partition", "2026-01-07")
    status, document, talk = run(live, tag, *flags)
    assert status == 4, talk
    assert backfills_tagged(client, tag) == [document["backfill"]["id"]]
    assert document["backfill"]["status"] == "COMPLETED_FAILED"
    assert document["backfill"]["url"] in talk
    ended = {run["partition"]: run for run in document["runs"]}
    assert {key: run["status"] for key, run in ended.items()} == {
        "2026-01-07": "SUCCESS",
        "2026-01-09": "FAILURE",
    }
    assert ended["2026-01-09"]["error"]["message"] == "no sales on the ninth"
    assert "no sales on the ninth" in talk

    # What failed, and what is missing, is known from now on.
    status, _, talk = run(live, tag, "--asset", "daily_sales", "--failed", "--validate-only")
    assert (status, "daily_sales for 2026-01-09" in talk) == (0, True)
    _, _, talk = run(live, tag, "--asset", "daily_sales", "--missing", "--validate-only")
    assert "partitions. Nothing was launched" in talk
    assert len(backfills_tagged(client, tag)) == 1


def test_missing_partitions_are_materialized_until_none_is_left(
    live: Project, client: DagsterClient, tag: str
) -> None:
    for key in ("red", "blue"):
        assert run(live, tag, "--asset", "shaded", "--partition", key)[0] == 0
    status, document, talk = run(live, tag, "--asset", "shaded", "--missing")
    assert status == 0, talk
    assert [run["partition"] for run in document["runs"]] == ["green"]
    status, document, talk = run(live, tag, "--asset", "shaded", "--missing")
    assert (status, document) == (0, {"runs": []})
    assert "Nothing to do" in talk
    assert len(runs_tagged(client, tag)) == 3


@pytest.mark.parametrize(
    "flags",
    [
        ("--job", "slow_job", "--all-partitions"),
        pytest.param(("--asset", "slow_colored", "--all-partitions"), marks=pytest.mark.nightly),
        pytest.param(
            ("--asset", "slow_grid", "--partition-range", "red|2026-01-09...red|2026-01-10"),
            marks=pytest.mark.nightly,
        ),
    ],
)
def test_a_backfill_can_be_left_come_back_to_and_cancelled(
    live: Project, client: DagsterClient, tag: str, flags: tuple[str, ...]
) -> None:
    status, document, talk = run(live, tag, *flags, "--no-wait")
    assert status == 0, talk
    backfill = document["backfill"]["id"]
    assert backfills_tagged(client, tag) == [backfill]
    done = live.invoke("run", "--follow", backfill, "--timeout", "0")
    assert done.returncode == 9
    assert f"--follow {backfill}" in done.stderr
    done = live.invoke("run", "--cancel", backfill)
    assert done.returncode == 0, done.stderr
    assert "CANCELED" in done.stdout


def test_a_dynamic_partition_is_found_once_it_was_added(
    live: Project, client: DagsterClient, tag: str
) -> None:
    import requests

    mutation = """mutation { addDynamicPartition(
        repositorySelector: {repositoryName: "__repository__", repositoryLocationName: "pipelines"}
        partitionsDefName: "customers", partitionKey: "ann") { __typename } }"""
    answer = requests.post(f"{client.target.url}/graphql", json={"query": mutation}, timeout=240)
    assert answer.json()["data"]["addDynamicPartition"]["__typename"].endswith("Success")
    status, document, talk = run(live, tag, "--asset", "by_customer", "--partition", "ann")
    assert status == 0, talk
    assert document["runs"][0]["partition"] == "ann"
