"""Runs on a Dagster server: their status, their logs, why they failed, and how to cancel them."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timezone
from typing import Any

from dagmar.asset_key import AssetKey
from dagmar.errors import Invalid
from dagmar.failure import Failure
from dagmar.project.provenance import CPU_TAG, MEMORY_TAG
from dagmar.server.checks import Check, in_words, of_handles, planned_checks, with_results
from dagmar.server.client import DagsterClient, member, not_permitted
from dagmar.server.launch import BACKFILL_TAG, PARTITION_TAG, RANGE_END_TAG, RANGE_START_TAG
from dagmar.server.shapes import next_cursor

ID_LENGTH = 32  # without dashes, as launch ids are
SUCCESS = "SUCCESS"
UNKNOWN = "UNKNOWN"
# Dagster's run launcher records here which code server started the run.
GRPC_INFO_TAG = ".dagster/grpc_info"
FINAL = (SUCCESS, "FAILURE", "CANCELED")
WARN_AFTER_SECONDS = 5.0
CANCEL_AGAIN_SECONDS = 3.0  # Dagster drops a cancellation that reaches a run while it starts
NO_DAEMON = (
    "waits for the Dagster daemon, and no daemon is running: start it with `dagster-daemon run`, "
    "or start Dagster with `dg dev`, which runs one"
)
DAEMONS = {"QUEUED": "QUEUED_RUN_COORDINATOR", "REQUESTED": "BACKFILL"}
IN_PROGRESS = ("NOT_STARTED", "STARTING", "STARTED", "CANCELING")
PRIORITY_TAG = "dagster/priority"
RUNS_AT_ONCE = 500
NO_REASON = Failure("Dagster logged no reason")
# Those of Dagster's events that show its progress; warnings and errors are always shown.
SHOWN_EVENTS = re.compile(
    "STEP_(START|SUCCESS|SKIPPED|FAILURE|UP_FOR_RETRY|RESTARTED)"
    "|ASSET_(MATERIALIZATION|OBSERVATION|CHECK_EVALUATION)"
)
SHOWN_LEVELS = ("WARNING", "ERROR", "CRITICAL")


@dataclass
class Run:
    """One run, as it was when it was last read. Times are seconds since 1970.

    `checks` are None until they were read, which is worth it at the end only.
    """

    run_id: str
    url: str
    status: str
    job: str = ""
    location: str = ""
    assets: list[AssetKey] = field(default_factory=list)
    partition: str | None = None
    created: float | None = None
    started: float | None = None
    ended: float | None = None
    steps_total: int = 0
    steps_done: int = 0
    steps_running: list[str] = field(default_factory=list)
    backfill: str = ""
    """The id of the backfill that it is a part of, if any."""
    used: str = ""
    """What it used, if it was made in a notebook's kernel."""
    error: Failure | None = None
    checks: list[Check] | None = None

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
            "started_at": in_utc(self.started),
            "ended_at": in_utc(self.ended),
            "duration_s": None if self.seconds is None else round(self.seconds, 3),
            "error": self.error and self.error.as_document("step"),
            "checks": [check.as_document() for check in self.checks or ()],
        }


def in_utc(seconds: float | None) -> str | None:
    """Return a time in seconds since 1970 as documents have it."""
    return datetime.fromtimestamp(seconds, timezone.utc).isoformat() if seconds else None


def run_url(client: DagsterClient, run_id: str) -> str:
    """Return the run's page in the Dagster UI."""
    return f"{client.target.url}/runs/{run_id}"


def read_run(client: DagsterClient, run_id: str) -> Run:
    """Return a run. Raises Invalid if it does not exist."""
    return _run(client, run_id, client.query("RunState", id=run_id))


def read_run_and_logs(
    client: DagsterClient, run_id: str, cursor: str | None
) -> tuple[Run, dict[str, Any]]:
    """Return a run and the page of its log that begins at `cursor`, in one request."""
    answer = client.query("RunStateAndLogs", id=run_id, cursor=cursor)
    return _run(client, run_id, answer), member(answer["logsForRun"], "EventConnection")


def read_materialized(client: DagsterClient, run_id: str) -> set[AssetKey]:
    """Return the assets that a run has materialized. Raises Invalid if it does not exist."""
    unknown = {"RunNotFoundError": lambda _: no_such_run(client, run_id)}
    answer = client.query("RunMaterialized", id=run_id)["runOrError"]
    member(answer, "Run", unknown)
    return materialized_by(answer)


