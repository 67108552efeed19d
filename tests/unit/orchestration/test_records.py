"""What a run in the kernel leaves in the instance: as Dagster would, and nothing open."""

from __future__ import annotations

import os
import signal
import sqlite3
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import dagster as dg
import psutil
import pytest
from dagmar.orchestration import here, warm
from dagmar.orchestration.instance import instance
from dagmar.orchestration.loader import definitions_of
from dagster._core.storage.compute_log_manager import ComputeIOType

# Each test imports another module.
DEFINITIONS = """
import contextlib
import os
import signal
import signal
import sys
import threading

import dagster as dg


@dg.asset
def orders(context: dg.AssetExecutionContext) -> dg.MaterializeResult:
    print("three orders")
    if barrier := getattr(sys, "meeting", None):
        with contextlib.suppress(threading.BrokenBarrierError):  # nobody else is here
            barrier.wait(1)
    print("an order is late", file=sys.stderr)
    if os.environ.get("FORKED"):
        child = os.fork()
        if child == 0:
            os._exit(0 if context.instance.get_run_by_id(context.run.run_id) else 1)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    return dg.MaterializeResult(metadata={"rows": 3})


@dg.resource
def database():
    stop("opening")
    try:
        yield 1
    finally:
        stop("closing")
        sys.stops.append("closed")


def stop(where):
    if where in sys.stops:
        signal.raise_signal(signal.SIGINT)


@dg.asset(required_resource_keys={"database"})
def stopped() -> None:
    stop("running")
    sys.stops.append("done")


defs = dg.Definitions(assets=[orders, stopped], resources={"database": database})
"""


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Yield a project whose instance is its own."""
    name = f"records_{abs(hash(tmp_path))}"
    (tmp_path / f"{name}.py").write_text(DEFINITIONS, "utf-8")
    (tmp_path / "pyproject.toml").write_text(f'[tool.dagster]\nmodule_name = "{name}"\n', "utf-8")
    home = tmp_path / ".dagmar/dagster_home"
    home.mkdir(parents=True)
    (home / "dagster.yaml").write_text("telemetry: {enabled: false}\n", "utf-8")
    monkeypatch.delenv("DAGSTER_HOME", raising=False)
    monkeypatch.setattr(sys, "path", list(sys.path))
    yield tmp_path
    instance(tmp_path).dispose()


def database(root: Path, run_id: str) -> Path:
    return root / ".dagmar/dagster_home/history/runs" / f"{run_id}.db"


def shape(file: Path) -> list[Any]:
    """Return a database's tables, indexes and Alembic revision, and its mode."""
    connection = sqlite3.connect(file)
    tables = connection.execute("SELECT sql FROM sqlite_master WHERE sql IS NOT NULL ORDER BY name")
    revision = connection.execute("SELECT version_num FROM alembic_version")
    try:
        return [*tables, *revision, file.stat().st_mode]
    finally:
        connection.close()


def kinds(root: Path, run_id: str) -> list[Any]:
    events = instance(root).all_logs(run_id)
    return [e.dagster_event.event_type_value for e in events if e.dagster_event]


def test_a_run_in_the_kernel_is_recorded_as_dagster_records_it(project: Path) -> None:
    store = instance(project)
    definitions, _ = definitions_of(project).with_asset("orders")
    job = definitions.get_job("__ASSET_JOB")
    theirs = job.execute_in_process(instance=store, asset_selection=[dg.AssetKey("orders")])
    ours = here.materialize(project, "orders")
    assert (theirs.success, ours.success) == (True, True)
    assert "ASSET_MATERIALIZATION" in kinds(project, ours.run_id)
    assert kinds(project, ours.run_id) == kinds(project, theirs.run_id)
    assert shape(database(project, ours.run_id)) == shape(database(project, theirs.run_id))
    record = store.get_latest_materialization_event(dg.AssetKey("orders"))
    assert record is not None
    assert record.run_id == ours.run_id
    # The objects of the instance are Dagster's own again.
    assert "_connect" not in vars(store.event_log_storage)
    assert "connect" not in vars(store.run_storage)
    assert "capture_logs" not in vars(store.compute_log_manager)


