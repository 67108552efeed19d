"""The first run since which an asset is slower, and what changed with that run.

The test is a scan of Mann and Whitney's rank sum over every split of a series, as Pettitt's (A
non-parametric approach to the change-point problem, Applied Statistics 28, 1979), with a bounded
p-value. `docs/decisions/0029-when-an-asset-is-slower.md` has the reasons and the measured rates.
"""

from __future__ import annotations

import itertools
import math
import re
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

from dagmar.server.runs import in_utc
from dagmar.stats.records import RunRecord

ALPHA = 0.01
"""Chance of a false claim among all series of one call."""
FEWEST = 5
"""Runs on either side of an onset."""
FEWEST_POINTS = 12
SMALLEST_FACTOR = 1.2
SMALLEST_SECONDS = 0.5
NEAR = 10
"""Runs on either side of an onset that tell a step from a drift."""
DAY = 86_400.0
DAYS = 3
"""Days, and runs of one hour, that show what is usual at that time."""
STEP_OVER_LINE = 1.1
REVISION = re.compile(r"[0-9a-f]{7,64}")


@dataclass(frozen=True)
class Onset:
    """Where a series becomes slower: `index` is that of its first slower point, at `at`.

    `before_s` and `after_s` are medians; `p` is an upper bound of the p-value.
    """

    index: int
    at: float
    before_s: float
    after_s: float
    p: float

    @property
    def factor(self) -> float:
        """How many times as long it takes since then."""
        return self.after_s / self.before_s


@dataclass(frozen=True)
class Change:
    """What differs between two runs; `command` shows it, if something can."""

    what: str
    old: str
    new: str
    command: str = ""

    def as_document(self) -> dict[str, str]:
        """Return the entry of `changed` in `invoke stats --json`."""
        shown = {"command": self.command} if self.command else {}
        return {"what": self.what, "from": self.old, "to": self.new, **shown}


def find_onset(points: Sequence[tuple[float, float]], series: int = 1) -> Onset | None:
    """Return where the durations of one asset become longer and stay so, or None.

    `points` are times and durations in seconds, oldest first. `series` is how many are tested in
    one call: each gets its share of `ALPHA` (Bonferroni).
    """
    if len(points) < FEWEST_POINTS:
        return None
    values = [max(seconds, 0.001) for _, seconds in points]
    points = [(at, value) for (at, _), value in zip(points, values, strict=True)]
    usual = _without_time_of_day(points)
    ranks = _ranks(usual)
    split, z = _best_split(ranks)
    if split == 0 or not _is_step(ranks, split):
        return None
    z *= math.sqrt(_independent_share(ranks, split))
    splits = len(values) - 2 * FEWEST + 1
    p = min(splits * 0.5 * math.erfc(z / math.sqrt(2)), 1.0)
    onset = Onset(split, points[split][0], median(values[:split]), median(values[split:]), p)
    matters = (
        onset.after_s - onset.before_s >= SMALLEST_SECONDS
        and _is_slower(values, split)
        and _is_slower(usual, split)
        and _is_slower_at_same_hour(points, split)
    )
    return onset if p <= ALPHA / series and matters else None


def _without_time_of_day(points: Sequence[tuple[float, float]]) -> list[float]:
    """Return durations relative to those of the same hour, if each hour has runs of several days.

    Otherwise they are returned as they are.
    """
    hours: dict[int, list[float]] = {}
    for at, seconds in points:
        hours.setdefault(_hour(at), []).append(seconds)
    days = (points[-1][0] - points[0][0]) / DAY
    if days < DAYS or min(map(len, hours.values())) < DAYS:
        return [seconds for _, seconds in points]
    usual = {hour: median(values) for hour, values in hours.items()}
    return [seconds / usual[_hour(at)] for at, seconds in points]


