"""A launch whose connection is cut is launched once or not at all, and never twice.

The proxy cuts the connection at four points; the server is asked how often it launched.
"""

from __future__ import annotations

import json
import uuid
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import get_args

import pytest
from dagmar.server.client import DagsterClient
from support.dagster_server import DagsterServer, backfills_tagged, runs_tagged
from support.fault_proxy import Cut, FaultProxy
from support.project import make_project

RUN = ("--asset", "raw/orders")
BACKFILL = ("--asset", "colored", "--all-partitions")
SEARCH = "\nfrom dagmar.server import launch\n\nlaunch.SEARCH_SECONDS = 10.0\n"
"""A launch of which nothing is found is waited for 30 s otherwise."""
CUTS = [cut for cut in get_args(Cut) if cut]


def launch_through(
    cut: Cut, flags: tuple[str, ...], dagster: DagsterServer, folder: Path
) -> tuple[str, int, list[str], str, str]:
    """Launch through a proxy that cuts; return tag, status, operations, stdout and stderr."""
    tag = uuid.uuid4().hex
    with FaultProxy(dagster.url, cut) as proxy:
        settings = f"targets: {{local: {{url: '{proxy.url}'}}}}"
        project = make_project(folder / tag, settings)
        with (project.root / "tasks.py").open("a", encoding="utf-8") as tasks:
            tasks.write(SEARCH)
        done = project.invoke("run", *flags, "--no-wait", "--json", "--tag", f"test={tag}")
    return tag, done.returncode, proxy.operations, done.stdout, done.stderr


def check(
    cut: Cut, flags: tuple[str, ...], dagster: DagsterServer, client: DagsterClient, folder: Path
) -> None:
    tag, status, operations, stdout, talk = launch_through(cut, flags, dagster, folder)
    sent = [name for name in operations if name.startswith("Launch")]
    assert len(sent) == 1, f"{cut}: sent {sent}"
    backfill = flags == BACKFILL
    launched = (backfills_tagged if backfill else runs_tagged)(client, tag)
    if cut == "before the request is complete":
        assert launched == []
    elif cut != "after the request, before the commit":
        assert len(launched) == 1
    if launched:
        assert status == 0, f"{cut}: {talk}"
        document = json.loads(stdout)
        sent_id = document["backfill"]["id"] if backfill else document["runs"][0]["run_id"]
        assert [sent_id] == launched
    else:
        assert status == 5, f"{cut}: {talk}"
        assert "does not launch twice" in talk
        assert "invoke run --follow" in talk
    assert "Traceback" not in talk


def check_all(dagster: DagsterServer, client: DagsterClient, folder: Path) -> None:
    """Cut runs and backfills at each point, all at once: some wait for their id in vain."""
    with ThreadPoolExecutor(2 * len(CUTS)) as pool:
        checks = [
            pool.submit(check, cut, flags, dagster, client, folder)
            for flags in (RUN, BACKFILL)
            for cut in CUTS
        ]
        for done in checks:
            done.result()


def stop_backfills(client: DagsterClient) -> None:
    from dagmar.server.backfills import cancel_backfill, read_backfill

    answer = client.query("NewestBackfills")["partitionBackfillsOrError"]
    for backfill in answer["results"]:
        if not read_backfill(client, backfill["id"]).final:
            cancel_backfill(client, backfill["id"])


def test_a_cut_launch_is_never_sent_twice(
    dagster: DagsterServer, client: DagsterClient, tmp_path: Path
) -> None:
    check_all(dagster, client, tmp_path)
    stop_backfills(client)


@pytest.mark.nightly
def test_a_cut_launch_is_never_sent_twice_in_ten_rounds(
    dagster: DagsterServer, client: DagsterClient, tmp_path: Path
) -> None:
    for _ in range(10):
        check_all(dagster, client, tmp_path)
        stop_backfills(client)
