"""Runs on a Dagster server: how they stand, how they end, and why they failed."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timezone
from typing import Any

from dagmar.asset_key import AssetKey
from dagmar.errors import Invalid, NotAllowed
from dagmar.failure import Failure
from dagmar.server.client import DagsterClient, member
from dagmar.server.launch import PARTITION_TAG, RANGE_END_TAG, RANGE_START_TAG

ID_LENGTH = 32  # without dashes, as launch ids are
SUCCESS = "SUCCESS"
UNKNOWN = "UNKNOWN"
# Dagster's run launcher notes here which code server started the run.
GRPC_INFO_TAG = ".dagster/grpc_info"
FINAL = (SUCCESS, "FAILURE", "CANCELED")
WARN_AFTER_SECONDS = 5.0
CANCEL_AGAIN_SECONDS = 3.0  # Dagster forgets a cancellation that reaches a run while it starts
NO_DAEMON = (
    "waits for the Dagster daemon, and no daemon is running: start it with `dagster-daemon run`, "
    "or start Dagster with `dg dev`, which brings one"
)
UNWATCHED = {"QUEUED": "QUEUED_RUN_COORDINATOR", "REQUESTED": "BACKFILL"}
NO_REASON = Failure("Dagster logged no reason")
# Of Dagster's own events those that say how far it is; errors are told whatever they are.
TOLD = {
    "STEP_START",
    "STEP_SUCCESS",
    "STEP_SKIPPED",
    "STEP_FAILURE",
    "STEP_UP_FOR_RETRY",
    "STEP_RESTARTED",
    "ASSET_MATERIALIZATION",
    "ASSET_OBSERVATION",
    "ASSET_CHECK_EVALUATION",
}
LOUD = ("WARNING", "ERROR", "CRITICAL")


@dataclass
class Run:
    """One run, as it stood when it was last looked at. Times are seconds since 1970."""

    run_id: str
    url: str
    status: str
    job: str = ""
    location: str = ""
    assets: list[str] = field(default_factory=list)
    partition: str | None = None
    started: float | None = None
    ended: float | None = None
    steps_total: int = 0
    steps_done: int = 0
    steps_running: list[str] = field(default_factory=list)
    error: Failure | None = None

    @property
    def final(self) -> bool:
        """Whether the run has ended."""
        return self.status in FINAL

    @property
    def seconds(self) -> float | None:
        """How long the run took, from its start to its end."""
        return self.ended - self.started if self.started and self.ended else None

    def as_document(self) -> dict[str, Any]:
        """Return the run in the shape of `invoke run --json`."""
        return {
            "run_id": self.run_id,
            "status": self.status,
            "url": self.url,
            "location": self.location,
            "job": self.job,
            "assets": self.assets,
            "partition": self.partition,
            "started_at": _iso(self.started),
            "ended_at": _iso(self.ended),
            "duration_s": None if self.seconds is None else round(self.seconds, 3),
            "error": self.error and self.error.as_document("step"),
        }


def _iso(seconds: float | None) -> str | None:
    return datetime.fromtimestamp(seconds, timezone.utc).isoformat() if seconds else None


def run_url(client: DagsterClient, run_id: str) -> str:
    """Return the run's page in the Dagster UI."""
    return f"{client.target.url}/runs/{run_id}"


def read_run(client: DagsterClient, run_id: str) -> Run:
    """Look at a run. Raises Invalid where there is no such run."""
    return _run(client, run_id, client.query("RunState", id=run_id))


def read_run_and_logs(
    client: DagsterClient, run_id: str, cursor: str | None
) -> tuple[Run, dict[str, Any]]:
    """Look at a run and at the page of its log that begins at `cursor`, in one request."""
    answer = client.query("RunStateAndLogs", id=run_id, cursor=cursor)
    return _run(client, run_id, answer), member(answer["logsForRun"], "EventConnection")


def no_such_run(client: DagsterClient, run_id: str) -> Invalid:
    """Return the error for a run that the server does not know."""
    hint = "Look for it in the Dagster UI, under Runs."
    if len(run_id) < ID_LENGTH:
        hint = "Give the whole id, not its first letters: it is in the address of the run's page."
    return Invalid(f"there is no run {run_id} at {client.target.url}", hint)


def _run(client: DagsterClient, run_id: str, answer: dict[str, Any]) -> Run:
    unknown = {"RunNotFoundError": lambda _: no_such_run(client, run_id)}
    return _parse(client, member(answer["runOrError"], "Run", unknown))


def read_tagged_runs(client: DagsterClient, tag: str, value: str) -> list[Run]:
    """Look at all runs with a tag, up to 1,000, oldest first, in one request."""
    answer = client.query("TaggedRuns", tags=[{"key": tag, "value": value}])["runsOrError"]
    return [_parse(client, run) for run in reversed(member(answer, "Runs")["results"])]


