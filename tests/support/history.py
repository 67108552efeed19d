"""A history of runs, written straight into a Dagster instance, and a server that shows it.

`generate` writes what Dagster itself would: run records with all their times, tags, step events,
materializations, checks, failures with errors, retries. It is seeded, so a history can be written
again. The default storage has a database for each run: those are copied from an empty one, and
written in one transaction each, which makes 10,000 runs a matter of a minute.

`serve` answers GraphQL over HTTP from this process, with Dagster's own schema, without any code.
"""

from __future__ import annotations

import atexit
import functools
import json
import math
import random
import shutil
import sqlite3
import tempfile
import threading
import uuid
from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from dagster import (
    AssetCheckSeverity,
    AssetKey,
    AssetMaterialization,
    DagsterInstance,
    DagsterRunStatus,
    MetadataValue,
)
from dagster import DagsterEventType as Type
from dagster._core.definitions.asset_checks.asset_check_evaluation import (
    AssetCheckEvaluation,
    AssetCheckEvaluationPlanned,
)
from dagster._core.definitions.dependency import NodeHandle
from dagster._core.events import (
    AssetMaterializationPlannedData,
    DagsterEvent,
    JobFailureData,
    StepMaterializationData,
)
from dagster._core.events.log import EventLogEntry
from dagster._core.execution.plan.handle import StepHandle
from dagster._core.execution.plan.objects import (
    StepFailureData,
    StepRetryData,
    StepSuccessData,
)
from dagster._core.remote_origin import (
    ManagedGrpcPythonEnvCodeLocationOrigin,
    RemoteJobOrigin,
    RemoteRepositoryOrigin,
)
from dagster._core.storage.dagster_run import DagsterRun
from dagster._core.types.loadable_target_origin import LoadableTargetOrigin
from dagster._utils.error import SerializableErrorInfo
from support import http_server

DAY = 86400.0
IMPLICIT_JOB = "__ASSET_JOB"
REVISIONS = ("1" * 40, "2" * 40, "3" * 40)


@dataclass(frozen=True)
class PastStep:
    """One step; `error` is the class and message of what it raised, `tries` how often it ran."""

    key: str
    started: float
    ended: float | None
    status: str = "SUCCESS"
    assets: tuple[str, ...] = ()
    error: tuple[str, str] | None = None
    tries: int = 1
    metadata: dict[str, float] = field(default_factory=dict)
    checks: tuple[tuple[str, bool], ...] = ()


@dataclass(frozen=True)
class Past:
    """One run of a history. Times are seconds since 1970; a run may lack any but the first."""

    run_id: str
    job: str
    location: str
    status: str
    created: float
    enqueued: float | None = None
    launched: float | None = None
    started: float | None = None
    ended: float | None = None
    assets: tuple[str, ...] | None = ()
    tags: dict[str, str] = field(default_factory=dict)
    steps: tuple[PastStep, ...] = ()
    parent: str | None = None
    root: str | None = None
    error: tuple[str, str] | None = None


def plan(
    runs: int = 1000,
    seed: int = 0,
    end: float = 1_790_000_000.0,
    days: float = 28,
    locations: Sequence[str] = ("sales", "ops", "ml"),
) -> list[Past]:
    """Return a history of `days` up to `end`, oldest first: the same for the same arguments.

    Each code location has the assets `<location>/orders` (1,000 partitions; slower by half from
    the middle on, with the second revision), `<location>/customers`, `<location>/daily` and
    `<location>/report` (materialized together by the job `nightly`), and the job `<location>_ops`,
    which has none. About 8 % fail, each for one of four reasons; some of those are retried, 2 %
    are cancelled, 10 % come from a notebook's kernel.
    """
    chosen = random.Random(seed)
    start, found = end - days * DAY, []
    for number in range(runs):
        created = start + days * DAY * (number + chosen.random() * 0.9) / runs
        found += _runs(chosen, created, start + days * DAY / 2, chosen.choice(locations))
    return sorted(found, key=lambda run: run.created)


