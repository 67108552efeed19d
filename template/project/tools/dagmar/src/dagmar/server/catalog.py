"""What a Dagster server knows: code locations, assets, jobs, schedules, sensors, resources.

Everything is plain data in the shape that `invoke discover --json` prints.
"""

from __future__ import annotations

import functools
import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from dagmar.asset_key import AssetKey
from dagmar.failure import Failure
from dagmar.files import write_atomically
from dagmar.server.client import DOCUMENTS, DagsterClient, member

KINDS = ("assets", "jobs", "schedules", "sensors", "resources")
KIND_TAG = "dagster/kind/"
IMPLICIT_JOB = "__ASSET_JOB"
MOST_AT_ONCE = 500

Item = dict[str, Any]


@dataclass(frozen=True)
class Inputs:
    """What an asset takes from upstream.

    `values` are the upstream assets whose value it gets, unlike those it only comes after;
    `alike` are those of them that have the same partitions as the asset itself.
    """

    partitioned: bool = False
    values: tuple[str, ...] = ()
    alike: frozenset[str] = frozenset()


@dataclass
class Catalog:
    """What is on a server; a kind that was not asked for is an empty list.

    `inputs` finds out what assets take from upstream, while the server is open.
    """

    url: str
    version: str
    locations: list[Item]
    assets: list[Item] = field(default_factory=list)
    jobs: list[Item] = field(default_factory=list)
    schedules: list[Item] = field(default_factory=list)
    sensors: list[Item] = field(default_factory=list)
    resources: list[Item] = field(default_factory=list)
    inputs: Callable[[Sequence[str]], dict[str, Inputs]] = field(
        default=lambda _: {}, compare=False, repr=False
    )

    @property
    def broken(self) -> dict[str, Failure]:
        """Why code locations failed to load, by their names."""
        return broken(self.locations)


def read_catalog(
    client: DagsterClient,
    kinds: Iterable[str] = KINDS,
    cache: Path | None = None,
    refresh: bool = False,
) -> Catalog:
    """Ask the server what is there.

    `cache` is a folder. Assets come from it while no code location has changed, since they
    are by far the largest answer; `refresh` asks again. What can change without a reload
    (whether a schedule runs) is always asked.
    """
    kinds = set(kinds)
    answer = client.query("Workspace")
    workspace = member(answer["workspaceOrError"], "Workspace")
    locations = [location(entry) for entry in workspace["locationEntries"]]
    catalog = Catalog(client.target.url, answer["version"], locations)
    catalog.inputs = functools.partial(read_inputs, client)
    if "assets" in kinds:
        file = _cache_file(client, answer, cache)
        cached = None if refresh else _read(file)
        catalog.assets = cached if cached is not None else _assets(client)
        if file and cached is None:
            _write(file, catalog.assets)
    if kinds - {"assets"}:
        _repositories(client, catalog, kinds)
    return catalog


def location(entry: Item) -> Item:
    """Return a code location of the workspace as plain data, with its error in words."""
    state = entry["locationOrLoadError"]
    status = "loading" if entry["loadStatus"] == "LOADING" or state is None else "loaded"
    repositories: list[str] = []
    error = None
    if state is not None and state["__typename"] == "RepositoryLocation":
        repositories = [repository["name"] for repository in state["repositories"]]
    elif state is not None:
        # LOADED is said of a location that failed to import, too.
        status, error = "error", Failure.from_graphql(state).as_document()
    return {
        "name": entry["name"],
        "repositories": repositories,
        "status": status,
        "error": error,
    }


def broken(locations: Iterable[Item]) -> dict[str, Failure]:
    """Return why code locations failed to load, by their names."""
    return {
        location["name"]: Failure.from_document(location["error"])
        for location in locations
        if location["error"]
    }


