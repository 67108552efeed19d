"""A launch is prepared once, for tasks and notebooks alike, and does not change afterwards."""

from __future__ import annotations

import copy
import dataclasses
from pathlib import Path
from typing import Any

import pytest
from dagmar.asset_key import AssetKey
from dagmar.errors import Invalid, NotAllowed, UsageError
from dagmar.project import provenance
from dagmar.project.settings import Target
from dagmar.runs.prepare import LaunchSpec, _joined, _shares, prepare
from dagmar.server.launch import Launch, validate
from dagmar.server.launchable import Hints, Launchable
from dagmar.server.partitions import Choice
from support.git import commit, git
from support.http_server import asked
from support.launches import (
    JOB_PARTITIONS,
    asset,
    daily,
    job_defaults,
    partition_config,
    with_assets,
)

HINTS = Hints("Correct the config here.", "Choose a partition here.", "Choose none here.")
VALID = {"isPipelineConfigValid": {"__typename": "PipelineConfigValidationValid"}}
WORKSPACE = {"__typename": "Workspace", "locationEntries": []}
JOB = {
    "name": "__repository__",
    "location": {"name": "shop"},
    "jobs": [{"name": "weekly"}],
    "partitionSets": [{"name": "weekly_set", "pipelineName": "weekly"}],
}
JOBS = {
    "repositoriesOrError": {"__typename": "RepositoryConnection", "nodes": [JOB]},
    "workspaceOrError": WORKSPACE,
}
ALL = Choice(all=True)
ROWS = {"ops": {"weekly": {"config": {"rows": 1}}}}


def prepared(
    tmp_path: Path, spec: LaunchSpec, answers: dict[str, Any]
) -> tuple[tuple[Launch, ...], list[str]]:
    """Prepare on a stand-in for a server; return the launches and the queries."""
    with asked(answers) as (client, server):
        launches = prepare(client, tmp_path, spec, HINTS)
    return launches, [seen.sent["operationName"] for seen in server.seen]


def test_validating_a_launch_does_not_change_it() -> None:
    config = {"ops": {"a_check": {"config": {"rows": 1}}}}
    launch = Launch("shop", "__repository__", "__ASSET_JOB", (AssetKey("orders"),), config)
    before = copy.deepcopy(launch)
    ops = {"pipelineOrError": {"__typename": "Pipeline", "solids": [{"name": "a_check"}]}}
    with asked({"OpsToLaunch": ops, "ValidateConfig": VALID}) as (client, _):
        validate(client, launch)
    assert launch == before
    with pytest.raises(dataclasses.FrozenInstanceError):
        launch.config = {}  # type: ignore[misc]


def test_a_backfill_of_a_job_queries_the_jobs_defaults_once(tmp_path: Path) -> None:
    answers = {
        "JobsToLaunch": JOBS,
        "JobPartitions": JOB_PARTITIONS,
        "JobDefaults": job_defaults("loggers: {console: {}}"),
        "BackfillParams": {"__type": {"inputFields": [{"name": "runConfigData"}]}},
        "ValidateConfig": VALID,
    }
    spec = LaunchSpec(job="weekly", partitions=ALL, config=ROWS)
    (launch,), queries = prepared(tmp_path, spec, answers)
    assert queries == list(answers)
    assert launch.partitions == ("mon", "tue")
    assert launch.config == {**ROWS, "loggers": {"console": {}}}


def test_a_backfill_takes_no_config_if_each_partition_has_its_own(tmp_path: Path) -> None:
    answers = {
        "JobsToLaunch": JOBS,
        "JobPartitions": JOB_PARTITIONS,
        "JobDefaults": job_defaults(config=partition_config("ops: {weekly: {config: {day: mon}}}")),
    }
    with pytest.raises(UsageError, match="each partition of the job 'weekly' has its own"):
        prepared(tmp_path, LaunchSpec(job="weekly", partitions=ALL, config=ROWS), answers)
    (launch,), queries = prepared(tmp_path, LaunchSpec(job="weekly", partitions=ALL), answers)
    assert queries == list(answers)
    assert launch.config == {}


SINGLE_RUN = {"policyType": "SINGLE_RUN"}
DAYS = daily("mon", "tue", "wed")