def _parse(client: DagsterClient, run: dict[str, Any]) -> Run:
    tags = {tag["key"]: tag["value"] for tag in run["tags"]}
    origin = run["repositoryOrigin"] or {}
    steps = {step["stepKey"]: step["status"] for step in run.get("stepStats", [])}
    plan = run.get("executionPlan") or {"steps": []}
    return Run(
        run_id=run["runId"],
        url=run_url(client, run["runId"]),
        status=run["status"],
        job=run["jobName"],
        location=origin.get("repositoryLocationName", ""),
        assets=sorted(AssetKey.from_parts(asset["path"]) for asset in run["assetSelection"] or []),
        partition=_partition(tags),
        started=run["startTime"],
        ended=run["endTime"],
        steps_total=max(len(plan["steps"]), len(steps)),
        steps_done=sum(status in ("SUCCESS", "FAILURE", "SKIPPED") for status in steps.values()),
        steps_running=[step for step, status in steps.items() if status == "IN_PROGRESS"],
    )


def _partition(tags: dict[str, str]) -> str | None:
    if RANGE_START_TAG in tags:
        return f"{tags[RANGE_START_TAG]}...{tags.get(RANGE_END_TAG, '')}"
    return tags.get(PARTITION_TAG)


def waits_for_nobody(client: DagsterClient, status: str) -> bool:
    """Whether a run or backfill of this status waits for a daemon that is not running."""
    daemon = UNWATCHED.get(status)
    if daemon is None:
        return False
    answer = client.query("Daemons")["instance"]["daemonHealth"]["allDaemonStatuses"]
    healthy = {status["daemonType"]: status["healthy"] for status in answer}
    return not healthy.get(daemon)


def cancel_run(client: DagsterClient, run_id: str) -> None:
    """Ask Dagster to stop a run.

    Raises Invalid for a run that is unknown or has ended, NotAllowed, AnswerLost.
    """
    # Asked first: Dagster refuses as if the run were in a state that may pass.
    asked = client.query("RunToCancel", id=run_id)["runOrError"]
    unknown = {"RunNotFoundError": lambda _: no_such_run(client, run_id)}
    if not member(asked, "Run", unknown)["hasTerminatePermission"]:
        raise NotAllowed(
            f"the server does not allow you to cancel run {run_id}",
            "It may be read-only, or your user may lack the permission.",
        )
    answer = client.mutate("CancelRun", id=run_id)["terminateRun"]
    member(
        answer,
        "TerminateRunSuccess",
        {
            **unknown,
            "TerminateRunFailure": lambda error: Invalid(
                f"run {run_id} cannot be cancelled: {error['message'].strip()}"
            ),
        },
    )


def explain(client: DagsterClient, run_id: str) -> Failure:
    """Return why a run failed.

    The first failed step speaks; without one (an import error, a killed worker),
    the last error that Dagster itself wrote.
    """
    reason: Failure | None = None
    said = ""
    for event in events(client, run_id):
        kind, error = event["__typename"], event.get("error")
        if kind == "ExecutionStepFailureEvent" and error:
            return Failure.from_graphql(error, event["stepKey"])
        if error:
            reason = Failure.from_graphql(error)
        elif kind == "EngineEvent":
            said = event["message"]
        elif kind == "RunFailureEvent" and reason is None:
            # Of a killed worker the engine says how it ended, just before.
            reason = Failure(said or event["message"])
    return reason or NO_REASON


def events(
    client: DagsterClient, run_id: str, cursor: str | None = None
) -> Iterator[dict[str, Any]]:
    """Yield the run's failures as Dagster logged them, page by page."""
    more = True
    while more:
        answer = client.query("RunEvents", id=run_id, cursor=cursor)["logsForRun"]
        page = member(answer, "EventConnection")
        yield from page["events"]
        cursor, more = page["cursor"], page["hasMore"]


def unfinished_runs(client: DagsterClient, before: float) -> list[str]:
    """Return the ids of the runs made before this time that have not ended; queued ones wait."""
    return _unfinished(client, before=before, tags=None)


def cancel_runs_of_code_server(client: DagsterClient, socket: str) -> int:
    """Cancel at once the runs in progress that the code server on this socket launched.

    Dagster marks them as cancelled before their processes have ended. Returns how many.
    """
    info = json.dumps({"host": "localhost", "socket": socket})
    ids = _unfinished(client, before=None, tags=[{"key": GRPC_INFO_TAG, "value": info}])
    if not ids:
        return 0
    answer = client.mutate("CancelRunsNow", ids=ids)["terminateRuns"]
    results = member(answer, "TerminateRunsResult")["terminateRunResults"]
    return sum(result["__typename"] == "TerminateRunSuccess" for result in results)


def _unfinished(client: DagsterClient, **filters: Any) -> list[str]:
    answer = client.query("UnfinishedRuns", **filters)["runsOrError"]
    return [run["runId"] for run in member(answer, "Runs")["results"]]


def is_told(event: Mapping[str, Any]) -> bool:
    """Whether an event is a step, an asset, what the user's code says, or trouble."""
    kind, level = event.get("eventType"), event.get("level")
    # What the user's code logs is no event of Dagster's, and has no type.
    said = kind is None and level != "DEBUG"
    return bool(event.get("message")) and (said or kind in TOLD or level in LOUD)