def read_inputs(client: DagsterClient, keys: Sequence[str]) -> dict[str, Inputs]:
    """Return the inputs of each of these assets that the server knows."""
    nodes = {
        AssetKey.from_parts(node["assetKey"]["path"]): node
        for node in _input_nodes(client, keys, ops=True)
    }
    above = {key for node in nodes.values() for key in _upstream(node)}
    others = sorted(above - set(nodes))
    partitions = {
        AssetKey.from_parts(node["assetKey"]["path"]): node["partitionDefinition"]
        for node in (*nodes.values(), *_input_nodes(client, others, ops=False))
    }
    return {key: _inputs_of(key, node, partitions) for key, node in nodes.items()}


def _input_nodes(client: DagsterClient, keys: Sequence[str], ops: bool) -> Iterator[Item]:
    for start in range(0, len(keys), MOST_AT_ONCE):
        paths = [AssetKey(key).as_input for key in keys[start : start + MOST_AT_ONCE]]
        yield from client.query("Inputs", keys=paths, ops=ops)["assetNodes"]


def _inputs_of(key: AssetKey, node: Item, partitions: dict[AssetKey, Item | None]) -> Inputs:
    upstream = sorted(_upstream(node))
    # What Dagster does not execute takes nothing.
    taken = (node["op"] or {"inputDefinitions": []})["inputDefinitions"]
    nothing = {one["name"] for one in taken if one["type"]["isNothing"]}
    values = [name for name in upstream if _input_name(name) not in nothing]
    if len(nothing) == len(taken):
        values = []
    own = partitions[key]
    alike = [name for name in values if own is not None and partitions.get(name) == own]
    return Inputs(own is not None, tuple(values), frozenset(alike))


def _upstream(node: Item) -> list[AssetKey]:
    return [AssetKey.from_parts(key["path"]) for key in node["dependencyKeys"]]


def _input_name(key: AssetKey) -> str:
    """Return what Dagster calls the input of a dependency without a value."""
    return "_".join(key.parts).replace("-", "_").replace(".", "_")


def _assets(client: DagsterClient) -> list[Item]:
    nodes = client.query("Assets")["assetNodes"]
    return sorted((_asset(node) for node in nodes), key=lambda asset: str(asset["key"]))


# The shape of an asset here, and so in the cache: each key, and its possible types.
ASSET: dict[str, tuple[type, ...]] = {
    "key": (str,),
    "group": (str, type(None)),
    "kinds": (list,),
    "tags": (dict,),
    "owners": (list,),
    "description": (str, type(None)),
    "location": (str,),
    "repository": (str,),
    "materializable": (bool,),
    "partitions": (dict, type(None)),
    "dependencies": (list,),
    "jobs": (list,),
}


def _asset(node: Item) -> Item:
    tags = {tag["key"]: tag["value"] for tag in node["tags"]}
    partitions = node["partitionDefinition"]
    return {
        "key": AssetKey.from_parts(node["assetKey"]["path"]),
        "group": node["groupName"],
        "kinds": sorted(tag[len(KIND_TAG) :] for tag in tags if tag.startswith(KIND_TAG)),
        "tags": {key: value for key, value in tags.items() if not key.startswith(KIND_TAG)},
        "owners": [owner.get("email") or f"team:{owner['team']}" for owner in node["owners"]],
        "description": node["description"],
        "location": node["repository"]["location"]["name"],
        "repository": node["repository"]["name"],
        "materializable": node["isMaterializable"],
        "partitions": partitions and _partitions(partitions),
        "dependencies": _upstream(node),
        "jobs": [job for job in node["jobNames"] if not job.startswith(IMPLICIT_JOB)],
    }


def _partitions(definition: Item) -> Item:
    return {
        "type": definition["type"],
        "dimensions": [
            {
                "name": dimension["name"],
                "type": dimension["type"],
                "dynamic_name": dimension["dynamicPartitionsDefinitionName"],
            }
            for dimension in definition["dimensionTypes"]
        ],
    }


