"""What can be launched, as a server describes it: assets, jobs, and the failed steps of a run."""

from __future__ import annotations

from collections.abc import Callable
from math import nan
from typing import Any

import pytest
from dagmar.asset_key import AssetKey
from dagmar.errors import DagmarError, Invalid, InvalidConfig, NotAllowed, UsageError
from dagmar.project.settings import Target
from dagmar.server import launchable
from dagmar.server.client import DagsterClient
from dagmar.server.launch import Launch
from dagmar.server.launchable import Hints, Launchable
from support.http_server import Handler, Server, asked, dagster, data, serve
from support.launches import (
    FORBIDDEN,
    JOB_PARTITIONS,
    WORKSPACE,
    asset,
    daily,
    job_defaults,
    partition_config,
    place,
    with_assets,
)

HINTS = Hints("Correct the config.", "Choose partitions.", "Choose none.")


def refused(answers: dict[str, Any], call: Callable[[DagsterClient], object]) -> DagmarError:
    with asked(answers) as (client, _), pytest.raises(DagmarError) as caught:
        call(client)
    return caught.value


def variables(server: Server, operation: str) -> list[dict[str, Any]]:
    """Return the variables of each query of this name."""
    sent = (seen.sent for seen in server.seen)
    return [each["variables"] for each in sent if each["operationName"] == operation]


def test_assets_of_one_code_location_are_one_launch_with_their_ops() -> None:
    graph = asset("raw/sales", opNames=["load.read", "load.clean"], graphName="load")
    old = asset("lab/old", "lab", jobNames=["__ASSET_JOB_3", "nightly"])
    bare = asset("lab/bare", "lab", jobNames=[])
    answers = with_assets(asset("orders"), graph, old, bare)
    with asked(answers) as (client, server):
        names = ["orders", "raw/sales", "lab/old", "lab/bare"]
        shop, lab, default = launchable.find_assets(client, names, False, HINTS)
    ids = {"location": "shop", "repository": "__repository__", "job": "__ASSET_JOB"}
    assert {name: getattr(shop.launch, name) for name in ids} == ids
    assert shop.launch.assets == ("orders", "raw/sales")
    assert shop.launch.ops == {"orders", "load"}
    assert (shop.partitions, shop.shadowed) == (None, False)
    assert shop.permissions == {"launch_partition_backfill": FORBIDDEN}
    assert shop.versions == {"dagster": "1.13.0"}
    assert (lab.launch.location, lab.launch.job, lab.versions) == ("lab", "__ASSET_JOB_3", {})
    assert (default.launch.assets, default.launch.job) == (("lab/bare",), "__ASSET_JOB")
    (sent,) = variables(server, "AssetsToLaunch")
    assert sent["partitioned"] is False
    assert sent["at"] is None
    assert {"path": ["raw", "sales"]} in sent["keys"]


def test_an_asset_of_another_code_location_is_known_to_be_in_two() -> None:
    """Dagster names the first of its places; a backfill would be launched there."""
    first, second, other = asset("orders"), asset("orders", "lab"), asset("sales", "lab")
    repositories = [first["repository"], second["repository"]]
    collision = {"assetKey": {"path": ["orders"]}, "repositories": repositories}

    def places(at: Any) -> dict[str, Any]:
        connection = {"__typename": "RepositoryConnection", "nodes": repositories}
        return {"assetNodes": [second if at else first], "repositoriesOrError": connection}

    answers = with_assets(first, other)
    answers["AssetCollisions"] = {"assetNodeDefinitionCollisions": [collision]}
    answers["AssetsToLaunch"]["assetNodes"] = [second]
    asked_for = dagster(answers)

    def answer(handler: Handler) -> None:
        sent = handler.server.seen[-1].sent
        if sent["operationName"] == "AssetPlaces":
            return data(**places(sent["variables"]["at"]))(handler)
        return asked_for(handler)

    with serve(answer) as server, DagsterClient(Target("local", server.url)) as client:
        (found,) = launchable.find_assets(client, ["orders@lab"], False, HINTS)
    assert (found.launch.location, found.shadowed) == ("lab", True)
    with pytest.raises(Invalid, match="in another one that has the asset"):
        found.require(launchable.BACKFILL_PERMISSION)


