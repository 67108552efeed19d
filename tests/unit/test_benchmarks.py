"""`invoke bench`: its table, its limits, its trend, and what it keeps. Nothing is timed here."""

from __future__ import annotations

import itertools
import json
import subprocess
import sys
from dataclasses import asdict, replace
from pathlib import Path
from types import SimpleNamespace

import pytest
from dagmar.errors import Invalid, RunFailed

ROOT = Path(__file__).parents[2]
sys.path.append(str(ROOT / "benchmarks"))
import bench  # noqa: E402
import pairs  # noqa: E402

NOT_ALONE = {"against", "bench", "example", "pairs"}
ROW = pairs.Row("ours", "peer", 1.0, 2.0, 0.5, 0.4, 0.6, 0.9)


class Clock:
    """Something that takes known times."""

    def __init__(self, name: str, *seconds: float) -> None:
        self.name = name
        self._seconds = itertools.cycle(seconds)

    def seconds(self) -> float:
        """Return the next one."""
        return next(self._seconds)


def lines(values: list[float]) -> list[dict[str, object]]:
    """Return earlier measurements."""
    return [{**asdict(ROW), "value": value} for value in values]


def test_a_ratio_is_the_median_of_the_pairs_and_the_warm_up_does_not_count() -> None:
    ours, peer = Clock("a", 9.0, 1.0, 2.0, 3.0), Clock("b", 9.0, 2.0, 8.0, 3.0)
    row = pairs.pair(ours, peer, 0.6, 3)
    assert (row.ours_seconds, row.peer_seconds, row.value, row.low, row.high) == (
        2.0, 3.0, 0.5, 0.25, 1.0,
    )  # fmt: skip
    assert (row.kept, replace(row, limit=0.4).kept) == (True, False)


def test_a_gap_is_the_median_difference_and_a_value_has_no_peer() -> None:
    row = pairs.gap(Clock("a", 2.0), Clock("b", 1.5), 0.4, 3)
    assert (row.value, row.unit, row.kept) == (0.5, "s more", False)
    assert pairs.value("x", [3.0, 1.0, 2.0], 2.0).cells() == [
        "x", "", "—", "", "2.00 s", "1.00–3.00", "2.00 s", "kept",
    ]  # fmt: skip
    worst = pairs.value("x", [3.0, 1.0, 2.0], 2.0, "s", max)
    assert (worst.value, worst.low, worst.kept) == (3.0, 1.0, False)


def test_every_benchmark_is_run_by_the_one_command() -> None:
    files = {file.stem for file in (ROOT / "benchmarks").glob("*.py")} - NOT_ALONE
    assert files == {*bench.BENCHMARKS}
    for name in files:
        assert "def rows(count: Count) -> Iterator[Row]:" in (
            ROOT / f"benchmarks/{name}.py"
        ).read_text("utf-8")


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[pairs.Row]:
    """Two benchmarks that yield these rows; results go to another place."""
    rows = [ROW]
    for name in ("start", "export"):
        monkeypatch.setitem(sys.modules, name, SimpleNamespace(rows=lambda _: rows))
    monkeypatch.setattr(bench, "BENCHMARKS", ("start", "export"))
    monkeypatch.setattr(bench, "RESULTS", tmp_path / "results.json")
    monkeypatch.delenv("GITHUB_STEP_SUMMARY", raising=False)
    return rows


@pytest.mark.usefixtures("fake")
def test_a_name_that_is_not_there_is_refused() -> None:
    with pytest.raises(Invalid, match="'exprt' — did you mean 'export'"):
        bench.bench(["exprt"], quick=False, write=False, trend=None)


def test_a_missed_limit_fails_but_not_in_a_quick_run_or_a_trend(
    fake: list[pairs.Row], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fake[:] = [replace(ROW, limit=0.1)]
    with pytest.raises(RunFailed, match="limits are missed: ours, ours"):
        bench.bench([], quick=False, write=False, trend=None)
    assert "**missed**" in capsys.readouterr().out
    bench.bench([], quick=True, write=False, trend=None)
    bench.bench([], quick=False, write=False, trend=tmp_path / "trend.jsonl")


def test_results_are_kept_with_machine_and_versions_and_others_stay(
    fake: list[pairs.Row],
) -> None:
    assert "Not measured yet" in bench.page()
    bench.bench([], quick=False, write=True, trend=None)
    fake[:] = [replace(ROW, value=0.25)]
    bench.bench(["export"], quick=False, write=True, trend=None)
    page = bench.page()
    start, _, export = page.partition("\n## export\n")
    assert "| 1/2.0 ×" in start
    assert "| 1/4.0 ×" in export
    assert page.count(" cores, ") == page.count("dagster 1.") == 2


@pytest.mark.parametrize(
    ("before", "value", "warned"),
    [
        ([0.5, 0.5], 9.0, False),  # too few to know
        ([0.5, 0.55, 0.45], 0.6, False),  # as far apart as the samples are
        ([0.5, 0.55, 0.45], 0.9, True),
        ([0.5, 1.2, 0.45], 0.9, False),  # it was as slow before
        ([1.2, *[0.5] * bench.LAST], 0.9, True),  # but not lately
    ],
)
def test_a_trend_warns_of_what_is_worse_by_more_than_the_spread(
    before: list[float], value: float, warned: bool
) -> None:
    row = replace(ROW, value=value, low=value - 0.1, high=value + 0.1)
    assert bool(bench.compare([row], lines(before))) is warned
    assert bench.compare([replace(row, ours="another")], lines(before)) == []


def test_a_warning_is_in_the_job_summary_and_a_torn_line_is_skipped(
    fake: list[pairs.Row],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    trend, summary = tmp_path / "trend.jsonl", tmp_path / "summary.md"
    for _ in range(3):
        bench.bench(["start"], quick=True, write=False, trend=trend)
    with trend.open("a") as file:
        file.write('{"ours": "torn\n')
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(summary))
    fake[:] = [replace(ROW, value=3.0, low=2.9, high=3.1)]
    bench.bench(["start"], quick=True, write=False, trend=trend)
    assert "is not JSON" in capsys.readouterr().err
    assert summary.read_text() == (
        "- :warning: ours is 3.00 × peer, and was 1/2.0 (at most 1/2.0) in the last 3 "
        "measurements\n"
    )
    assert len(trend.read_text().splitlines()) == 5


def test_the_task_measures_prints_and_appends(tmp_path: Path) -> None:
    trend = tmp_path / "trend.jsonl"
    command = ["invoke", "bench", "--quick", "--only", "start", "--trend", str(trend)]
    done = subprocess.run(
        [sys.executable, "-m", *command], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert "| invoke --list | " in done.stdout
    (line,) = map(json.loads, trend.read_text("utf-8").splitlines())
    assert line["peer"] == "invoke --list, empty tasks.py"
    assert line["ours_seconds"] > 0 < line["peer_seconds"]


def test_a_quick_run_is_not_kept() -> None:
    command = ["invoke", "bench", "--quick", "--write"]
    done = subprocess.run([sys.executable, "-m", *command], cwd=ROOT, capture_output=True)
    assert done.returncode == 2
