"""A kernel that is killed while it keeps a preview: no half of a value, and no run for ever."""

from __future__ import annotations

from pathlib import Path

import pytest
from dagmar.asset_key import AssetKey
from dagmar.orchestration.abandoned import REASON
from dagmar.orchestration.instance import instance
from dagmar.orchestration.values import load_value
from dagster import DagsterInstance, DagsterRun, DagsterRunStatus
from support.killed_kernel import HALF_WRITTEN, keep_in_a_kernel, write_project, write_version

MOST_EVENTS = 30


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.delenv("DAGSTER_HOME", raising=False)
    return write_project(tmp_path / "shop")


def stored(root: Path) -> tuple[int, int]:
    """Return the version with which the recorded value starts, and that with which it ends."""
    value = load_value(root, AssetKey("orders"), None)
    return value[0], value[-1]


def runs(local: DagsterInstance) -> list[DagsterRun]:
    return [record.dagster_run for record in reversed(local.get_run_records())]


def check_after(root: Path, moment: int, version: int) -> bool:
    """Kill a kernel that keeps this version, and keep it in the next one.

    Returns whether the first one had begun a run and not ended it.
    """
    local = instance(root)
    known = {run.run_id for run in runs(local)}
    write_version(root, version)
    status = keep_in_a_kernel(root, moment)
    assert status == -9 or (status == 0 and moment > HALF_WRITTEN), moment
    assert stored(root) in {(version - 1,) * 2, (version,) * 2}, moment
    begun = [run for run in runs(local) if run.run_id not in known]
    assert keep_in_a_kernel(root) == 0, moment
    assert stored(root) == (version, version)
    assert all(run.is_finished for run in runs(local)), moment
    unfinished = [run for run in begun if not run.is_finished]
    for run in unfinished:
        ended = local.get_run_by_id(run.run_id)
        assert ended
        assert ended.status == DagsterRunStatus.FAILURE
        assert any(REASON in entry.message for entry in local.all_logs(run.run_id)), moment
    left = [path.name for path in root.rglob(".*.unfinished")]
    assert left == [], moment
    return bool(unfinished)


def test_a_kernel_that_is_killed_leaves_the_old_or_the_new_value_and_no_run_for_ever(
    root: Path,
) -> None:
    assert keep_in_a_kernel(root) == 0
    assert stored(root) == (1, 1)
    assert check_after(root, HALF_WRITTEN, 2)
    assert check_after(root, 1, 3), "before the run says which process executes it"


@pytest.mark.nightly
def test_every_moment_of_keeping_may_be_the_last_one(root: Path) -> None:
    assert keep_in_a_kernel(root) == 0
    killed = [check_after(root, moment, moment + 1) for moment in range(1, MOST_EVENTS)]
    assert sum(killed) > 5
    assert not killed[-1], "all events were tried"