def test_assets_that_are_launched_together_have_the_partitions_that_they_share() -> None:
    nodes = asset("orders", **daily("mon", "tue")), asset("sales", **daily("mon", "tue"))
    with asked(with_assets(*nodes, asset("all"))) as (client, server):
        names = ["orders", "sales", "all"]
        (found,) = launchable.find_assets(client, names, True, HINTS)
        (alone,) = launchable.find_assets(client, ["orders"], True, HINTS)
        (unknown,) = launchable.find_assets(client, names, None, HINTS)
    for each in (found, unknown):
        assert each.partitions is not None
        assert each.partitions.keys == ["mon", "tue"]
    assert alone.partitions is not None
    assert alone.partitions.what == "the asset 'orders'"
    assert [sent["partitioned"] for sent in variables(server, "AssetsToLaunch")] == [True] * 3


@pytest.mark.parametrize(
    ("node", "partitioned", "kind", "message", "hint"),
    [
        (
            {"isMaterializable": False}, False, Invalid,
            "the asset 'orders' cannot be materialized: Dagster only observes it",
            "Choose one that it materializes; `invoke discover --kind assets` lists them.",
        ),
        (
            daily("mon"), False, Invalid,
            "the asset 'orders' is partitioned: choose partitions", "Choose partitions.",
        ),
        ({}, True, Invalid, "orders has no partitions", "Choose none."),
        (
            {"hasMaterializePermission": False}, False, NotAllowed,
            "the server does not allow you to materialize 'orders'", None,
        ),
    ],
)  # fmt: skip
def test_an_asset_that_cannot_be_launched_is_refused(
    node: dict[str, Any], partitioned: bool, kind: type, message: str, hint: str | None
) -> None:
    answers = with_assets(asset("orders", **node))
    error = refused(
        answers, lambda client: launchable.find_assets(client, ["orders"], partitioned, HINTS)
    )
    assert (type(error), error.message) == (kind, message)
    assert hint in (None, error.hint)


def test_what_a_user_may_not_do_is_refused_with_the_reason_of_the_server() -> None:
    launch = Launch("shop", "__repository__", "nightly")
    item = Launchable(launch, permissions={FORBIDDEN["permission"]: FORBIDDEN})
    item.require("launch_pipeline_execution")  # a server that says nothing about it
    with pytest.raises(NotAllowed, match="allow you to launch job nightly: Ask Ann"):
        item.require("launch_partition_backfill")


def test_a_backfill_of_an_asset_that_another_location_has_too_is_refused() -> None:
    item = Launchable(Launch("lab", "__repository__", "__ASSET_JOB"), shadowed=True)
    item.require(launchable.LAUNCH_PERMISSION)
    with pytest.raises(Invalid) as caught:
        item.require(launchable.BACKFILL_PERMISSION)
    assert caught.value.message == (
        "job __ASSET_JOB in the code location 'lab' cannot be launched for several partitions: a "
        "backfill has no code location, and Dagster would launch it in another one that has the "
        "asset"
    )
    assert caught.value.hint == "Launch one partition at a time."


JOBS = {
    "repositoriesOrError": {
        "__typename": "RepositoryConnection",
        "nodes": [
            {
                **place("lab"),
                "jobs": [{"name": "weekly"}, {"name": "__ASSET_JOB"}],
                "partitionSets": [],
            },
            {
                **place("shop"),
                "jobs": [{"name": "nightly"}, {"name": "weekly"}],
                "partitionSets": [
                    {"name": "other_set", "pipelineName": "other"},
                    {"name": "nightly_set", "pipelineName": "nightly"},
                ],
            },
        ],
    },
    "workspaceOrError": WORKSPACE,
}


def test_a_job_is_found_by_its_name_and_its_code_location() -> None:
    with asked({"JobsToLaunch": JOBS, "JobPartitions": JOB_PARTITIONS}) as (client, _):
        nightly = launchable.find_job(client, "nightly", True, HINTS)
        weekly = launchable.find_job(client, "weekly@lab", False, HINTS)
        located = launchable.locate_job(client, "nightly@shop")
    expected = {
        "location": "shop",
        "repository": "__repository__",
        "job": "nightly",
        "partition_set": "nightly_set",
    }
    assert {name: getattr(nightly.launch, name) for name in expected} == expected
    assert {name: getattr(located, name) for name in expected} == expected
    assert nightly.partitions is not None
    assert nightly.partitions.keys == ["mon", "tue"]
    assert nightly.permissions == {"launch_partition_backfill": FORBIDDEN}
    assert nightly.versions == {"dagster": "1.13.0"}
    assert (weekly.launch.location, weekly.partitions, weekly.versions) == ("lab", None, {})


