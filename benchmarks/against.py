"""This checkout against another one, such as the last release: nothing may get slower.

The other one needs an environment: git worktree add ../before v1.0.0, then uv sync in it.
Run alone on the machine: uv run python benchmarks/against.py ../before
"""

from __future__ import annotations

import argparse
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import discover
import export
import start
from example import ROOT, environment
from pairs import COLUMNS, Command, Row, pair

LIMIT = 1.05
ASSETS = 1_000
# The example project with the notebooks of opening.py, made by the checkout itself.
PREPARE = """
import sys
from pathlib import Path

sys.path.insert(0, sys.argv[1])
from example import make_project
from opening import write_notebooks

project = make_project(Path(sys.argv[2]))
(project / "dagmar.yaml").write_text("targets: {local: {url: 'http://127.0.0.1:9'}}\\n")
write_notebooks(project)
"""
KERNEL = """
import sys

sys.path.insert(0, sys.argv[1])
import here

exec(here.KERNEL)
"""


@dataclass(frozen=True)
class Side:
    """One checkout, with its own example project."""

    name: str
    root: Path
    scratch: Path

    @property
    def python(self) -> str:
        """The interpreter of the checkout's environment."""
        return str(self.root / ".venv" / "bin" / "python")

    @property
    def project(self) -> Path:
        """The example project."""
        return self.scratch / "airline"

    def prepare(self) -> None:
        """Create the projects, and materialize what a notebook loads."""
        self.scratch.mkdir()
        benchmarks = str(self.root / "benchmarks")
        self.run(self.scratch, "-c", PREPARE, benchmarks, str(self.scratch))
        launch = "import sys; from dagster_dg_cli.cli import main; sys.argv[0] = 'dg'; main()"
        self.run(self.project, "-c", launch, "launch", "--assets", 'key:"raw/flights"')
        export.write_notebooks(self.scratch / "small")

    def run(self, folder: Path, *arguments: str) -> None:
        """Run this Python once; a failure ends the benchmark."""
        Command(
            arguments[0], [self.python, *arguments], folder, environment(self.project)
        ).seconds()

    def command(self, name: str, folder: Path, *arguments: str) -> Command:
        """Return a command of this checkout."""
        called = f"{name}, {self.name}"
        return Command(called, [self.python, *arguments], folder, environment(self.project))


class Kernel:
    """A Python process that runs an asset for each line that it reads."""

    def __init__(self, side: Side) -> None:
        self.name = f"materialize(here=True), {side.name}"
        self._process = subprocess.Popen(
            [side.python, "-c", KERNEL, str(side.root / "benchmarks")],
            cwd=side.project,
            env=environment(side.project),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def seconds(self) -> float:
        """Materialize once."""
        assert self._process.stdin
        assert self._process.stdout
        self._process.stdin.write("\n")
        self._process.stdin.flush()
        return float(self._process.stdout.readline().split()[0])

    def stop(self) -> None:
        """End the process."""
        self._process.communicate()


def compare(ours: Side, theirs: Side, count: int, name: str, place: str, *arguments: str) -> Row:
    """Time the same command of both checkouts, in a folder of each one's scratch."""
    both = (side.command(name, side.scratch / place, *arguments) for side in (ours, theirs))
    return pair(*both, LIMIT, count)


def measure(ours: Side, theirs: Side, times: int) -> Iterator[Row]:
    """Time everything but discover."""
    for side in (ours, theirs):
        (side.scratch / "tasks").mkdir()
        (side.scratch / "tasks" / "tasks.py").write_text(start.OURS)
    invoke = ("-m", "invoke")
    marimo = ("-m", "marimo", "-q", "export", "html")
    flags = ("--no-sandbox", "-f", "-o", "page.html")
    one = ("--notebook", "small_00.py", "--format", "html", "--format", "ipynb")
    every = ("--all", "--workers", "2")
    yield compare(ours, theirs, 3 * times, "invoke --list", "tasks", *invoke, "--list")
    for name in ("without", "loading"):
        page = (*marimo, f"notebooks/{name}.py", *flags)
        yield compare(ours, theirs, times, f"opening, {name}", "airline", *page)
    yield compare(ours, theirs, times, "export --all", "small", *invoke, "export", *every)
    yield compare(ours, theirs, times, "export", "small", *invoke, "export", *one)
    kernels = [Kernel(side) for side in (ours, theirs)]
    yield pair(*kernels, LIMIT, 5 * times)
    for kernel in kernels:
        kernel.stop()


def measure_discover(sides: Sequence[Side], scratch: Path, times: int) -> Iterator[Row]:
    """Time the catalog of one server, read again and from the cache."""
    with discover.serve(ASSETS, scratch) as dagster:
        for side in sides:
            folder = side.scratch / "many"
            folder.mkdir()
            (folder / "tasks.py").write_text(discover.OURS)
            (folder / "dagmar.yaml").write_text(f"targets: {{local: {{url: '{dagster.url}'}}}}")
        call = ("-m", "invoke", "discover", "--json")
        for name, flags in (("discover --refresh", ("--refresh",)), ("discover", ())):
            yield compare(*sides, 2 * times, name, "many", *call, *flags)


def main() -> int:
    """Time 5 pairs of the slow commands, or `--pairs`, and more of the quick ones."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("other", type=Path)
    parser.add_argument("--pairs", type=int, default=5)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        scratch = Path(folder)
        ours = Side("now", ROOT, scratch / "now")
        theirs = Side("before", options.other.resolve(), scratch / "before")
        for side in (ours, theirs):
            side.prepare()
        rows = [
            *measure(ours, theirs, options.pairs),
            *measure_discover((ours, theirs), scratch / "server", options.pairs),
        ]
    for cells in (COLUMNS, *(row.cells() for row in rows)):
        print("  ".join(cells))
    return int(not all(row.kept for row in rows))


if __name__ == "__main__":
    raise SystemExit(main())