def _hour(at: float) -> int:
    return int(at % DAY // 3600)


def _ranks(values: Sequence[float]) -> list[float]:
    """Return the rank of each value; equal values share the middle one."""
    ordered = sorted(values)
    return [(bisect_left(ordered, v) + bisect_right(ordered, v) + 1) / 2 for v in values]


def _best_split(ranks: Sequence[float]) -> tuple[int, float]:
    """Return the split whose later part has the highest ranks for its size, with its z-score."""
    number = len(ranks)
    middle = (number + 1) / 2
    variance = sum((rank - middle) ** 2 for rank in ranks) / (number - 1)  # with ties
    if variance == 0:
        return 0, 0.0
    best, highest, total = 0, 0.0, 0.0
    for split in range(1, number - FEWEST + 1):
        total += middle - ranks[split - 1]
        z = total / math.sqrt(variance * split * (number - split) / number)
        if split >= FEWEST and z > highest:
            best, highest = split, z
    return best, highest


def _independent_share(ranks: Sequence[float], split: int) -> float:
    """Return which share of the points counts as independent of the ones before them.

    It is (1 - r) / (1 + r) with the autocorrelation r of the ranks within both parts, corrected
    for its bias (Marriott and Pope, Biometrika 41, 1954). Night and day make r large, too.
    """
    parts = (ranks[:split], ranks[split:])
    rest = [rank - sum(part) / len(part) for part in parts for rank in part]
    spread = sum(value * value for value in rest)
    if spread == 0:
        return 1.0
    r = sum(one * next_one for one, next_one in itertools.pairwise(rest)) / spread
    r += (1 + 4 * max(r, 0)) / len(rest)
    r = min(max(r, 0.0), 0.99)
    return (1 - r) / (1 + r)


def _is_step(ranks: Sequence[float], split: int) -> bool:
    """Whether a step explains the ranks better than a straight line: a drift has no first run."""
    number = len(ranks)
    middle = (number + 1) / 2
    total = sum(middle - rank for rank in ranks[:split])
    step = total * total * number / (split * (number - split))
    slope = sum((i + 1 - middle) * (rank - middle) for i, rank in enumerate(ranks))
    line = slope * slope * 12 / (number * (number * number - 1))
    return step > STEP_OVER_LINE * line


def _is_slower(values: Sequence[float], split: int) -> bool:
    """Whether values become larger by enough to matter, right away and until the end."""
    before, after = values[:split], values[split:]
    usual, factor = median(before), median(after) / median(before)
    lasts = median(after[-NEAR:]) >= SMALLEST_FACTOR * usual
    at_once = median(after[:NEAR]) >= math.sqrt(factor) * median(before[-NEAR:])
    return factor >= SMALLEST_FACTOR and lasts and at_once


def _is_slower_at_same_hour(points: Sequence[tuple[float, float]], split: int) -> bool:
    """Whether later runs are slower than earlier ones at about the same time of day.

    Within one day nobody can tell a slower asset from a slower time of day.
    """
    earlier: dict[int, list[float]] = {}
    for at, seconds in points[:split]:
        for hour in range(_hour(at) - 2, _hour(at) + 3):
            earlier.setdefault(hour % 24, []).append(seconds)
    usual = {hour: median(values) for hour, values in earlier.items() if len(values) >= DAYS}
    ratios = [s / usual[_hour(at)] for at, s in points[split:] if _hour(at) in usual]
    if len(ratios) >= FEWEST:
        return median(ratios) >= SMALLEST_FACTOR
    return points[split - 1][0] - points[0][0] >= DAY


def find_slowdowns(
    series: Iterable[tuple[str | None, Sequence[tuple[float, float, str]]]],
    names: int,
    run: Callable[[str], RunRecord],
    address: str,
) -> list[dict[str, Any]]:
    """Return `slowdowns` of `invoke stats --json`, the largest first.

    `series` has the (time, seconds, run id) of each of that many names, and `run` returns a run.
    """
    found = []
    for name, points in series:
        onset = find_onset([(at, seconds) for at, seconds, _ in points], max(names, 1))
        if onset is None:
            continue
        last, first = points[onset.index - 1][2], points[onset.index][2]
        found.append(
            {
                "name": name,
                "since": in_utc(onset.at),
                "run_id": first,
                "url": f"{address.rstrip('/')}/runs/{first}",
                "before_s": round(onset.before_s, 3),
                "after_s": round(onset.after_s, 3),
                "factor": round(onset.factor, 3),
                "changed": [each.as_document() for each in what_changed(run(last), run(first))],
            }
        )
    return sorted(found, key=lambda each: -each["factor"])


def what_changed(before: RunRecord, after: RunRecord) -> list[Change]:
    """Return what differs between the last run before an onset and the first one since.

    What only one of them recorded is unknown, and no change.
    """
    changes = []
    if before.revision and after.revision and before.revision != after.revision:
        revisions = (before.revision, after.revision)
        known = all(map(REVISION.fullmatch, revisions))
        command = f"git log {before.revision[:12]}..{after.revision[:12]}" if known else ""
        changes.append(Change("git revision", *revisions, command))
    if before.location and after.location and before.location != after.location:
        changes.append(Change("code location", before.location, after.location))
    for name in sorted(before.versions.keys() & after.versions.keys()):
        if before.versions[name] != after.versions[name]:
            changes.append(Change(name, before.versions[name], after.versions[name]))
    return changes