@pytest.mark.parametrize(
    ("name", "partitioned", "message", "hint"),
    [
        ("nightly", False, "the job 'nightly' is partitioned: choose partitions",
         "Choose partitions."),
        ("weekly@lab", True, "the job 'weekly' has no partitions", "Choose none."),
        ("nightli", False, "there is no job 'nightli' — did you mean 'nightly'?",
         "Dagster is still loading lab. To see when it has, type:"),
        ("__ASSET_JOB", False, "there is no job '__ASSET_JOB'",
         "Dagster is still loading lab. To see when it has, type:"),
    ],
)  # fmt: skip
def test_a_job_that_cannot_be_launched_is_refused(
    name: str, partitioned: bool, message: str, hint: str
) -> None:
    error = refused(
        {"JobsToLaunch": JOBS},
        lambda client: launchable.find_job(client, name, partitioned, HINTS),
    )
    assert (type(error), error.message, error.hint) == (Invalid, message, hint)


def test_a_job_of_several_locations_is_ambiguous() -> None:
    error = refused({"JobsToLaunch": JOBS}, lambda client: launchable.locate_job(client, "weekly"))
    assert "weekly@lab" in str(error)
    assert "weekly@shop" in str(error)


NIGHTLY = Launch("shop", "__repository__", "nightly")
OWN = partition_config("ops: {a: {config: {day: mon, rows: 1}}}")
TAGS = {"__typename": "PartitionTags", "results": [{"key": "day", "value": "mon"},
                                                   {"key": "tier", "value": "silver"}]}  # fmt: skip


def test_the_config_and_tags_of_a_partition_are_under_those_of_the_launch() -> None:
    config = {"ops": {"a": {"config": {"rows": 9}}}}
    launch = Launch("shop", "r", "nightly", config=config, tags={"tier": "gold"})
    with asked({"JobDefaults": job_defaults(config=OWN, tags=TAGS)}) as (client, server):
        merged = launchable.with_defaults(client, launch, "mon")
    assert merged.config == {"ops": {"a": {"config": {"day": "mon", "rows": 9}}}}
    assert merged.tags == {"day": "mon", "tier": "gold"}
    assert variables(server, "JobDefaults") == [
        {
            "selector": {
                "repositoryLocationName": "shop", "repositoryName": "r", "pipelineName": "nightly",
            },
            "partition": "mon",
            "partitioned": True,
        }
    ]  # fmt: skip


def test_the_config_of_a_job_is_under_that_of_the_launch() -> None:
    launch = Launch("shop", "r", "nightly", config={"loggers": {"console": {}}}, tags={"a": "b"})
    with asked(
        {"JobDefaults": job_defaults("execution: {config: {in_process: {}}}", OWN, TAGS)}
    ) as (client, server):
        merged = launchable.with_defaults(client, launch, None)
        same = launchable.with_defaults(client, NIGHTLY, None)  # Dagster applies it
    assert merged.config == {
        "execution": {"config": {"in_process": {}}},
        "loggers": {"console": {}},
    }
    assert merged.tags == {"a": "b"}
    assert same is NIGHTLY
    (sent,) = variables(server, "JobDefaults")
    assert (sent["partition"], sent["partitioned"]) == ("", False)


def test_assets_and_retries_have_no_defaults() -> None:
    launches = (
        Launch("shop", "r", "__ASSET_JOB", assets=("orders",), config={"a": 1}),  # type: ignore[arg-type]
        Launch("shop", "r", "nightly", config={"a": 1}, parent=("r-1", "r-1")),
    )
    with asked({}) as (client, server):
        assert [launchable.with_defaults(client, each, "mon") for each in launches] == [*launches]
    assert server.seen == []


@pytest.mark.parametrize("broken", ["config", "tags"])
def test_code_that_fails_for_a_partition_is_reported(broken: str) -> None:
    python = {
        "__typename": "PythonError", "message": "KeyError: 'mon'\n", "className": "KeyError",
        "stack": [], "errorChain": [],
    }  # fmt: skip
    answers = {"JobDefaults": job_defaults(**{broken: python})}
    error = refused(answers, lambda client: launchable.read_defaults(client, NIGHTLY, "mon"))
    message = "job nightly cannot create the config of this partition: KeyError: 'mon'"
    assert (type(error), error.message) == (Invalid, message)


