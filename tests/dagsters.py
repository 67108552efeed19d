"""Real Dagster servers for tests, and what they say happened."""

from __future__ import annotations

import sys
from pathlib import Path

from dagmar.server.client import DagsterClient
from dagsterserver import DagsterServer

LOCATIONS = Path(__file__).parent / "live" / "locations"
INSTANCE = """\
telemetry: {enabled: false}
run_coordinator: {module: dagster._core.run_coordinator, class: DefaultRunCoordinator}
"""
QUEUED = "telemetry: {enabled: false}\n"


def dagster_server(home: Path, *command: str, instance: str = INSTANCE) -> DagsterServer:
    """Return a Dagster over the code locations in `live/locations`, not started yet.

    `command` is what follows `python -m`; its instance is kept in `home`.
    """
    home.mkdir(parents=True, exist_ok=True)
    if not (home / "dagster.yaml").exists():
        (home / "dagster.yaml").write_text(instance, "utf-8")
    return DagsterServer(
        [sys.executable, "-W", "ignore", "-m", *command, "-w", "workspace.yaml", "-p", "{port}"],
        LOCATIONS,
        home / f"{'-'.join(command)}.log".replace("--", ""),
        {
            "DAGSTER_HOME": str(home),
            "SLOW_UNTIL": str(home / "go-on"),
            "SECOND_FAILS_WHILE": str(home / "second-fails"),
            "IMPORT_FAILS_WHILE": str(home / "import-fails"),
        },
    )


def runs_tagged(client: DagsterClient, tag: str) -> list[str]:
    """Count on the server: the ids of the runs with the tag `test=<tag>`."""
    tags = [{"key": "test", "value": tag}]
    answer = client.query("RunsByTag", tags=tags)["runsOrError"]
    return [run["runId"] for run in answer["results"]]


def backfills_tagged(client: DagsterClient, tag: str) -> list[str]:
    """Count on the server: the ids of the newest backfills with the tag `test=<tag>`."""
    answer = client.query("NewestBackfills")["partitionBackfillsOrError"]
    wanted = {"key": "test", "value": tag}
    return [backfill["id"] for backfill in answer["results"] if wanted in backfill["tags"]]


def tags_of(client: DagsterClient, run_id: str) -> dict[str, str]:
    """Return a run's tags."""
    run = client.query("RunState", id=run_id)["runOrError"]
    return {tag["key"]: tag["value"] for tag in run["tags"]}


def logged(client: DagsterClient, run_id: str) -> str:
    """Return the messages of a run's log."""
    answer = client.query("RunStateAndLogs", id=run_id, cursor=None)["logsForRun"]
    return "\n".join(event["message"] for event in answer["events"])
