"""Asset checks are part of what is reported of a run, and a failed one of its status."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from dagmar.asset_key import AssetKey
from dagmar.notebook.fallbacks import as_static
from dagmar.pair import cards
from dagmar.pair.context import Context
from dagmar.pair.history import draw_history, summary
from dagmar.pair.watching import Watcher
from dagmar.server.client import DagsterClient
from dagmar.server.paired import read_asset_history
from support.dagster_server import DagsterServer
from support.project import Project, run

HAS_ROWS = {
    "name": "has_rows", "asset": "watched", "passed": False, "severity": "ERROR",
    "blocking": False, "description": "There are too few rows.",
    "metadata": {"rows": 3, "share": 0.5},
}  # fmt: skip
LINE = "check 'has_rows' of the asset 'watched' failed (ERROR): There are too few rows. (rows=3"


def test_a_failed_check_fails_a_successful_run_unless_the_flag_says_otherwise(
    live: Project, client: DagsterClient, dagster: DagsterServer, tag: str, tmp_path: Path
) -> None:
    status, document, talk = run(live, tag, "--asset", "watched", "--asset", "measured")
    (ended,) = document["runs"]
    assert (status, ended["status"], ended["error"]) == (4, "SUCCESS", None)
    assert [(check["name"], check["passed"]) for check in ended["checks"]] == [
        ("is_recent", False),
        ("has_rows", False),
        ("is_there", True),
    ]
    assert ended["checks"][1] == HAS_ROWS
    assert ended["checks"][0]["severity"] == "WARN"
    assert f"run {ended['run_id']}: {LINE}" in talk
    assert "is_recent" not in talk
    follow = ("run", "--follow", ended["run_id"], "--fail-on-checks")
    never = live.invoke(*follow, "never")
    assert never.returncode == 0, never.stderr
    assert LINE in never.stdout
    assert "check 'is_there' of the asset 'watched' passed" in never.stdout
    warn = live.invoke(*follow, "warn")
    assert warn.returncode == 4
    assert "check 'is_recent' of the asset 'measured' failed (WARN)" in warn.stderr
    # The page of a notebook says it too.
    (tmp_path / "dagmar.yaml").write_text(f"targets: {{local: {{url: '{dagster.url}'}}}}")
    context = Context(AssetKey("watched"), "", "", tmp_path)
    watcher = Watcher(context, ended["run_id"])
    watcher.look(client)
    page = as_static(watcher.page())
    assert "There are too few rows. (rows=3, share=0.5)" in page
    assert "1 check passed" in page
    assert "has_rows failed (ERROR), is_there passed" in cards.card(context)
    past = read_asset_history(client, context.located(client), 1)
    assert past[0].failed_checks == ("has_rows",)
    assert summary(past).startswith("1 of 1 runs succeeded (1 with failed checks)")
    assert "failed checks: has_rows" in draw_history(past, "")


def test_a_blocking_check_is_named_as_the_reason(live: Project, tag: str) -> None:
    status, document, talk = run(live, tag, "--asset", "gated", "--asset", "behind")
    (ended,) = document["runs"]
    assert (status, ended["status"]) == (4, "FAILURE")
    reason = "blocking check 'gate' of the asset 'gated' failed (ERROR): The gate is closed."
    assert reason in talk
    assert reason in ended["error"]["message"]
    assert ended["error"]["traceback"] is None
    checks = {check["name"]: (check["passed"], check["blocking"]) for check in ended["checks"]}
    assert checks == {"gate": (False, True), "last": (None, False)}


@pytest.mark.nightly
def test_a_check_that_fails_for_one_partition_fails_the_backfill(live: Project, tag: str) -> None:
    colors = ("--asset", "checked_colors", "--all-partitions")
    status, document, talk = run(live, tag, *colors)
    assert document["backfill"]["status"] == "COMPLETED_SUCCESS"
    passed = {run["partition"]: run["checks"][0]["passed"] for run in document["runs"]}
    assert (status, passed) == (4, {"blue": True, "green": False, "red": False})
    assert "(green): check 'is_blue' of the asset 'checked_colors' failed (ERROR)" in talk
    name = document["backfill"]["id"]
    done = live.invoke("run", "--follow", name, "--fail-on-checks", "never", "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["runs"] == document["runs"]
