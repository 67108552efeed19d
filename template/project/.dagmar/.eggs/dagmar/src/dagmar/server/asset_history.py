"""What a server keeps of many assets: their events with numbers, checks, partitions, freshness.

Several assets are read in one request. Dagster keeps events by key, wherever it was defined.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from dagmar.asset_key import AssetKey
from dagmar.server.catalog import Item
from dagmar.server.client import DagsterClient, member
from dagmar.server.located import LocatedAsset, by_place
from dagmar.server.metadata import NUMBERS, read_metadata
from dagmar.server.shapes import portions

ASSETS_AT_ONCE = 50
CHECKS_AT_ONCE = 50
MOST_EVENTS = 200
MOST_EXECUTIONS = 1000
FIRST_EXECUTIONS = 25
# Dagster says more of an asset's health than of its freshness.
STATES = {"HEALTHY": "pass", "WARNING": "warn", "DEGRADED": "fail", "UNKNOWN": "unknown"}

CheckKey = tuple[AssetKey, str]


@dataclass(frozen=True)
class PastNumbers:
    """The numbers in an asset's metadata at one time, in seconds since 1970."""

    run_id: str
    at: float
    partition: str | None
    numbers: Mapping[str, float]


@dataclass(frozen=True)
class AssetEvents:
    """When an asset was last materialized, and the numbers of its events, newest first.

    `whole` is whether these are all events of the time that was asked for.
    """

    latest: float | None = None
    numbers: tuple[PastNumbers, ...] = ()
    whole: bool = True


@dataclass(frozen=True)
class Execution:
    """One execution of an asset check: `status` and `severity` are Dagster's, in lower case.

    Failed is a check that said so, and one whose execution failed.
    """

    id: int
    run_id: str
    at: float
    status: str
    severity: str | None = None

    @property
    def failed(self) -> bool:
        """Whether the check failed, or its execution did."""
        return self.status in ("failed", "execution_failed")

    @property
    def ended(self) -> bool:
        """Whether its result stays as it is."""
        return self.status != "in_progress"


@dataclass(frozen=True)
class PartitionCounts:
    """How many partitions an asset has, by the state of each."""

    materialized: int
    missing: int
    failed: int


@dataclass(frozen=True)
class AssetState:
    """What the definition of an asset says, as of now.

    `freshness` is the state of its freshness policy: pass, warn, fail or unknown; None without one.
    `windows` are the ages in seconds at which a policy warns and fails, if it has any. `checks`
    has the id and status of each one's execution for the latest materialization, if there is one.
    """

    partitions: PartitionCounts | None = None
    checks: Mapping[str, tuple[str, str] | None] = field(default_factory=dict)
    freshness: str | None = None
    windows: tuple[float | None, float] | None = None

    def freshness_at(self, age: float | None) -> str | None:
        """Return the state of the policy, for an asset of this age.

        A server that does not evaluate policies does not know it; then the windows decide.
        """
        if self.freshness != "unknown" or age is None or self.windows is None:
            return self.freshness
        warn, fail = self.windows
        return "fail" if age > fail else "warn" if warn and age > warn else "pass"


def read_states(
    client: DagsterClient, assets: Iterable[LocatedAsset]
) -> dict[LocatedAsset, AssetState]:
    """Return the state of each asset that is defined; others are left out."""
    states = {}
    for group in by_place(assets):
        for some in portions(group, ASSETS_AT_ONCE):
            keys = [asset.key.as_input for asset in some]
            nodes = client.query("AssetStates", keys=keys, at=some[0].at)["assetNodes"]
            by_key = {node["assetKey"]: _state(node) for node in nodes}
            states.update({asset: by_key[asset.key] for asset in some if asset.key in by_key})
    return states


def _state(node: Item) -> AssetState:
    stats, counts = node["partitionStats"], None
    if stats:
        made, failed = stats["numMaterialized"], stats["numFailed"]
        missing = stats["numPartitions"] - made - failed - stats["numMaterializing"]
        # Dagster counts partitions that are no longer part of the definition, too.
        counts = PartitionCounts(made, max(missing, 0), failed)
    checks = {
        check["name"]: last and (last["id"], last["status"])
        for check in node["assetChecksOrError"].get("checks", ())
        for last in [check["executionForLatestMaterialization"]]
    }
    freshness, windows = None, None
    if status := node.get("freshnessStatusInfo"):
        freshness = STATES.get(status["freshnessStatus"])
    elif old := node["freshnessInfo"]:
        late = old["currentMinutesLate"]
        freshness = "unknown" if late is None else "fail" if late > 0 else "pass"
    if "failWindowSeconds" in (policy := node.get("internalFreshnessPolicy") or {}):
        windows = (policy["warnWindowSeconds"], policy["failWindowSeconds"])
    return AssetState(counts, checks, freshness, windows)