def test_the_output_of_an_asset_is_shown_and_is_in_its_logs(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = here.materialize(project, "orders")
    shown = capsys.readouterr()
    assert "three orders" in shown.out
    assert "an order is late" in shown.err
    manager = instance(project).compute_log_manager
    (key,) = manager.get_log_keys_for_log_key_prefix(
        [run.run_id, "compute_logs"], ComputeIOType.STDOUT
    )
    kept = manager.get_log_data(key)
    assert kept.stdout == b"three orders\n"
    assert kept.stderr == b"an order is late\n"
    assert manager.is_capture_complete(key)


def test_an_interrupted_run_has_failed_and_the_next_one_works(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stops: list[str] = []
    monkeypatch.setattr(sys, "stops", stops, raising=False)
    handler = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        for place, after in {"opening": [], "running": ["closed"], "closing": ["done"]}.items():
            stops[:] = [place]
            run = here.materialize(project, "stopped")
            assert (run.success, run.error, stops) == (False, here.INTERRUPTED, [place, *after])
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
        stops[:] = []
        assert here.materialize(project, "stopped").success
        assert stops == ["done", "closed"]
    finally:
        signal.signal(signal.SIGINT, handler)
    statuses = [each.status.value for each in instance(project).get_runs()]
    assert statuses == ["SUCCESS", *3 * ["FAILURE"]]


def test_no_database_stays_open(project: Path) -> None:
    before = set(threading.enumerate())
    here.materialize(project, "orders")
    for thread in set(threading.enumerate()) - before:
        thread.join(10)
    home = str(project / ".dagmar/dagster_home")
    assert [file.path for file in psutil.Process().open_files() if file.path.startswith(home)] == []
    assert list((project / ".dagmar/dagster_home/history/runs").glob(".*")) == []


def test_a_process_that_an_asset_forks_opens_the_records_itself(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FORKED", "1")
    run = here.materialize(project, "orders")
    assert run.success, run.error
    connection = sqlite3.connect(database(project, run.run_id))
    assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    connection.close()


def test_a_fork_in_one_thread_is_not_blocked_by_another_thread() -> None:
    with warm._LOCK:  # as while another session opens a database
        child = os.fork()
        if child == 0:
            free = warm._LOCK.acquire(timeout=10)
            # What measures coverage would save in `os._exit`, with what other threads have locked.
            os.kill(os.getpid(), signal.SIGKILL if free else signal.SIGABRT)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL


def test_runs_of_two_sessions_in_one_process_wait_for_each_other(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    definitions_of(project).with_asset("orders")
    meeting = threading.Barrier(2)
    monkeypatch.setattr(sys, "meeting", meeting, raising=False)
    streams = sys.stdout, sys.stderr
    with ThreadPoolExecutor(2) as pool:
        runs = list(pool.map(lambda _: here.materialize(project, "orders"), range(2)))
    assert [run.success for run in runs] == [True, True]
    assert meeting.broken  # they never met
    assert len({run.run_id for run in runs}) == 2
    assert kinds(project, runs[0].run_id) == kinds(project, runs[1].run_id)
    assert (sys.stdout, sys.stderr) == streams
    store = instance(project)
    for part in (store.event_log_storage, store.run_storage, store.compute_log_manager):
        assert not {"_connect", "connect", "capture_logs"} & set(vars(part))


def test_a_new_instance_is_opened_by_many_sessions_at_once(project: Path) -> None:
    begin = threading.Barrier(8)

    def opened(_: int) -> object:
        begin.wait(240)
        return instance(project)

    with ThreadPoolExecutor(8) as pool:
        assert len(set(map(id, pool.map(opened, range(8))))) == 1


def test_dagster_creates_a_database_that_cannot_be_copied(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_links(*names: object) -> None:
        raise PermissionError("no hard links here")

    monkeypatch.setattr(os, "link", no_links)
    run = here.materialize(project, "orders")
    assert run.success
    assert "ASSET_MATERIALIZATION" in kinds(project, run.run_id)


def test_a_storage_that_is_not_dagsters_default_is_left_alone(project: Path) -> None:
    (project / ".dagmar/dagster_home/dagster.yaml").write_text(
        "event_log_storage:\n"
        "  module: dagster._core.storage.event_log\n"
        "  class: ConsolidatedSqliteEventLogStorage\n"
        f"  config: {{base_dir: {project}/events}}\n"
        "compute_logs:\n"
        "  module: dagster._core.storage.noop_compute_log_manager\n"
        "  class: NoOpComputeLogManager\n",
        "utf-8",
    )
    run = here.materialize(project, "orders")
    assert run.success
    assert "ASSET_MATERIALIZATION" in kinds(project, run.run_id)
    assert not database(project, run.run_id).exists()
