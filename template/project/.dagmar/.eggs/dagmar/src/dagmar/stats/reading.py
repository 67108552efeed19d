"""Reading a server's history into the cache: only what is not there yet.

Runs belong to the time at which the server created them. The order of work: changes since the
last call, spans that were never read (newest first), runs that were deleted on the server, and
then the logs that are needed. What is written stays, whatever happens next.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterable, Iterator
from typing import Any

from dagmar.console import LiveLine
from dagmar.errors import Unreachable
from dagmar.failure import Failure
from dagmar.files import encodable
from dagmar.project.provenance import HERE_TAG, REVISION_TAG, USER_TAG, versions_in
from dagmar.server.catalog import Item
from dagmar.server.client import DagsterClient
from dagmar.server.history import (
    LOGS,
    PAGE,
    read_failures,
    read_ids,
    read_pages,
    read_state,
    read_steps,
    run_filter,
)
from dagmar.server.runs import partition_of
from dagmar.stats.cache import FINAL, Cache
from dagmar.stats.causes import LONGEST_MESSAGE, cell_of
from dagmar.stats.records import DetailRecord, FailureRecord, RunRecord, StepRecord

LATE = 120.0
"""Seconds after which a run that was created, or has changed, is sure to be visible."""
TIE = 1.0
"""Seconds by which spans overlap: a database may keep whole seconds."""
SAMPLE = 10
"""Runs of a name in each window whose logs say how long they were queued and starting."""


class Reader:
    """Fills the cache from a server, with a line of progress on a terminal."""

    def __init__(self, client: DagsterClient, cache: Cache, now: float, line: LiveLine) -> None:
        self._client, self._cache, self._now, self._line = client, cache, now, line

    def read_runs(self, first: float, last: float) -> None:
        """Read the runs created between two times, as far as they are not known or have changed.

        Raises what the client raises.
        """
        cache = self._cache
        if cache.mark is None:
            cache.set_mark(self._now)
        self._read_changes()
        for begin, end in cache.gaps(first, min(last, self._now)):
            self._read_gap(begin, end)
        self._compare(first, last)

    def _read_changes(self) -> None:
        """Read runs that have changed since the last call, and those in progress then.

        The latter by their ids: the time of a change is by the clock of the run's own machine.
        """
        cache, mark = self._cache, self._cache.mark or self._now
        newest = cache.number("SELECT max(last) FROM spans")
        if newest is None or mark == self._now:
            return
        chosen = run_filter(created_before=newest + TIE, updated_after=mark - LATE)
        self._add(chosen)
        self._add_by_id(f"SELECT run_id FROM runs WHERE status NOT IN {FINAL}")  # noqa: S608  a constant
        cache.set_mark(self._now)

    def _add(self, chosen: Item) -> None:
        for page in read_pages(self._client, chosen):
            with self._cache.writing():
                self._cache.add(map(_run, page))

    def _add_by_id(self, query: str) -> None:
        for _, _, ids in self._cache.batches(query, (), PAGE):
            self._add(run_filter(ids=ids))

    def _read_gap(self, begin: float, end: float) -> None:
        cache, expected = self._cache, None
        chosen = run_filter(created_after=begin - TIE, created_before=end + TIE)
        settled, done, upper = self._now - LATE, 0, end
        for page in read_pages(self._client, chosen):
            if expected is None and len(page) > 1:
                expected = read_state(self._client, chosen)[1]
            done += len(page)
            lower = min(page[-1]["creationTime"], upper)
            with cache.writing():
                cache.add(map(_run, page))
                if lower < min(upper, settled):
                    cache.cover(max(lower, begin), min(upper, settled))
            upper = lower
            self._line.put(f"reading runs of {self._client.target.url}", done, expected)
        if begin < min(upper, settled):
            with cache.writing():
                cache.cover(begin, min(upper, settled))

    def _compare(self, first: float, last: float) -> None:
        """Forget runs that are no longer on the server, and read those that came late."""
        cache = self._cache
        chosen = run_filter(created_after=first - TIE, created_before=last + TIE)
        where = "FROM runs WHERE created > ? AND created < ?"
        span = (first - TIE, last + TIE)
        if read_state(self._client, chosen)[1] == cache.number(f"SELECT count(*) {where}", span):
            return
        with cache.writing():
            execute = cache.connection.execute
            execute("CREATE TEMP TABLE IF NOT EXISTS there (run_id TEXT PRIMARY KEY)")
            execute("DELETE FROM there")
            for ids in read_ids(self._client, chosen):
                cache.connection.executemany(
                    "INSERT OR IGNORE INTO there VALUES (?)", [(run_id,) for run_id in ids]
                )
            gone = f"SELECT run_id {where} AND run_id NOT IN there"
            cache.remove([run_id for (run_id,) in list(cache.query(gone, span))])
        self._add_by_id("SELECT run_id FROM there WHERE run_id NOT IN (SELECT run_id FROM runs)")

    def read_details(self, query: str, values: Any) -> None:
        """Read the logs of the runs, by id, that a query of the cache returns.

        Raises what the client raises.
        """
        count = 0
        for done, count, ids in self._cache.batches(query, values, LOGS):
            self._line.put("reading steps", done, count)
            details = [_detail(run) for run in read_steps(self._client, ids)]
            with self._cache.writing():
                self._cache.add_details(ids, details)
        if count:
            with self._cache.writing():
                self._cache.attribute()

    def read_failures(self, query: str, values: Any) -> None:
        """Read why the runs failed, by id, that a query of the cache returns.

        Raises what the client raises.
        """
        for done, count, ids in self._cache.batches(query, values, LOGS):
            self._line.put("reading failures", done, count)
            runs = read_failures(self._client, ids)
            with self._cache.writing():
                self._cache.add_failures(ids, [each for run in runs for each in _failures(run)])


@contextlib.contextmanager
def saying_what_is_kept(cache: Cache) -> Iterator[None]:
    """Add to the hint of Unreachable how much of the history the cache has by then."""
    try:
        yield
    except Unreachable as error:
        if known := cache.number("SELECT count(*) FROM runs"):
            kept = f"{known:,} runs that were read are kept: the same command continues there."
            error.hint = f"{error.hint} {kept}".strip()
        raise


def _run(run: Item) -> RunRecord:
    tags = {tag["key"]: tag["value"] for tag in run["tags"]}
    assets = run["assetSelection"]
    return RunRecord(
        run_id=run["runId"],
        status=run["status"],
        job=run["jobName"],
        location=(run["repositoryOrigin"] or {}).get("repositoryLocationName", ""),
        assets=None if assets is None else tuple(sorted(assets)),
        created=run["creationTime"],
        started=run["startTime"],
        ended=run["endTime"] if run["status"] in FINAL else None,
        updated=run["updateTime"] or run["creationTime"],
        partition=partition_of(tags),
        user=tags.get(USER_TAG),
        revision=tags.get(REVISION_TAG),
        here=HERE_TAG in tags,
        retry_of=run["parentRunId"],
        versions=versions_in(tags),
    )


def _detail(run: Item) -> DetailRecord:
    times = run["stats"] if run["stats"]["__typename"] == "RunStatsSnapshot" else {}
    steps = tuple(
        StepRecord(
            run["runId"],
            step["stepKey"],
            tuple(
                dict.fromkeys(
                    each["assetKey"] for each in step["materializations"] if each["assetKey"]
                )
            ),
            step["status"] or "",
            step["startTime"],
            step["endTime"],
            max(len(step["attempts"]), 1),
        )
        for step in run["stepStats"]
    )
    return DetailRecord(run["runId"], times.get("enqueuedTime"), times.get("launchTime"), steps)


def _failures(run: Item) -> Iterable[FailureRecord]:
    """Yield why the steps of a run failed, or why it did without one."""
    events = run["eventConnection"]["events"]
    steps = [each for each in events if each["__typename"] == "ExecutionStepFailureEvent"]
    ends = [each for each in events if each["__typename"] == "RunFailureEvent"]
    engine = [each for each in events if each["__typename"] == "EngineEvent" and each["error"]]
    for event in steps or (engine or ends)[-1:]:
        known = event["error"]
        step = event.get("stepKey")
        failure = Failure.from_graphql(known, step) if known else Failure(event["message"], None)
        at = int(event["timestamp"]) / 1000
        cell = cell_of(failure.trace)
        message = encodable(failure.message[:LONGEST_MESSAGE])
        yield FailureRecord(run["runId"], at, step, cell, failure.kind or "", message)


def server_now(client: DagsterClient) -> float:
    """Return the time by the server's clock, as its last answer says, or this machine's."""
    return time.time() if client.moment is None else client.moment
