"""What Dagster answers about assets and jobs that are to be launched."""

from __future__ import annotations

from typing import Any

JOB_PARTITIONS = {
    "pipelineOrError": {
        "__typename": "Pipeline",
        "partitionKeysOrError": {"partitionKeys": ["mon", "tue"]},
    },
    "partitionSetOrError": {
        "__typename": "PartitionSet",
        "partitionsOrError": {"__typename": "Partitions", "results": []},
        "partitionStatusesOrError": {"__typename": "PartitionStatuses", "results": []},
    },
}


def partition_config(text: str) -> dict[str, Any]:
    """Return the config of a partition, from its YAML."""
    return {"__typename": "PartitionRunConfig", "yaml": text}


def job_defaults(fixed: str = "", config: Any = None, tags: Any = None) -> dict[str, Any]:
    """Return the defaults of a job, of which those of a partition may be errors."""
    presets = [
        {"name": "other", "runConfigYaml": "other: 1"},
        {"name": "default", "runConfigYaml": fixed},
    ]
    state = {
        "runConfigOrError": config or partition_config(""),
        "tagsOrError": tags or {"__typename": "PartitionTags", "results": []},
    }
    answer = {"__typename": "Pipeline", "presets": presets, "partition": state}
    return {"pipelineOrError": answer}


FORBIDDEN = {"permission": "launch_partition_backfill", "value": False, "disabledReason": "Ask Ann"}


def place(location: str) -> dict[str, Any]:
    return {"name": "__repository__", "location": {"name": location}}


def asset(name: str, location: str = "shop", **more: Any) -> dict[str, Any]:
    """Return an asset's node in `AssetsToLaunch`."""
    return {
        "assetKey": {"path": name.split("/")}, "isMaterializable": True, "isPartitioned": False,
        "hasMaterializePermission": True, "jobNames": ["nightly", "__ASSET_JOB"],
        "opNames": [name.replace("/", "__")], "graphName": None, "repository": place(location),
        "backfillPolicy": None, "partitionKeysByDimension": [], **more,
    }  # fmt: skip


def daily(*keys: str) -> dict[str, Any]:
    """Return the fields of an asset with these partitions, of which none is materialized."""
    states = {
        "__typename": "DefaultPartitionStatuses", "materializedPartitions": [],
        "materializingPartitions": [], "failedPartitions": [],
    }  # fmt: skip
    return {
        "isPartitioned": True,
        "partitionKeysByDimension": [{"name": "default", "partitionKeys": list(keys)}],
        "assetPartitionStatuses": states,
    }


WORKSPACE = {
    "__typename": "Workspace",
    "locationEntries": [
        {
            "name": "shop",
            "permissions": [FORBIDDEN],
            "locationOrLoadError": {
                "__typename": "RepositoryLocation",
                "dagsterLibraryVersions": [{"name": "dagster", "version": "1.13.0"}],
            },
        },
        {"name": "lab", "permissions": [], "locationOrLoadError": None},
    ],
}


def with_assets(*nodes: dict[str, Any]) -> dict[str, Any]:
    places = {node["repository"]["location"]["name"]: node["repository"] for node in nodes}
    connection = {"__typename": "RepositoryConnection", "nodes": list(places.values())}
    return {
        "AssetPlaces": {"assetNodes": nodes, "repositoriesOrError": connection},
        "AssetCollisions": {"assetNodeDefinitionCollisions": []},
        "AssetsToLaunch": {"assetNodes": nodes, "workspaceOrError": WORKSPACE},
    }
