"""Assets of a server, found by their names: a key, or `KEY@LOCATION`."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from dagmar.asset_key import AssetKey
from dagmar.errors import Invalid, did_you_mean, nearest
from dagmar.server.catalog import Item, selector_of
from dagmar.server.client import DagsterClient, member
from dagmar.server.names import choose, possible_names, similar_names
from dagmar.server.shapes import Answer

STALE = (
    "Just added? `invoke dev` loads it when it is saved; elsewhere, reload its code location in "
    "the Dagster UI."
)


@dataclass(frozen=True)
class LocatedAsset:
    """An asset, and where it is defined.

    If several code locations define it, Dagster answers for the key with one of them; the others
    are `shadowed`, and are read through their own repository.
    """

    key: AssetKey
    location: str
    repository: str
    shadowed: bool = False

    @property
    def at(self) -> dict[str, str] | None:
        """Where to read the asset as GraphQL takes it; None if the key is enough."""
        return selector_of(self.location, self.repository) if self.shadowed else None

    @property
    def variables(self) -> dict[str, Any]:
        """What a query about this asset alone takes."""
        return {"keys": [self.key.as_input], "at": self.at}


def by_place(assets: Iterable[LocatedAsset]) -> list[list[LocatedAsset]]:
    """Return the assets that one query can read together."""
    groups: dict[str, list[LocatedAsset]] = {}
    for asset in assets:
        groups.setdefault(str(asset.at), []).append(asset)
    return list(groups.values())


def locate_asset(client: DagsterClient, name: str) -> LocatedAsset:
    """Return the asset that a name means. Raises Invalid for an unknown or ambiguous one."""
    return locate_assets(client, [name])[0]


def locate_assets(client: DagsterClient, names: Sequence[str]) -> list[LocatedAsset]:
    """Return the assets that the names mean. Raises Invalid for unknown and ambiguous ones."""
    keys = {AssetKey(text) for name in names for text in possible_names(name)}
    paths = [key.as_input for key in sorted(keys)]
    answer = client.query("AssetPlaces", keys=paths, at=None)
    items = [_item(node) for node in answer["assetNodes"]]
    repositories = member(answer["repositoriesOrError"], "RepositoryConnection")["nodes"]
    if len(repositories) > 1:
        items += _shadowed(client, items)
    found = [(name, choose("asset", name, items)) for name in names]
    if missing := [name for name, item in found if item is None]:
        raise no_such_asset(client, missing)
    return [
        LocatedAsset(item["key"], item["location"], item["repository"], item["shadowed"])
        for _, item in found
        if item is not None
    ]


def _item(node: Item, shadowed: bool = False) -> Item:
    return {
        "key": node["assetKey"],
        "location": node["repository"]["location"]["name"],
        "repository": node["repository"]["name"],
        "materializable": node["isMaterializable"],
        "shadowed": shadowed,
    }


def _shadowed(client: DagsterClient, items: Sequence[Item]) -> list[Item]:
    """Return the further definitions of these assets: other places that materialize them, too.

    Without one, those that observe them. A place that only names the asset does not define it.
    """
    if not items:
        return []
    paths = [item["key"].as_input for item in items]
    answer = client.query("AssetCollisions", keys=paths)["assetNodeDefinitionCollisions"]
    first = Answer({item["key"]: item for item in items})
    elsewhere: dict[tuple[str, str], list[AssetKey]] = {}
    for collision in answer:
        for repository in collision["repositories"]:
            place = (repository["location"]["name"], repository["name"])
            known = first[collision["assetKey"]]
            if place != (known["location"], known["repository"]):
                elsewhere.setdefault(place, []).append(collision["assetKey"])
    return [
        _item(node, shadowed=True)
        for place, keys in elsewhere.items()
        for node in client.query(
            "AssetPlaces", keys=[key.as_input for key in keys], at=selector_of(*place)
        )["assetNodes"]
        if node["isMaterializable"] or not first[node["assetKey"]]["materializable"]
    ]


def no_such_asset(client: DagsterClient, missing: Sequence[str]) -> Invalid:
    """Return the error for assets that do not exist, with the nearest that do."""
    answer = client.query("AssetKeys")
    every = list(assets_of(answer))
    made = {item["key"] for item in every if item["materializable"]}
    items = [item for item in every if item["materializable"] or item["key"] not in made]
    known = {name: similar_names(name, items) for name in missing}
    names = ", ".join(f"'{name}'{did_you_mean(name, known[name])}" for name in missing)
    meant = {str(name): near for name in missing if (near := nearest(name, known[name]))}
    return Invalid(f"there is no asset {names}", *where_else(answer, "assets"), meant=meant)


def assets_of(answer: Item) -> Iterable[Item]:
    """Yield the assets of an answer by repository, each with its `location` and `repository`."""
    for node in member(answer["repositoriesOrError"], "RepositoryConnection")["nodes"]:
        place = {"location": node["location"]["name"], "repository": node["name"]}
        for asset in node["assets"]:
            yield Answer(asset, **place)


def where_else(answer: Item, kind: str) -> tuple[str, str]:
    """Return the hint and the command for what Dagster does not know although its user does.

    It may be in a code location that does not load, or has not loaded yet.
    """
    entries = member(answer["workspaceOrError"], "Workspace")["locationEntries"]
    states = {entry["name"]: entry["locationOrLoadError"] for entry in entries}
    names = [name for name, state in states.items() if state and "Error" in state["__typename"]]
    if loading := [name for name, state in states.items() if not state]:
        hint = f"Dagster is still loading {', '.join(loading)}. To see when it has, type:"
        return hint, "invoke discover --kind locations"
    if not names:
        return STALE, f"invoke discover --kind {kind}"
    one = len(names) == 1
    return (
        f"The code location{'' if one else 's'} {', '.join(names)} {'does' if one else 'do'} not "
        "load; to see why, type:",
        "invoke discover",
    )