def _repositories(client: DagsterClient, catalog: Catalog, kinds: set[str]) -> None:
    answer = client.query("Repositories")["repositoriesOrError"]
    for node in member(answer, "RepositoryConnection")["nodes"]:
        place = {"location": node["location"]["name"], "repository": node["name"]}
        if "jobs" in kinds:
            catalog.jobs += [
                {**_job(job), **place}
                for job in node["jobs"]
                if not job["name"].startswith(IMPLICIT_JOB)
            ]
        if "schedules" in kinds:
            catalog.schedules += [{**_schedule(item), **place} for item in node["schedules"]]
        if "sensors" in kinds:
            catalog.sensors += [{**_sensor(item), **place} for item in node["sensors"]]
        if "resources" in kinds:
            catalog.resources += [
                {
                    "name": item["name"],
                    "type": item["resourceType"],
                    "description": item["description"],
                    **place,
                }
                for item in node["allTopLevelResourceDetails"]
            ]


def _job(job: Item) -> Item:
    return {
        "name": job["name"],
        "description": job["description"],
        "asset_job": job["isAssetJob"],
        "tags": {tag["key"]: tag["value"] for tag in job["tags"]},
        "schedules": [schedule["name"] for schedule in job["schedules"]],
        "sensors": [sensor["name"] for sensor in job["sensors"]],
    }


def _schedule(schedule: Item) -> Item:
    return {
        "name": schedule["name"],
        "description": schedule["description"],
        "job": schedule["pipelineName"],
        "cron": schedule["cronSchedule"],
        "timezone": schedule["executionTimezone"],
        "status": schedule["scheduleState"]["status"].lower(),
    }


def _sensor(sensor: Item) -> Item:
    return {
        "name": sensor["name"],
        "description": sensor["description"],
        "type": sensor["sensorType"].lower(),
        "jobs": [target["pipelineName"] for target in sensor["targets"] or []],
        "interval_s": sensor["minIntervalSeconds"],
        "status": sensor["sensorState"]["status"].lower(),
    }


def last_materializations(client: DagsterClient, keys: list[str]) -> dict[str, float]:
    """Return when each asset was last materialized, in seconds since 1970; absent if never."""
    if not keys:
        return {}
    paths = [AssetKey(key).as_input for key in keys]
    answer = client.query("LatestMaterializations", keys=paths)["assetsLatestInfo"]
    return {
        AssetKey.from_parts(info["assetKey"]["path"]): int(latest["timestamp"]) / 1000
        for info in answer
        if (latest := info["latestMaterialization"])
    }


def _cache_file(client: DagsterClient, answer: Item, folder: Path | None) -> Path | None:
    """Return the file for exactly these code locations, as they were loaded last."""
    if folder is None:
        return None
    entries = answer["workspaceOrError"]["locationEntries"]
    state = [(entry["name"], entry["loadStatus"], entry["updatedTimestamp"]) for entry in entries]
    query = (DOCUMENTS / "Assets.graphql").read_text("utf-8")
    asked = [client.target.url, client.target.name, answer["version"], state, query]
    mark = json.dumps([*asked, sorted(ASSET)])
    return folder / f"assets-{hashlib.sha256(mark.encode()).hexdigest()[:16]}.json"


def _read(file: Path | None) -> list[Item] | None:
    try:
        assets = json.loads(file.read_text("utf-8")) if file else None
    except (OSError, ValueError, RecursionError):
        return None
    if not isinstance(assets, list) or not all(map(_is_asset, assets)):
        return None
    for asset in assets:
        asset["key"] = AssetKey(asset["key"])
        asset["dependencies"] = [AssetKey(key) for key in asset["dependencies"]]
    return assets


def _is_asset(item: object) -> bool:
    return (
        isinstance(item, dict)
        and item.keys() == ASSET.keys()
        and all(isinstance(item[key], kinds) for key, kinds in ASSET.items())
    )


def _write(file: Path, assets: list[Item]) -> None:
    """Keep the answer; a project folder that cannot be written to costs only speed."""
    try:
        for old in file.parent.glob("assets-*.json"):
            old.unlink(missing_ok=True)
        write_atomically(file, json.dumps(assets))
    except OSError:
        pass