def materialized_by(run: Mapping[str, Any]) -> set[AssetKey]:
    """Return the assets that a run in an answer has materialized; none if it was deleted."""
    events = run.get("assetMaterializations", ())
    return {event["assetKey"] for event in events if event["assetKey"]}


def no_such_run(client: DagsterClient, run_id: str) -> Invalid:
    """Return the error for a run that the server does not know."""
    hint = "Look for it in the Dagster UI, under Runs."
    if len(run_id) < ID_LENGTH:
        hint = "Give the whole id, not its first letters: it is in the URL of the run's page."
    return Invalid(f"there is no run {run_id} at {client.target.url}", hint)


def _run(client: DagsterClient, run_id: str, answer: dict[str, Any]) -> Run:
    unknown = {"RunNotFoundError": lambda _: no_such_run(client, run_id)}
    return _parse(client, member(answer["runOrError"], "Run", unknown))


def read_tagged_runs(client: DagsterClient, tag: str, value: str) -> list[Run]:
    """Return the runs with a tag, up to 1,000, oldest first, in one request."""
    answer = client.query("TaggedRuns", tags=[{"key": tag, "value": value}])["runsOrError"]
    return [_parse(client, run) for run in reversed(member(answer, "Runs")["results"])]


def read_newest_run(client: DagsterClient, tags: Mapping[str, str]) -> Run | None:
    """Return the newest run with all of these tags, or None."""
    wanted = [{"key": key, "value": value} for key, value in tags.items()]
    answer = client.query("TaggedRuns", tags=wanted, limit=1)["runsOrError"]
    return next((_parse(client, run) for run in member(answer, "Runs")["results"]), None)


def read_active_runs(client: DagsterClient) -> list[Run]:
    """Return the runs in progress, oldest first, then the queued ones in the queue's order."""
    runs: list[Run] = []
    for statuses in (IN_PROGRESS, ("QUEUED",)):
        read = pages(client, "ActiveRuns", RUNS_AT_ONCE, statuses=statuses)
        found = [run for page in read for run in page]
        # The queue has the runs of the highest priority first; those of the same one by age.
        found.sort(key=lambda run: run["creationTime"])
        if statuses != IN_PROGRESS:
            found.sort(key=_priority, reverse=True)
        runs += [_parse(client, run) for run in found]
    return runs


def pages(
    client: DagsterClient, document: str, size: int, kind: str = "Runs", **variables: Any
) -> Iterator[list[Any]]:
    """Yield the runs, or with another `kind` their ids, that a query finds, `size` at a time."""
    field_name = f"{kind[0].lower()}{kind[1:]}OrError"
    cursor = None
    while True:
        answer = client.query(document, cursor=cursor, limit=size, **variables)[field_name]
        page = list(member(answer, kind)["results"])
        if page:
            yield page
        if len(page) < size:
            return
        last = page[-1]
        cursor = next_cursor(cursor, last if isinstance(last, str) else last["runId"])


def log_pages(client: DagsterClient, document: str, run_id: str) -> Iterator[list[dict[str, Any]]]:
    """Yield the events of a run's log that a query finds, page by page."""
    cursor, more = None, True
    while more:
        answer = client.query(document, id=run_id, cursor=cursor)["logsForRun"]
        page = member(answer, "EventConnection")
        yield page["events"]
        if more := page["hasMore"]:
            cursor = next_cursor(cursor, page["cursor"])


def _priority(run: Mapping[str, Any]) -> int:
    tags = {tag["key"]: tag["value"] for tag in run["tags"]}
    try:
        return int(tags.get(PRIORITY_TAG, 0))
    except ValueError:
        return 0


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
        assets=sorted(run["assetSelection"] or ()),
        partition=partition_of(tags),
        backfill=tags.get(BACKFILL_TAG, ""),
        created=run.get("creationTime"),
        started=run["startTime"],
        ended=run["endTime"],
        steps_total=max(len(plan["steps"]), len(steps)),
        steps_done=sum(status in ("SUCCESS", "FAILURE", "SKIPPED") for status in steps.values()),
        steps_running=[step for step, status in steps.items() if status == "IN_PROGRESS"],
        used=f"{tags[CPU_TAG]} s CPU, {tags.get(MEMORY_TAG)} MB" if CPU_TAG in tags else "",
        checks=of_handles(run["assetChecks"]) if "assetChecks" in run else None,
    )