def test_a_backfill_reads_the_defaults_of_its_first_partition() -> None:
    with asked({"JobDefaults": job_defaults(config=OWN)}) as (client, server):
        launch = launchable.validated_backfill(client, NIGHTLY, ["mon", "tue"])
    assert (launch.partitions, launch.config) == (("mon", "tue"), {})
    assert [sent["partition"] for sent in variables(server, "JobDefaults")] == ["mon"]
    config = Launch("shop", "r", "nightly", config={"ops": {}, "a": 1})
    error = refused(
        {"JobDefaults": job_defaults(config=OWN)},
        lambda client: launchable.validated_backfill(client, config, ["mon", "tue"]),
    )
    assert type(error) is UsageError
    assert error.message == (
        "each partition of the job 'nightly' has its own config: "
        "run config can be given for a single one only"
    )
    launch = Launch("shop", "r", "__ASSET_JOB", assets=(AssetKey("orders"),), config={"a": nan})
    error = refused(
        {}, lambda client: launchable.validated_backfill(client, launch, ["mon"], "Correct it.")
    )
    assert (type(error), error.hint) == (InvalidConfig, "Correct it.")


def run(**more: Any) -> dict[str, Any]:
    """Return the answer about a failed run."""
    fields = {
        "__typename": "Run", "status": "FAILURE", "jobName": "nightly", "rootRunId": None,
        "runConfigYaml": "ops: {a: {config: {rows: 1}}}", "solidSelection": ["a", "b"],
        "assetSelection": [{"path": ["raw", "orders"]}], "assetCheckSelection": None,
        "hasReExecutePermission": True,
        "repositoryOrigin": {"repositoryLocationName": "shop", "repositoryName": "r"},
        "tags": [{"key": "tier", "value": "gold"}],
    }  # fmt: skip
    return {"RunToRetry": {"runOrError": {**fields, **more}}}


def test_a_retry_runs_what_its_run_had_selected_with_its_config() -> None:
    check = {"name": "fresh", "assetKey": {"path": ["raw", "orders"]}}
    with asked(run(rootRunId="r-0", assetCheckSelection=[check])) as (client, server):
        found = launchable.find_failed(client, "r-1")
    launch = found.launch
    assert launch.selector() == {
        "repositoryLocationName": "shop", "repositoryName": "r", "jobName": "nightly",
        "assetSelection": [{"path": ["raw", "orders"]}], "solidSelection": ("a", "b"),
        "assetCheckSelection": (check,),
    }  # fmt: skip
    assert launch.config == {"ops": {"a": {"config": {"rows": 1}}}}
    assert launch.tags == {"tier": "gold", "dagster/is_resume_retry": "true"}
    assert launch.parent == ("r-0", "r-1")
    assert variables(server, "RunToRetry") == [{"id": "r-1"}]


def test_a_retry_of_a_whole_job_selects_nothing() -> None:
    answer = run(status="CANCELED", runConfigYaml="", solidSelection=None, assetSelection=None)
    with asked(answer) as (client, _):
        launch = launchable.find_failed(client, "r-1").launch
    assert launch.selector().keys() == {"repositoryLocationName", "repositoryName", "jobName"}
    assert (launch.config, launch.steps, launch.checks) == ({}, (), None)
    assert launch.parent == ("r-1", "r-1")


@pytest.mark.parametrize(
    ("more", "kind", "message"),
    [
        ({"status": "SUCCESS"}, Invalid, "run r-1 is success: there is nothing to retry"),
        ({"hasReExecutePermission": False}, NotAllowed,
         "the server does not allow you to retry run r-1"),
        ({"repositoryOrigin": None}, Invalid,
         "run r-1 was not launched from a code location: it cannot be retried"),
    ],
)  # fmt: skip
def test_a_run_that_cannot_be_retried_is_refused(
    more: dict[str, Any], kind: type, message: str
) -> None:
    error = refused(run(**more), lambda client: launchable.find_failed(client, "r-1"))
    assert (type(error), error.message) == (kind, message)
    if "status" in more:
        assert (error.hint, error.command) == ("To look at it, type:", "invoke run --follow r-1")


def test_an_unknown_run_cannot_be_retried() -> None:
    answer = {"RunToRetry": {"runOrError": {"__typename": "RunNotFoundError"}}}
    error = refused(answer, lambda client: launchable.find_failed(client, "r-1"))
    assert isinstance(error, Invalid)
    assert error.message.startswith("there is no run r-1 at http://127.0.0.1:")
