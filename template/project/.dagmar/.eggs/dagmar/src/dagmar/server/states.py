"""The state of assets, as Dagster reports it: materialized, stale, missing, failed or running."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from dagmar.server.catalog import MOST_AT_ONCE, Item
from dagmar.server.client import DagsterClient
from dagmar.server.located import LocatedAsset, by_place, locate_assets
from dagmar.server.shapes import portions

RUNNING, QUEUED, FAILED = "running", "queued", "failed"
MISSING, STALE, MATERIALIZED, EXTERNAL = "missing", "stale", "materialized", "external"


@dataclass(frozen=True)
class AssetState:
    """The state of an asset; `at` is when it was last materialized, in seconds since 1970.

    `run_id` is the run that the state is about, and `partitions` are how many there are and how
    many of them are materialized; it is None for an asset without partitions.
    """

    state: str
    at: float | None = None
    run_id: str = ""
    partitions: tuple[int, int] | None = None


def read_states(client: DagsterClient, names: Sequence[str]) -> list[AssetState]:
    """Return the state of each asset that these names mean; it is empty if there is none any more.

    Raises Invalid for unknown and ambiguous names.
    """
    assets = locate_assets(client, names) if names else []
    states: dict[LocatedAsset, AssetState] = {}
    for group in by_place(assets):
        for portion in portions(group, MOST_AT_ONCE):
            paths = [asset.key.as_input for asset in portion]
            answer = client.query("SelectedStates", keys=paths, at=portion[0].at)
            latest = {info["assetKey"]: info for info in answer["assetsLatestInfo"]}
            nodes = {node["assetKey"]: node for node in answer["assetNodes"]}
            states |= {
                asset: state_of(nodes[asset.key], latest.get(asset.key, {}))
                for asset in portion
                if asset.key in nodes
            }
    return [states.get(asset, AssetState("")) for asset in assets]


def state_of(node: Item, latest: Item) -> AssetState:
    """Return the state of an asset from its node and its latest information."""
    counts = node["partitionStats"]
    partitions = counts and (counts["numPartitions"], counts["numMaterialized"])
    last, run = latest.get("latestMaterialization"), latest.get("latestRun") or {}
    at = int(last["timestamp"]) / 1000 if last else None

    def being(state: str, run_id: str = "") -> AssetState:
        return AssetState(state, at, run_id or (last["runId"] if last else ""), partitions)

    if running := latest.get("inProgressRunIds"):
        return being(RUNNING, running[0])
    if queued := latest.get("unstartedRunIds"):
        return being(QUEUED, queued[0])
    if not node["materializable"]:
        return being(EXTERNAL)
    # As in Dagster's UI: its last run failed, and did not materialize it before.
    done = last and (last["runId"] == run.get("runId") or (at or 0) > (run.get("endTime") or 0))
    failed = run.get("status") == "FAILURE" and not done
    if failed or (counts and counts["numFailed"]):
        return being(FAILED, run["runId"] if failed else "")
    if not last:
        return being(MISSING)
    # Of partitions, Dagster does not say it for all together.
    stale = node["staleStatus"] == "STALE" and not counts
    return being(STALE if stale else MATERIALIZED)
