"""`pair.materialize(here=True)` in a warm kernel against `dg launch` and against `invoke run`.

The asset is `raw/flights` of the example, on the project's own instance while its Dagster runs:
every one of these runs is recorded there. Ours is what a click does, from the click to its answer.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from example import PACKAGE, environment, make_project, program
from pairs import Command, Count, Row, pair, value

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))
from support.dagster_server import DagsterServer

ASSET = "raw/flights"
MOST_SECONDS = 1.0
# A kernel: it runs the asset for each line that it reads, and prints how long that took. A click
# counts only in a notebook that somebody has open, so this calls the function behind it.
KERNEL = f"""
import sys
import time

import dagmar
from dagmar.pair.controls import LaunchOptions
from dagmar.pair.buttons import materialize_here

pair = dagmar.Pair(asset={ASSET!r})
for _ in sys.stdin:
    started = time.perf_counter()
    attempt = materialize_here(pair._context, LaunchOptions())
    took = time.perf_counter() - started
    if attempt.error or not attempt.run_id:
        raise SystemExit(f"{{attempt}}")
    print(took, attempt.run_id, flush=True)
"""


class Kernel:
    """A Python process that has everything loaded after its first run."""

    name = "materialize(here=True), warm"

    def __init__(
        self, project: Path, environ: dict[str, str], script: str = KERNEL, *arguments: str
    ) -> None:
        self.runs: list[str] = []
        self._process = subprocess.Popen(
            [sys.executable, "-c", script, *arguments],
            cwd=project,
            env=environ,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )

    def __enter__(self) -> Kernel:
        return self

    def __exit__(self, *error: object) -> None:
        self._process.communicate()

    def seconds(self) -> float:
        """Materialize once."""
        return self.click()

    def click(self, line: str = "") -> float:
        """Send a line to the process, and return how long it says that its work took."""
        assert self._process.stdin
        assert self._process.stdout
        self._process.stdin.write(f"{line}\n")
        self._process.stdin.flush()
        took, _, run = self._process.stdout.readline().partition(" ")
        if not run:
            raise SystemExit(f"{self.name} failed")
        self.runs.append(run.strip())
        return float(took)


def rows(count: Count) -> Iterator[Row]:
    """Time 5 pairs with `dg launch` and 7 with `invoke run`, and what a click takes alone."""
    with tempfile.TemporaryDirectory() as folder:
        project = make_project(Path(folder))
        environ = environment(project)
        webserver = [sys.executable, "-m", "dagster_webserver", "-m", f"{PACKAGE}.definitions"]
        command = [*webserver, "-d", str(project / "src"), "--port", "{port}"]
        with DagsterServer(command, project, Path(folder) / "log", environ) as dagster:
            dagster.wait()
            (project / "dagmar.yaml").write_text(f"targets: {{local: {{url: '{dagster.url}'}}}}\n")
            invoke = [sys.executable, "-m", "invoke", "run", "--asset", ASSET]
            launch = [program("dg"), "launch", "--assets", f'key:"{ASSET}"']
            with Kernel(project, environ) as kernel:
                for name, arguments, limit, times in (
                    ("dg launch", launch, 1 / 30, count(5)),
                    ("invoke run", invoke, 1 / 10, count(7)),
                ):
                    peer = Command(name, arguments, project, environ)
                    yield pair(kernel, peer, limit, times)
                clicks = [kernel.seconds() for _ in range(count(7))]
                yield value(Kernel.name, clicks, MOST_SECONDS)
            _see_recorded(project, environ, kernel.runs)


def _see_recorded(project: Path, environ: dict[str, str], runs: list[str]) -> None:
    """See that the project's instance has every run, as a success."""
    script = (
        "import dagster as dg, json, sys\n"
        "with dg.DagsterInstance.get() as instance:\n"
        "    runs = [instance.get_run_by_id(run) for run in json.loads(sys.argv[1])]\n"
        "assert all(run and run.status is dg.DagsterRunStatus.SUCCESS for run in runs), runs\n"
    )
    Command(
        "runs in the instance", [sys.executable, "-c", script, json.dumps(runs)], project, environ
    ).seconds()