def _runs(chosen: random.Random, created: float, bend: float, location: str) -> list[Past]:
    """Return a run, and perhaps its retry."""
    kind = chosen.choices(("orders", "customers", "nightly", "ops"), (50, 20, 20, 10))[0]
    names = {"nightly": ("daily", "report"), "ops": ()}.get(kind, (kind,))
    revision = REVISIONS[0] if created < bend else REVISIONS[1]
    tags = {"user": chosen.choice(("ada", "grace", "alan")), "dagmar/git-revision": revision}
    tags["dagmar/version.polars"] = "1.30.0" if created < bend else "1.31.0"
    tags["dagmar/version.dagster"] = "1.13.27"
    if kind == "orders":
        tags["dagster/partition"] = f"p{chosen.randrange(1000):04}"
        if chosen.random() < 0.3:
            tags["dagster/backfill"] = f"bf{int(created // DAY)}"
    here = kind in ("orders", "customers") and chosen.random() < 0.1
    if here:
        tags["dagmar/here"] = "true"
    reasons = (
        ("TimeoutError", f"no answer from 10.0.0.{chosen.randrange(250)} after 30 s"),
        ("ValueError", f"row {chosen.randrange(10**6)} has no customer"),
        ("KeyError", "'country'"),
        ("ConnectionError", f"<b>shop\x1b[31m</b> | `{uuid.UUID(int=chosen.getrandbits(128))}`"),
    )
    fate = chosen.random()
    status = "FAILURE" if fate < 0.08 else "CANCELED" if fate < 0.10 else "SUCCESS"
    run_id = str(uuid.UUID(int=chosen.getrandbits(128), version=4))
    enqueued = None if here else created + 0.05
    launched = None if here else created + 0.05 + chosen.expovariate(1 / 4)
    begun = (launched or created) + (0.1 if here else 1.5 + chosen.expovariate(1))
    steps, moment = [], begun + 0.2
    for name in names or ("load", "publish"):
        usual = {"orders": 40, "customers": 12, "daily": 60, "report": 5}.get(name, 20)
        slower = 1.5 if name == "orders" and created >= bend else 1.0
        took = usual * slower * math.exp(chosen.gauss(0, 0.12))
        asset = (f"{location}/{name}",) if names else ()
        bad = status != "SUCCESS" and name == (names or ("load", "publish"))[-1]
        cut = bad and status == "CANCELED"
        steps.append(
            PastStep(
                f"{location}__{name}" if names else name,
                moment,
                None if cut else moment + took,
                "IN_PROGRESS" if cut else "FAILURE" if bad else "SUCCESS",
                asset,
                chosen.choices(reasons, (6, 3, 2, 1))[0] if bad and not cut else None,
                2 if chosen.random() < 0.03 else 1,
                {"rows": float(chosen.randrange(900, 1100))} if asset else {},
                (("not_empty", chosen.random() < 0.95),) if asset and not bad else (),
            )
        )
        moment += took + 0.1
    run = Past(
        run_id, location + "_ops" if kind == "ops" else kind if kind == "nightly" else IMPLICIT_JOB,
        "" if here else location, status, created, enqueued, launched, begun, moment + 0.3,
        None if kind in ("nightly", "ops") else tuple(f"{location}/{name}" for name in names),
        tags, tuple(steps),
    )  # fmt: skip
    if status != "FAILURE" or here or chosen.random() < 0.5:
        return [run]
    return [run, _retry(chosen, run)]


def _retry(chosen: random.Random, run: Past) -> Past:
    """Return the run that retries what failed, and succeeds."""
    shift = (run.ended or run.created) + 60 - run.created
    failed = run.steps[-1]
    step = PastStep(
        failed.key, failed.started + shift, (failed.ended or failed.started) + shift,
        "SUCCESS", failed.assets, metadata=failed.metadata,
    )  # fmt: skip
    times = (run.created, run.enqueued, run.launched, run.started, run.ended)
    created, enqueued, launched, started, ended = (t and t + shift for t in times)
    tags = {**run.tags, "dagster/parent_run_id": run.run_id, "dagster/root_run_id": run.run_id}
    tags["dagster/is_resume_retry"] = "true"
    return Past(
        str(uuid.UUID(int=chosen.getrandbits(128), version=4)), run.job, run.location, "SUCCESS",
        created or 0, enqueued, launched, started, ended, run.assets, tags, (step,),
        run.run_id, run.run_id,
    )  # fmt: skip


def open_instance(home: Path) -> DagsterInstance:
    """Return the instance in `home`, with Dagster's default storage; a new one is a copy."""
    if not (home / "dagster.yaml").exists():
        shutil.copytree(_empty(), home, dirs_exist_ok=True)
    return DagsterInstance.from_config(str(home))