def read_latest(
    client: DagsterClient, keys: Iterable[AssetKey]
) -> Iterator[tuple[AssetKey, float | None]]:
    """Yield when each asset was last materialized: the server looks all of a request up at once."""
    for some in portions(list(keys), ASSETS_AT_ONCE):
        each = [{"key": key.as_input} for key in some]
        for key, answer in zip(some, client.query_each("AssetLatest", each), strict=True):
            yield key, max(map(_time, answer.get("latest", ())), default=None)


def read_events(
    client: DagsterClient,
    keys: Mapping[AssetKey, float | None],
    before: float | None = None,
    limit: int = MOST_EVENTS,
    observed: Collection[AssetKey] = (),
) -> Iterator[tuple[AssetKey, AssetEvents]]:
    """Yield the events of each asset since its time, in seconds since 1970.

    There are up to `limit` materializations and as many observations, the newest ones; of assets
    in `observed` only these. An asset that is not defined any more has events, too.
    """
    for some in portions(list(keys), ASSETS_AT_ONCE):
        each = [
            {
                "key": key.as_input,
                "limit": limit,
                "after": _milliseconds(keys[key]),
                "before": _milliseconds(before),
                "made": key not in observed,
            }
            for key in some
        ]
        for key, answer in zip(some, client.query_each("AssetEvents", each), strict=True):
            yield key, _events(answer, limit)


def _milliseconds(seconds: float | None) -> str | None:
    return None if seconds is None else str(round(seconds * 1000))


def _events(answer: Item, limit: int) -> AssetEvents:
    if answer["__typename"] == "AssetNotFoundError":
        return AssetEvents()
    asset = member(answer, "Asset")
    made, seen = asset.get("assetMaterializations", ()), asset["assetObservations"]
    numbers = [
        PastNumbers(event["runId"], _time(event), event["partition"], numbers)
        for event in (*made, *seen)
        if (numbers := read_metadata(event["metadataEntries"], NUMBERS))
    ]
    return AssetEvents(
        max(map(_time, asset["latest"]), default=None),
        tuple(sorted(numbers, key=lambda event: -event.at)),
        max(len(made), len(seen)) < limit,
    )


def _time(event: Item) -> float:
    return int(event["timestamp"]) / 1000


def read_executions(
    client: DagsterClient,
    checks: Iterable[CheckKey],
    after: float,
    known: Callable[[CheckKey], int] = lambda _: 0,
) -> dict[CheckKey, list[Execution]]:
    """Return the executions of each check, newest first: those since `after`, and the last one.

    Executions up to the id that `known` returns are left out. At most about `MOST_EXECUTIONS` of
    each check are read.
    """
    found: dict[CheckKey, list[Execution]] = {check: [] for check in checks}
    wanted, limit = list(found), FIRST_EXECUTIONS
    while wanted:
        unfinished = []
        for some in portions(wanted, CHECKS_AT_ONCE):
            each = [_page(check, found[check], limit) for check in some]
            for check, answer in zip(some, client.query_each("CheckHistory", each), strict=True):
                page = [_execution(item) for item in answer]
                found[check] += [item for item in page if item.id > known(check)]
                more = len(page) == limit and len(found[check]) < MOST_EXECUTIONS
                if more and page[-1].id > known(check) and page[-1].at >= after:
                    unfinished.append(check)
        wanted, limit = unfinished, MOST_EXECUTIONS // 4
    return {
        check: [item for number, item in enumerate(items) if not number or item.at >= after]
        for check, items in found.items()
    }


def _page(check: CheckKey, known: Sequence[Execution], limit: int) -> dict[str, Any]:
    cursor = str(known[-1].id) if known else None
    return {"key": check[0].as_input, "name": check[1], "limit": limit, "cursor": cursor}


def _execution(item: Item) -> Execution:
    evaluation = item["evaluation"] or {}
    return Execution(
        int(item["id"]),
        item["runId"],
        evaluation.get("timestamp") or item["timestamp"],
        {"SUCCEEDED": "passed"}.get(item["status"], item["status"].lower()),
        evaluation.get("severity"),
    )
