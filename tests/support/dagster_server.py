"""A real Dagster server as a child process, and what it says happened."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType

from dagmar.dev.ports import HOST, free_port
from dagmar.errors import SetupError, TimedOut
from dagmar.server.client import DagsterClient
from support import forked
from support.processes import die_with_tests

LOCATIONS = Path(__file__).parents[1] / "live" / "locations"
QUICK_DAGSTER = str(Path(__file__).with_name("quick_dagster"))
INSTANCE = """\
telemetry: {enabled: false}
run_coordinator: {module: dagster._core.run_coordinator, class: DefaultRunCoordinator}
"""
QUEUED = "telemetry: {enabled: false}\n"
INTERRUPT_SECONDS = 15.0
TERMINATE_SECONDS = 5.0


class DagsterServer:
    """A Dagster webserver with all that it starts, as a context manager.

    `command` is run in `folder`; `{port}` in it becomes the port. What it prints goes to `log`.
    """

    def __init__(
        self,
        command: Sequence[str],
        folder: Path,
        log: Path,
        environ: Mapping[str, str] | None = None,
        port: int | None = None,
        path_prefix: str = "",
    ) -> None:
        self.port = free_port(port)
        self.url = f"http://{HOST}:{self.port}{path_prefix}"
        self.log = log
        self._command = [part.replace("{port}", str(self.port)) for part in command]
        self._folder = folder
        self._environ = {**os.environ, **(environ or {})}
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> DagsterServer:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    def start(self) -> None:
        """Start the process. Raises SetupError if its program is missing."""
        self.log.parent.mkdir(parents=True, exist_ok=True)
        try:
            with self.log.open("wb") as log:
                self._process = subprocess.Popen(
                    self._command,
                    cwd=self._folder,
                    env=self._environ,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    start_new_session=True,
                    preexec_fn=die_with_tests,
                )
        except FileNotFoundError:
            raise SetupError(
                f"{self._command[0]} is not installed",
                command="uv sync",
            ) from None

    @property
    def group(self) -> int | None:
        """The id of the process group of the server and its children, while it runs."""
        return self._process.pid if self._process else None

    def wait(self, seconds: float = 300.0) -> None:
        """Wait until code locations have loaded and the server answers.

        Raises SetupError with the last lines of its log if it ends before that, TimedOut.
        """
        import requests

        deadline = time.monotonic() + seconds
        with requests.Session() as session:
            session.trust_env = False
            while time.monotonic() < deadline:
                if self._process is None or self._process.poll() is not None:
                    raise SetupError(f"Dagster ended before it was ready:\n{self.last_lines()}")
                with contextlib.suppress(requests.RequestException, ValueError):
                    answer = session.get(f"{self.url}/server_info", timeout=5)
                    if answer.ok and "dagster_version" in answer.json():
                        return
                time.sleep(0.1)
        raise TimedOut(f"Dagster was not ready after {seconds:g} s:\n{self.last_lines()}")

    def last_lines(self, count: int = 15) -> str:
        """Return the end of the log."""
        lines = self.log.read_text("utf-8", "replace").splitlines()
        return "\n".join(lines[-count:])

    def stop(self) -> None:
        """Stop the server and everything in its process group: INT, then TERM, then KILL."""
        process, self._process = self._process, None
        if process is None:
            return
        for number, seconds in (
            (signal.SIGINT, INTERRUPT_SECONDS),
            (signal.SIGTERM, TERMINATE_SECONDS),
            (signal.SIGKILL, TERMINATE_SECONDS),
        ):
            # The leader first: it ends its children in order.
            target = os.kill if number == signal.SIGINT else os.killpg
            with contextlib.suppress(ProcessLookupError):
                target(process.pid, number)
            if _wait_for_group(process, seconds):
                return


def _wait_for_group(process: subprocess.Popen[bytes], seconds: float) -> bool:
    """Wait until no process of the group is left."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        process.poll()  # reaps the leader, which would count as alive
        try:
            os.killpg(process.pid, 0)
        except ProcessLookupError:
            return True
        time.sleep(0.05)
    return False


def quick() -> dict[str, str]:
    """Return the variables with which a Dagster server forks its runs, and looks around often."""
    places = filter(None, (QUICK_DAGSTER, os.environ.get("PYTHONPATH")))
    runs = {"FORK_RUNS": "1"} if forked.profile.may_fork else {}
    return {"PYTHONPATH": os.pathsep.join(places), **runs}


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
            **quick(),
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