@pytest.mark.parametrize(
    ("policy", "wanted", "tags"),
    [
        (None, Choice(keys=("tue",)), {"dagster/partition": "tue"}),
        (SINGLE_RUN, Choice(latest=True), {"dagster/partition": "wed"}),
        (
            SINGLE_RUN,
            Choice(range="mon...wed"),
            {
                "dagster/asset_partition_range_start": "mon",
                "dagster/asset_partition_range_end": "wed",
            },
        ),
    ],
)
def test_partitions_that_one_run_materializes_are_tags_of_a_run(
    policy: Any, wanted: Choice, tags: dict[str, str], tmp_path: Path
) -> None:
    answers = with_assets(asset("orders", **DAYS, backfillPolicy=policy)) | {
        "ValidateConfig": VALID
    }
    spec = LaunchSpec(assets=["orders"], partitions=wanted, tags={"tier": "gold"})
    (launch,), queries = prepared(tmp_path, spec, answers)
    assert queries[-1] == "ValidateConfig"
    assert (launch.assets, launch.partitions) == (("orders",), ())
    expected = {**tags, "tier": "gold"}
    assert {key: launch.tags[key] for key in expected} == expected
    assert {key for key in launch.tags if "partition" in key} == tags.keys()


def test_several_partitions_need_the_permission_for_backfills(tmp_path: Path) -> None:
    spec = LaunchSpec(assets=["orders"], partitions=ALL)
    with pytest.raises(NotAllowed, match="allow you to launch orders: Ask Ann"):
        prepared(tmp_path, spec, with_assets(asset("orders", **DAYS)))
    lab = with_assets(asset("orders", "lab", **DAYS)) | {
        "BackfillParams": {"__type": {"inputFields": [{"name": "runConfigData"}]}},
        "ValidateConfig": VALID,
    }
    (launch,), _ = prepared(tmp_path, spec, lab)
    assert launch.partitions == ("mon", "tue", "wed")


def test_a_run_needs_the_permission_for_runs(tmp_path: Path) -> None:
    denied = {"permission": "launch_pipeline_execution", "value": False, "disabledReason": "No."}
    entry = {"name": "shop", "permissions": [denied], "locationOrLoadError": None}
    workspace = {"__typename": "Workspace", "locationEntries": [entry]}
    job = {**JOB, "partitionSets": []}
    jobs = {"__typename": "RepositoryConnection", "nodes": [job]}
    answers = {"JobsToLaunch": {"repositoriesOrError": jobs, "workspaceOrError": workspace}}
    with pytest.raises(NotAllowed, match="allow you to launch job weekly: No"):
        prepared(tmp_path, LaunchSpec(job="weekly"), answers)


def test_an_asset_that_is_named_twice_is_launched_once(tmp_path: Path) -> None:
    answers = with_assets(asset("orders"), asset("lab/sales", "lab")) | {"ValidateConfig": VALID}
    names = ["orders", "lab/sales", "orders"]
    launches, _ = prepared(tmp_path, LaunchSpec(assets=names), answers)
    assert [(launch.location, launch.assets) for launch in launches] == [
        ("shop", ("orders",)),
        ("lab", ("lab/sales",)),
    ]
    with pytest.raises(Invalid) as caught:
        prepared(tmp_path, LaunchSpec(assets=["orders"], partitions=ALL), answers)
    assert caught.value.hint == HINTS.no_partitions


def test_a_retry_of_an_unknown_run_is_refused_by_its_id(tmp_path: Path) -> None:
    answers = {"RunToRetry": {"runOrError": {"__typename": "RunNotFoundError"}}}
    with pytest.raises(Invalid, match="there is no run r-1"):
        prepared(tmp_path, LaunchSpec(retry="r-1"), answers)


