"""What a notebook asks the server about the asset or job that it is paired with."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from dagmar.asset_key import AssetKey
from dagmar.errors import DagmarError, Invalid
from dagmar.server.catalog import IMPLICIT_JOB, KIND_TAG, Item
from dagmar.server.client import DagsterClient, member
from dagmar.server.launch import PARTITION_TAG, Launch
from dagmar.server.launchable import locate_job, no_such_asset
from dagmar.server.runconfig import read_yaml

COLUMN_SCHEMA = "dagster/column_schema"
MOST_JOBS = 5
RUNS_LOOKED_AT = 100
MOST_NEIGHBOURS = 60
MASK = "********"


@dataclass(frozen=True)
class PastRun:
    """A run that has been: when, how long and how it ended. Times are seconds since 1970."""

    run_id: str
    status: str
    job: str
    partition: str | None
    created: float
    seconds: float | None


@dataclass(frozen=True)
class PastNumbers:
    """The numbers that were recorded of an asset at one time, in seconds since 1970."""

    run_id: str
    at: float
    partition: str | None
    numbers: Mapping[str, float]


def read_asset(client: DagsterClient, key: str) -> Item:
    """Return what the asset is and how it was materialized last.

    Raises Invalid, with what may have been meant, where there is no such asset.
    """
    node = _asset_node(client, "PairedAsset", key)
    (latest, *_) = node["assetMaterializations"] or [None]
    return {
        "description": node["description"],
        "group": node["groupName"],
        "kinds": sorted(kind.removeprefix(KIND_TAG) for kind in node["kinds"]),
        "owners": [owner.get("email") or f"team:{owner['team']}" for owner in node["owners"]],
        "materializable": node["isMaterializable"],
        "location": node["repository"]["location"]["name"],
        "repository": node["repository"]["name"],
        "job": next(
            (job for job in node["jobNames"] if job.startswith(IMPLICIT_JOB)), IMPLICIT_JOB
        ),
        "partitions": (node["partitionDefinition"] or {}).get("description"),
        # What the last materialization says comes before what the definition does.
        "columns": _columns((latest or {}).get("metadataEntries") or ())
        or _columns(node["metadataEntries"]),
        "latest": latest
        and {
            "run_id": latest["runId"],
            "at": int(latest["timestamp"]) / 1000,
            "partition": latest["partition"],
            "metadata": dict(_metadata(latest["metadataEntries"])),
        },
    }


def _columns(entries: Iterable[Item]) -> list[Item]:
    """Return name, type and description of each column, where the entries tell them."""
    for entry in entries:
        if entry["label"] == COLUMN_SCHEMA and entry.get("schema"):
            return list(entry["schema"]["columns"])
    return []


def _metadata(entries: Iterable[Item]) -> Iterable[tuple[str, str]]:
    """Yield what fits into one line; tables, schemas and pages are the Dagster UI's."""
    for entry in entries:
        for name in ("intRepr", "floatValue", "boolValue", "text", "path", "url"):
            if entry.get(name) is not None:
                yield entry["label"], str(entry[name])


def read_job(client: DagsterClient, job: Launch) -> Item:
    """Return what the job is, its steps, and its last run. Raises Invalid for an unknown job."""
    answer = client.query("PairedJob", selector=job.selector("pipelineName"))["pipelineOrError"]
    node = member(answer, "Pipeline", _refusals("PipelineNotFoundError", "InvalidSubsetError"))
    (latest, *_) = node["runs"] or [None]
    return {
        "description": node["description"],
        "tags": {tag["key"]: tag["value"] for tag in node["tags"]},
        "schedules": [schedule["name"] for schedule in node["schedules"]],
        "sensors": [sensor["name"] for sensor in node["sensors"]],
        "steps": {
            step["name"]: sorted(
                {
                    output["solid"]["name"]
                    for entry in step["inputs"]
                    for output in entry["dependsOn"]
                }
            )
            for step in node["solids"]
        },
        "latest": latest,
    }


def read_neighbours(client: DagsterClient, key: str, depth: int) -> dict[str, Item]:
    """Return the assets up to `depth` steps above and below the asset, by key.

    Each has `materializable` and `dependencies`; there are `MOST_NEIGHBOURS` at most.
    Raises Invalid where there is no such asset.
    """
    found: dict[str, Item] = {}
    wanted = {"dependencyKeys": [key], "dependedByKeys": [key]}
    for _ in range(depth + 1):
        asked = sorted({name for names in wanted.values() for name in names} - set(found))
        nodes: dict[str, Item] = {}
        if asked and len(found) < MOST_NEIGHBOURS:
            paths = [AssetKey(name).as_input for name in asked[:MOST_NEIGHBOURS]]
            answer = client.query("Neighbours", keys=paths)["assetNodes"]
            nodes = {AssetKey.from_parts(node["assetKey"]["path"]): node for node in answer}
        if key not in found and key not in nodes:
            raise no_such_asset(client, [key])
        found.update(
            (
                name,
                {
                    "materializable": node["isMaterializable"],
                    "dependencies": _keys(node, "dependencyKeys"),
                },
            )
            for name, node in nodes.items()
        )
        # Up from what is above, down from what is below: siblings stay out.
        wanted = {
            way: [near for name in names if name in nodes for near in _keys(nodes[name], way)]
            for way, names in wanted.items()
        }
    return found


def _keys(node: Item, way: str) -> list[str]:
    return [AssetKey.from_parts(near["path"]) for near in node[way]]


