"""What a Dagster server knows: code locations, assets, jobs, schedules, sensors, resources.

Everything is plain data in the shape that `invoke discover --json` prints.
"""

from __future__ import annotations

import functools
import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import UnionType
from typing import Any, TypedDict, get_args, get_origin, get_type_hints

from dagmar.asset_key import AssetKey
from dagmar.failure import Failure
from dagmar.files import write_atomically
from dagmar.project.layout import make_folder
from dagmar.server.client import DOCUMENTS, DagsterClient, member
from dagmar.server.metadata import TEXTS, read_metadata
from dagmar.server.names import names_of
from dagmar.server.shapes import Answer, portions

KINDS = ("assets", "jobs", "schedules", "sensors", "resources")
KIND_TAG = "dagster/kind/"
IMPLICIT_JOB = "__ASSET_JOB"
MOST_AT_ONCE = 500

Item = dict[str, Any]
"""A part of an answer of the server."""


class Location(TypedDict):
    """A code location; `error` is a Failure's document if its `status` is `error`."""

    name: str
    repositories: list[str]
    status: str
    error: dict[str, str | None] | None


class Dimension(TypedDict):
    """One dimension of an asset's partitions; `dynamic_name` if they are dynamic."""

    name: str
    type: str
    dynamic_name: str | None


class PartitionsItem(TypedDict):
    """The partitions of an asset."""

    type: str
    dimensions: list[Dimension]


class _Definition(TypedDict):
    description: str | None
    location: str
    repository: str


class _Paired(_Definition, total=False):
    notebooks: list[str]


class Asset(_Paired):
    """An asset of a code location; `notebooks` are added by discover."""

    key: AssetKey
    group: str | None
    kinds: list[str]
    tags: dict[str, str]
    owners: list[str]
    materializable: bool
    partitions: PartitionsItem | None
    dependencies: list[AssetKey]
    jobs: list[str]


class _JobOnServer(_Paired, total=False):
    asset_job: bool
    tags: dict[str, str]
    schedules: list[str]
    sensors: list[str]


class Job(_JobOnServer):
    """A job of a code location; what is not required is known from a server only."""

    name: str


class Schedule(_Definition):
    """A schedule of a code location."""

    name: str
    job: str
    cron: str
    timezone: str | None
    status: str


class Sensor(_Definition):
    """A sensor of a code location; `interval_s` is the least time between two evaluations."""

    name: str
    type: str
    jobs: list[str]
    interval_s: int
    status: str


class Resource(_Definition):
    """A resource of a code location."""

    name: str
    type: str


@dataclass(frozen=True)
class Inputs:
    """What an asset takes from upstream.

    `values` are the upstream assets whose value it gets, unlike those it only comes after;
    `alike` are those of them that have the same partitions as the asset itself.
    """

    partitioned: bool = False
    values: tuple[AssetKey, ...] = ()
    alike: frozenset[AssetKey] = frozenset()


@dataclass
class Catalog:
    """What is on a server; a kind that was not asked for is an empty list.

    `inputs` finds out what assets take from upstream, while the server is open; the answer is by
    the longest name of each. `texts` returns the assets by the texts and paths in their metadata.
    """

    url: str
    version: str
    locations: list[Location]
    assets: list[Asset] = field(default_factory=list)
    jobs: list[Job] = field(default_factory=list)
    schedules: list[Schedule] = field(default_factory=list)
    sensors: list[Sensor] = field(default_factory=list)
    resources: list[Resource] = field(default_factory=list)
    inputs: Callable[[Sequence[Asset]], dict[str, Inputs]] = field(
        default=lambda _: {}, compare=False, repr=False
    )
    texts: Callable[[], dict[str, AssetKey]] | None = field(default=None, compare=False, repr=False)

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
        if cached is None:
            cached = _assets(client.query("Assets"))
            if file:
                _write(file, cached)
        catalog.assets = cached
        catalog.texts = functools.partial(read_texts, client, [asset["key"] for asset in cached])
    if kinds - {"assets"}:
        _repositories(client, catalog, kinds)
    return catalog


