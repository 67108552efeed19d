"""What is sent for a backfill, and which config is refused before anything is sent."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from dagmar.asset_key import AssetKey
from dagmar.errors import AnswerLost, Invalid, RunFailed, Unreachable, UsageError
from dagmar.project.settings import Target
from dagmar.scalars import Plain
from dagmar.server.client import DagsterClient
from dagmar.server.launch import (
    Launch,
    backfills_of,
    given_tags,
    launch_backfill,
    launch_run,
    ops_to_run,
    read_types,
    refusals,
    runs_of,
    typed,
    validate,
)
from dagmar.server.launchable import find_failed
from support.http_server import Handler, asked, dagster, data, document, hang_up, serve


def backfill(*assets: str, config: dict[str, Any] | None = None) -> Launch:
    partitions = tuple(str(number) for number in range(31))
    place = ("shop", "__repository__", "__ASSET_JOB")
    keys = tuple(AssetKey(key) for key in assets)
    return Launch(*place, keys, config=config or {}, partitions=partitions)


def title_of(launch: Launch) -> str:
    success = {"__typename": "LaunchBackfillSuccess", "backfillId": "b-1"}
    with asked({"LaunchBackfill": {"launchPartitionBackfill": success}}) as (client, server):
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
    with asked({"RunToRetry": {"runOrError": run}}) as (client, _):
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
    hint = "Launch one partition at a time, or use Dagster 1.11 or newer on the server."
    assert caught.value.hint == hint
    assert [seen.sent["operationName"] for seen in server.seen] == ["BackfillParams"]


def test_config_that_cannot_be_sent_is_refused_before_any_query() -> None:
    launch = backfill("orders", config={"ops": {"orders": {"config": {"share": float("nan")}}}})
    with (
        serve(dagster({})) as server,
        DagsterClient(Target("local", server.url)) as client,
        pytest.raises(Invalid, match=r"ops\.orders\.config\.share: nan cannot be sent") as caught,
    ):
        validate(client, launch, "Correct it here.")
    assert server.seen == []
    assert caught.value.message.startswith("the run config of orders is not valid:\n")
    assert caught.value.hint == "Correct it here."


VALID = {"isPipelineConfigValid": {"__typename": "PipelineConfigValidationValid"}}


def test_the_server_validates_the_config_for_the_selection() -> None:
    launch = run("raw/orders", config={"ops": {"a": {}}}, ops=frozenset({"a"}), steps=("a",))
    selector = launch.selector("pipelineName")
    assert sent(lambda client: validate(client, launch), ValidateConfig=VALID) == [
        {"selector": {**selector, "solidSelection": ["a"]}, "config": {"ops": {"a": {}}}}
    ]


def test_config_for_an_op_that_does_not_run_is_refused_by_name_unless_it_is_a_retry() -> None:
    launch = run("orders", config={"ops": {"order": {}, "a": {}}}, ops=frozenset({"orders", "a"}))
    pipeline = {"__typename": "Pipeline", "solids": []}
    with pytest.raises(Invalid) as caught:
        sent(
            lambda client: validate(client, launch, "Correct it here."),
            OpsToLaunch={"pipelineOrError": pipeline},
        )
    assert caught.value.message == (
        "the run config of orders is not valid:\n"
        "  ops.order is not an op of orders — did you mean 'orders'?"
    )
    assert caught.value.hint == "Correct it here."
    retry = replace(launch, parent=("r-0", "r-1"))  # its config was valid for all of the run
    (variables,) = sent(lambda client: validate(client, retry), ValidateConfig=VALID)
    assert variables["config"] == launch.config


def test_a_code_location_whose_process_is_gone_is_named() -> None:
    answer = {"__typename": "PythonError", "message": "DagsterUserCodeUnreachableError: no pipe\n"}
    error = refusals(backfill("orders"))["PythonError"](answer)
    assert isinstance(error, Unreachable)
    assert error.message == "the code location 'shop' does not answer: its process is gone"
    assert "when the code location is reloaded" in error.hint


PLACE = {"repositoryLocationName": "shop", "repositoryName": "__repository__"}
LAUNCHED = {"launchRun": {"__typename": "LaunchRunSuccess", "run": {"runId": "r-2"}}}


def run(*assets: str, **more: Any) -> Launch:
    keys = tuple(AssetKey(key) for key in assets)
    return Launch("shop", "__repository__", "__ASSET_JOB", keys, launch_id="l-1", **more)


def sent(call: Callable[[DagsterClient], object], **answers: Any) -> list[dict[str, Any]]:
    """Call with a client of a stand-in, and return the variables of what was sent."""
    with asked(answers) as (client, server):
        call(client)
    return [seen.sent["variables"] for seen in server.seen]


def test_a_run_is_sent_with_its_selection_its_config_and_its_launch_id() -> None:
    launch = run("raw/orders", config={"ops": {}}, tags={"tier": "gold"}, steps=("a",))
    ids = []
    (variables,) = sent(lambda client: ids.append(launch_run(client, launch)), LaunchRun=LAUNCHED)
    assert ids == ["r-2"]
    tags = [{"key": "tier", "value": "gold"}, {"key": "dagmar/launch-id", "value": "l-1"}]
    params = {
        "selector": {
            **PLACE,
            "jobName": "__ASSET_JOB",
            "assetSelection": [{"path": ["raw", "orders"]}],
            "solidSelection": ["a"],
        },
        "runConfigData": {"ops": {}},
        "mode": "default",
        "executionMetadata": {"tags": tags},
    }
    assert variables == {"params": params}
    retry = replace(launch, parent=("r-0", "r-1"))
    ((metadata,)) = [
        variables["params"]["executionMetadata"]
        for variables in sent(lambda client: launch_run(client, retry), LaunchRun=LAUNCHED)
    ]
    assert metadata == {"tags": tags, "rootRunId": "r-0", "parentRunId": "r-1"}


@pytest.mark.parametrize(
    ("more", "selected"),
    [
        ({}, {}),  # the whole job
        ({"checks": ()}, {"assetSelection": [], "assetCheckSelection": ()}),
        (
            {"checks": ({"name": "fresh"},), "steps": ("a", "b")},
            {
                "assetSelection": [],
                "assetCheckSelection": ({"name": "fresh"},),
                "solidSelection": ("a", "b"),
            },
        ),
    ],
)
def test_without_assets_the_selection_is_that_of_a_job(
    more: dict[str, Any], selected: dict[str, Any]
) -> None:
    assert run(**more).selector() == {**PLACE, "jobName": "__ASSET_JOB", **selected}


@pytest.mark.parametrize("config", [{}, {"execution": {}}])
def test_a_backfill_is_sent_with_what_older_servers_take(config: dict[str, Any]) -> None:
    success = {"__typename": "LaunchBackfillSuccess", "backfillId": "b-1"}
    answer = {"launchPartitionBackfill": success}
    launch = replace(backfill("a"), launch_id="l-1", config=config)
    job = replace(launch, assets=(), job="nightly", partition_set="nightly_set")
    by_asset, by_job = (
        sent(lambda client, each=each: launch_backfill(client, each), LaunchBackfill=answer)[0]
        for each in (launch, job)
    )
    common = {
        "partitionNames": [str(number) for number in range(31)],
        "tags": [{"key": "dagmar/launch-id", "value": "l-1"}],
        **({"runConfigData": config} if config else {}),
    }
    assets = {"title": "a (31 partitions)", "assetSelection": [{"path": ["a"]}]}
    assert by_asset == {"params": {**common, **assets}}
    selector = {"partitionSetName": "nightly_set", "repositorySelector": PLACE}
    title = "job nightly (31 partitions)"
    assert by_job == {"params": {**common, "title": title, "selector": selector}}


def test_a_refused_backfill_is_an_error_with_what_was_to_be_launched() -> None:
    answer = {"__typename": "RunConflict", "message": "it is there"}
    with pytest.raises(Invalid, match="Dagster refuses to launch a: it is there"):
        sent(
            lambda client: launch_backfill(client, backfill("a")),
            LaunchBackfill={"launchPartitionBackfill": answer},
        )


def test_a_title_has_none_of_the_characters_that_dagster_refuses() -> None:
    assert title_of(backfill('100 % "*"')) == "100   (31 partitions)"


@pytest.mark.parametrize(("length", "short"), [(84, False), (85, True), (200, True)])
def test_a_title_is_shortened_only_if_it_must_be(length: int, short: bool) -> None:
    title = title_of(backfill("a" * length))
    assert len(title) == min(length + len(" (31 partitions)"), 100)
    assert ("…" in title) is short


def test_what_was_launched_is_found_by_its_launch_id() -> None:
    runs = {"__typename": "Runs", "results": [{"runId": "r-2"}, {"runId": "r-1"}]}
    found: list[list[str]] = []
    variables = sent(
        lambda client: found.append(runs_of(client, "l-1")), RunsByTag={"runsOrError": runs}
    )
    assert variables == [{"tags": [{"key": "dagmar/launch-id", "value": "l-1"}]}]
    backfills = [
        {"id": "b-1", "tags": [{"key": "dagmar/launch-id", "value": "l-0"}]},
        {"id": "b-2", "tags": [{"key": "tier", "value": "l-1"}]},
        {"id": "b-3", "tags": [{"key": "a", "value": "b"},
                               {"key": "dagmar/launch-id", "value": "l-1"}]},
    ]  # fmt: skip
    answer = {"__typename": "PartitionBackfills", "results": backfills}
    sent(
        lambda client: found.append(backfills_of(client, "l-1")),
        NewestBackfills={"partitionBackfillsOrError": answer},
    )
    assert found == [["r-2", "r-1"], ["b-3"]]


@pytest.mark.parametrize(
    ("tag", "hint"),
    [
        ("user", "Give it another name."),
        ("dagmar/here", "Give it another name."),
        ("dagster/backfill", "Tags of Dagster that can be set: dagster/concurrency_key, dagster/"),
    ],
)
def test_a_refused_tag_says_what_else_can_be_given(tag: str, hint: str) -> None:
    with pytest.raises(UsageError) as caught:
        given_tags([(tag, "1")], "Choose a partition.")
    assert caught.value.hint.startswith(hint)
    who = "Dagster" if tag.startswith("dagster") else "dagmar"
    assert caught.value.message == f"the tag '{tag}' cannot be given: {who} sets it itself"


NO_PART = (
    "DagsterInvalidSubsetError: When building job, the AssetsDefinition 'both' "
    """contains asset keys [AssetKey(['raw', 'orders']), AssetKey(["it's"])] and check keys """
    "[AssetCheckKey(asset_key=AssetKey(['checked']), name='fresh')], but attempted to select only "
    "assets [AssetKey(['raw', 'orders'])] and checks []. This AssetsDefinition does not support "
    "subsetting. Please select all asset and check keys produced by this asset."
)
"""As Dagster 1.13 says it."""


@pytest.mark.parametrize("space", [" ", "\n"])
def test_assets_of_one_function_are_named_with_the_command_for_all_of_them(space: str) -> None:
    message = NO_PART.replace("), AssetKey", f"),{space}AssetKey")
    answer = {"__typename": "InvalidSubsetError", "message": message}
    error = refusals(run("raw/orders", "sales"))["InvalidSubsetError"](answer)
    assert isinstance(error, Invalid)
    assert error.message == "raw/orders, it's are materialized by one function, and only together"
    assert error.command == ("""invoke run --asset raw/orders --asset sales --asset 'it'"'"'s'""")


@pytest.mark.parametrize(
    ("answer", "kind", "message"),
    [
        (
            {"__typename": "PythonError", "message": " no such op\n"}, RunFailed,
            "Dagster refuses to launch raw/orders: no such op",
        ),
        (
            {"__typename": "RunConflict", "message": "it is there"}, Invalid,
            "Dagster refuses to launch raw/orders: it is there",
        ),
        (
            {"__typename": "InvalidStepError", "invalidStepKey": "load"}, Invalid, "no step load",
        ),
        (
            {"__typename": "InvalidOutputError", "invalidOutputName": "out"}, Invalid,
            "no output out",
        ),
        # A member that no version had so far is never taken for a success.
        ({"__typename": "Surprise"}, AnswerLost, None),
    ],
)  # fmt: skip
def test_each_refusal_of_a_launch_is_an_error(
    answer: dict[str, Any], kind: type, message: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dagmar.server.launch.SEARCH_SECONDS", 0.0)
    runs = {"runsOrError": {"__typename": "Runs", "results": []}}
    with pytest.raises(kind) as caught:
        sent(
            lambda client: launch_run(client, run("raw/orders")),
            LaunchRun={"launchRun": answer},
            RunsByTag=runs,
        )
    assert message in (None, caught.value.message)
    if kind is AnswerLost:
        assert "Dagster answered with Surprise, which" in caught.value.message
        assert "Nothing with the tag dagmar/launch-id=l-1 showed up within 0 s" in str(caught.value)
        assert caught.value.hint == "To look once more, type:"
        assert caught.value.command == "invoke run --follow l-1"


def test_a_launch_whose_answer_is_lost_is_looked_for_until_it_shows_up(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("dagmar.server.launch.SEARCH_SECONDS", 60.0)
    monkeypatch.setattr("dagmar.server.launch.SEARCH_EVERY_SECONDS", 0.01)
    looks = iter(
        [
            document({}, status=502),  # which the client sends once more by itself
            document({}, status=500),
            data(runsOrError={"__typename": "Runs", "results": []}),
            data(runsOrError={"__typename": "Runs", "results": [{"runId": "r-7"}]}),
        ]
    )

    def answer(handler: Handler) -> None:
        operation = handler.server.seen[-1].sent["operationName"]
        (hang_up if operation == "LaunchRun" else next(looks))(handler)

    with serve(answer) as server, DagsterClient(Target("local", server.url)) as client:
        assert launch_run(client, run("raw/orders")) == "r-7"
        queries = [each.sent for each in server.seen]
    assert [each["operationName"] for each in queries].count("LaunchRun") == 1
    assert queries[-1]["variables"] == {"tags": [{"key": "dagmar/launch-id", "value": "l-1"}]}


def test_the_types_of_the_config_are_those_of_the_selection() -> None:
    schema = {
        "__typename": "RunConfigSchema",
        "rootConfigType": {"key": "root"},
        "allConfigTypes": [
            {"__typename": "RegularConfigType", "key": "root", "typeParamKeys": [],
             "isSelector": False, "givenName": "Int"},
        ],
    }  # fmt: skip
    launch = run("raw/orders")
    found = []
    (variables,) = sent(
        lambda client: found.append(read_types(client, launch)),
        ConfigTypes={"runConfigSchemaOrError": schema},
    )
    assert variables == {"selector": launch.selector("pipelineName")}
    assert variables["selector"]["pipelineName"] == "__ASSET_JOB"
    assert found[0].types["root"].name == "Int"
    gone = {"__typename": "PipelineNotFoundError", "message": "no such job"}
    with pytest.raises(Invalid, match="refuses to launch raw/orders: no such job"):
        sent(
            lambda client: read_types(client, launch), ConfigTypes={"runConfigSchemaOrError": gone}
        )


def test_config_that_was_typed_is_what_the_schema_of_the_selection_expects() -> None:
    common = {"typeParamKeys": [], "isSelector": False}
    zips = {"name": "zip", "isRequired": True, "configTypeKey": "text", "description": None}
    types = [
        {"__typename": "RegularConfigType", "key": "text", "givenName": "String", **common},
        {"__typename": "CompositeConfigType", "key": "root", "fields": [zips], **common},
    ]
    schema = {
        "__typename": "RunConfigSchema",
        "rootConfigType": {"key": "root"},
        "allConfigTypes": types,
    }
    launch = run("raw/orders")
    found: list[Any] = []
    assert sent(
        lambda client: found.append(typed(client, launch, {"zip": Plain("0123")})),
        ConfigTypes={"runConfigSchemaOrError": schema},
    ) == [{"selector": launch.selector("pipelineName")}]
    assert found == [{"zip": "0123"}]
    assert type(found[0]["zip"]) is str
    endless: dict[str, Any] = {}
    endless["a"] = endless
    with pytest.raises(Invalid, match="the run config of raw/orders is not valid"):
        sent(lambda client: typed(client, launch, endless))


def test_ops_are_queried_only_if_they_are_not_all_the_assets_own() -> None:
    launch = run("orders", ops=frozenset({"orders"}))
    mine, theirs = {"ops": {"orders": {}}}, {"ops": {"fresh": {}}}
    found: list[frozenset[str]] = []
    assert sent(lambda client: found.append(ops_to_run(client, launch, mine))) == []
    pipeline = {"__typename": "Pipeline", "solids": [{"name": "fresh"}]}
    variables = sent(
        lambda client: found.append(ops_to_run(client, launch, theirs)),
        OpsToLaunch={"pipelineOrError": pipeline},
    )
    assert variables == [{"selector": launch.selector("pipelineName")}]
    assert found == [{"orders"}, {"orders", "fresh"}]
    gone = {"__typename": "InvalidSubsetError", "message": "no such asset"}
    with pytest.raises(Invalid, match="refuses to launch orders: no such asset"):
        sent(
            lambda client: ops_to_run(client, launch, theirs),
            OpsToLaunch={"pipelineOrError": gone},
        )