@functools.cache
def _empty() -> Path:
    """Return an instance without runs: to create its databases takes seconds."""
    folder = tempfile.mkdtemp()
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    (Path(folder) / "dagster.yaml").write_text("telemetry: {enabled: false}\n", "utf-8")
    with DagsterInstance.from_config(folder) as instance:
        instance.get_run_records(limit=1)
        instance.all_asset_keys()
    return Path(folder)


def generate(instance: DagsterInstance, runs: Iterable[Past]) -> None:
    """Write a history, in the order in which the runs were created."""
    events = instance.event_log_storage
    base = Path(events._base_dir)
    empty = base / "empty.db"
    with events.run_connection("empty"):
        pass
    with closing(sqlite3.connect(empty)) as one:  # so that the copy is whole
        one.execute("PRAGMA journal_mode=DELETE")
    index: list[EventLogEntry] = []
    rows: list[tuple[dict[str, Any], dict[str, str]]] = []
    storage = instance.run_storage
    for past in runs:
        run = _run_of(past)
        values = storage._get_run_insertion_values(run, _utc(past.created))
        moment = past.ended or past.started or past.created
        values |= {"start_time": past.started, "end_time": past.ended}
        rows.append(({**values, "update_timestamp": _utc(moment)}, run.tags_for_storage()))
        entries = list(_events(past))
        shutil.copyfile(empty, base / f"{past.run_id}.db")
        with closing(sqlite3.connect(base / f"{past.run_id}.db")) as shard, shard:
            shard.execute("PRAGMA synchronous=OFF")
            _insert(shard, [events._event_to_row(entry) for entry in entries])
        index += [entry for entry in entries if entry.dagster_event_type in _MIRRORED]
    events._initialized_dbs |= {values["run_id"] for values, _ in rows}
    _add_runs(storage, rows)
    _mirror(events, index)
    events._initialized_dbs.discard("empty")
    empty.unlink()


def _add_runs(storage: Any, rows: list[tuple[dict[str, Any], dict[str, str]]]) -> None:
    from dagster._core.storage.runs.schema import RunsTable, RunTagsTable

    with storage.connect() as connection:
        if rows:
            connection.execute(RunsTable.insert(), [values for values, _ in rows])
        tags = [
            {"run_id": values["run_id"], "key": key, "value": value}
            for values, tags in rows
            for key, value in tags.items()
        ]
        if tags:
            connection.execute(RunTagsTable.insert(), tags)


def _insert(connection: sqlite3.Connection, rows: list[dict[str, Any]]) -> None:
    names = list(rows[0])
    values = [
        tuple(str(value) if name == "timestamp" else value for name, value in row.items())
        for row in rows
    ]
    marks = ", ".join("?" * len(names))
    connection.executemany(f"INSERT INTO event_logs ({', '.join(names)}) VALUES ({marks})", values)


def _mirror(events: Any, entries: list[EventLogEntry]) -> None:
    """Write the events that Dagster keeps for all runs together as well, and the checks."""
    from dagster._core.storage.event_log.schema import SqlEventLogStorageTable

    last: dict[tuple[str, Any], tuple[int, EventLogEntry]] = {}
    with events.index_transaction() as connection:
        query = "SELECT coalesce(max(id), 0) FROM event_logs"
        first = connection.exec_driver_sql(query).scalar() + 1
        rows = [{"id": first + i, **events._event_to_row(e)} for i, e in enumerate(entries)]
        connection.execute(SqlEventLogStorageTable.insert(), rows)
        for row, entry in zip(rows, entries, strict=True):
            if entry.dagster_event_type in _ASSETS:
                last[row["asset_key"], entry.dagster_event_type] = (row["id"], entry)
        for number, entry in last.values():
            events._store_asset_event(connection, entry, number)
    with events.index_connection() as connection:
        for entry in entries:
            if entry.dagster_event_type in _CHECKS:
                _check(connection, entry)


