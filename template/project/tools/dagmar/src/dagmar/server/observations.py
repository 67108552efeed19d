"""Observations on assets over Dagster's REST interface, and the assets that may get them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from dagmar.asset_key import AssetKey
from dagmar.errors import Invalid
from dagmar.server.client import DagsterClient, not_permitted
from dagmar.server.launchable import permissions_of
from dagmar.server.paired import read_dimensions
from dagmar.server.partitions import Choice, Partitions

PERMISSION = "report_runless_asset_events"


def find_assets(client: DagsterClient, name: str) -> list[AssetKey]:
    """Return the asset `name`, or the assets that the job of that name materializes.

    Raises Invalid if neither exists: Dagster would create an asset for a misspelt key.
    """
    try:
        key = AssetKey(name)
        read_dimensions(client, key)
        return [key]
    except Invalid:
        nodes = client.query("AssetsOfJobs")["assetNodes"]
        keys = [node["key"] for node in nodes if name in node["jobs"] and node["isMaterializable"]]
        if not keys:
            raise
        return sorted(keys)


def find_partition(client: DagsterClient, key: AssetKey, partition: str) -> str:
    """Return the key that `partition` means for the asset. Raises Invalid."""
    partitions = Partitions(f"the asset '{key}'", read_dimensions(client, key))
    if not partitions.dimensions:
        raise Invalid(f"the asset '{key}' has no partitions", "Leave --partition out.")
    return partitions.choose(Choice(keys=(partition,)))[0]


def require_permission(client: DagsterClient, keys: Sequence[AssetKey]) -> None:
    """Raise NotAllowed if the server does not let this user report on these assets."""
    paths = [key.as_input for key in keys]
    answer = client.query("AssetsToLaunch", keys=paths, partitioned=False)
    for location in {node["repository"]["location"]["name"] for node in answer["assetNodes"]}:
        permission = permissions_of(answer, location).get(PERMISSION)
        if permission and not permission["value"]:
            raise not_permitted(f"report on {', '.join(keys)}", permission["disabledReason"])


def observe(
    client: DagsterClient,
    key: AssetKey,
    metadata: Mapping[str, Any],
    description: str,
    partition: str | None,
) -> None:
    """Report an observation on the asset; metadata are texts, numbers and booleans.

    Raises NotAllowed, Unreachable, AnswerLost or Invalid.
    """
    body: dict[str, Any] = {"metadata": dict(metadata), "description": description}
    if partition:
        body["partition"] = partition
    path = key.as_url_path
    if any("/" in part for part in key.parts):
        # Dagster decodes the path before it splits it into components.
        body["asset_key"], path = key.parts, ""
    client.report(f"report_asset_observation/{path}", body)
