"""What Dagster answers about a job that is to be launched."""

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