def _check(connection: Any, entry: EventLogEntry) -> None:
    """Write the row of a check that was evaluated, as `store_asset_check_event` does."""
    from dagster._core.storage.asset_check_execution_record import (
        AssetCheckExecutionRecordStatus as Status,
    )
    from dagster._core.storage.event_log.schema import AssetCheckExecutionsTable
    from dagster._serdes import serialize_value

    if entry.dagster_event_type != Type.ASSET_CHECK_EVALUATION:
        return
    check = entry.get_dagster_event().event_specific_data
    status = Status.SUCCEEDED if check.passed else Status.FAILED
    connection.execute(
        AssetCheckExecutionsTable.insert().values(
            asset_key=check.asset_key.to_string(),
            check_name=check.check_name,
            run_id=entry.run_id,
            execution_status=status.value,
            evaluation_event=serialize_value(entry),
            evaluation_event_timestamp=_utc(entry.timestamp),
            create_timestamp=_utc(entry.timestamp),
        )
    )


_ASSETS = {Type.ASSET_MATERIALIZATION, Type.ASSET_MATERIALIZATION_PLANNED}
_CHECKS = {Type.ASSET_CHECK_EVALUATION, Type.ASSET_CHECK_EVALUATION_PLANNED}
_STATUS = {
    Type.PIPELINE_ENQUEUED, Type.PIPELINE_STARTING, Type.PIPELINE_START, Type.PIPELINE_SUCCESS,
    Type.PIPELINE_FAILURE, Type.PIPELINE_CANCELED, Type.PIPELINE_CANCELING,
}  # fmt: skip
_MIRRORED = _ASSETS | _CHECKS | _STATUS


def _run_of(past: Past) -> DagsterRun:
    target = LoadableTargetOrigin(module_name=past.location or "none")
    place = ManagedGrpcPythonEnvCodeLocationOrigin(target, past.location or "none")
    origin = RemoteJobOrigin(RemoteRepositoryOrigin(place, "__repository__"), past.job)
    return DagsterRun(
        job_name=past.job,
        run_id=past.run_id,
        asset_selection=None if past.assets is None else {_key(asset) for asset in past.assets},
        status=DagsterRunStatus(past.status),
        tags=past.tags,
        root_run_id=past.root,
        parent_run_id=past.parent,
        remote_job_origin=origin if past.location else None,
    )


def _events(past: Past) -> Iterable[EventLogEntry]:
    """Yield the events of a run in Dagster's order."""

    def event(
        kind: Type, at: float, data: Any = None, step: str | None = None, text: str = ""
    ) -> EventLogEntry:
        handle = StepHandle(NodeHandle(step, None)) if step else None
        happened = DagsterEvent(
            kind.value, past.job, handle, handle and handle.node_handle,
            "COMPUTE" if step else None, None, data, text or kind.value, 1,
        )  # fmt: skip
        return EventLogEntry(None, 10, "", past.run_id, at, step, past.job, happened)

    partition = past.tags.get("dagster/partition")
    if past.enqueued:
        yield event(Type.PIPELINE_ENQUEUED, past.enqueued)
    for step in past.steps:
        for asset in step.assets:
            planned = AssetMaterializationPlannedData(_key(asset), partition)
            yield event(Type.ASSET_MATERIALIZATION_PLANNED, past.created, planned, step.key)
        for name, _ in step.checks:
            expected = AssetCheckEvaluationPlanned(asset_key=_key(step.assets[0]), check_name=name)
            yield event(Type.ASSET_CHECK_EVALUATION_PLANNED, past.created, expected, step.key)
    if past.launched:
        yield event(Type.PIPELINE_STARTING, past.launched)
    if past.started:
        yield event(Type.PIPELINE_START, past.started)
    for step in past.steps:
        yield from _step_events(event, step, partition)
    if past.ended:
        error = past.error and _error(past.error)
        kinds: dict[str, tuple[Type, Any]] = {
            "SUCCESS": (Type.PIPELINE_SUCCESS, None),
            "FAILURE": (Type.PIPELINE_FAILURE, JobFailureData(error)),
            "CANCELED": (Type.PIPELINE_CANCELED, None),
        }
        kind, data = kinds[past.status]
        yield event(kind, past.ended, data)