def location(entry: Item) -> Location:
    """Return a code location of the workspace as plain data, with its error in words."""
    state = entry["locationOrLoadError"] or {}
    # LOADED is said of a location that failed to import, too.
    failed = state and state["__typename"] != "RepositoryLocation"
    loading = entry["loadStatus"] == "LOADING" or not state
    status = "error" if failed else "loading" if loading else "loaded"
    repositories = [repository["name"] for repository in state.get("repositories", ())]
    error = Failure.from_graphql(state).as_document() if failed else None
    return Location(name=entry["name"], repositories=repositories, status=status, error=error)


def broken(locations: Iterable[Location]) -> dict[str, Failure]:
    """Return why code locations failed to load, by their names."""
    return {
        location["name"]: Failure.from_document(location["error"])
        for location in locations
        if location["error"]
    }


def read_inputs(client: DagsterClient, assets: Sequence[Asset]) -> dict[str, Inputs]:
    """Return the inputs of each of these assets that the server knows, by its longest name."""
    found = _input_nodes(client, list({asset["key"]: None for asset in assets}))
    nodes = {_name(node): node for node in found}
    # Dagster answers for a key with one of the places that define it.
    shadowed: dict[tuple[str, str], list[AssetKey]] = {}
    for asset in assets:
        if names_of(asset)[-1] not in nodes:
            place = (asset["location"], asset["repository"])
            shadowed.setdefault(place, []).append(asset["key"])
    for place, keys in shadowed.items():
        nodes |= {_name(node): node for node in _input_nodes(client, keys, selector_of(*place))}
    names = [names_of(asset)[-1] for asset in assets]
    nodes = {name: nodes[name] for name in names if name in nodes}
    upstream = {key for node in nodes.values() for key in node["dependencyKeys"]}
    known = {node["assetKey"] for node in nodes.values()}
    others = _input_nodes(client, sorted(upstream - known), ops=False)
    both = (*nodes.values(), *others)
    partitions = {node["assetKey"]: node["partitionDefinition"] for node in both}
    return {name: _inputs_of(node, partitions) for name, node in nodes.items()}


def _name(node: Item) -> str:
    """Return the longest name of a node of an answer."""
    repository = node["repository"]
    place = {"location": repository["location"]["name"], "repository": repository["name"]}
    return names_of({"key": node["assetKey"], **place})[-1]


def _input_nodes(
    client: DagsterClient,
    keys: Sequence[AssetKey],
    at: Mapping[str, str] | None = None,
    ops: bool = True,
) -> Iterator[Item]:
    for some in portions(keys, MOST_AT_ONCE):
        paths = [key.as_input for key in some]
        yield from client.query("Inputs", keys=paths, at=at, ops=ops)["assetNodes"]


def _inputs_of(node: Item, partitions: dict[AssetKey, Item | None]) -> Inputs:
    # What Dagster does not execute takes nothing.
    taken = (node["op"] or {"inputDefinitions": []})["inputDefinitions"]
    nothing = {one["name"] for one in taken if one["type"]["isNothing"]}
    values = [key for key in sorted(node["dependencyKeys"]) if _input_name(key) not in nothing]
    if len(nothing) == len(taken):
        values = []
    own = partitions[node["assetKey"]]
    alike = [key for key in values if own is not None and partitions.get(key) == own]
    return Inputs(own is not None, tuple(values), frozenset(alike))


def _input_name(key: AssetKey) -> str:
    """Return what Dagster calls the input of a dependency without a value."""
    return "_".join(key.parts).replace("-", "_").replace(".", "_")


