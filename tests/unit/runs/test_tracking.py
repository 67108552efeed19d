"""What is reported of launched runs if the server answers less than it should."""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from typing import Any

import pytest
from dagmar.asset_key import AssetKey
from dagmar.errors import Interrupted, Invalid, NotAllowed, RunFailed, TimedOut
from dagmar.project.settings import Target, load
from dagmar.runs import following
from dagmar.runs.following import RunProgress
from dagmar.runs.run import RunRequest, run
from dagmar.runs.tracking import FollowOptions, RunResult, TrackedRuns
from dagmar.server.backfills import Backfill
from dagmar.server.client import DagsterClient
from dagmar.server.launch import Launch
from dagmar.tasks.command import sigterm_as_ctrl_c
from support.http_server import Answer, Handler, data, document, page, serve
from support.project import Project

NO_WAIT = FollowOptions(wait=False)
BROKEN = document({"errors": [{"message": "no such table"}]}, 400)
DOWN = page(503)
NOTHING = {"__typename": "Runs", "results": []}


def run_of(status: str, run_id: str = "r-1", **more: Any) -> dict[str, Any]:
    return {
        "__typename": "Run", "runId": run_id, "status": status, "jobName": "nightly",
        "startTime": 1.0, "endTime": None if status == "STARTED" else 2.0, "assetSelection": None,
        "tags": [], "repositoryOrigin": {"repositoryLocationName": "shop"},
        "executionPlan": None, "stepStats": [], **more,
    }  # fmt: skip


def state(status: str, run_id: str = "r-1") -> Answer:
    return data(runOrError=run_of(status, run_id))


def filling(status: str, **runs: str) -> Answer:
    backfill = {
        "__typename": "PartitionBackfill", "id": "b-1", "status": status, "numPartitions": 2,
        "error": None, "assetBackfillData": None,
    }  # fmt: skip
    results = [{"runId": name, "status": runs[name]} for name in runs]
    return data(
        partitionBackfillOrError=backfill, runsOrError={"__typename": "Runs", "results": results}
    )


FOUND: dict[str, list[Answer]] = {
    "NewestBackfills": [
        data(partitionBackfillsOrError={"__typename": "PartitionBackfills", "results": []})
    ],
    "RunsByTag": [data(runsOrError=NOTHING)],
    "RunChecks": [data(runOrError={"__typename": "Run", "assetChecks": []})],
    "RunToCancel": [data(runOrError={"__typename": "Run", "hasTerminatePermission": True})],
    "CancelRun": [
        data(terminateRun={"__typename": "TerminateRunSuccess", "run": {"status": "CANCELING"}})
    ],
}


def play(**answers: list[Answer]) -> Answer:
    """Answer each operation with what is listed for it, one after the other; the last stays."""
    waiting = {name: list(listed) for name, listed in {**FOUND, **answers}.items()}

    def answer(handler: Handler) -> None:
        listed = waiting[handler.server.seen[-1].sent["operationName"]]
        chosen = listed.pop(0) if len(listed) > 1 else listed[0]
        chosen(handler)

    return answer


def see(
    answer: Answer, act: Callable[[TrackedRuns], RunResult], options: FollowOptions | None = None
) -> tuple[RunResult, list[str]]:
    """Let `act` happen on a stand-in for a server; return its result and the operations."""
    with (
        serve(answer) as server,
        DagsterClient(Target("local", server.url)) as client,
    ):
        result = act(TrackedRuns(client, 0.01, options or FollowOptions()))
    return result, [seen.sent["operationName"] for seen in server.seen]


def follow(name: str) -> Callable[[TrackedRuns], RunResult]:
    return lambda tracked: tracked.come_back(name)


