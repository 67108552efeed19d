"""Reading what a server keeps of assets into the cache: only what is not there yet.

Each question about one asset or check makes a server on SQLite open its database again. So what
is cheap is asked first, of all at once: the last materialization, and the id of each check's last
execution. Only observations have no such sign, and are asked for again.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import astuple, dataclass, replace

from dagmar.asset_key import AssetKey
from dagmar.server import asset_history
from dagmar.server.asset_history import (
    CHECKS_AT_ONCE,
    MOST_EVENTS,
    MOST_EXECUTIONS,
    AssetEvents,
    CheckKey,
    Execution,
    PastNumbers,
)
from dagmar.server.client import DagsterClient
from dagmar.server.shapes import portions
from dagmar.stats.cache import Cache
from dagmar.stats.reading import LATE


@dataclass(frozen=True)
class _Known:
    """What the cache has of an asset's events between two times."""

    first: float
    last: float
    events: AssetEvents

    @classmethod
    def of(cls, cache: Cache, key: AssetKey, first: float, last: float) -> _Known | None:
        """Return what is known if only newer events may be missing."""
        if not (value := cache.side("events", str(key))):
            return None
        begin, end, latest, whole, numbers = value
        if not (begin <= first <= end and (whole or last >= end)):
            return None
        past = tuple(PastNumbers(*each) for each in numbers)
        return cls(begin, end, AssetEvents(latest, past, whole))

    def keep(self, cache: Cache, key: AssetKey) -> None:
        events = self.events
        numbers = [astuple(each) for each in events.numbers]
        value = (self.first, self.last, events.latest, events.whole, numbers)
        cache.keep_side("events", str(key), value)

    def joined(self, events: AssetEvents, last: float) -> _Known:
        """Return what is known after newer events were read, too."""
        if not events.whole:  # there may be others between these and those
            return _Known(self.first, last, events)
        both = {
            (each.run_id, each.at, each.partition): each
            for each in (*self.events.numbers, *events.numbers)
        }
        numbers = sorted(both.values(), key=lambda each: -each.at)
        whole = self.events.whole and len(numbers) <= 2 * MOST_EVENTS
        merged = replace(events, numbers=tuple(numbers[: 2 * MOST_EVENTS]), whole=whole)
        return _Known(self.first, max(self.last, last), merged)


def read_events(
    client: DagsterClient, cache: Cache, keys: Collection[AssetKey], first: float, last: float
) -> dict[AssetKey, AssetEvents]:
    """Return the events of each asset between two times, which are up to now or before it.

    Raises what the client raises; what was read is in the cache then.
    """
    known = {key: each for key in keys if (each := _Known.of(cache, key, first, last))}
    since: dict[AssetKey, float | None] = dict.fromkeys(keys, first)
    observed = set()
    for key, latest in asset_history.read_latest(client, known):
        was = known[key].events.latest
        if (latest or 0) < (was or 0):  # its materializations were wiped
            del known[key]
            continue
        since[key] = min(known[key].last, latest or last) - LATE
        if latest == was:
            since[key] = known[key].last - LATE
            observed.add(key)
    found = {}
    for key, events in asset_history.read_events(client, since, last, observed=observed):
        # What a worker with a slow clock wrote is older than what was read before it.
        all_known = known[key].joined(events, last) if key in known else _Known(first, last, events)
        with cache.writing():
            all_known.keep(cache, key)
        numbers = [each for each in all_known.events.numbers if first <= each.at < last]
        found[key] = replace(all_known.events, numbers=tuple(numbers))
    return found


def read_executions(
    client: DagsterClient, cache: Cache, marks: Mapping[CheckKey, str], first: float
) -> dict[CheckKey, list[Execution]]:
    """Return the executions of each check since a time, and the last one, newest first.

    Those of a check whose mark is as it was are not asked for again. Raises what the client
    raises; what was read is in the cache then.
    """
    found, changed = {}, []
    for check in marks:
        begin, mark, executions = cache.side("check", _name(check)) or (first + 1, None, ())
        found[check] = [Execution(*each) for each in executions] if begin <= first else []
        if begin > first or mark != marks[check]:
            changed.append(check)

    def ended(check: CheckKey) -> int:
        """Return the id up to which executions are known as they stay."""
        open_ones = [each.id for each in found[check] if not each.ended]
        return min(open_ones) - 1 if open_ones else max((e.id for e in found[check]), default=0)

    for some in portions(changed, CHECKS_AT_ONCE):
        new = asset_history.read_executions(client, some, first, ended)
        with cache.writing():
            for check in some:
                older = [each for each in found[check] if each.id <= ended(check)]
                found[check] = [*new[check], *older][:MOST_EXECUTIONS]
                values = [astuple(each) for each in found[check]]
                cache.keep_side("check", _name(check), (first, marks[check], values))
    return found


def _name(check: CheckKey) -> str:
    return f"{check[0]}:{check[1]}"
