"""Dagster+ as its documentation describes it: addresses, headers, permissions per location.

Not tested live: a stand-in on this machine answers as Dagster+ would.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from dagmar.asset_key import AssetKey
from dagmar.errors import NotAllowed
from dagmar.project.settings import load
from dagmar.runs.run import RunRequest, run
from dagmar.runs.tracking import FollowOptions
from dagmar.server.client import DagsterClient
from support import http_server

SETTINGS = """\
target: prod
targets:
  prod:
    url: {url}/prod
    auth: {{type: dagster-plus}}
"""
TOKEN = {"DAGSTER_CLOUD_API_TOKEN": "s3cret-token"}


def plus(allowed: dict[str, bool]) -> Callable[[http_server.Handler], None]:
    """Answer as a deployment with two code locations, some of which allow launching."""

    def permission(value: bool) -> dict[str, Any]:
        return {
            "permission": "launch_pipeline_execution",
            "value": value,
            "disabledReason": None if value else "Disabled by your administrator",
        }

    entries = [
        {"name": name, "permissions": [permission(value)]} for name, value in allowed.items()
    ]
    jobs = [
        {
            "name": "__repository__",
            "location": {"name": name},
            "jobs": [{"name": f"{name}_job"}],
            "partitionSets": [],
        }
        for name in allowed
    ]
    answers: dict[str, dict[str, Any]] = {
        "JobsToLaunch": {
            "repositoriesOrError": {"__typename": "RepositoryConnection", "nodes": jobs},
            "workspaceOrError": {"__typename": "Workspace", "locationEntries": entries},
        },
        "ValidateConfig": {
            "isPipelineConfigValid": {"__typename": "PipelineConfigValidationValid"}
        },
        "LaunchRun": {
            "launchRun": {"__typename": "LaunchRunSuccess", "run": {"runId": "r-1"}},
        },
        "RunState": {
            "runOrError": {
                "__typename": "Run", "runId": "r-1", "status": "STARTED", "jobName": "sales_job",
                "creationTime": 1.0, "startTime": 2.0, "endTime": None, "assetSelection": None,
                "tags": [], "repositoryOrigin": {"repositoryLocationName": "sales"},
                "executionPlan": None, "stepStats": [],
            }
        },
    }  # fmt: skip

    def answer(handler: http_server.Handler) -> None:
        operation = handler.server.seen[-1].sent["operationName"]
        body = json.dumps({"data": answers[operation]}).encode()
        handler.reply(200, body, Content_Type="application/json")

    return answer


def request(job: str) -> RunRequest:
    return RunRequest(job=job, options=FollowOptions(wait=False))


def test_requests_go_to_the_deployment_with_the_api_token(tmp_path: Path) -> None:
    with http_server.serve(plus({"sales": True})) as server:
        (tmp_path / "dagmar.yaml").write_text(SETTINGS.format(url=server.url))
        settings = load(tmp_path, TOKEN, tmp_path)
        with DagsterClient(settings.target()) as client:
            outcome = run(settings, client, request("sales_job"))
    assert {seen.path for seen in server.seen} == {"/prod/graphql"}
    assert {seen.headers["Dagster-Cloud-Api-Token"] for seen in server.seen} == {"s3cret-token"}
    assert not any("Authorization" in seen.headers for seen in server.seen)
    assert [run.url for run in outcome.runs] == [f"{server.url}/prod/runs/r-1"]


@pytest.mark.parametrize(("job", "allowed"), [("sales_job", True), ("finance_job", False)])
def test_permissions_are_those_of_the_code_location(
    tmp_path: Path, job: str, allowed: bool
) -> None:
    with http_server.serve(plus({"sales": True, "finance": False})) as server:
        (tmp_path / "dagmar.yaml").write_text(SETTINGS.format(url=server.url))
        settings = load(tmp_path, TOKEN, tmp_path)
        with DagsterClient(settings.target()) as client:
            if allowed:
                assert run(settings, client, request(job)).runs
            else:
                with pytest.raises(NotAllowed, match="Disabled by your administrator"):
                    run(settings, client, request(job))
    launched = [seen.sent["operationName"] for seen in server.seen].count("LaunchRun")
    assert launched == int(allowed)


def test_a_report_goes_to_the_deployments_rest_interface(tmp_path: Path) -> None:
    from dagmar.server.observations import observe

    def report(handler: http_server.Handler) -> None:
        handler.reply(200, b"{}", Content_Type="application/json")

    with http_server.serve(report) as server:
        (tmp_path / "dagmar.yaml").write_text(SETTINGS.format(url=server.url))
        settings = load(tmp_path, TOKEN, tmp_path)
        with DagsterClient(settings.target()) as client:
            observe(
                client,
                AssetKey("raw/my orders"),
                {"report": "https://r.example.com"},
                "a report",
                "red",
            )
    (seen,) = server.seen
    assert seen.path == "/prod/report_asset_observation/raw/my%20orders"
    assert seen.headers["Dagster-Cloud-Api-Token"] == "s3cret-token"
    assert seen.headers["Content-Type"] == "application/json"
    assert seen.sent == {
        "metadata": {"report": "https://r.example.com"},
        "description": "a report",
        "partition": "red",
    }
