"""Observations on assets over Dagster's REST interface, and which assets they may go to."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from dagmar.asset_key import AssetKey
from dagmar.errors import Invalid, NotAllowed
from dagmar.server.client import DagsterClient, member
from dagmar.server.paired import read_dimensions
from dagmar.server.partitions import Choice, Partitions

PERMISSION = "report_runless_asset_events"


def find_assets(client: DagsterClient, name: str) -> list[str]:
    """Return the asset called `name`, or the assets that the job of that name makes.

    Raises Invalid where there is neither: Dagster itself would make a ghost of a misspelt key.
    """
    try:
        key = AssetKey(name)
        read_dimensions(client, key)
        return [key]
    except Invalid:
        nodes = client.query("AssetsOfJobs")["assetNodes"]
        made = [
            AssetKey.from_parts(node["assetKey"]["path"])
            for node in nodes
            if name in node["jobNames"] and node["isMaterializable"]
        ]
        if not made:
            raise
        return sorted(made)


def find_partition(client: DagsterClient, key: str, partition: str) -> str:
    """Return the partition key of the asset that is meant. Raises Invalid."""
    partitions = Partitions(f"the asset '{key}'", read_dimensions(client, key))
    if not partitions.dimensions:
        raise Invalid(f"the asset '{key}' has no partitions", "Leave --partition out.")
    (found,) = partitions.choose(Choice(keys=(partition,)))
    return found


def require_permission(client: DagsterClient, keys: Sequence[str]) -> None:
    """Raise NotAllowed where the server says that this user may not report on these assets."""
    paths = [AssetKey(key).as_input for key in keys]
    answer = client.query("AssetsToLaunch", keys=paths, partitioned=False)
    entries = member(answer["workspaceOrError"], "Workspace")["locationEntries"]
    places = {node["repository"]["location"]["name"] for node in answer["assetNodes"]}
    said = [one for entry in entries if entry["name"] in places for one in entry["permissions"]]
    for one in said:
        if one["permission"] == PERMISSION and not one["value"]:
            raise NotAllowed(
                f"the server does not allow you to put anything on {', '.join(keys)}: "
                f"{one['disabledReason'] or 'it is read-only'}",
                "Use another --target, or ask for the permission.",
            )


def observe(
    client: DagsterClient,
    key: str,
    metadata: Mapping[str, Any],
    description: str,
    partition: str | None,
) -> None:
    """Report an observation on the asset; metadata are texts, numbers and truth values.

    Raises NotAllowed, Unreachable, AnswerLost or Invalid.
    """
    body: dict[str, Any] = {"metadata": dict(metadata), "description": description}
    if partition:
        body["partition"] = partition
    place = AssetKey(key).as_url_path
    if any("/" in part for part in AssetKey(key).parts):
        # Dagster reads the path decoded, and would split this component, too.
        body["asset_key"], place = AssetKey(key).parts, ""
    client.report(f"report_asset_observation/{place}", body)
