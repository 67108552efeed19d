"""Edit, click, see: a preview against `dg launch`, a reload against Dagster's, and large diffs.

The preview is what a click does in a warm kernel after an edit, from the save to the HTML of the
value and its diff; `dg launch` runs after the same edit. Both use the example.
"""

from __future__ import annotations

import itertools
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from dagmar.dev.ports import free_port
from dagmar.project.settings import Target
from dagmar.server.client import DagsterClient
from dagmar.server.reloading import loaded_locations, reload_location
from dev import start, stop
from example import environment, make_project, program
from here import Kernel
from pairs import Command, Count, Row, gap, pair, value

MOST_SECONDS = 1.0
DIFF_SECONDS, DIFF_MEMORY = 3.0, 1.5
DAY = "2013-01-09"
ASSETS = {
    "raw/flights": None,
    "clean/flights": None,
    "daily_delays": DAY,
    "on_time_rate": None,
    "on_time_report": None,
}
EDITED = "on_time_report"
LINE = "ON_TIME_MINUTES = "
RECORD = f"""
from pathlib import Path
from dagmar.orchestration import here

for key, partition in {ASSETS!r}.items():
    assert here.materialize(Path.cwd(), key, partition=partition).success
"""
PREVIEW = """
import sys
import time
from pathlib import Path

import dagmar
from dagmar.pair.controls import LaunchOptions
from dagmar.pair.previewing import _preview

asset, partition = sys.argv[1], sys.argv[2] or None
pair = dagmar.Pair(asset=asset)
for line in sys.stdin:
    file, text = eval(line)
    started = time.perf_counter()
    Path(file).write_text(text, "utf-8")
    shown = _preview(pair._context, LaunchOptions(partitions=(partition,) if partition else ()), ())
    page = shown._display_().text
    took = time.perf_counter() - started
    if shown.error or "Difference" not in page:
        raise SystemExit(f"{shown.error}")
    print(took, "shown", flush=True)
"""
DIFF = """
import sys
import time
from pathlib import Path

import numpy as np
from dagmar.diff.compare import compare

library, order = sys.argv[1:3]
rows = int(sys.argv[3])
random = np.random.default_rng(1)
cells = {"id": np.arange(rows)}
cells |= {f"float {i}": random.normal(size=rows) for i in range(10)}
cells |= {f"int {i}": random.integers(0, 1000, rows) for i in range(5)}
names = np.array(["Oslo", "Bergen", "Tromso", "Vardo"])
cells |= {f"text {i}": names[random.integers(0, 4, rows)].tolist() for i in range(3)}
cells["day"] = np.datetime64("2026-01-01", "us") + random.integers(0, 10**12, rows)
after = {**cells, "float 3": cells["float 3"] + (random.random(rows) < 0.1)}
order = random.permutation(rows) if order == "shuffled" else None
if library == "polars":
    import polars as pl
    old, new = pl.DataFrame(cells), pl.DataFrame(after)
    new = new if order is None else new[order]
    size = old.estimated_size() + new.estimated_size()
else:
    import pandas as pd
    old, new = pd.DataFrame(cells), pd.DataFrame(after)
    new = new if order is None else new.iloc[order].reset_index(drop=True)
    size = sum(int(each.memory_usage(deep=True).sum()) for each in (old, new))
del cells, after
small = slice(0, 1000)
compare(old[small], new[small])  # imports are not the diff's time

def resident(name):
    lines = Path("/proc/self/status").read_text().splitlines()
    return 1024 * next(int(line.split()[1]) for line in lines if line.startswith(name))

Path("/proc/self/clear_refs").write_text("5")
before, started = resident("VmRSS"), time.perf_counter()
found = compare(old, new)
took = time.perf_counter() - started
more = resident("VmHWM") - before
changed = {column.name: column.changed for column in found.columns if column.changed}
assert list(changed) == ["float 3"] and found.rows.compared == rows, (changed, found.rows)
print(took, (size + more) / size)
"""


class Edits:
    """The example's file of assets, in which each edit changes a number."""

    def __init__(self, project: Path) -> None:
        self.file = next(project.glob("src/*/defs/flights/assets.py"))
        self._before, _, rest = self.file.read_text("utf-8").partition(LINE)
        self._after = rest[2:]
        self._numbers = itertools.cycle(range(16, 60))

    def next(self) -> str:
        """Return the text of the file after one more edit."""
        return f"{self._before}{LINE}{next(self._numbers)}{self._after}"

    def save(self) -> None:
        """Edit the file."""
        self.file.write_text(self.next(), "utf-8")