def partition_of(tags: Mapping[str, str]) -> str | None:
    """Return the partition of a run with these tags, or its range `FIRST...LAST`."""
    if RANGE_START_TAG in tags:
        return f"{tags[RANGE_START_TAG]}...{tags.get(RANGE_END_TAG, '')}"
    return tags.get(PARTITION_TAG)


def lacks_daemon(client: DagsterClient, status: str) -> bool:
    """Whether a run or backfill of this status waits for a daemon that is not running."""
    daemon = DAEMONS.get(status)
    if daemon is None:
        return False
    answer = client.query("Daemons")["instance"]["daemonHealth"]["allDaemonStatuses"]
    healthy = {status["daemonType"]: status["healthy"] for status in answer}
    return not healthy.get(daemon)


def cancel_run(client: DagsterClient, run_id: str) -> None:
    """Cancel a run.

    Raises Invalid for a run that is unknown or has ended, NotAllowed, AnswerLost.
    """
    refused = {
        "RunNotFoundError": lambda _: no_such_run(client, run_id),
        "TerminateRunFailure": lambda error: Invalid(
            f"run {run_id} cannot be cancelled: {error['message'].strip()}",
            "To see how it goes on, type:",
            command=f"invoke run --follow {run_id}",
        ),
    }
    # Checked first: the mutation's refusal does not say that the permission is missing.
    run = client.query("RunToCancel", id=run_id)["runOrError"]
    if not member(run, "Run", refused)["hasTerminatePermission"]:
        raise not_permitted(f"cancel run {run_id}")
    answer = client.mutate("CancelRun", id=run_id)["terminateRun"]
    member(answer, "TerminateRunSuccess", refused)


def read_outcome(client: DagsterClient, run: Run) -> None:
    """Add why it failed, and the results of its asset checks, to a run that has ended."""
    if run.checks is None:
        run.checks = planned_checks(client, run.run_id)
    if run.status == SUCCESS and not run.checks:
        return  # the log of a large run is long
    logged = list(events(client, run.run_id))
    reason = explain(logged) if run.status == "FAILURE" else None
    evaluated = [Check.from_graphql(event["evaluation"]) for event in logged if _evaluates(event)]
    run.checks = with_results(run.checks, evaluated, reason)
    run.error = reason and in_words(reason, run.checks)


def _evaluates(event: Mapping[str, Any]) -> bool:
    return bool(event["__typename"] == "AssetCheckEvaluationEvent")


def explain(logged: Iterable[Mapping[str, Any]]) -> Failure:
    """Return why a run failed, from what it logged.

    It is the error of the first failed step, or without one (an import error, a killed
    worker) the last error that Dagster itself logged.
    """
    reason: Failure | None = None
    engine_message = ""
    for event in logged:
        kind, error = event["__typename"], event.get("error")
        if kind == "ExecutionStepFailureEvent" and error:
            return Failure.from_graphql(error, event["stepKey"])
        if error:
            reason = Failure.from_graphql(error)
        elif kind == "EngineEvent":
            engine_message = event["message"]
        elif kind == "RunFailureEvent" and reason is None:
            # How a killed worker ended is in the engine event just before.
            reason = Failure(engine_message or event["message"])
    return reason or NO_REASON


def events(client: DagsterClient, run_id: str) -> Iterator[dict[str, Any]]:
    """Yield the failures and check results that Dagster logged of a run, page by page."""
    for page in log_pages(client, "RunEvents", run_id):
        yield from page


def unfinished_runs(client: DagsterClient, before: float) -> list[str]:
    """Return the ids of the runs created before this time that have neither ended nor queue."""
    return _unfinished(client, before=before, tags=None)


def cancel_runs_of_code_server(client: DagsterClient, socket: str) -> int:
    """Cancel the runs in progress that the code server on this socket launched; return how many.

    Dagster marks them as cancelled before their processes have ended.
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


def is_shown(event: Mapping[str, Any]) -> bool:
    """Whether a log shows an event: about a step, an asset or trouble, or logged by user code."""
    kind, level = event.get("eventType"), event.get("level")
    # What user code logs has no event type.
    by_user = kind is None and level != "DEBUG"
    shown = by_user or level in SHOWN_LEVELS or SHOWN_EVENTS.fullmatch(kind or "")
    return bool(shown and event.get("message"))