def _assets(answer: Item) -> list[Asset]:
    found: list[tuple[Asset, bool]] = []
    repositories = member(answer["repositoriesOrError"], "RepositoryConnection")["nodes"]
    for repository in sorted(
        repositories, key=lambda node: (node["location"]["name"], node["name"])
    ):
        found += [(_asset(node, repository), node["observable"]) for node in repository["assets"]]
    return definitions_among(found)


def definitions_among(found: Iterable[tuple[Asset, bool]]) -> list[Asset]:
    """Return each asset once for each place that defines it, in the order of the keys.

    `found` are the assets of each place, and whether it observes them. As in Dagster, a place that
    materializes an asset defines it; without one, one that observes it; without one, the place
    that says most about it. A place that only takes the asset as an input does not define it.
    """
    by_key: dict[AssetKey, list[tuple[Asset, bool]]] = {}
    for asset, observed in found:
        by_key.setdefault(asset["key"], []).append((asset, observed))
    return [asset for key in sorted(by_key) for asset in _definitions(by_key[key])]


def _definitions(found: Sequence[tuple[Asset, bool]]) -> list[Asset]:
    assets = [asset for asset, _ in found]
    chosen = [asset for asset in assets if asset["materializable"]]
    chosen = chosen or [asset for asset, observed in found if observed]
    chosen = chosen or [max(assets, key=_facts)]
    if len(chosen) == 1 and len(assets) > 1:
        # As in Dagster, what it depends on may be said elsewhere.
        upstream = dict.fromkeys(key for asset in assets for key in asset["dependencies"])
        chosen[0]["dependencies"] = list(upstream)
    return chosen


def _facts(asset: Asset) -> int:
    """Count what is said about an asset; a mere input of others has its key alone."""
    facts = (asset["description"], asset["tags"], asset["kinds"], asset["owners"])
    return sum(map(bool, (*facts, asset["partitions"], asset["group"] not in (None, "default"))))


def _asset(node: Item, repository: Item) -> Asset:
    tags = {tag["key"]: tag["value"] for tag in node["tags"]}
    return {
        "key": node["key"],
        "group": node["group"],
        "kinds": sorted(tag[len(KIND_TAG) :] for tag in tags if tag.startswith(KIND_TAG)),
        "tags": {key: value for key, value in tags.items() if not key.startswith(KIND_TAG)},
        "owners": owners(node),
        "description": node["description"],
        "location": repository["location"]["name"],
        "repository": repository["name"],
        "materializable": node["materializable"],
        "partitions": node["partitions"],
        "dependencies": node["dependencies"],
        "jobs": [job for job in node["jobs"] if not job.startswith(IMPLICIT_JOB)],
    }


def selector_of(location: str, repository: str) -> dict[str, str]:
    """Return the job that has all assets of a repository, as GraphQL takes it."""
    place = {"repositoryLocationName": location, "repositoryName": repository}
    return {**place, "pipelineName": IMPLICIT_JOB}


def owners(node: Item) -> list[str]:
    """Return the owners of an asset, as Dagster writes them in its definition."""
    return [owner.get("email") or f"team:{owner['team']}" for owner in node["owners"]]


def _repositories(client: DagsterClient, catalog: Catalog, kinds: set[str]) -> None:
    answer = client.query("Repositories")["repositoriesOrError"]
    for node in member(answer, "RepositoryConnection")["nodes"]:
        place = {"location": node["location"]["name"], "repository": node["name"]}
        items: dict[str, Iterable[Item]] = {
            "jobs": (_job(job) for job in node["jobs"] if not job["name"].startswith(IMPLICIT_JOB)),
            "schedules": map(_with_status, node["schedules"]),
            "sensors": map(_sensor, node["sensors"]),
            "resources": node["resources"],
        }
        for kind in kinds - {"assets"}:
            getattr(catalog, kind).extend(Answer(item, **place) for item in items[kind])


def _job(job: Item) -> Item:
    named = {field: _names(job[field]) for field in ("schedules", "sensors")}
    return Answer(job, tags={tag["key"]: tag["value"] for tag in job["tags"]}, **named)