class Previews(Kernel):
    """A warm kernel that edits the file and previews the asset."""

    name = "preview, warm"

    def __init__(
        self, asset: str, partition: str | None, project: Path, environ: dict[str, str]
    ) -> None:
        super().__init__(project, environ, PREVIEW, asset, partition or "")
        self._edits = Edits(project)

    def seconds(self) -> float:
        """Edit and preview once."""
        return self.click(repr((str(self._edits.file), self._edits.next())))


@dataclass(frozen=True)
class Edited(Command):
    """A command that is run after an edit, which is not timed."""

    def seconds(self) -> float:
        """Edit, and run it once."""
        Edits(self.folder).save()
        return super().seconds()


class Saves:
    """From the save of a file to the line of `invoke dev --json` about its reload."""

    name = "invoke dev, save to report"

    def __init__(self, dev: subprocess.Popen[str], project: Path) -> None:
        self._dev, self._edits = dev, Edits(project)

    def seconds(self) -> float:
        """Save once."""
        started = time.perf_counter()
        self._edits.save()
        self.wait("reloaded")
        return time.perf_counter() - started

    def wait(self, event: str) -> None:
        """Read until this event."""
        assert self._dev.stdout
        for line in self._dev.stdout:
            if json.loads(line)["event"] == event:
                return
        raise SystemExit(f"invoke dev ended before {event}")


class Reload:
    """The GraphQL mutation that reloads the code location, until its answer."""

    name = "reloadRepositoryLocation"

    def __init__(self, client: DagsterClient) -> None:
        self._client = client
        (self._location,) = loaded_locations(client)

    def seconds(self) -> float:
        """Reload once."""
        started = time.perf_counter()
        if reload_location(self._client, self._location).failure:
            raise SystemExit("the code location does not load")
        return time.perf_counter() - started


def previews(project: Path, environ: dict[str, str], count: int) -> Iterator[Row]:
    """Time previews against `dg launch` after the same edit, and alone for each asset."""
    launch = [program("dg"), "launch", "--assets", f'key:"{EDITED}"']
    for asset, partition in ASSETS.items():
        with Previews(asset, partition, project, environ) as kernel:
            if asset == EDITED:
                peer = Edited("dg launch", launch, project, environ)
                yield pair(kernel, peer, 1 / 10, count)
            kernel.seconds()
            samples = [kernel.seconds() for _ in range(count)]
            yield value(f"preview of {asset}", samples, MOST_SECONDS)


def reloads(project: Path, count: int) -> Row:
    """Time reports of reloads against Dagster's own reloads."""
    port = free_port()
    flags = ["--json", "--no-open", "--no-marimo", "--dagster-port", str(port)]
    dev = start([sys.executable, "-m", "invoke", "dev", *flags], project)
    try:
        saves = Saves(dev, project)
        saves.wait("ready")
        with DagsterClient(Target("local", f"http://127.0.0.1:{port}")) as client:
            return gap(saves, Reload(client), 0.5, count)
    finally:
        stop(dev)


def diffs(project: Path, count: int, size: int) -> Iterator[Row]:
    """Time diffs of two frames of 20 columns, and see how much memory they take."""
    for library, order in itertools.product(("polars", "pandas"), ("in order", "shuffled")):
        command = [sys.executable, "-c", DIFF, library, order, str(size)]
        lines = [
            subprocess.run(command, cwd=project, check=True, capture_output=True, text=True).stdout
            for _ in range(count)
        ]
        took, memory = zip(*(map(float, line.split()) for line in lines), strict=True)
        name = f"diff of {library}, {order}, {size:,} rows"
        yield value(name, took, DIFF_SECONDS)
        yield value(f"{name}: memory, by that of the frames", memory, DIFF_MEMORY, "×")


def rows(count: Count) -> Iterator[Row]:
    """Time 5 pairs of each, and 3 diffs of a million rows."""
    with tempfile.TemporaryDirectory() as folder:
        project = make_project(Path(folder))
        environ = environment(project)
        Command("record", [sys.executable, "-c", RECORD], project, environ).seconds()
        yield from previews(project, environ, count(5))
        yield reloads(project, count(5))
        yield from diffs(project, count(3), count(1_000_000, 10_000))
