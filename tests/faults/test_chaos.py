"""Random faults, and an account: what was wanted is launched once, nothing is lost or left over.

To repeat a failure: `CHAOS_SEED=17 CHAOS_STEPS=60`. The account is printed with `-n 0 -s`.
"""

from __future__ import annotations

import os
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from dagmar.project.settings import Target
from dagmar.server.client import DagsterClient
from support.chaos import Chaos
from support.dagster_server import DagsterServer, dagster_server, runs_tagged
from support.project import make_project

FAILING = ("--asset", "daily_sales", "--partition", "2026-01-09")


def failed_runs(folder: Path, url: str, client: DagsterClient, count: int) -> list[str]:
    """Launch runs that fail, for retries, and return their ids."""
    project = make_project(folder / "failing", f"targets: {{local: {{url: '{url}'}}}}\n")
    tag = uuid.uuid4().hex
    for _ in range(count):
        done = project.invoke("run", *FAILING, "--tag", f"test={tag}", timeout=300)
        assert done.returncode == 4, done.stderr
    return runs_tagged(client, tag)


def survive(chaos: Chaos, steps: int) -> None:
    """Do random steps, and assert that the account is right."""
    with chaos.proxy:
        for _ in range(steps):
            chaos.step()
        chaos.settle()
    print(f"\n{chaos.account}")
    assert not chaos.account.wrong, f"\n{chaos.account}"


def test_nothing_is_lost_or_left_over_after_some_faults(
    dagster: DagsterServer, client: DagsterClient, tmp_path: Path
) -> None:
    survive(Chaos(1, tmp_path, dagster.url, client), 6)


@contextmanager
def restartable(home: Path) -> Iterator[tuple[DagsterServer, Callable[[], None]]]:
    """Run a Dagster, and yield it with what restarts it on the same port."""
    with dagster_server(home, "dagster", "dev") as server:
        server.wait()

        def restart() -> None:
            server.stop()
            server.start()
            server.wait()

        yield server, restart


@pytest.mark.nightly
def test_nothing_is_lost_or_left_over_after_many_faults(tmp_path: Path) -> None:
    seed = int(os.environ.get("CHAOS_SEED", "100"))
    home = tmp_path / "home"
    with restartable(home) as (server, restart):
        with DagsterClient(Target("local", server.url)) as client:
            failed = failed_runs(tmp_path, server.url, client, 5)
            chaos = Chaos(seed, tmp_path, server.url, client, restart, failed)
            survive(chaos, int(os.environ.get("CHAOS_STEPS", "80")))
        (home / "go-on").touch()