def test_a_failure_stays_one_if_its_reason_cannot_be_read(
    capsys: pytest.CaptureFixture[str],
) -> None:
    outcome, _ = see(play(RunState=[state("FAILURE")], RunEvents=[BROKEN]), follow("r-1"))
    with pytest.raises(RunFailed, match="run r-1 failed"):
        outcome.raise_for_status()
    assert outcome.runs[0].as_document()["error"]["message"]
    assert "why run r-1 failed cannot be read" in capsys.readouterr().err


def test_a_success_stays_one_if_its_output_cannot_be_read(
    capsys: pytest.CaptureFixture[str],
) -> None:
    page = {
        "__typename": "EventConnection", "cursor": "1", "hasMore": False,
        "events": [{"message": "", "level": "DEBUG", "fileKey": "k"}],
    }  # fmt: skip
    looks = data(runOrError=run_of("SUCCESS"), logsForRun=page)
    answer = play(RunState=[state("STARTED")], RunStateAndLogs=[looks], CapturedLogs=[BROKEN])
    outcome, names = see(answer, follow("r-1"), FollowOptions(logs=True))
    outcome.raise_for_status()
    assert [run.status for run in outcome.runs] == ["SUCCESS"]
    assert "CapturedLogs" in names
    assert "the rest of the log of run r-1 cannot be read" in capsys.readouterr().err


def test_a_log_that_is_followed_has_steps_and_what_user_code_logs(
    capsys: pytest.CaptureFixture[str],
) -> None:
    shown = [
        ("STEP_START", "DEBUG", 'Started execution of step "orders".'),
        (None, "INFO", "rows=3"),
        ("ASSET_MATERIALIZATION", "DEBUG", "Materialized value orders."),
        ("STEP_SUCCESS", "DEBUG", 'Finished execution of step "orders" in 1ms.'),
    ]
    noise = [("LOADED_INPUT", "DEBUG", "loaded an input"), (None, "DEBUG", "reading a file")]
    events = [
        {
            "message": message, "eventType": kind, "level": level, "stepKey": "orders",
            "timestamp": "1700000000000",
        }
        for kind, level, message in [*shown, *noise]
    ]  # fmt: skip
    page = {"__typename": "EventConnection", "cursor": "1", "hasMore": False, "events": events}
    rest = {**page, "cursor": "2", "events": []}
    first, last = (data(runOrError=run_of("SUCCESS"), logsForRun=events) for events in (page, rest))
    answer = play(RunState=[state("STARTED")], RunStateAndLogs=[first, last])
    see(answer, follow("r-1"), FollowOptions(logs=True))
    printed = capsys.readouterr().err
    assert [message for *_, message in shown if f"orders  {message}" not in printed] == []
    assert [message for *_, message in noise if message in printed] == []