def _step_events(
    event: Callable[..., EventLogEntry], step: PastStep, partition: str | None
) -> Iterable[EventLogEntry]:
    yield event(Type.STEP_START, step.started, None, step.key)
    for number in range(1, step.tries):
        again = step.started + number
        lost = StepRetryData(_error(("OSError", "try again")), 0)
        yield event(Type.STEP_UP_FOR_RETRY, again, lost, step.key)
        yield event(Type.STEP_RESTARTED, again, None, step.key)
    if step.status == "SUCCESS" and step.ended is not None:
        for asset in step.assets:
            metadata = {name: MetadataValue.float(value) for name, value in step.metadata.items()}
            made = AssetMaterialization(_key(asset), partition=partition, metadata=metadata)
            yield event(
                Type.ASSET_MATERIALIZATION, step.ended, StepMaterializationData(made), step.key
            )
        for name, passed in step.checks:
            check = AssetCheckEvaluation(
                _key(step.assets[0]), name, passed, {}, None, AssetCheckSeverity.ERROR
            )
            yield event(Type.ASSET_CHECK_EVALUATION, step.ended, check, step.key)
        took = (step.ended - step.started) * 1000
        yield event(Type.STEP_SUCCESS, step.ended, StepSuccessData(took), step.key)
    elif step.status == "FAILURE" and step.error and step.ended is not None:
        wrapped = SerializableErrorInfo(
            f"dagster._core.errors.DagsterExecutionStepExecutionError: in {step.key}\n",
            [], "DagsterExecutionStepExecutionError", _error(step.error),
        )  # fmt: skip
        yield event(Type.STEP_FAILURE, step.ended, StepFailureData(wrapped, None), step.key)


def _error(error: tuple[str, str]) -> SerializableErrorInfo:
    kind, message = error
    stack = ['  File "/app/load.py", line 12, in load\n    rows = fetch()\n']
    return SerializableErrorInfo(f"{kind}: {message}\n", stack, kind)


def _key(asset: str) -> AssetKey:
    return AssetKey(asset.split("/"))


def _utc(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, timezone.utc).replace(tzinfo=None)


@functools.cache
def _schema() -> Any:
    from dagster_graphql.schema import create_schema

    return create_schema()


@dataclass
class Served:
    """A server over an instance, as a context manager; `now` is what its `Date` header says.

    `broken` is the number of requests after which it hangs up, `stuck_after` that after which it
    does not answer until `go_on`; `operations` are what was asked.
    """

    instance: DagsterInstance
    now: Callable[[], float] | None = None
    broken: int | None = None
    stuck_after: int | None = None
    _going: threading.Event = field(default_factory=threading.Event)

    def __enter__(self) -> Served:
        from dagster._core.workspace.context import WorkspaceProcessContext
        from dagster._core.workspace.load_target import EmptyWorkspaceTarget

        self._stack = ExitStack()
        context = WorkspaceProcessContext(self.instance, EmptyWorkspaceTarget(), version="1.13")
        self._context = self._stack.enter_context(context)
        self._schema = _schema()
        self._http = self._stack.enter_context(http_server.serve(self._answer))
        return self

    def __exit__(self, *error: object) -> None:
        self._stack.close()

    def go_on(self) -> None:
        """Answer again."""
        self.stuck_after = None
        self._going.set()

    @property
    def url(self) -> str:
        return self._http.url

    @property
    def requests(self) -> list[dict[str, Any]]:
        """The GraphQL requests so far."""
        return [seen.sent for seen in self._http.seen]

    @property
    def operations(self) -> list[str]:
        return [request["operationName"] for request in self.requests]

    def _answer(self, handler: http_server.Handler) -> None:
        import asyncio

        with handler.server.lock:
            seen = handler.server.seen[-1]
            stuck = self.stuck_after is not None and len(handler.server.seen) > self.stuck_after
            if self.broken is not None and len(handler.server.seen) > self.broken:
                return http_server.hang_up(handler)
        if stuck and self._going.wait(60):
            return http_server.hang_up(handler)
        sent = seen.sent
        result = asyncio.run(
            self._schema.execute_async(
                sent["query"],
                variables=sent.get("variables"),
                operation_name=sent.get("operationName"),
                context=self._context.create_request_context(),
            )
        )
        body: dict[str, Any] = {"data": result.data}
        if result.errors:
            body["errors"] = [{"message": str(error)} for error in result.errors]
        if self.now:
            moment = datetime.fromtimestamp(self.now(), timezone.utc)
            handler.date_time_string = lambda *_: moment.strftime(  # type: ignore[method-assign]
                "%a, %d %b %Y %H:%M:%S GMT"
            )
        handler.reply(200, json.dumps(body).encode(), Content_Type="application/json")
        return None


def serve(instance: DagsterInstance, now: float | None = None) -> Served:
    """Return a server over an instance, whose clock stands still at `now`."""
    return Served(instance, None if now is None else lambda: now)
