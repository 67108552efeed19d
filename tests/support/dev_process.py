"""`invoke dev` as a real process, and what /proc says is left of it."""

from __future__ import annotations

import contextlib
import json
import os
import queue
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import requests
from dagmar.dev.ports import free_port
from dagmar.project.settings import Target
from dagmar.server.client import DagsterClient
from support.processes import TAG, die_with_tests, listening, open_files, tagged
from support.project import TASKS

SECONDS = 300.0

PYPROJECT = """\
[project]
name = "shop"
version = "0.1.0"

[tool.dg]
directory_type = "project"

[tool.dg.project]
root_module = "shop"

[tool.marimo.runtime]
auto_instantiate = true
"""
DEFINITIONS = """\
import os
import time
from pathlib import Path

import dagster as dg


@dg.asset
def orders():
    return 1


@dg.asset(deps=[orders])
def slow():
    Path(os.environ["SLOW_STARTED"]).write_text(str(os.getpid()))
    while True:
        time.sleep(0.1)


defs = dg.Definitions(assets=[orders, slow])
"""
NOTEBOOK = """\
import marimo

__generated_with = "0.25.2"
app = marimo.App()


@app.cell
def _():
    import os

    import marimo as mo

    mo.md(f"Home is {os.environ['DAGSTER_HOME']}")
    return


if __name__ == "__main__":
    app.run()
"""


def make_dev_project(root: Path) -> Path:
    """Write a small dg project with an asset that never ends and a notebook."""
    for folder in ("src/shop", "notebooks"):
        (root / folder).mkdir(parents=True)
    (root / "tasks.py").write_text(TASKS, "utf-8")
    (root / "dagmar.yaml").write_text("", "utf-8")
    (root / "pyproject.toml").write_text(PYPROJECT, "utf-8")
    (root / "src/shop/__init__.py").touch()
    (root / "src/shop/definitions.py").write_text(DEFINITIONS, "utf-8")
    (root / "notebooks/orders.py").write_text(NOTEBOOK, "utf-8")
    return root