def test_versions_are_tagged_only_where_the_server_shows_them_or_shares_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = {"dagster": "1.13.0", "marimo": "0.25.0", "polars": "1.9", "a" * 60: "1"}
    monkeypatch.setattr(provenance, "installed_version", names.get)
    text = f"""[project]\nname = "shop"\ndependencies = ["{"a" * 60}", "Polars>=1", "absent"]"""
    (tmp_path / "pyproject.toml").write_text(text, "utf-8")

    def tagged(dagster: str | None, here: bool = True) -> dict[str, str]:
        monkeypatch.setattr(Target, "loopback", here)
        libraries = [
            {"name": "dagster", "version": dagster},
            {"name": "dagster-aws", "version": "2"},
        ]
        load = {"dagsterLibraryVersions": libraries if dagster else None}
        entry = {"name": "shop", "permissions": [], "locationOrLoadError": load}
        workspace = {"__typename": "Workspace", "locationEntries": [entry]}
        answers = {"JobsToLaunch": {**JOBS, "workspaceOrError": workspace}, "ValidateConfig": VALID}
        answers["JobsToLaunch"]["repositoriesOrError"] = {
            "__typename": "RepositoryConnection",
            "nodes": [{**JOB, "partitionSets": []}],
        }
        (launch,), _ = prepared(tmp_path, LaunchSpec(job="weekly"), answers)
        assert not any("aaa" in name for name in launch.tags)
        return provenance.versions_in(launch.tags)

    served = {"dagster": "1.13.0", "dagster-aws": "2"}
    assert tagged("1.13.0").items() >= {**served, "marimo": "0.25.0", "polars": "1.9"}.items()
    assert tagged("1.12.0") == {**served, "dagster": "1.12.0"}  # another environment
    assert tagged("1.13.0", here=False) == served
    assert set(tagged(None)) == {"python", "dagmar", "dagster", "marimo", "polars"}
    assert tagged(None, here=False) == {}


def test_hints_are_those_of_the_caller(tmp_path: Path) -> None:
    with pytest.raises(Invalid, match="partitioned") as caught:
        prepared(tmp_path, LaunchSpec(job="weekly"), {"JobsToLaunch": JOBS})
    assert caught.value.hint == HINTS.choose_partition
    refused = {
        "isPipelineConfigValid": {
            "__typename": "RunConfigValidationInvalid",
            "errors": [
                {"reason": "RUNTIME_TYPE_MISMATCH", "message": "No.", "stack": {"entries": []}}
            ],
        }
    }
    answers = {
        "JobsToLaunch": JOBS,
        "JobPartitions": JOB_PARTITIONS,
        "JobDefaults": job_defaults(),
        "ValidateConfig": refused,
    }
    with pytest.raises(Invalid, match="not valid") as caught:
        prepared(tmp_path, LaunchSpec(job="weekly", partitions=Choice(latest=True)), answers)
    assert caught.value.hint == HINTS.config
    fields = {"BackfillParams": {"__type": {"inputFields": [{"name": "runConfigData"}]}}}
    with pytest.raises(Invalid, match="not valid") as caught:
        prepared(tmp_path, LaunchSpec(job="weekly", partitions=ALL, config=ROWS), answers | fields)
    assert caught.value.hint == HINTS.config


def test_the_defaults_of_a_job_are_those_of_the_partition_that_is_chosen(tmp_path: Path) -> None:
    own = partition_config("ops: {weekly: {config: {day: mon}}}")
    answers = {
        "JobsToLaunch": JOBS,
        "JobPartitions": JOB_PARTITIONS,
        "JobDefaults": job_defaults(config=own),
        "ValidateConfig": VALID,
    }
    spec = LaunchSpec(job="weekly", partitions=Choice(keys=("mon",)))
    with asked(answers) as (client, server):
        (launch,) = prepare(client, tmp_path, spec, HINTS)
    sent = {seen.sent["operationName"]: seen.sent["variables"] for seen in server.seen}
    assert sent["JobDefaults"]["partition"] == "mon"
    assert sent["ValidateConfig"]["config"] == launch.config
    assert launch.config == {"ops": {"weekly": {"config": {"day": "mon"}}}}