def _sensor(sensor: Item) -> Item:
    jobs = _names(sensor["jobs"] or ())
    return Answer(_with_status(sensor), type=sensor["type"].lower(), jobs=jobs)


def _with_status(item: Item) -> Item:
    return Answer(item, status=item["status"]["status"].lower())


def _names(items: Iterable[Item]) -> list[str]:
    return [item["name"] for item in items]


def last_materializations(client: DagsterClient, keys: Sequence[AssetKey]) -> dict[AssetKey, float]:
    """Return when each asset was last materialized, in seconds since 1970; absent if never."""
    if not keys:
        return {}
    paths = [key.as_input for key in keys]
    answer = client.query("LatestMaterializations", keys=paths)["assetsLatestInfo"]
    return {
        info["assetKey"]: int(latest["timestamp"]) / 1000
        for info in answer
        if (latest := info["latestMaterialization"])
    }


def read_texts(client: DagsterClient, keys: Sequence[AssetKey]) -> dict[str, AssetKey]:
    """Return the assets by the texts, paths and addresses in their metadata.

    That is the metadata of the definition and of the last materialization.
    """
    texts: dict[str, AssetKey] = {}
    for some in portions(keys, MOST_AT_ONCE):
        paths = [key.as_input for key in some]
        answer = client.query("AssetPaths", keys=paths)
        for info in (*answer["assetNodes"], *answer["assetsLatestInfo"]):
            event = info.get("latestMaterialization") or info
            values = read_metadata(event.get("metadataEntries", ()), TEXTS).values()
            texts |= dict.fromkeys(values, info["assetKey"])
    return texts


def _cache_file(client: DagsterClient, answer: Item, folder: Path | None) -> Path | None:
    """Return the file for exactly these code locations, as they were loaded last."""
    if folder is None:
        return None
    entries = answer["workspaceOrError"]["locationEntries"]
    state = [(entry["name"], entry["loadStatus"], entry["updatedTimestamp"]) for entry in entries]
    query = (DOCUMENTS / "Assets.graphql").read_text("utf-8")
    asked = [client.target.url, client.target.name, answer["version"], state, query]
    mark = json.dumps([*asked, sorted(_asset_types())])
    return folder / f"assets-{hashlib.sha256(mark.encode()).hexdigest()[:16]}.json"


def _read(file: Path | None) -> list[Asset] | None:
    try:
        assets = json.loads(file.read_text("utf-8")) if file else None
    except (OSError, ValueError, RecursionError):
        return None
    types = _asset_types()
    if not isinstance(assets, list) or not all(
        isinstance(asset, dict)
        and asset.keys() == types.keys()
        and all(isinstance(asset[name], types[name]) for name in types)
        for asset in assets
    ):
        return None
    for asset in assets:
        asset["key"] = AssetKey(asset["key"])
        asset["dependencies"] = [AssetKey(key) for key in asset["dependencies"]]
    return assets


@functools.cache
def _asset_types() -> dict[str, tuple[type, ...]]:
    """Return what JSON holds for each field of an asset: keys are text, and lists lists."""
    stored: dict[Any, type] = {AssetKey: str, PartitionsItem: dict}
    hints = {name: hint for name, hint in get_type_hints(Asset).items() if name != "notebooks"}
    kinds = {name: get_args(hint) for name, hint in hints.items() if isinstance(hint, UnionType)}
    return {
        name: tuple(stored.get(of, get_origin(of) or of) for of in kinds.get(name, (hint,)))
        for name, hint in hints.items()
    }


def _write(file: Path, assets: list[Asset]) -> None:
    """Keep the answer; a project folder that cannot be written to costs only speed."""
    try:
        for old in file.parent.glob("assets-*.json"):
            old.unlink(missing_ok=True)
        make_folder(file.parent)
        write_atomically(file, json.dumps(assets))
    except OSError:
        pass
