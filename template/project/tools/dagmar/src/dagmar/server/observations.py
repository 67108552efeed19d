"""Observations on assets over Dagster's REST interface, and which assets they may go to."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

from dagmar.errors import Invalid
from dagmar.server.catalog import asset_key
from dagmar.server.client import DagsterClient
from dagmar.server.paired import read_dimensions
from dagmar.server.partitions import Choice, Partitions


def find_assets(client: DagsterClient, name: str) -> list[str]:
    """Return the asset called `name`, or the assets that the job of that name makes.

    Raises Invalid where there is neither: Dagster itself would make a ghost of a misspelt key.
    """
    try:
        read_dimensions(client, name)
        return [name]
    except Invalid:
        nodes = client.query("AssetsOfJobs")["assetNodes"]
        made = [
            asset_key(node["assetKey"]["path"])
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
    client.report(f"report_asset_observation/{quote(key)}", body)
