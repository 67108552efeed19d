"""`invoke run` next to `dg launch` of the same asset, and the cost of following.

The delay is from the end of the run, as the server reports it, to the end of the command. Its
median is judged, and the longest is printed: a run that ends just after a look is seen half a
second later, and the command then needs a moment to end. Looking more often would be more than
2 requests a second.
Run alone on the machine: uv run python benchmarks/run.py
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from datetime import datetime
from pathlib import Path

from pairs import Command

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


def main() -> int:
    """Print delays, requests and whole commands; fail if a limit is missed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=9, help="how often (default: 9)")
    runs = parser.parse_args().runs
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
            delays, rates, before, whole = [], [], [], []
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
                looks = counter.moments[launch + 1 :]
                rates.append((len(looks) - 1) / (looks[-1] - looks[0]))
                whole.append(ended - started)
            dg = Command(
                "dg launch --assets small",
                [str(Path(sys.executable).with_name("dg")), "launch", "--assets", "small"],
                scratch,
                {**os.environ, **environ},
            )
            peers = [dg.seconds() for _ in range(min(runs, 3))]
    delay, rate = statistics.median(delays), statistics.median(rates)
    for what, figure, spread in (
        ("end of the run to end of the command, median at most 0.5 s", f"{delay:.2f} s", delays),
        ("requests before the launch, at most 3", str(max(before)), before),
        ("requests per second while following, at most 2", f"{rate:.2f}", rates),
        ("invoke run --asset small", f"{statistics.median(whole):.1f} s", whole),
        ("dg launch --assets small", f"{statistics.median(peers):.1f} s", peers),
    ):
        print(f"{what:59} {figure:>8}   ({min(spread):.2f}–{max(spread):.2f})")
    return int(delay > 0.5 or max(before) > 3 or rate > 2)


if __name__ == "__main__":
    raise SystemExit(main())
