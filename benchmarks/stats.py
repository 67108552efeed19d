"""`invoke stats` over 10,000 runs against an Invoke task that sends the same requests.

The requests are those that the first call sends, noted by a proxy.
"""

from __future__ import annotations

import json
import shutil
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from pairs import Command, Count, Row, pair

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))
from support import history
from support.dagster_server import DagsterServer
from support.fault_proxy import FaultProxy
from support.project import make_project

PEER = """
import json
from pathlib import Path

import requests
from invoke import task


@task
def stats(c):
    runs = 0
    with requests.Session() as session:
        for body in json.loads(Path("{bodies}").read_text()):
            answer = session.post("{url}/graphql", json=body).json()["data"]
            runs += len(answer.get("runsOrError", {{}}).get("results", ()))
    print(runs)
"""
DAYS = 14
END = 1_790_000_000.0
WINDOW = ["--from", "2026-09-14T14:13:20Z", "--to", "2026-09-21T14:13:20Z"]


@dataclass(frozen=True)
class First:
    """A command without its cache: the first call."""

    command: Command

    @property
    def name(self) -> str:
        return f"{self.command.name}, first call"

    def seconds(self) -> float:
        shutil.rmtree(self.command.folder / ".dagmar", ignore_errors=True)
        return self.command.seconds()


def rows(count: Count) -> Iterator[Row]:
    """Time the first call, and the second one, with the same peer."""
    with tempfile.TemporaryDirectory() as name:
        scratch = Path(name)
        home = scratch / "home"
        runs = history.plan(count(10_000, 100), end=END, days=DAYS)
        history.generate(history.open_instance(home), runs)
        (scratch / "workspace.yaml").write_text("load_from: []\n")
        webserver = [sys.executable, "-m", "dagster_webserver", "-w", "workspace.yaml"]
        command = [*webserver, "--port", "{port}"]
        environ = {"DAGSTER_HOME": str(home)}
        with DagsterServer(command, scratch, scratch / "log", environ) as dagster:
            dagster.wait(300)
            invoke = [sys.executable, "-m", "invoke", "stats"]
            noting = make_project(scratch / "noting").root
            with FaultProxy(dagster.url) as proxy:
                Command("stats", [*invoke, *WINDOW, "--url", proxy.url], noting).seconds()
                bodies = [json.loads(body) for body in proxy.bodies]
            (scratch / "bodies.json").write_text(json.dumps(bodies))
            ours = make_project(scratch / "ours", f"targets: {{local: {{url: '{dagster.url}'}}}}\n")
            (scratch / "peer").mkdir()
            peer_tasks = PEER.format(bodies=scratch / "bodies.json", url=dagster.url)
            (scratch / "peer" / "tasks.py").write_text(peer_tasks)
            peer = Command(f"requests, {len(bodies)} requests", invoke, scratch / "peer")
            call = Command(f"stats, {len(runs):,} runs", [*invoke, *WINDOW, "--json"], ours.root)
            yield pair(First(call), peer, 1.25, count(3))
            yield pair(call, peer, 0.2, count(3))
