"""Runs that a killed Dagster left behind are marked as failed, and no others."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from dagmar.orchestration.abandoned import REASON, mark_failed
from dagster._core.events import EngineEventData
from dagster._core.test_utils import create_run_for_test

LATER = 10.0


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("home")
    (folder / "dagster.yaml").write_text("telemetry: {enabled: false}\n")
    return folder


@pytest.fixture(scope="module")
def kept(home: Path) -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.from_config(str(home)) as instance:
        yield instance


@pytest.fixture
def instance(
    kept: dg.DagsterInstance, home: Path, monkeypatch: pytest.MonkeyPatch
) -> dg.DagsterInstance:
    """An instance without runs."""
    monkeypatch.setenv("DAGSTER_HOME", str(home))
    for run in kept.get_runs():
        kept.delete_run(run.run_id)
    return kept


@pytest.fixture
def gone() -> int:
    """The number of a process that has ended."""
    with subprocess.Popen([sys.executable, "-c", ""]) as process:
        process.wait()
    return process.pid


def started(
    instance: dg.DagsterInstance, pid: int | None = None, server: Mapping[str, Any] | None = None
) -> str:
    """Create a run that goes on, in this process and for this code server."""
    tags = {} if server is None else {".dagster/grpc_info": json.dumps(server)}
    run = create_run_for_test(instance, "nightly", status=dg.DagsterRunStatus.STARTED, tags=tags)
    if pid is not None:
        data = EngineEventData({"pid": dg.MetadataValue.text(str(pid))})
        instance.report_engine_event("Started process for run", run, data)
    return run.run_id


def failed(instance: dg.DagsterInstance, home: Path, before: float = LATER) -> list[str]:
    return mark_failed(home, time.time() + before)


def test_a_run_whose_process_is_gone_failed(
    instance: dg.DagsterInstance, home: Path, gone: int
) -> None:
    alive, left = started(instance, os.getpid()), started(instance, gone)
    assert failed(instance, home) == [left]
    status = {run.run_id: run.status for run in instance.get_runs()}
    assert status == {alive: dg.DagsterRunStatus.STARTED, left: dg.DagsterRunStatus.FAILURE}
    assert any(REASON in entry.message for entry in instance.all_logs(left))
    assert failed(instance, home) == []


def test_a_process_that_is_newer_than_the_run_is_another_one(
    instance: dg.DagsterInstance, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    left = started(instance, os.getpid())
    monkeypatch.setattr("psutil.Process.create_time", lambda _: time.time() + 60)
    assert failed(instance, home) == [left]


def test_a_run_that_may_be_just_starting_is_left_alone(
    instance: dg.DagsterInstance, home: Path
) -> None:
    started(instance)
    assert failed(instance, home) == []


def test_a_run_that_is_newer_than_the_session_is_left_alone(
    instance: dg.DagsterInstance, home: Path, gone: int
) -> None:
    started(instance, gone)
    assert failed(instance, home, -LATER) == []


@pytest.mark.parametrize("family", ["unix", "tcp"])
def test_a_run_is_over_once_its_code_server_does_not_answer(
    instance: dg.DagsterInstance, home: Path, tmp_path: Path, family: str
) -> None:
    if family == "unix":
        listening = socket.socket(socket.AF_UNIX)
        listening.bind(str(tmp_path / "s"))
        server = {"host": "localhost", "socket": str(tmp_path / "s")}
    else:
        listening = socket.socket()
        listening.bind(("127.0.0.1", 0))
        server = {"host": "127.0.0.1", "port": listening.getsockname()[1]}
    with listening:
        listening.listen()
        left = started(instance, server=server)
        assert failed(instance, home) == []
    assert failed(instance, home) == [left]


def test_runs_that_are_kept_elsewhere_are_left_alone(
    instance: dg.DagsterInstance, home: Path, gone: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They may be those of another machine."""
    started(instance, gone)
    monkeypatch.setattr("dagmar.orchestration.internals.internal", lambda name: type(name, (), {}))
    assert failed(instance, home) == []
