"""Runs the benchmarks, prints one table, and keeps the results: `invoke bench` of this repository.

Each module in `BENCHMARKS` has a function `rows(count)` that yields its comparisons.
"""

from __future__ import annotations

import importlib
import json
import os
import platform
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from datetime import datetime, timezone
from importlib.metadata import version
from pathlib import Path
from typing import Any

from dagmar.errors import Invalid, RunFailed, did_you_mean

HERE = Path(__file__).resolve().parent
sys.path.append(str(HERE))

from pairs import COLUMNS, Count, Row, ratio  # noqa: E402

BENCHMARKS = (
    "start", "discover", "run", "stats", "dev", "doctor", "scaffold", "here", "live", "export",
    "opening",
)  # fmt: skip
TREND = ("start", "export")
"""What a quick run measures: two that need no server, in about a minute."""
RESULTS = HERE / "results.json"
LAST = 10
"""How many earlier measurements a new one is compared with."""
VERSIONS = ("dagmar", "dagster", "marimo", "copier", "invoke")


def bench(only: Sequence[str], quick: bool, write: bool, trend: Path | None) -> None:
    """Time the benchmarks that are named, or all; print the table.

    `write` keeps the results for the documentation. `trend` is a file of JSON lines: the rows are
    compared with its last ones and appended, and nothing fails. Raises Invalid for an unknown name,
    RunFailed if a limit is missed.
    """
    if unknown := [name for name in only if name not in BENCHMARKS]:
        message = f"there is no benchmark {unknown[0]!r}{did_you_mean(unknown[0], BENCHMARKS)}"
        raise Invalid(message, f"There are: {', '.join(BENCHMARKS)}.")
    found: dict[str, list[Row]] = {}
    for name in only or (TREND if quick else BENCHMARKS):
        started = time.monotonic()
        found[name] = list(importlib.import_module(name).rows(Count(quick)))
        print(f"{name}: {time.monotonic() - started:.0f} s", flush=True)
        if write:
            _keep(name, found[name])
    rows = [row for each in found.values() for row in each]
    print(markdown([COLUMNS, *(row.cells() for row in rows)]))
    if trend:
        say(compare(rows, _read(trend)))
        _append(trend, rows)
    elif not quick and (missed := [row.ours for row in rows if not row.kept]):
        raise RunFailed(f"limits are missed: {', '.join(missed)}")


def markdown(lines: Iterable[Sequence[str]]) -> str:
    """Return a table, whose columns are aligned."""
    lines = list(lines)
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    lines.insert(1, ["-" * max(width, 3) for width in widths])
    return "\n".join(
        f"| {' | '.join(f'{cell:{width}}' for cell, width in zip(line, widths, strict=True))} |"
        for line in lines
    )


def page() -> str:
    """Return the kept results as a part of a page, one table for each machine and day."""
    if not RESULTS.exists():
        return "\nNot measured yet: `uv run invoke bench --write`.\n\n"
    kept = json.loads(RESULTS.read_text("utf-8"))
    texts = []
    for name in filter(kept.__contains__, BENCHMARKS):
        rows = [Row(**row).cells() for row in kept[name]["rows"]]
        texts.append(f"\n## {name}\n\n{kept[name]['on']}\n\n{markdown([COLUMNS, *rows])}\n")
    return "".join(texts) + "\n"


def compare(rows: Iterable[Row], before: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return a warning for each row that is worse than its last ones by more than their spread."""
    warnings = []
    for row in rows:
        last = [line["value"] for line in before if _key(line) == _key(asdict(row))][-LAST:]
        if len(last) < 3:
            continue
        usual, worst = sorted(last)[len(last) // 2], max(last)
        if row.low > worst and row.value > usual + (row.high - row.low):
            warnings.append(
                f"{row.ours} is {ratio(row.value)} {row.unit} {row.peer or 'alone'}, and was "
                f"{ratio(usual)} (at most {ratio(worst)}) in the last {len(last)} measurements"
            )
    return warnings


def say(warnings: Sequence[str]) -> None:
    """Print warnings, and write them into the job summary of a CI."""
    for warning in warnings:
        print(f"warning: {warning}", file=sys.stderr)
    if (summary := os.environ.get("GITHUB_STEP_SUMMARY")) and warnings:
        with Path(summary).open("a", encoding="utf-8") as file:
            file.writelines(f"- :warning: {warning}\n" for warning in warnings)


def _key(line: Mapping[str, Any]) -> tuple[Any, ...]:
    return tuple(line[name] for name in ("ours", "peer", "unit"))


def _read(trend: Path) -> list[dict[str, Any]]:
    """Return the lines of a trend. One that cannot be read, as of a killed run, is skipped."""
    found = []
    for line in trend.read_text("utf-8").splitlines() if trend.exists() else ():
        try:
            found.append(json.loads(line))
        except ValueError:
            print(f"warning: a line of {trend} is not JSON", file=sys.stderr)
    return found


def _append(trend: Path, rows: Iterable[Row]) -> None:
    trend.parent.mkdir(parents=True, exist_ok=True)
    now = datetime.now(timezone.utc).isoformat(timespec="seconds")
    facts = {"at": now, "revision": os.environ.get("GITHUB_SHA", "")}
    with trend.open("a", encoding="utf-8") as file:
        file.writelines(json.dumps({**facts, **asdict(row)}) + "\n" for row in rows)


def _keep(name: str, rows: Sequence[Row]) -> None:
    """Replace the results of one benchmark, and leave the others."""
    kept = json.loads(RESULTS.read_text("utf-8")) if RESULTS.exists() else {}
    machine = f"{_processor()}, {os.cpu_count()} cores, {platform.system()}"
    versions = ", ".join(f"{each} {version(each)}" for each in VERSIONS)
    day = datetime.now(timezone.utc).date()
    where = f"{day}, {machine}, Python {platform.python_version()}, {versions}."
    kept[name] = {"on": where, "rows": [asdict(row) for row in rows]}
    RESULTS.write_text(json.dumps(kept, indent=1) + "\n", "utf-8")


def _processor() -> str:
    """Return the processor's name, if the system says it."""
    file = Path("/proc/cpuinfo")
    lines = file.read_text("utf-8").splitlines() if file.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()