class Dev:
    """One `invoke dev --json`, whose processes carry a tag of this test in their environment."""

    def __init__(
        self,
        root: Path,
        *flags: str,
        environ: Mapping[str, str] | None = None,
        ignore_interrupt: bool = False,
        program: tuple[str, ...] = (sys.executable, "-m", "invoke"),
    ) -> None:
        self.root = root
        self.tag = uuid.uuid4().hex
        # Short: sockets live below it, and their paths are limited.
        self.temporary = Path(tempfile.mkdtemp(prefix="dv"))
        self.slow = self.temporary / "slow-started"
        self.events: list[dict[str, Any]] = []
        self.talk: list[str] = []
        self._coming: queue.Queue[dict[str, Any] | None] = queue.Queue()
        self.process = subprocess.Popen(
            [*program, "dev", "--json", "--no-open", *flags],
            cwd=root,
            env={
                **os.environ,
                "XDG_CONFIG_HOME": str(root / "no-config"),
                "TMPDIR": str(self.temporary),
                "SLOW_STARTED": str(self.slow),
                TAG: self.tag,
                **(environ or {}),
            },
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
            preexec_fn=_ignore_interrupt if ignore_interrupt else die_with_tests,
        )
        self._threads = [
            threading.Thread(target=target, daemon=True) for target in (self._read, self._listen)
        ]
        for thread in self._threads:
            thread.start()

    def _read(self) -> None:
        assert self.process.stdout
        for line in self.process.stdout:
            event = json.loads(line)
            self.events.append(event)
            self._coming.put(event)
        self._coming.put(None)

    def _listen(self) -> None:
        assert self.process.stderr
        self.talk.extend(iter(self.process.stderr.readline, ""))

    def until(self, name: str, **fields: Any) -> dict[str, Any]:
        """Wait for an event."""
        deadline = time.monotonic() + SECONDS
        while True:
            with contextlib.suppress(queue.Empty):
                event = self._coming.get(timeout=max(deadline - time.monotonic(), 0.01))
                assert event is not None, f"no {name}:\n{self.said}"
                if event["event"] == name and fields.items() <= event.items():
                    return event
            assert time.monotonic() < deadline, f"no {name}:\n{self.said}"

    @property
    def said(self) -> str:
        """All that was said so far."""
        return "\n".join(map(str, self.events)) + "\n" + "".join(self.talk)

    def pid_of(self, server: str) -> int:
        """The process that was started last for a server."""
        return next(
            int(event["pid"])
            for event in reversed(self.events)
            if event["event"] == "starting" and event["server"] == server
        )

    def launch_slow(self, url: str) -> str:
        """Launch the asset that never ends, and wait until its step runs. Returns the run's id."""
        body = {
            "query": "mutation($p: ExecutionParams!) { launchRun(executionParams: $p) "
            "{ ... on LaunchRunSuccess { run { runId } } ... on PythonError { message } } }",
            "variables": {
                "p": {
                    "selector": {
                        "jobName": "__ASSET_JOB",
                        "repositoryName": "__repository__",
                        "repositoryLocationName": "shop",
                        "assetSelection": [{"path": ["slow"]}],
                    }
                }
            },
        }
        answer = requests.post(f"{url}/graphql", json=body, timeout=240).json()
        run_id = str(answer["data"]["launchRun"]["run"]["runId"])
        wait_for(lambda: self.slow.exists(), "the step runs", self)
        return run_id

    def processes(self) -> list[str]:
        """The processes that carry the tag: supervisor, guard, servers, runs."""
        return tagged(self.tag)

    def sockets(self) -> set[str]:
        """The inodes of the listening sockets of those processes."""
        opened = [file for line in self.processes() for file in open_files(line.split()[0])]
        return {file[8:-1] for file in opened if file.startswith("socket:[")} & listening()

    def end(self) -> None:
        """Kill whatever a failed test left."""
        for line in self.processes():
            with contextlib.suppress(ProcessLookupError):
                os.kill(int(line.split()[0]), signal.SIGKILL)
        self.process.wait()
        shutil.rmtree(self.temporary, ignore_errors=True)

    def finished(self) -> int:
        """Wait for the end of the supervisor, and return its status."""
        status = self.process.wait(SECONDS)
        for thread in self._threads:
            thread.join(10)
        return status


def _ignore_interrupt() -> None:
    die_with_tests()
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def wait_for(
    condition: Callable[[], object], what: str, dev: Dev, seconds: float = SECONDS
) -> None:
    """Wait until a condition holds."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"not within {seconds:g} s: {what}\n{dev.said}"
        time.sleep(0.02)


@contextlib.contextmanager
def running_dev(root: Path, *flags: str, **options: Any) -> Iterator[Dev]:
    """Start `invoke dev --json` on ports that are free now; nothing of it outlives the block."""
    ports: list[str] = []
    used = {int(flag) for flag in flags if flag.isdigit()}
    for flag in ("--dagster-port", "--marimo-port"):
        if flag not in flags:
            used.add(port := free_port(avoid=used))
            ports += [flag, str(port)]
    dev = Dev(root, *ports, *flags, **options)
    try:
        yield dev
    finally:
        dev.end()


def run_status(url: str, run_id: str) -> str:
    """Return the status of a run."""
    with DagsterClient(Target("local", url)) as client:
        return str(client.query("RunState", id=run_id)["runOrError"]["status"])


def stored_status(root: Path, run_id: str) -> str:
    """Return the status of a run as the project's instance holds it, without a server."""
    import sqlite3

    with contextlib.closing(sqlite3.connect(root / ".dagmar/dagster_home/history/runs.db")) as db:
        (status,) = db.execute("select status from runs where run_id = ?", (run_id,)).fetchone()
        return str(status)
