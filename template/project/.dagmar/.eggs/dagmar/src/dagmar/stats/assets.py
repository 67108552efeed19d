"""The assets' side of a history: partitions, checks over time, freshness, numbers over time.

All of it is as of now, whatever the window, except what is counted or drawn over time.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from dagmar.server.asset_history import (
    MOST_EXECUTIONS,
    AssetEvents,
    AssetState,
    Execution,
    PastNumbers,
    read_states,
)
from dagmar.server.client import DagsterClient
from dagmar.server.located import LocatedAsset
from dagmar.server.runs import in_utc
from dagmar.stats.asset_reading import read_events, read_executions
from dagmar.stats.cache import Cache
from dagmar.stats.window import Window

ASSET_COLUMNS = ("asset", "materialized", "freshness", "partitions", "checks", "numbers", "here")
SHOWN_NUMBERS = 2
MOST_POINTS = 60
MOST_NUMBERS = 20


@dataclass(frozen=True)
class Point:
    """One number at one time; `value` is None for one that is not finite."""

    at: float
    value: float | None
    partition: str | None


@dataclass(frozen=True)
class CheckSide:
    """The results of one check: the last one, and how many there were, and failed, per window.

    Executions without a result do not count: the check, or the asset before it, may have failed.
    A count is None if not all of the window was read. `trend` is over equal parts of the window:
    (start, results, failed).
    """

    name: str
    last: Execution | None
    evaluated: tuple[int | None, int | None]
    failed: tuple[int | None, int | None]
    trend: tuple[tuple[float, int, int], ...]

    def as_document(self) -> dict[str, Any]:
        """Return the check in the shape of `invoke stats --json`."""
        last = self.last and {
            "passed": self.last.status == "passed",
            "severity": self.last.severity,
            "at": in_utc(self.last.at),
            "run_id": self.last.run_id or None,
        }
        trend = [
            {"at": in_utc(at), "evaluated": evaluated, "failed": failed}
            for at, evaluated, failed in self.trend
        ]
        return {
            "name": self.name,
            "last": last,
            "evaluated": dict(zip(("now", "before"), self.evaluated, strict=True)),
            "failed": dict(zip(("now", "before"), self.failed, strict=True)),
            "trend": trend,
        }


@dataclass(frozen=True)
class AssetSide:
    """What is known of one asset besides its runs. `now` is the server's time.

    `state` is None for an asset that is not defined any more; its events are still there.
    """

    now: float
    state: AssetState | None
    events: AssetEvents
    checks: tuple[CheckSide, ...] = ()

    @property
    def age(self) -> float | None:
        """Seconds since the last materialization; None if there was none."""
        return None if self.events.latest is None else max(self.now - self.events.latest, 0.0)

    @property
    def freshness(self) -> str | None:
        """The state of its freshness policy: pass, warn, fail or unknown; None without one."""
        return self.state.freshness_at(self.age) if self.state else None

    @property
    def numbers(self) -> dict[str, list[Point]]:
        """The numbers of its metadata over time, oldest first: those that are there most often."""
        return numbers_over_time(self.events.numbers)

    def texts(self) -> tuple[str, ...]:
        """Return what a terminal shows: `ASSET_COLUMNS` but for the name."""
        counts = self.state and self.state.partitions
        partitions = ""
        if counts:
            whole = counts.materialized + counts.missing + counts.failed
            failed = f", {counts.failed:,} failed" if counts.failed else ""
            partitions = f"{counts.materialized:,} of {whole:,}{failed}"
        results = [check.last for check in self.checks]
        failed_checks = sum(1 for last in results if last and last.failed)
        unknown = results.count(None)
        checks = [
            failed_checks and f"{failed_checks} of {len(results)} failed",
            unknown and f"{unknown} without result",
            results and not failed_checks and not unknown and f"{len(results)} passed",
        ]
        numbers = list(self.numbers.items())[:SHOWN_NUMBERS]
        return (
            "" if self.age is None else f"{duration(self.age)} ago",
            self.freshness or "",
            partitions,
            ", ".join(text for text in checks if text),
            ", ".join(f"{name}={_short(points[-1].value)}" for name, points in numbers),
        )

    def as_document(self) -> dict[str, Any]:
        """Return what a row of `invoke stats --json` has of the asset."""
        counts = self.state and self.state.partitions
        return {
            "defined": self.state is not None,
            "partitions": counts and dict(vars(counts)),
            "checks": [check.as_document() for check in self.checks],
            "fresh": {
                "at": in_utc(self.events.latest),
                "age_s": None if self.age is None else round(self.age, 3),
                "state": self.freshness,
            },
            "numbers": {
                name: [{**vars(point), "at": in_utc(point.at)} for point in points]
                for name, points in self.numbers.items()
            },
        }


def read_asset_side(
    client: DagsterClient,
    cache: Cache,
    assets: Iterable[LocatedAsset],
    window: Window,
    before: Window,
    now: float,
) -> dict[LocatedAsset, AssetSide]:
    """Return what the server knows of each asset besides its runs.

    Raises what the client raises.
    """
    assets = list(assets)
    states = read_states(client, assets)
    keys = dict.fromkeys(asset.key for asset in assets)
    events = read_events(client, cache, keys, before.start, window.end)
    marks = {
        (asset.key, name): f"{events[asset.key].latest} {last}"
        for asset, state in states.items()
        for name, last in state.checks.items()
    }
    executions = read_executions(client, cache, marks, before.start)
    return {
        asset: AssetSide(
            now,
            state := states.get(asset),
            events[asset.key],
            tuple(
                check_side(name, executions[asset.key, name], window, before)
                for name in (state.checks if state else ())
            ),
        )
        for asset in assets
    }


def duration(seconds: float | None) -> str:
    """Return a duration in three digits or so."""
    if seconds is None:
        return "—"
    for size, unit in ((86400, "d"), (3600, "h"), (60, "min")):
        if seconds >= 2 * size:
            return f"{seconds / size:.1f} {unit}"
    return f"{seconds:.1f} s" if seconds < 10 else f"{seconds:.0f} s"


def _short(value: float | None) -> str:
    return "—" if value is None else f"{value:.4g}" if isinstance(value, float) else f"{value:,}"


def check_side(
    name: str,
    executions: Sequence[Execution],
    window: Window,
    before: Window,
) -> CheckSide:
    """Return what the executions of a check say, newest first as `read_executions` has them."""
    results = [execution for execution in executions if execution.severity is not None]
    cut = len(executions) >= MOST_EXECUTIONS

    def counted(span: Window, failed: bool) -> int | None:
        if cut and span.start < executions[-1].at:
            return None
        among = (each for each in results if span.start <= each.at < span.end)
        return sum(1 for each in among if each.failed or not failed)

    start, width, parts = window.start, window.bucket, window.parts
    seen, failed = [0] * parts, [0] * parts
    for each in results:
        if start <= each.at < window.end:
            part = min(int((each.at - start) / width), parts - 1)
            seen[part] += 1
            failed[part] += each.failed
    return CheckSide(
        name,
        results[0] if results else None,
        (counted(window, False), counted(before, False)),
        (counted(window, True), counted(before, True)),
        tuple((start + width * part, seen[part], failed[part]) for part in range(parts)),
    )


def numbers_over_time(events: Iterable[PastNumbers]) -> dict[str, list[Point]]:
    """Return each number of these events, oldest first, with at most `MOST_POINTS` points.

    Of more than `MOST_NUMBERS` names, those stay that are there most often.
    """
    ordered = sorted(events, key=lambda event: event.at)
    counts = Counter(name for event in ordered for name in event.numbers)
    return {
        name: thinned(
            [
                Point(event.at, value if math.isfinite(value) else None, event.partition)
                for event in ordered
                for value in [event.numbers.get(name)]
                if value is not None
            ]
        )
        for name, _ in counts.most_common(MOST_NUMBERS)
    }


def thinned(points: Sequence[Point], most: int = MOST_POINTS) -> list[Point]:
    """Return at most `most` of these points, in their order, so that a chart keeps its shape.

    The first and the last stay, and of equal portions of the others the lowest and the highest.
    """
    if len(points) <= most:
        return list(points)
    portions = (most - 2) // 2
    kept = {0, len(points) - 1}
    for number in range(portions):
        ends = (len(points) * (number + at) // portions for at in (0, 1))
        found = [index for index in range(*ends) if points[index].value is not None]
        if found:
            by_value = [(points[index].value or 0.0, index) for index in found]
            kept |= {min(by_value)[1], max(by_value)[1]}
    return [points[index] for index in sorted(kept)]
