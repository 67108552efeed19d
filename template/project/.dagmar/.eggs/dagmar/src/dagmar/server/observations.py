"""Observations on assets over Dagster's REST interface, and the assets that may get them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from dagmar.asset_key import AssetKey
from dagmar.errors import Invalid
from dagmar.server.catalog import Item
from dagmar.server.client import DagsterClient, not_permitted
from dagmar.server.launchable import permissions_of
from dagmar.server.located import LocatedAsset, assets_of, locate_asset, locate_assets
from dagmar.server.names import choose, names_of
from dagmar.server.paired import read_dimensions
from dagmar.server.partitions import Choice, Partitions

PERMISSION = "report_runless_asset_events"


def find_assets(client: DagsterClient, name: str) -> list[LocatedAsset]:
    """Return the asset `name`, or the assets that the job of that name materializes.

    Raises Invalid if neither exists: Dagster would create an asset for a misspelt key. Also for a
    name that several code locations have.
    """
    try:
        return [locate_asset(client, AssetKey(name))]
    except Invalid:
        answer = client.query("AssetsOfJobs")
        jobs: dict[tuple[str, str], Item] = {}
        for asset in assets_of(answer):
            place = (asset["location"], asset["repository"])
            for job in asset["jobs"] if asset["isMaterializable"] else ():
                item = {"name": job, "location": place[0], "repository": place[1]}
                if name in names_of(item):
                    jobs.setdefault(place, {**item, "keys": []})["keys"].append(asset["key"])
        found = choose("job", name, jobs.values())
        if found is None:
            raise
        place = found["location"], found["repository"]
        return locate_assets(
            client, [f"{key}@{place[1]}@{place[0]}" for key in sorted(found["keys"])]
        )


def find_partition(client: DagsterClient, asset: LocatedAsset, partition: str) -> str:
    """Return the key that `partition` means for the asset. Raises Invalid."""
    partitions = Partitions(f"the asset '{asset.key}'", read_dimensions(client, asset))
    if not partitions.dimensions:
        raise Invalid(f"the asset '{asset.key}' has no partitions", "Leave --partition out.")
    return partitions.choose(Choice(keys=(partition,)))[0]


def require_permission(client: DagsterClient, assets: Sequence[LocatedAsset]) -> None:
    """Raise NotAllowed if the server does not let this user report on these assets."""
    answer = client.query("AssetsToLaunch", keys=[], at=None, partitioned=False)
    keys = [asset.key for asset in assets]
    for location in {asset.location for asset in assets}:
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