def read_dimensions(client: DagsterClient, key: str) -> dict[str, list[str]]:
    """Return the partition keys of the asset by dimension, in Dagster's order.

    It is empty for an asset without partitions. Raises Invalid where there is no such asset.
    """
    node = _asset_node(client, "AssetPartitionKeys", key)
    return {
        dimension["name"]: dimension["partitionKeys"]
        for dimension in (node["partitionKeysByDimension"] if node["isPartitioned"] else [])
    }


def read_default_config(client: DagsterClient, launch: Launch) -> dict[str, Any]:
    """Return the `ops` part of the run config as the schema's defaults fill it.

    The rest of it (executor, loggers, resources) can be set and rarely is: it is left out.
    """
    answer = client.query("DefaultConfig", selector=launch.selector("pipelineName"))
    refusals = _refusals("PipelineNotFoundError", "InvalidSubsetError", "ModeNotFoundError")
    schema = member(answer["runConfigSchemaOrError"], "RunConfigSchema", refusals)
    ops = _configs((read_yaml(schema["rootDefaultYaml"]) or {}).get("ops"))
    return {"ops": ops} if ops else {}


def _configs(ops: Any) -> dict[str, Any]:
    """Return the config of each op, and of the ops inside of graphs, where there is any."""
    found = {}
    for name, op in ops.items() if isinstance(ops, Mapping) else ():
        config = _without_secrets(op.get("config"))
        inner = _configs(op.get("ops"))
        if kept := {**({"config": config} if config else {}), **({"ops": inner} if inner else {})}:
            found[name] = kept
    return found


def _without_secrets(value: Any) -> Any:
    """Leave out what Dagster masks: sent back, the mask would take the secret's place."""
    if not isinstance(value, Mapping):
        return value
    kept = {name: _without_secrets(one) for name, one in value.items() if one != MASK}
    return {name: one for name, one in kept.items() if one != {}}


def read_asset_history(client: DagsterClient, key: str, limit: int) -> list[PastRun]:
    """Return the last runs that made the asset or failed to, oldest first.

    Raises Invalid where there is no such asset.
    """
    node = client.query("AssetHistory", key=AssetKey(key).as_input, limit=limit)
    asset = _known(client, node["assetNodeOrError"], key)
    runs = [
        event["runOrError"]
        for event in asset["assetMaterializations"]
        if event["runOrError"]["__typename"] == "Run"  # a run may have been deleted
    ]
    # Dagster finds the failed ones by their job only.
    for job in asset["jobNames"][:MOST_JOBS]:
        whole = not job.startswith(IMPLICIT_JOB)
        runs += [
            run
            for run in _runs_of(client, job, RUNS_LOOKED_AT)
            if (whole and run["assetSelection"] is None)
            or any(AssetKey.from_parts(path["path"]) == key for path in run["assetSelection"] or [])
        ]
    return _past(runs, limit)


def read_numbers(client: DagsterClient, key: str, limit: int) -> list[PastNumbers]:
    """Return the numbers of the last materializations and observations, newest first.

    Raises Invalid where there is no such asset.
    """
    answer = client.query("AssetMetrics", key=AssetKey(key).as_input, limit=limit)
    asset = _known(client, answer["assetNodeOrError"], key)
    found = [
        PastNumbers(event["runId"], int(event["timestamp"]) / 1000, event["partition"], numbers)
        for event in (*asset["assetMaterializations"], *asset["assetObservations"])
        if (numbers := dict(_numbers(event["metadataEntries"])))
    ]
    return sorted(found, key=lambda one: -one.at)[:limit]


def _numbers(entries: Iterable[Item]) -> Iterable[tuple[str, float]]:
    for entry in entries:
        if entry.get("intRepr") is not None:
            yield entry["label"], int(entry["intRepr"])
        elif entry.get("floatValue") is not None:
            yield entry["label"], float(entry["floatValue"])


def read_job_history(client: DagsterClient, job: str, limit: int) -> list[PastRun]:
    """Return the last runs of the job `name`, or `name@location`, oldest first.

    Raises Invalid where there is no such job and never was one.
    """
    name, _, location = job.partition("@")
    runs = _runs_of(client, name, RUNS_LOOKED_AT if location else limit)
    if location:  # a run that was made in a notebook's kernel tells none
        runs = [run for run in runs if _location(run) in ("", location)]
    if not runs:
        locate_job(client, job)
    return _past(runs, limit)


def _location(run: Item) -> str:
    return str((run["repositoryOrigin"] or {}).get("repositoryLocationName", ""))


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
    """Return how the server's instance is set up; empty where the server does not tell."""
    import yaml

    info = client.query("InstanceInfo")["instance"]["info"]
    value = yaml.safe_load(info) if info else None
    return value if isinstance(value, dict) else {}


def _asset_node(client: DagsterClient, document: str, key: str) -> Item:
    answer = client.query(document, key=AssetKey(key).as_input)
    return _known(client, answer["assetNodeOrError"], key)


def _known(client: DagsterClient, answer: Item, key: str) -> Item:
    unknown = {"AssetNotFoundError": lambda _: no_such_asset(client, [key])}
    return member(answer, "AssetNode", unknown)


def _refusals(*names: str) -> Mapping[str, Any]:
    def refuse(answer: Mapping[str, Any]) -> DagmarError:
        return Invalid(str(answer["message"]).strip())

    return dict.fromkeys(names, refuse)