def test_a_launch_is_tagged_with_the_revision_of_the_project(tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text('[project]\nname = "shop"\n', "utf-8")
    git(tmp_path, "init", "-q")
    commit(tmp_path)
    answers = with_assets(asset("orders")) | {"ValidateConfig": VALID}
    (launch,), _ = prepared(tmp_path, LaunchSpec(assets=["orders"]), answers)
    revision = git(tmp_path, "rev-parse", "HEAD").strip()
    assert launch.tags[provenance.REVISION_TAG] == revision


def test_config_for_the_op_of_an_asset_check_goes_to_each_location_that_runs_it(
    tmp_path: Path,
) -> None:
    checks = {"pipelineOrError": {"__typename": "Pipeline", "solids": [{"name": "rows_check"}]}}
    nodes = with_assets(asset("orders"), asset("lab/sales", "lab"))
    answers = nodes | {"OpsToLaunch": checks, "ValidateConfig": VALID}
    config = {"ops": {"rows_check": {"config": {"least": 1}}, "orders": {"config": {}}}}
    spec = LaunchSpec(assets=["orders", "lab/sales"], config=config)
    launches, _ = prepared(tmp_path, spec, answers)
    assert [launch.ops for launch in launches] == [
        {"orders", "rows_check"},
        {"lab__sales", "rows_check"},
    ]
    assert [launch.config["ops"].keys() for launch in launches] == [
        {"orders", "rows_check"},
        {"rows_check"},
    ]
    with pytest.raises(Invalid, match="no_check") as caught:
        prepared(
            tmp_path, LaunchSpec(assets=spec.assets, config={"ops": {"no_check": {}}}), answers
        )
    assert caught.value.hint.endswith(HINTS.config)


def launchable(location: str, *ops: str, parent: tuple[str, str] | None = None) -> Launchable:
    keys = tuple(AssetKey(op) for op in ops)
    launch = Launch(location, "r", "__ASSET_JOB", keys, ops=frozenset(ops), parent=parent)
    return Launchable(launch)


def test_each_code_location_gets_the_part_of_the_config_that_it_runs() -> None:
    config = {"ops": {"a": {"config": 1}, "b": {"config": 2}}, "execution": {"config": {}}}
    items = [launchable("shop", "a", "c"), launchable("lab", "b")]
    parents = [launchable("shop", "a", "b", parent=("r-0", "r-1"))]
    more = {"pipelineOrError": {"__typename": "Pipeline", "solids": []}}
    with asked({"OpsToLaunch": more}) as (client, server):
        assert _shares(client, items, {"execution": {}}, HINTS) == [
            (item, {"execution": {}}) for item in items
        ]
        assert _shares(client, items[:1], config, HINTS) == [(items[0], config)]
        assert server.seen == []
        assert _shares(client, parents, config, HINTS) == [(parents[0], config)]
        shares = _shares(client, items, config, HINTS)
        with pytest.raises(Invalid, match="d") as caught:
            _shares(client, items, {"ops": {"a": {}, "d": {}}}, HINTS)
    assert [item for item, _ in shares] == items
    assert [part for _, part in shares] == [
        {"ops": {"a": {"config": 1}}, "execution": {"config": {}}},
        {"ops": {"b": {"config": 2}}, "execution": {"config": {}}},
    ]
    assert "a, c, b" in caught.value.message
    assert caught.value.hint.endswith(HINTS.config)


def test_backfills_of_several_locations_are_joined_and_runs_are_not() -> None:
    one, two = (launchable(place, key).launch for place, key in (("shop", "a"), ("lab", "b")))
    days = {"partitions": ("mon", "tue"), "config": {"execution": {}}}
    first, second = (dataclasses.replace(launch, **days) for launch in (one, two))
    assert _joined([one, two]) == (one, two)
    assert _joined([]) == ()
    joined = dataclasses.replace(first, assets=("a", "b"))
    assert _joined([first, second]) == (joined,)
    third = launchable("mill", "c").launch
    assert _joined([first, third, second]) == (third, joined)
    last = dataclasses.replace(third, partitions=("mon",), config={"execution": {}})
    with pytest.raises(Invalid, match="a and c are partitioned differently"):
        _joined([first, second, last])
    for change, reason in (
        ({"partitions": ("mon",)}, "are partitioned differently"),
        ({"config": {}}, "need different run config"),
    ):
        with pytest.raises(Invalid) as caught:
            _joined([first, dataclasses.replace(second, **change)])
        assert caught.value.message == f"a and b {reason}: they cannot be launched together"
        assert caught.value.hint == "Launch them one after the other."
