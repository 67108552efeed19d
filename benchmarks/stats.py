"""`invoke stats` over 10,000 runs against an Invoke task that sends the same requests.

The requests are those that the first call sends, noted by a proxy. Run alone on the machine:
uv run python benchmarks/stats.py; `--runs 500 --pairs 1` tries it quickly.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from pairs import Command, Pair, report

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


def main() -> int:
    """Time the first call, and the second one, with the same peer."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--runs", type=int, default=10_000)
    parser.add_argument("--pairs", type=int, default=5)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        scratch = Path(name)
        home = scratch / "home"
        runs = history.plan(given.runs, end=END, days=DAYS)
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
            found = [Pair(First(call), peer, limit=1.25).measure(given.pairs)]
            found.append(Pair(call, peer, limit=0.2).measure(given.pairs))
    return report(found)


if __name__ == "__main__":
    raise SystemExit(main())
