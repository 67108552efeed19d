"""What a notebook shows of the asset or job that it is paired with."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from dagmar.asset_key import AssetKey
from dagmar.server.catalog import IMPLICIT_JOB, KIND_TAG, Item, owners
from dagmar.server.checks import ERROR, Check
from dagmar.server.client import DagsterClient, member
from dagmar.server.launch import PARTITION_TAG, Launch, refusals
from dagmar.server.launchable import job_of, locate_job
from dagmar.server.located import LocatedAsset, no_such_asset
from dagmar.server.metadata import NUMBERS, VALUES, read_columns, read_metadata
from dagmar.server.partitions import Partitions, dimensions_of, of_asset
from dagmar.server.runconfig import read_yaml
from dagmar.server.shapes import only, portions

MOST_JOBS = 5
MOST_CHECKS = 10
RUNS_SEARCHED = 100
MOST_NEIGHBOURS = 60
PARTITIONS_AT_ONCE = 1000
MASK = "********"


@dataclass(frozen=True)
class PastRun:
    """One run of the history: when it was, how long, and its status. Times are since 1970.

    `failed_checks` are the names of the asset's checks that failed in it with severity ERROR.
    """

    run_id: str
    status: str
    job: str
    partition: str | None
    created: float
    seconds: float | None
    failed_checks: tuple[str, ...] = ()


def read_asset(client: DagsterClient, asset: LocatedAsset) -> Item:
    """Return the asset and its last materialization."""
    node = only(client.query("PairedAsset", **asset.variables)["assetNodes"])
    (latest, *_) = node["assetMaterializations"] or [None]
    location, repository, job = job_of(node)
    return {
        **{name: node[name] for name in ("description", "group", "materializable")},
        "kinds": sorted(kind.removeprefix(KIND_TAG) for kind in node["kinds"]),
        "owners": owners(node),
        "location": location,
        "repository": repository,
        "job": job,
        "partitions": (node["partitionDefinition"] or {}).get("description"),
        # The last materialization's schema wins over the definition's.
        "columns": read_columns((latest or {}).get("metadataEntries") or ())
        or read_columns(node["metadataEntries"]),
        "checks": [
            Check(check["name"], asset.key, result.get("success"), result.get("severity"))
            for check in node["assetChecksOrError"].get("checks", ())
            for result in [
                (check["executionForLatestMaterialization"] or {}).get("evaluation") or {}
            ]
        ],
        "latest": latest
        and {
            "run_id": latest["runId"],
            "at": int(latest["timestamp"]) / 1000,
            "partition": latest["partition"],
            "metadata": {
                name: str(value)
                for name, value in read_metadata(latest["metadataEntries"], VALUES).items()
            },
        },
    }


def read_job(client: DagsterClient, job: Launch) -> Item:
    """Return the job, its steps, and its last run. Raises Invalid for an unknown job."""
    answer = client.query("PairedJob", selector=job.selector("pipelineName"))["pipelineOrError"]
    node = member(answer, "Pipeline")
    (latest, *_) = node["runs"] or [None]
    return {
        "description": node["description"],
        "schedules": [schedule["name"] for schedule in node["schedules"]],
        "sensors": [sensor["name"] for sensor in node["sensors"]],
        "steps": {
            step["name"]: sorted(
                {output["solid"]["name"] for take in step["inputs"] for output in take["dependsOn"]}
            )
            for step in node["solids"]
        },
        "latest": latest,
    }


def read_neighbours(client: DagsterClient, key: AssetKey, depth: int) -> dict[AssetKey, Item]:
    """Return the assets up to `depth` steps above and below the asset, by key.

    Each has `materializable` and `dependencies`; there are `MOST_NEIGHBOURS` at most.
    Raises Invalid if the asset does not exist.
    """
    neighbours: dict[AssetKey, Item] = {}
    wanted = {"dependencies": [key], "dependents": [key]}
    for _ in range(depth + 1):
        unread = sorted({name for names in wanted.values() for name in names} - set(neighbours))
        nodes = {}
        if unread and len(neighbours) < MOST_NEIGHBOURS:
            paths = [name.as_input for name in unread[:MOST_NEIGHBOURS]]
            answer = client.query("Neighbours", keys=paths)["assetNodes"]
            nodes = {node["assetKey"]: node for node in answer}
        if key not in neighbours and key not in nodes:
            raise no_such_asset(client, [key])
        neighbours.update(nodes)
        # Further up from upstream assets, further down from downstream ones: no siblings.
        wanted = {
            field: [near for name in names if name in nodes for near in nodes[name][field]]
            for field, names in wanted.items()
        }
    return neighbours


def read_dimensions(client: DagsterClient, asset: LocatedAsset) -> dict[str, list[str]]:
    """Return the partition keys of the asset by dimension, in Dagster's order.

    It is empty for an asset without partitions.
    """
    node = only(client.query("AssetPartitionKeys", **asset.variables)["assetNodes"])
    return dimensions_of(node)


def read_partitions(client: DagsterClient, asset: LocatedAsset) -> Partitions | None:
    """Return the partitions of the asset with their states; None if it has none."""
    answer = client.query("AssetsToLaunch", **asset.variables, partitioned=True)
    node = only(answer["assetNodes"])
    return of_asset(asset.key, node) if node["isPartitioned"] else None


def read_numbers(
    client: DagsterClient, asset: LocatedAsset, name: str, keys: Sequence[str]
) -> dict[str, float]:
    """Return the metadata number `name` of the latest materialization of each of these partitions.

    Partitions without it are left out.
    """
    numbers = {}
    for some in portions(keys, PARTITIONS_AT_ONCE):
        answer = client.query("PartitionNumbers", **asset.variables, partitions=list(some))
        for event in filter(None, only(answer["assetNodes"])["latestMaterializationByPartition"]):
            found = read_metadata(event["metadataEntries"], NUMBERS)
            if name in found:
                numbers[event["partition"]] = found[name]
    return numbers


def read_default_config(client: DagsterClient, launch: Launch) -> dict[str, Any]:
    """Return the `ops` part of the run config with the schema's defaults.

    The rest (executor, loggers, resources) is rarely set, and left out.
    Raises what a launch raises.
    """
    answer = client.query("DefaultConfig", selector=launch.selector("pipelineName"))
    schema = member(answer["runConfigSchemaOrError"], "RunConfigSchema", refusals(launch))
    ops = _configs(read_yaml(schema["rootDefaultYaml"]).get("ops"))
    return {"ops": ops} if ops else {}


def _configs(ops: Any) -> dict[str, Any]:
    """Return the config of each op, and of the ops inside graphs, if it has any."""
    configs = {}
    for name, op in ops.items() if isinstance(ops, Mapping) else ():
        if not isinstance(op, Mapping):
            continue
        parts = {"config": _without_secrets(op.get("config")), "ops": _configs(op.get("ops"))}
        if parts := {key: part for key, part in parts.items() if part}:
            configs[name] = parts
    return configs


def _without_secrets(config: Any) -> Any:
    """Leave out what Dagster masks: sent back, the mask would replace the secret."""
    if not isinstance(config, Mapping):
        return config
    kept = {name: _without_secrets(value) for name, value in config.items() if value != MASK}
    return {name: value for name, value in kept.items() if value != {}}


def read_asset_history(client: DagsterClient, asset: LocatedAsset, limit: int) -> list[PastRun]:
    """Return the last runs that materialized the asset or failed to, oldest first.

    Dagster keeps the history of a key, wherever it was materialized.
    """
    key = asset.key
    node = only(client.query("AssetHistory", **asset.variables, limit=limit)["assetNodes"])
    runs = [
        event["runOrError"]
        for event in node["assetMaterializations"]
        if event["runOrError"]["__typename"] == "Run"  # a run may have been deleted
    ]
    # Dagster finds failed runs by their job only.
    for job in node["jobNames"][:MOST_JOBS]:
        whole = not job.startswith(IMPLICIT_JOB)
        runs += [
            run
            for run in _runs_of(client, job, RUNS_SEARCHED)
            if (whole and run["assetSelection"] is None) or key in (run["assetSelection"] or ())
        ]
    checks = node["assetChecksOrError"].get("checks", ())[:MOST_CHECKS]
    each = [
        {"key": key.as_input, "name": check["name"], "limit": RUNS_SEARCHED} for check in checks
    ]
    failed: dict[str, list[str]] = {}
    for check, executions in zip(checks, client.query_each("CheckHistory", each), strict=True):
        for run_id in _failures_among(executions, check["name"], key):
            failed.setdefault(run_id, []).append(check["name"])
    past = _past(runs, limit)
    return [replace(run, failed_checks=tuple(failed.get(run.run_id, ()))) for run in past]


def _failures_among(executions: Iterable[Item], check: str, key: AssetKey) -> list[str]:
    """Return the ids of the runs in which a check failed, among the last ones."""
    return [
        execution["runId"]
        for execution in executions
        if (result := execution["evaluation"])
        and Check(check, key, result["success"], result["severity"]).fails(ERROR)
    ]


def read_job_history(client: DagsterClient, job: str, limit: int) -> list[PastRun]:
    """Return the last runs of the job `name`, or `name@location`, oldest first.

    Raises Invalid if there is neither such a job nor a run of one.
    """
    name, _, place = job.partition("@")
    location = place.rpartition("@")[2]
    runs = _runs_of(client, name, RUNS_SEARCHED if location else limit)
    if location:
        # A run in a notebook's kernel has no origin.
        runs = [
            run
            for run in runs
            if (run["repositoryOrigin"] or {}).get("repositoryLocationName", "") in ("", location)
        ]
    if not runs:
        locate_job(client, job)
    return _past(runs, limit)


def _runs_of(client: DagsterClient, job: str, limit: int) -> list[Item]:
    answer = client.query("JobHistory", job=job, limit=limit)["runsOrError"]
    return list(member(answer, "Runs")["results"])


def _past(runs: Iterable[Item], limit: int) -> list[PastRun]:
    past = {}
    for run in runs:
        start, end = run["startTime"], run["endTime"]
        tags = {tag["key"]: tag["value"] for tag in run["tags"]}
        past[run["runId"]] = PastRun(
            run_id=run["runId"],
            status=run["status"],
            job=run["jobName"],
            partition=tags.get(PARTITION_TAG),
            created=run["creationTime"],
            seconds=end - start if start and end else None,
        )
    return sorted(past.values(), key=lambda run: run.created)[-limit:]


def read_instance_info(client: DagsterClient) -> dict[str, Any]:
    """Return the configuration of the server's instance; empty if the server hides it."""
    import yaml

    info = client.query("InstanceInfo")["instance"]["info"]
    value = None
    with contextlib.suppress(yaml.YAMLError, ValueError):
        value = yaml.safe_load(info or "")
    return value if isinstance(value, dict) else {}
