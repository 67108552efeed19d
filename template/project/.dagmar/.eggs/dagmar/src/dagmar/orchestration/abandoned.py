"""Marks runs as failed that no process executes any longer.

A run whose `invoke dev` or kernel was killed stays STARTED forever. For `invoke dev` this runs in a
separate process: it needs the dagster library, and the supervisor stays small without it.
"""

from __future__ import annotations

import json
import os
import socket
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dagmar.project.provenance import PROCESS_TAG

if TYPE_CHECKING:
    from dagster import DagsterInstance

REASON = "The process that executed this run is gone: it was killed."


def mark_failed(home: Path, before: float) -> list[str]:
    """Mark runs of the instance in `home`, created before this time, that no process executes.

    Returns their ids.
    """
    from dagster import DagsterInstance

    with DagsterInstance.from_config(str(home)) as instance:
        return fail_killed(instance, before)


def fail_killed(
    instance: DagsterInstance, before: float, tags: Mapping[str, str] | None = None
) -> list[str]:
    """Mark unfinished runs with these tags that no process executes, and return their ids.

    An instance that does not keep its runs in a folder is left alone: other machines may be
    executing them.
    """
    from dagster import DagsterRunStatus, RunsFilter

    from dagmar.orchestration.internals import internal

    if not isinstance(instance.run_storage, internal("SqliteRunStorage")):
        return []
    unfinished = [
        DagsterRunStatus.NOT_STARTED,
        DagsterRunStatus.STARTING,
        DagsterRunStatus.STARTED,
        DagsterRunStatus.CANCELING,
    ]
    failed = []
    for record in instance.get_run_records(RunsFilter(statuses=unfinished, tags=tags)):
        created = record.create_timestamp.timestamp()
        if created < before and _abandoned(instance, record):
            instance.report_run_failed(record.dagster_run, REASON)
            failed.append(record.dagster_run.run_id)
    return failed


def _abandoned(instance: DagsterInstance, record: Any) -> bool:
    """Return whether no process executes the run: the one it names is gone, or its code server."""
    run = record.dagster_run
    pids = _processes(instance, run.run_id)
    if not run.parent_run_id:  # a retry by a server has the tags of the first run
        pids |= {int(pid) for pid in (run.tags.get(PROCESS_TAG, ""),) if pid.isdecimal()}
    if any(_is_running(pid, record.update_timestamp.timestamp()) for pid in pids):
        return False
    server = run.tags.get(".dagster/grpc_info")
    # A run that names neither a process nor a server may be just starting somewhere.
    return bool(pids) if server is None else not _answers(json.loads(server))


def _processes(instance: DagsterInstance, run_id: str) -> set[int]:
    from dagster import DagsterEventType

    pids = set()
    for entry in instance.all_logs(run_id, of_type=DagsterEventType.ENGINE_EVENT):
        event = entry.dagster_event
        metadata = event.engine_event_data.metadata if event else {}
        value = getattr(metadata.get("pid"), "value", None)
        if str(value).isdigit():
            pids.add(int(str(value)))
    return pids


def _is_running(pid: int, seen: float) -> bool:
    """Return whether the process exists and is not newer than the run's last event."""
    import psutil

    try:
        process = psutil.Process(pid)
        return process.status() != psutil.STATUS_ZOMBIE and process.create_time() <= seen + 2
    except psutil.NoSuchProcess:
        return False
    except psutil.Error:
        return True


def _answers(server: dict[str, Any]) -> bool:
    family, address = socket.AF_INET, (server.get("host"), server.get("port"))
    if path := server.get("socket"):
        family, address = socket.AF_UNIX, path
    with socket.socket(family) as probe:
        probe.settimeout(2)
        try:
            probe.connect(address)
        except OSError:
            return False
    return True


if __name__ == "__main__":
    os.environ.setdefault("DAGSTER_HOME", sys.argv[1])
    print(json.dumps(mark_failed(Path(sys.argv[1]), float(sys.argv[2]))))
