"""Figures of the runs in the cache, by window and by name: counts, quantiles, trends.

A quantile is that of Hyndman and Fan's definition 7 (The American Statistician 50, 1996), the
default of NumPy, R and spreadsheets: between the two values next to position (n - 1)q, linearly.
It is exact: SQLite sorts, in a file if need be, so memory does not grow with the number of runs.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from dagmar.asset_key import AssetKey
from dagmar.server.catalog import IMPLICIT_JOB
from dagmar.server.runs import in_utc
from dagmar.stats.assets import AssetSide
from dagmar.stats.cache import FINAL, Cache
from dagmar.stats.records import FailureRecord
from dagmar.stats.window import Window

NOW, BEFORE = 1, 0
COUNTS = ("runs", "succeeded", "failed", "cancelled", "retries", "here", "launched")
TIMES = {"median_s": ("seconds", 0.5), "p95_s": ("seconds", 0.95),
         "queued_s": ("queued", 0.5), "starting_s": ("starting", 0.5),
         "running_s": ("running", 0.5)}  # fmt: skip
MOST_POINTS = 2000
"""Durations of one name that are looked at together, the newest ones."""
BARS = "▁▂▃▄▅▆▇█"

_TIMES_OF_RUN = """
    r.created, r.here, r.retry_of IS NOT NULL AS retry, r.started - r.launched AS starting,
    r.launched - coalesce(r.enqueued, r.created) AS queued, r.ended - r.started AS running,
    r.ended - r.created AS wall, r.asset_count = 1 AS alone, r.run_id, r.job, r.location"""
_AGAIN = """iif(r.detailed, (SELECT coalesce(sum(x.attempts - 1), 0) FROM steps x
    WHERE x.run_id = r.run_id), NULL) AS again"""
_IMPLICIT = f"r.job LIKE '{IMPLICIT_JOB.replace('_', '^_')}%' ESCAPE '^'"
_OF_RUN = f"r.status, r.ended - r.started AS seconds, {_TIMES_OF_RUN}, {_AGAIN}"
# An asset that is alone in its run takes as long as the run; of several, each as long as its step.
# A step that made nothing, because it failed, is that of the assets that it made before.
_UNITS = {
    "run": f"SELECT 'total' AS name, {_OF_RUN} FROM runs r",
    "asset": f"""
    SELECT *, name AS asset FROM (
    SELECT s.asset AS name, {_OF_RUN}
    FROM runs r JOIN selected s USING (run_id) WHERE r.asset_count = 1
    UNION ALL
    SELECT a.asset, iif(t.status = 'IN_PROGRESS', r.status, t.status), t.ended - t.started,
    {_TIMES_OF_RUN}, t.attempts - 1
    FROM runs r JOIN steps t USING (run_id) JOIN step_assets a USING (run_id, step)
    WHERE r.asset_count <> 1 AND t.status <> 'SKIPPED'
    UNION ALL
    SELECT s.asset, r.status, NULL, {_TIMES_OF_RUN}, {_AGAIN}
    FROM runs r JOIN selected s USING (run_id) WHERE r.asset_count > 1
    AND NOT EXISTS (SELECT 1 FROM steps t WHERE t.run_id = r.run_id))""",
    "step": f"""
    SELECT t.step || iif({_IMPLICIT}, '', '@' || r.job) AS name,
    iif(t.status = 'IN_PROGRESS', r.status, t.status) AS status, t.ended - t.started AS seconds,
    {_TIMES_OF_RUN}, t.attempts - 1 AS again
    FROM runs r JOIN steps t USING (run_id) WHERE t.status <> 'SKIPPED'""",
    **{
        by: f"SELECT {column} AS name, {_OF_RUN} FROM runs r{where}"
        for by, column, where in (
            ("job", "r.job", f" WHERE NOT {_IMPLICIT}"),
            ("location", "nullif(r.location, '')", ""),
            ("user", "r.user", ""),
            ("revision", "r.revision", ""),
        )
    },
}
_CHOSEN = (
    "EXISTS (SELECT 1 FROM chosen c WHERE c.asset = {}.asset "
    "AND (c.location = '' OR u.location IN ('', c.location)))"
)
KINDS = tuple(by for by in _UNITS if by != "run")


@dataclass(frozen=True)
class Only:
    """Which runs count; empty means all. `assets` are those of rows by asset, too.

    Each has its code location if several define its key, as the keys `shared` are; those have rows
    named `KEY@LOCATION`. A run in a notebook's kernel has no code location, and may be of any.
    """

    assets: frozenset[tuple[AssetKey, str]] | None = None
    jobs: tuple[str, ...] = ()
    location: str = ""
    shared: frozenset[AssetKey] = frozenset()


@dataclass
class Row:
    """The figures of one name; each is that of the window before and that of the window."""

    name: str | None
    values: dict[str, list[Any]] = field(default_factory=dict)
    trend: list[dict[str, Any]] = field(default_factory=list)
    side: AssetSide | None = None

    def pair(self, figure: str) -> tuple[Any, Any]:
        """Return a figure now and before."""
        empty = [0, 0] if figure in COUNTS else [None, None]
        before, now = self.values.get(figure, empty)
        return now, before

    @property
    def success(self) -> tuple[float | None, float | None]:
        """The share of runs that succeeded, now and before; cancelled ones do not count."""
        good, bad = self.pair("succeeded"), self.pair("failed")
        now, before = (
            round(g / (g + b), 6) if g + b else None for g, b in zip(good, bad, strict=True)
        )
        return now, before

    def as_document(self) -> dict[str, Any]:
        """Return the row in the shape of `invoke stats --json`."""
        figures = {name: self.pair(name) for name in COUNTS}
        figures["success"] = self.success
        figures |= {name: self.pair(name) for name in (*TIMES, "step_retries", "time_saved_s")}
        return {
            "name": self.name,
            **{name: {"now": now, "before": before} for name, (now, before) in figures.items()},
            "trend": self.trend,
            **(self.side.as_document() if self.side else {}),
        }


class Figures:
    """The figures of two windows that follow each other, over what the cache has of them."""

    def __init__(self, cache: Cache, window: Window, before: Window, only: Only) -> None:
        self._cache, self._only = cache, only
        self.window, self.before = window, before
        execute = cache.connection.execute
        for table, rows in (
            ("chosen", only.assets or ()),
            ("shared", ((k, "") for k in only.shared)),
        ):
            execute(f"CREATE TEMP TABLE IF NOT EXISTS {table} (asset TEXT, location TEXT)")
            execute(f"DELETE FROM {table}")
            named = [(str(key), location) for key, location in rows]
            cache.connection.executemany(f"INSERT INTO {table} VALUES (?, ?)", named)

    def _values(self) -> dict[str, Any]:
        jobs = {f"job{number}": job for number, job in enumerate(self._only.jobs)}
        window, before = self.window, self.before
        return {
            "old": before.start, "middle": window.start, "end": window.end,
            "bucket": window.bucket, "location": self._only.location, **jobs,
        }  # fmt: skip

    def _where(self, by: str = "run", assets: bool = True) -> str:
        """Return the condition of units, or of runs; `middle` parts the two windows."""
        only, parts = self._only, ["u.created >= :old", "u.created < :end"]
        if only.location:
            parts.append("u.location = :location")
        if only.jobs:
            parts.append(f"u.job IN ({', '.join(f':job{i}' for i in range(len(only.jobs)))})")
        if only.assets is not None and assets:
            parts.append(
                _CHOSEN.format("u")
                if by == "asset"
                else " OR ".join(
                    f"EXISTS (SELECT 1 FROM {table} x WHERE x.run_id = u.run_id "
                    f"AND {_CHOSEN.format('x')})"
                    for table in ("selected", "step_assets")
                ).join("()")
            )
        return " AND ".join(parts)

    def _units(self, by: str) -> str:
        found = (
            f"(SELECT u.*, u.created >= :middle AS win FROM ({_UNITS[by]}) u "
            f"WHERE {self._where(by)} AND u.status IN {FINAL})"
        )
        if by != "asset" or not self._only.shared:
            return found
        return (
            "(SELECT iif(w.location <> '' AND w.asset IN (SELECT asset FROM shared), "
            f"w.asset || '@' || w.location, w.asset) AS name, w.* FROM {found} w)"
        )

    def rows(self, by: str) -> list[Row]:
        """Return the figures by name: what ran most often in the window comes first."""
        rows: dict[str | None, Row] = {}
        counts = (
            "SELECT name, win, count(*), sum(status = 'SUCCESS'), sum(status = 'FAILURE'), "
            "sum(status = 'CANCELED'), sum(retry), sum(here), sum(NOT here), "
            # Only known if the logs of all these runs were read.
            "iif(count(again) = count(*), sum(again), NULL) "
            f"FROM {self._units(by)} GROUP BY name, win"
        )
        for name, win, *numbers, again in self._cache.query(counts, self._values()):
            row = rows.setdefault(name, Row(name))
            row.values.setdefault("step_retries", [None, None])[win] = again
            for figure, number in zip(COUNTS, numbers, strict=True):
                row.values.setdefault(figure, [0, 0])[win] = number
        for column in dict.fromkeys(column for column, _ in TIMES.values()):
            wanted = {name: share for name, (of, share) in TIMES.items() if of == column}
            for (name, win), found in self._quantiles(by, column, "win", wanted):
                for figure, value in found.items():
                    rows[name].values.setdefault(figure, [None, None])[win] = value
        if by == "asset":
            for name, saved in self._saved().items():
                rows[name].values["time_saved_s"] = saved
        self._add_trends(by, rows)
        return sorted(rows.values(), key=lambda row: (-row.pair("runs")[0], row.name or ""))

    def _saved(self) -> dict[str | None, list[float | None]]:
        """Return the seconds that runs in a kernel saved, by asset, before and now.

        It is the difference between the median time from creation to end of a launched run and of
        a run here, times the runs here: successes that materialize this asset alone.
        """
        part = "2 * win + here"
        medians: dict[tuple[str | None, int], float] = {}
        for place, found in self._quantiles("asset", "wall", part, {"median": 0.5}, "alone"):
            medians[place] = found["median"]
        saved: dict[str | None, list[float | None]] = {}
        query = (
            f"SELECT name, win, count(*) FROM {self._units('asset')} "
            "WHERE here AND alone AND status = 'SUCCESS' GROUP BY name, win"
        )
        for name, win, count in self._cache.query(query, self._values()):
            here, launched = medians.get((name, 2 * win + 1)), medians.get((name, 2 * win))
            if here is not None and launched is not None:
                saved.setdefault(name, [None, None])[win] = round((launched - here) * count, 3)
        return saved

    def _quantiles(
        self, by: str, column: str, part: str, shares: Mapping[str, float], where: str = "1"
    ) -> Iterator[tuple[tuple[str | None, int], dict[str, float]]]:
        """Yield quantiles of the runs that succeeded, for each name and part of the time."""
        ranks = " OR ".join(
            f"r IN (CAST((n - 1) * {share} AS INTEGER), CAST((n - 1) * {share} AS INTEGER) + 1)"
            for share in shares.values()
        )
        query = f"""
            SELECT name, part, r, n, value FROM (
                SELECT name, {part} AS part, {column} AS value,
                row_number() OVER (PARTITION BY name, {part} ORDER BY {column}) - 1 AS r,
                count(*) OVER (PARTITION BY name, {part}) AS n
                FROM {self._units(by)} WHERE status = 'SUCCESS' AND {column} >= 0 AND {where}
            ) WHERE {ranks} ORDER BY name, part, r"""
        place: tuple[str | None, int] | None = None
        count, known = 0, dict[int, float]()
        for name, number, rank, total, value in self._cache.query(query, self._values()):
            if place is not None and place != (name, number):
                yield place, quantiles(shares, count, known)
                known = {}
            place, count = (name, number), total
            known[rank] = value
        if place is not None:
            yield place, quantiles(shares, count, known)

    def _add_trends(self, by: str, rows: Mapping[str | None, Row]) -> None:
        window = self.window
        size, parts = window.bucket, window.parts
        part = "CAST((created - :middle) / :bucket AS INTEGER)"
        for row in rows.values():
            row.trend = [
                {"at": in_utc(window.start + i * size), "runs": 0, "failed": 0, "median_s": None}
                for i in range(parts)
            ]
        query = (
            f"SELECT name, {part} AS part, count(*), sum(status = 'FAILURE') "
            f"FROM {self._units(by)} WHERE win GROUP BY name, part"
        )
        for name, number, runs, failed in self._cache.query(query, self._values()):
            rows[name].trend[min(number, parts - 1)] |= {"runs": runs, "failed": failed}
        shares = {"median_s": 0.5}
        for (name, number), found in self._quantiles(by, "seconds", part, shares, "win"):
            rows[name].trend[min(number, parts - 1)] |= found

    def in_progress(self) -> Iterator[tuple[Any, ...]]:
        """Yield (id, status, job, location, created, started) of runs without an end."""
        yield from self._cache.query(
            f"SELECT run_id, status, job, location, created, started FROM runs u "
            f"WHERE {self._where()} AND status NOT IN {FINAL} ORDER BY created",
            self._values(),
        )

    def series(self, by: str) -> Iterator[tuple[str | None, list[tuple[float, float, str]]]]:
        """Yield each name with the (time, seconds, run id) of its successes, oldest first.

        They are those of both windows, and the newest `MOST_POINTS` of a name with more.
        """
        query = (
            f"SELECT name, created, seconds, run_id FROM {self._units(by)} "
            "WHERE status = 'SUCCESS' AND seconds IS NOT NULL ORDER BY name, created"
        )
        points: list[tuple[float, float, str]] = []
        current: str | None = None
        for name, at, seconds, run_id in self._cache.query(query, self._values()):
            if points and name != current:
                yield current, points[-MOST_POINTS:]
                points = []
            current = name
            points.append((at, seconds, run_id))
            if len(points) > 2 * MOST_POINTS:
                del points[:-MOST_POINTS]
        if points:
            yield current, points[-MOST_POINTS:]

    def failures(self) -> Iterator[FailureRecord]:
        """Yield why runs of the window failed, oldest first."""
        query = (
            "SELECT f.run_id, f.at, f.step, f.cell, f.error, f.message, u.job, u.partition, u.here "
            "FROM runs u JOIN failures f USING (run_id) "
            f"WHERE {self._where()} AND u.created >= :middle ORDER BY f.at"
        )
        for run_id, at, step, cell, error, message, job, partition, here in self._cache.query(
            query, self._values()
        ):
            assets = self._assets_of(run_id, step)
            texts = (step, cell, error, message)
            yield FailureRecord(run_id, at, *texts, assets, job, partition, bool(here))

    def _assets_of(self, run_id: str, step: str | None) -> tuple[AssetKey, ...]:
        assets = list(
            self._cache.query(
                "SELECT asset FROM step_assets WHERE run_id = ? AND step = ? "
                "UNION SELECT asset FROM selected JOIN runs USING (run_id) "
                "WHERE run_id = ? AND asset_count = 1",
                (run_id, step, run_id),
            )
        )
        return tuple(AssetKey(asset) for (asset,) in assets)

    # Which logs have to be read first

    def samples(self, count: int) -> tuple[str, dict[str, Any]]:
        """Return the query of the newest runs of each job whose logs were not read.

        They say how long runs are queued, and whether a job makes assets.
        """
        newest = (
            "SELECT run_id, detailed, row_number() OVER (PARTITION BY job, location, "
            f"created >= :middle ORDER BY created DESC) AS age FROM runs u WHERE {self._where()} "
            f"AND status IN {FINAL}"
        )
        query = f"SELECT run_id FROM ({newest}) WHERE age <= {count} AND NOT detailed"
        return query, self._values()

    def unsplit(self, by: str) -> tuple[str, dict[str, Any]]:
        """Return the query of runs that have to be split into steps, and whose were not read.

        By asset, those are runs of several assets, and of jobs that are known to make some.
        """
        needed = {
            "step": "1",
            "asset": "(asset_count > 1 OR asset_count < 0 AND (job, location) IN (SELECT k.job, "
            "k.location FROM runs k JOIN step_assets a USING (run_id)))",
        }.get(by, "0")
        query = (
            f"SELECT run_id FROM runs u WHERE {self._where(assets=False)} AND NOT detailed "
            f"AND status IN {FINAL} AND {needed} ORDER BY created DESC"
        )
        return query, self._values()

    def unexplained(self) -> tuple[str, dict[str, Any]]:
        """Return the query of failed runs of the window whose reason was not read."""
        query = (
            f"SELECT run_id FROM runs u WHERE {self._where()} AND created >= :middle "
            "AND NOT explained AND status = 'FAILURE' ORDER BY created DESC"
        )
        return query, self._values()


def quantiles(
    shares: Mapping[str, float], count: int, known: Mapping[int, float]
) -> dict[str, float]:
    """Return quantiles of `count` values by those that are known: the ones around each."""
    found = {}
    for name, share in shares.items():
        position = (count - 1) * share
        low = int(position)
        above = known.get(low + 1, known[low])
        found[name] = round(known[low] + (above - known[low]) * (position - low), 3)
    return found


def sparkline(values: Sequence[float | None]) -> str:
    """Return a bar for each value, and a gap where there is none; the highest bar is full."""
    known = [value for value in values if value is not None]
    most = max(known, default=0) or 1
    return "".join(
        " " if value is None else BARS[max(math.ceil(value / most * len(BARS)) - 1, 0)]
        for value in values
    )


def names(cache: Cache, kind: str) -> list[str]:
    """Return the names of assets or jobs that the cache has seen."""
    query = {
        "asset": "SELECT asset FROM selected UNION SELECT asset FROM step_assets",
        "job": "SELECT DISTINCT job FROM runs",
        "location": "SELECT DISTINCT location FROM runs WHERE location <> ''",
    }[kind]
    return [name for (name,) in cache.query(query)]
