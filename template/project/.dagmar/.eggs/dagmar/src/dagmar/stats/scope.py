"""The assets that a history is asked for: names, a selection, a group, a code location."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from dagmar.asset_key import AssetKey
from dagmar.errors import Invalid, did_you_mean, nearest
from dagmar.server.asset_history import AssetEvents, read_events
from dagmar.server.catalog import Catalog
from dagmar.server.client import DagsterClient
from dagmar.server.located import LocatedAsset, no_such_asset
from dagmar.server.names import names_of


@dataclass(frozen=True)
class Scope:
    """What `invoke stats` is asked for; empty means no filter.

    `assets` are keys, or `KEY@LOCATION`; a key alone means it wherever it is defined.
    """

    assets: tuple[str, ...] = ()
    select: str = ""
    group: str = ""
    location: str = ""

    @property
    def chooses(self) -> bool:
        """Whether assets are chosen; a code location alone says where runs were."""
        return bool(self.assets or self.select or self.group)


def choose_assets(
    client: DagsterClient, catalog: Catalog, scope: Scope, past: Collection[str] = ()
) -> dict[str, LocatedAsset]:
    """Return the assets of the scope by the names of their rows.

    A row is named `KEY@LOCATION` if several code locations define the key. An asset that is named
    and not defined any more is there if it has a history; `past` are keys that have one.
    Raises Invalid for what does not exist, and for filters that nothing passes.
    """
    chosen = catalog.assets
    if scope.group:
        groups = {asset["group"] for asset in chosen if asset["group"]}
        if scope.group not in groups:
            near = did_you_mean(scope.group, groups)
            listed = ", ".join(sorted(groups)) or "none"
            raise Invalid(f"there is no group '{scope.group}'{near}", f"The groups: {listed}.")
        chosen = [asset for asset in chosen if asset["group"] == scope.group]
    if scope.select:
        from dagmar.orchestration.selection import select

        selected = {names_of(asset)[-1] for asset in select(scope.select, catalog.assets)}
        chosen = [asset for asset in chosen if names_of(asset)[-1] in selected]
    if scope.location:
        chosen = [asset for asset in chosen if asset["location"] == scope.location]
    gone: list[AssetKey] = []
    if scope.assets:
        gone = _undefined(client, catalog, scope.assets, past)
        chosen = [
            asset for asset in chosen if any(name in names_of(asset) for name in scope.assets)
        ]
    if scope.chooses and not chosen and not gone:
        raise Invalid(
            "no asset passes all of these filters", command="invoke discover --kind assets"
        )
    shared = shared_keys(catalog)
    rows = {
        names_of(asset)[key in shared]: LocatedAsset(
            key, asset["location"], asset["repository"], key in shared
        )
        for asset in chosen
        for key in [asset["key"]]
    }
    return rows | {str(key): LocatedAsset(key, "", "") for key in gone}


def shared_keys(catalog: Catalog) -> frozenset[AssetKey]:
    """Return the keys that several code locations define."""
    counts = Counter(asset["key"] for asset in catalog.assets)
    return frozenset(key for key, times in counts.items() if times > 1)


def _undefined(
    client: DagsterClient, catalog: Catalog, names: Sequence[str], past: Collection[str]
) -> list[AssetKey]:
    """Return those of the names that no code location defines. Raises Invalid without history."""
    known = {name for asset in catalog.assets for name in names_of(asset)}
    keys = [AssetKey(name) for name in names if name not in known]
    unsure = [key for key in keys if key not in past]
    events = dict(read_events(client, dict.fromkeys(unsure), limit=1))
    if never := [key for key in unsure if events[key] == AssetEvents()]:
        defined = {asset["key"] for asset in catalog.assets}
        if nearest(never[0], past) and not nearest(never[0], defined):
            message = f"there is no asset '{never[0]}'{did_you_mean(never[0], past)}"
            raise Invalid(message, "Those that are defined now:", "invoke discover --kind assets")
        raise no_such_asset(client, never)
    return keys