def test_following_goes_on_if_daemons_cannot_be_queried(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("dagmar.server.runs.WARN_AFTER_SECONDS", 0.0)
    looks = [state("QUEUED"), state("QUEUED"), state("QUEUED"), state("SUCCESS")]
    outcome, names = see(play(RunState=looks, Daemons=[BROKEN]), follow("r-1"))
    outcome.raise_for_status()
    assert names.count("Daemons") == 1
    assert [run.status for run in outcome.runs] == ["SUCCESS"]


def test_a_backfill_keeps_its_status_if_its_runs_cannot_be_read() -> None:
    answer = play(
        RunState=[data(runOrError={"__typename": "RunNotFoundError", "message": "no"})],
        BackfillState=[filling("COMPLETED_FAILED", **{"r-1": "SUCCESS", "r-2": "FAILURE"})],
        TaggedRuns=[BROKEN],
        RunEvents=[BROKEN],
    )
    outcome, names = see(answer, follow("b-1"))
    assert "TaggedRuns" in names
    assert outcome.as_document()["backfill"]["status"] == "COMPLETED_FAILED"
    assert {run.run_id: run.status for run in outcome.runs} == {"r-1": "SUCCESS", "r-2": "FAILURE"}
    with pytest.raises(RunFailed, match="run r-2 failed"):
        outcome.raise_for_status()


def test_a_backfill_that_cannot_be_read_is_still_in_the_document() -> None:
    success = {"__typename": "LaunchBackfillSuccess", "backfillId": "b-1"}
    answer = play(LaunchBackfill=[data(launchPartitionBackfill=success)], BackfillState=[BROKEN])
    plan = Launch(
        "shop", "__repository__", "__ASSET_JOB", (AssetKey("daily"),), partitions=("1", "2")
    )
    outcome, _ = see(answer, lambda tracked: tracked.launch([plan]), FollowOptions(wait=False))
    outcome.raise_for_status()
    backfill = outcome.as_document()["backfill"]
    assert (backfill["id"], backfill["status"]) == ("b-1", "UNKNOWN")
    assert backfill["url"].endswith("/runs/b/b-1")


AT_ONCE = FollowOptions(timeout=0)


def test_a_run_that_ends_just_when_the_time_is_over_counts_as_it_ended() -> None:
    looks = [state("STARTED"), state("STARTED"), state("SUCCESS")]
    outcome, _ = see(play(RunState=looks), follow("r-1"), AT_ONCE)
    outcome.raise_for_status()
    assert outcome.runs[0].status == "SUCCESS"


@pytest.mark.parametrize(
    ("last", "words"), [(state("STARTED"), "It goes on."), (DOWN, "It may go on.")]
)
def test_a_message_about_a_run_claims_no_more_than_is_known(last: Answer, words: str) -> None:
    looks = [state("STARTED"), state("STARTED"), last]
    outcome, _ = see(play(RunState=looks), follow("r-1"), AT_ONCE)
    assert isinstance(outcome.error, TimedOut)
    assert outcome.error.hint.startswith(words)
    assert outcome.error.command == "invoke run --follow r-1"


def test_a_run_that_ends_before_it_can_be_cancelled_counts_as_it_ended() -> None:
    looks = [state("STARTED"), state("STARTED"), state("SUCCESS")]
    options = FollowOptions(timeout=0, cancel_on_timeout=True)
    outcome, names = see(play(RunState=looks), follow("r-1"), options)
    outcome.raise_for_status()
    assert "CancelRun" in names


NOT_YOURS = [data(runOrError={"__typename": "Run", "hasTerminatePermission": False})]


def test_a_missing_permission_to_cancel_is_reported_at_once() -> None:
    names: list[str] = []
    with serve(play(RunState=[state("STARTED")], RunToCancel=NOT_YOURS)) as server:
        with (
            DagsterClient(Target("local", server.url)) as client,
            pytest.raises(NotAllowed, match="cancel run r-1"),
        ):
            TrackedRuns(client, 0.01, FollowOptions()).cancel("r-1")
        names = [seen.sent["operationName"] for seen in server.seen]
    assert "CancelRun" not in names


def test_a_timeout_that_may_not_cancel_says_so_at_once() -> None:
    options = FollowOptions(timeout=0, cancel_on_timeout=True)
    answer = play(RunState=[state("STARTED")], RunToCancel=NOT_YOURS)
    outcome, names = see(answer, follow("r-1"), options)
    assert isinstance(outcome.error, TimedOut)
    assert "does not allow you to cancel run r-1" in outcome.error.hint
    assert "CancelRun" not in names


def test_a_run_that_finished_before_it_could_be_cancelled_is_not_to_be_retried() -> None:
    looks = [state("STARTED"), state("STARTED"), state("SUCCESS")]
    outcome, _ = see(play(RunState=looks), lambda tracked: tracked.cancel("r-1"))
    with pytest.raises(RunFailed, match="r-1 finished before it could be cancelled") as raised:
        outcome.raise_for_status()
    assert "/runs/r-1" in raised.value.hint
    assert not raised.value.command


def interrupted(project: Project, url: str, reached: threading.Event, *flags: str) -> Any:
    """Press Ctrl-C in `invoke run` when `reached` is set; return what it printed."""
    process = subprocess.Popen(
        [sys.executable, "-m", "invoke", "run", *flags, "--url", url, "--json"],
        cwd=project.root,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert reached.wait(60)
    process.send_signal(signal.SIGINT)
    printed, talk = process.communicate(timeout=240)
    assert process.returncode == 130, talk
    return json.loads(printed), talk


def reaching(event: threading.Event, then: Answer) -> Answer:
    def answer(handler: Handler) -> None:
        event.set()
        then(handler)

    return answer


def test_ctrl_c_while_cancelling_says_how_to_come_back(project: Project) -> None:
    reached = threading.Event()
    looks = [*[state("STARTED")] * 3, reaching(reached, state("CANCELING"))]
    with serve(play(RunState=looks)) as server:
        document, talk = interrupted(project, server.url, reached, "--cancel", "r-1")
    assert [run["status"] for run in document["runs"]] == ["CANCELING"]
    assert "stopped waiting" in talk
    assert "invoke run --follow r-1" in talk


def two_locations(*launches: Answer) -> Answer:
    """Answer as a server with an asset in each of two code locations."""

    def asset(name: str, location: str) -> dict[str, Any]:
        return {
            "assetKey": {"path": [name]}, "isMaterializable": True, "isPartitioned": False,
            "hasMaterializePermission": True, "jobNames": ["__ASSET_JOB"], "opNames": [name],
            "graphName": None, "backfillPolicy": None,
            "repository": {"name": "__repository__", "location": {"name": location}},
        }  # fmt: skip

    assets = [asset("orders", "shop"), asset("letters", "other")]
    repositories = [{"name": "__repository__"}] * 2
    return play(
        AssetPlaces=[
            data(
                assetNodes=assets,
                repositoriesOrError={"__typename": "RepositoryConnection", "nodes": repositories},
            )
        ],
        AssetCollisions=[data(assetNodeDefinitionCollisions=[])],
        AssetsToLaunch=[
            data(
                assetNodes=assets,
                workspaceOrError={"__typename": "Workspace", "locationEntries": []},
            )
        ],
        ValidateConfig=[
            data(isPipelineConfigValid={"__typename": "PipelineConfigValidationValid"})
        ],
        OpsToLaunch=[data(pipelineOrError={"__typename": "Pipeline", "solids": []})],
        LaunchRun=list(launches),
        RunState=[state("STARTED")],
    )


@pytest.mark.parametrize("subject", [{"assets": [AssetKey("customers")]}, {"job": "customers"}])
@pytest.mark.parametrize(
    ("entries", "hint"),
    [
        ([], "`invoke dev` loads it when it is saved; elsewhere, reload its code location"),
        ([{"name": "shop", "locationOrLoadError": None}], "Dagster is still loading shop"),
    ],
)
def test_an_unknown_asset_or_job_may_be_newer_than_the_running_dagster(
    project: Project, subject: dict[str, Any], entries: list[dict[str, Any]], hint: str
) -> None:
    workspace = {"__typename": "Workspace", "locationEntries": entries}
    nothing = {
        "assetNodes": [], "workspaceOrError": workspace,
        "repositoriesOrError": {"__typename": "RepositoryConnection", "nodes": []},
    }  # fmt: skip
    names = ("AssetPlaces", "AssetKeys", "JobsToLaunch")
    with (
        serve(play(**{name: [data(**nothing)] for name in names})) as server,
        DagsterClient(Target("local", server.url)) as client,
        pytest.raises(Invalid, match=r"there is no (asset|job) 'customers'") as raised,
    ):
        run(
            load(project.root, {}, project.root),
            client,
            RunRequest(**subject, options=FollowOptions()),
        )
    assert "invoke discover --kind" in raised.value.command
    assert hint in raised.value.hint


def launched(run_id: str) -> Answer:
    return data(launchRun={"__typename": "LaunchRunSuccess", "run": {"runId": run_id}})


def test_each_code_location_gets_the_config_of_its_own_ops(project: Project) -> None:
    orders, letters = {"config": {"rows": 7}}, {"config": {"people": 8}}
    shared = {"loggers": {"console": {}}}
    config = {"ops": {"orders": orders, "letters": letters}, **shared}
    request = RunRequest(
        assets=[AssetKey("orders"), AssetKey("letters")], config=config, options=NO_WAIT
    )
    with (
        serve(two_locations(launched("r-1"), launched("r-2"))) as server,
        DagsterClient(Target("local", server.url)) as client,
    ):
        run(load(project.root, {}, project.root), client, request)
    sent = [seen.sent for seen in server.seen]
    params = [item["variables"]["params"] for item in sent if item["operationName"] == "LaunchRun"]
    assert {
        item["selector"]["repositoryLocationName"]: item["runConfigData"] for item in params
    } == {
        "shop": {"ops": {"orders": orders}, **shared},
        "other": {"ops": {"letters": letters}, **shared},
    }


def test_ctrl_c_in_a_second_launch_names_what_was_launched_first(project: Project) -> None:
    reached = threading.Event()

    def stuck(handler: Handler) -> None:
        reached.set()
        handler.server.closing.wait(240)

    with serve(two_locations(launched("r-1"), stuck)) as server:
        flags = ("--asset", "orders", "--asset", "letters")
        document, talk = interrupted(project, server.url, reached, *flags)
    assert [run["run_id"] for run in document["runs"]] == ["r-1"]
    assert "interrupted while letters was being launched" in talk
    assert "invoke run --follow r-1" in talk
    assert talk.count("invoke run --follow") == 2


def test_sigterm_says_how_to_follow_what_goes_on(project: Project) -> None:
    def terminate(handler: Handler) -> None:
        os.kill(os.getpid(), signal.SIGTERM)
        state("STARTED")(handler)

    before = signal.getsignal(signal.SIGTERM)
    looks = [state("STARTED"), state("STARTED"), terminate, state("STARTED")]
    with (
        sigterm_as_ctrl_c(),
        serve(play(RunState=looks)) as server,
        DagsterClient(Target("local", server.url)) as client,
    ):
        settings = load(project.root, {}, project.root)
        result = run(settings, client, RunRequest(follow="r-1", options=FollowOptions()))
    assert isinstance(result.error, Interrupted)
    assert (result.error.exit_code, result.error.command) == (130, "invoke run --follow r-1")
    assert "It goes on" in result.error.hint
    assert [run.status for run in result.runs] == ["STARTED"]
    assert signal.getsignal(signal.SIGTERM) is before


@pytest.mark.parametrize("seconds", [0, 60])
def test_a_log_file_gets_a_line_of_progress_a_minute(
    seconds: float, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(following, "SAY_EVERY_SECONDS", seconds)
    with RunProgress() as progress:
        progress.show(Backfill("b-1", "http://localhost/runs/b/b-1", "REQUESTED", 5, 2, 0, {}))
        progress.show(Backfill("b-1", "http://localhost/runs/b/b-1", "REQUESTED", 5, 4, 0, {}))
    lines = [line.partition("  ")[2] for line in capsys.readouterr().err.splitlines()]
    expected = ["running · 2/5 partitions", "running · 4/5 partitions"]
    assert lines == ([] if seconds else expected)


class Screen(io.StringIO):
    """A terminal that keeps what is written to it."""

    def isatty(self) -> bool:
        return True


def test_the_progress_of_a_backfill_is_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    screen = Screen()
    monkeypatch.setattr(sys, "stderr", screen)
    monkeypatch.setenv("COLUMNS", "120")
    with RunProgress() as progress:
        progress.show(Backfill("b-1", "http://localhost/runs/b/b-1", "REQUESTED", 5, 2, 1, {}))
    assert "running · 2/5 partitions · 1 failed" in screen.getvalue()
