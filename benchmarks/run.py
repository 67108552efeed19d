"""`invoke run` next to `dg launch` of the same asset, in turns, and the cost of following.

The delay is from the end of the run, as the server reports it, to the end of the command. Its
median is judged: a run that ends just after a look is seen half a second later, and the command
then needs a moment to end. Looking more often would be more than 2 requests a second. What is
asked once, after the end, is not counted as following.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime
from pathlib import Path

from pairs import Command, Count, Row, value

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))
from support.dagster_server import DagsterServer
from support.fault_proxy import FaultProxy

DEFINITIONS = """\
import dagster as dg


@dg.asset
def small() -> None: ...


defs = dg.Definitions(assets=[small], executor=dg.in_process_executor)
"""
PROJECT = """\
[project]
name = "one"
version = "0.1.0"
[tool.dg]
directory_type = "project"
[tool.dg.project]
root_module = "one"
"""
INSTANCE = """\
telemetry: {enabled: false}
run_coordinator: {module: dagster._core.run_coordinator, class: DefaultRunCoordinator}
"""


def make(scratch: Path) -> None:
    """Write a dg project with one small asset, and its instance."""
    package = scratch / "src" / "one"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("")
    (package / "definitions.py").write_text(DEFINITIONS)
    (scratch / "pyproject.toml").write_text(PROJECT)
    (scratch / "home").mkdir()
    (scratch / "home" / "dagster.yaml").write_text(INSTANCE)
    text = "from dagmar.tasks import namespace\n\nns = namespace(__file__)\n"
    (scratch / "tasks.py").write_text(text)


def rows(count: Count) -> Iterator[Row]:
    """Launch 9 runs, and as many with `dg launch`: delays, requests, and whole commands."""
    runs = count(9)
    with tempfile.TemporaryDirectory() as folder:
        scratch = Path(folder)
        make(scratch)
        environ = {"DAGSTER_HOME": str(scratch / "home"), "PYTHONPATH": str(scratch / "src")}
        webserver = [sys.executable, "-m", "dagster_webserver", "-m", "one.definitions"]
        with (
            DagsterServer(
                [*webserver, "--port", "{port}"], scratch, scratch / "log", environ
            ) as dagster,
            FaultProxy(dagster.url) as counter,
        ):
            dagster.wait()
            (scratch / "dagmar.yaml").write_text(f"targets: {{local: {{url: '{counter.url}'}}}}")
            dg = Command(
                "dg launch, the same asset",
                [str(Path(sys.executable).with_name("dg")), "launch", "--assets", "small"],
                scratch,
                {**os.environ, **environ},
            )
            delays, rates, before, whole, peers = [], [], [], [], []
            for _ in range(runs):
                del counter.bodies[:], counter.moments[:]
                started = time.time()
                done = subprocess.run(
                    [sys.executable, "-m", "invoke", "run", "--asset", "small", "--json"],
                    cwd=scratch,
                    capture_output=True,
                    text=True,
                    check=True,
                )
                ended = time.time()
                (run,) = json.loads(done.stdout)["runs"]
                delays.append(ended - datetime.fromisoformat(run["ended_at"]).timestamp())
                names = counter.operations
                launch = names.index("LaunchRun")
                before.append(launch)
                end = max(number for number, name in enumerate(names) if name == "RunState")
                looks = counter.moments[launch + 1 : end + 1]
                rates.append((len(looks) - 1) / (looks[-1] - looks[0]))
                whole.append(ended - started)
                peers.append(dg.seconds())
    yield value("invoke run: from the run's end to the command's", delays, 0.5)
    yield value("invoke run: most requests before the launch", before, 3, "requests", max)
    yield value("invoke run: requests while following", rates, 2, "requests/s")
    medians = [statistics.median(times) for times in (whole, peers)]
    ratios = [ours / theirs for ours, theirs in zip(whole, peers, strict=True)]
    yield replace(
        value("invoke run", ratios, 1, "×"),
        peer=dg.name,
        ours_seconds=medians[0],
        peer_seconds=medians[1],
    )
