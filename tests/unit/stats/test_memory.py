"""Memory does not grow with the number of runs."""

from __future__ import annotations

import subprocess
import sys
import tracemalloc
from pathlib import Path

import pytest
from dagmar.asset_key import AssetKey
from dagmar.stats.cache import Cache
from dagmar.stats.figures import Figures, Only
from dagmar.stats.records import RunRecord
from dagmar.stats.window import Window
from support import history
from support.project import make_project

END = 1_790_000_000.0
MEASURED = """
import runpy, sys
from pathlib import Path
sys.argv = ["invoke", *sys.argv[1:]]
try:
    runpy.run_module("invoke", run_name="__main__")
finally:
    # The one of `resource` begins with the memory of the process that started this one.
    status = dict(line.split(":") for line in Path("/proc/self/status").read_text().splitlines())
    print(status["VmHWM"].split()[0], file=sys.stderr)
"""


def run(number: int, of: int) -> RunRecord:
    created = END - 1000 + 1000 * number / of
    return RunRecord(
        f"{number:08}-0000-4000-8000-000000000000", "SUCCESS", "__ASSET_JOB", "sales",
        (AssetKey(f"a{number % 20}"),), created, created + 1, created + 2 + number % 7, created,
        f"p{number % 1000}",
    )  # fmt: skip


def peak(folder: Path, count: int) -> int:
    """Return the most bytes that Python had, from the pages to the figures."""
    tracemalloc.start()
    with Cache(folder, "http://here", str(count)) as cache:
        for start in range(0, count, 250):
            with cache.writing():
                cache.add(run(number, count) for number in range(start, start + 250))
        window, before = Window(END - 500, END + 1), Window(END - 1001, END - 500)
        figures = Figures(cache, window, before, Only())
        rows = figures.rows("asset")
        assert sum(sum(row.pair("runs")) for row in rows) == count
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return most


def test_aggregating_ten_times_as_many_runs_takes_no_more_memory(tmp_path: Path) -> None:
    peak(tmp_path, 250)  # what is imported and compiled once
    # A record of each run would be more than a megabyte.
    assert peak(tmp_path, 2500) - peak(tmp_path, 250) < 100_000


@pytest.mark.nightly
def test_a_history_of_ten_thousand_runs_takes_as_much_memory_as_one_of_a_thousand(
    tmp_path: Path,
) -> None:
    peaks = []
    for count in (1000, 10_000):
        instance = history.open_instance(tmp_path / str(count))
        history.generate(instance, history.plan(count, end=END, days=14))
        project = make_project(tmp_path / f"project{count}")
        with history.serve(instance, END) as served:
            done = subprocess.run(
                [sys.executable, "-c", MEASURED, "stats", "--json", "--url", served.url],
                cwd=project.root, capture_output=True, text=True, check=True, timeout=1800,
            )  # fmt: skip
        peaks.append(int(done.stderr.split()[-1]))
    assert peaks[1] < 1.1 * peaks[0], peaks
