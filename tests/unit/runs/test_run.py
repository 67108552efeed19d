"""Which flags of `invoke run` fit together, and what is done without launching anything."""

from __future__ import annotations

from typing import Any

import pytest
from dagmar.errors import NotAllowed, UsageError
from dagmar.project.settings import Target, load
from dagmar.runs.run import RunRequest, run
from dagmar.runs.tracking import FollowOptions, RunResult
from dagmar.server.client import DagsterClient
from dagmar.server.partitions import Choice
from support.http_server import dagster, serve
from support.project import Project

JOBS = {
    "repositoriesOrError": {
        "__typename": "RepositoryConnection",
        "nodes": [
            {
                "name": "__repository__",
                "location": {"name": "shop"},
                "jobs": [{"name": "weekly"}],
                "partitionSets": [],
            }
        ],
    },
    "workspaceOrError": {"__typename": "Workspace", "locationEntries": []},
}
ANSWERS = {
    "JobsToLaunch": JOBS,
    "ValidateConfig": {"isPipelineConfigValid": {"__typename": "PipelineConfigValidationValid"}},
}


@pytest.mark.parametrize(
    "flags",
    [
        {"assets": ["a"]},
        {"assets": ["a", "b"], "validate_only": True, "tags": {"a": "b"}, "config": {"a": 1}},
        {"select": "a*", "partitions": Choice(all=True), "validate_only": True},
        {"job": "a", "partitions": Choice(latest=True), "config": {"a": 1}},
        {"retry": "r-1", "config": {"a": 1}, "tags": {"a": "b"}},
        {"follow": "r-1", "summary": "file"},
        {"cancel": "r-1"},
        {"retry": "r-1", "options": FollowOptions(usual=True)},
    ],
)
def test_flags_that_fit_together_are_accepted(flags: dict[str, Any]) -> None:
    assert RunRequest(**flags) == RunRequest(**flags)


@pytest.mark.parametrize(
    "flags",
    [
        {},
        {"assets": ["a"], "job": "b"},
        {"assets": [""]},
        {"assets": ["a", ""]},
        {"select": "a", "retry": "r-1"},
        {"follow": "r-1", "cancel": "r-1"},
    ],
)
def test_exactly_one_thing_is_run(flags: dict[str, Any]) -> None:
    with pytest.raises(UsageError) as caught:
        RunRequest(**flags)
    names = "--asset, --select, --job, --retry, --follow and --cancel"
    assert caught.value.message == f"choose one of {names}"
    assert caught.value.hint == "For example:"
    assert caught.value.command == "invoke run --asset raw/orders"


OF_LAUNCHES = (
    ({"partitions": Choice(all=True)}, "partitions"),
    ({"validate_only": True}, "--validate-only"),
    ({"config": {"a": 1}}, "--config, --set and --executor"),
    ({"tags": {"a": "b"}}, "--tag"),
)


@pytest.mark.parametrize(
    ("subject", "flags", "named"),
    [
        *(("follow", *each) for each in OF_LAUNCHES),
        *(("cancel", *each) for each in OF_LAUNCHES),
        *(("retry", *each) for each in OF_LAUNCHES[:2]),  # it may have other config and tags
    ],
)
def test_what_runs_already_takes_no_flags_of_a_launch(
    subject: str, flags: dict[str, Any], named: str
) -> None:
    with pytest.raises(UsageError) as caught:
        RunRequest(**{subject: "r-1"}, **flags)
    assert caught.value.message == f"{named} fit --asset, --select and --job only"


@pytest.mark.parametrize("subject", ["follow", "cancel"])
def test_the_usual_time_is_that_of_a_launch(subject: str) -> None:
    with pytest.raises(UsageError, match="--timeout auto fits what is launched") as caught:
        RunRequest(**{subject: "r-1"}, options=FollowOptions(usual=True))
    assert caught.value.hint == "For example: --timeout 600"


def test_a_launch_is_validated_also_where_none_is_allowed(
    project: Project, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = load(project.root, {}, project.root)
    with (
        serve(dagster(ANSWERS)) as server,
        DagsterClient(Target("prod", server.url, read_only=True)) as client,
    ):
        done = run(settings, client, RunRequest(job="weekly", validate_only=True, summary="x"))
        queries = [seen.sent["operationName"] for seen in server.seen]
        with pytest.raises(NotAllowed):
            run(settings, client, RunRequest(job="weekly"))
        with pytest.raises(NotAllowed):
            run(settings, client, RunRequest(cancel="r-1"))
    assert done == RunResult()
    assert queries == list(ANSWERS)
    assert [seen.sent["operationName"] for seen in server.seen] == queries
    assert capsys.readouterr().err == "Valid: job weekly. Nothing was launched.\n"
