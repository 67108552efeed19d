"""Which assets a history is asked for."""

from __future__ import annotations

from typing import Any

import pytest
from dagmar.asset_key import AssetKey
from dagmar.errors import Invalid
from dagmar.server.catalog import Asset, Catalog
from dagmar.stats.scope import Scope, choose_assets
from support.http_server import asked


def asset(key: str, group: str = "sales", location: str = "shop") -> Asset:
    return {
        "key": AssetKey(key), "group": group, "kinds": [], "tags": {}, "owners": [],
        "description": None, "location": location, "repository": "__repository__",
        "materializable": True, "partitions": None, "dependencies": [], "jobs": [],
    }  # fmt: skip


CATALOG = Catalog(
    "http://x",
    "1.13",
    [
        {"name": name, "repositories": ["__repository__"], "status": "loaded", "error": None}
        for name in ("shop", "other")
    ],
    [asset("orders"), asset("raw/feed", "raw"), asset("shared"), asset("shared", location="other")],
)
GONE = {"latest": [{"timestamp": "1000"}], "assetMaterializations": [], "assetObservations": []}
NEVER: dict[str, Any] = {"latest": [], "assetMaterializations": [], "assetObservations": []}
REPOSITORY = {
    "name": "__repository__",
    "location": {"name": "shop"},
    "assets": [{"key": {"path": ["orders"]}, "isMaterializable": True, "materializable": True}],
}
ANSWERS = {
    "AssetKeys": {
        "repositoriesOrError": {"__typename": "RepositoryConnection", "nodes": [REPOSITORY]},
        "workspaceOrError": {"__typename": "Workspace", "locationEntries": []},
    }
}


def chosen(scope: Scope, events: dict[str, Any] = NEVER) -> dict[str, tuple[str, str, bool]]:
    answers = {**ANSWERS, "AssetEvents": {"each_0": {"__typename": "Asset", **events}}}
    with asked(answers) as (client, _):
        found = choose_assets(client, CATALOG, scope, ["lost"])
    return {name: (each.key, each.location, each.shadowed) for name, each in found.items()}


def test_without_a_filter_every_asset_has_a_row_of_its_own_name() -> None:
    assert chosen(Scope()) == {
        "orders": ("orders", "shop", False),
        "raw/feed": ("raw/feed", "shop", False),
        "shared@shop": ("shared", "shop", True),
        "shared@other": ("shared", "other", True),
    }


@pytest.mark.parametrize(
    ("scope", "names"),
    [
        (Scope(("shared",)), ["shared@shop", "shared@other"]),
        (Scope(("shared@other", "orders")), ["orders", "shared@other"]),
        (Scope(("shared",), location="shop"), ["shared@shop"]),
        (Scope(location="other"), ["shared@other"]),
        (Scope(group="raw"), ["raw/feed"]),
        (Scope(select='key:"o*" or group:raw'), ["orders", "raw/feed"]),
        (Scope(select="group:sales", location="shop"), ["orders", "shared@shop"]),
    ],
)
def test_filters_choose_assets(scope: Scope, names: list[str]) -> None:
    assert list(chosen(scope)) == names


@pytest.mark.parametrize(
    ("scope", "message"),
    [
        (Scope(("order",)), "there is no asset 'order' — did you mean 'orders'"),
        (Scope(group="sale"), "there is no group 'sale' — did you mean 'sales'"),
        (Scope(("lst",)), "there is no asset 'lst' — did you mean 'lost'"),
        (Scope(("orders",), location="other"), "no asset passes all of these filters"),
        (Scope(select="kind:polars"), "no asset passes all of these filters"),
        (Scope(select="kind:("), r"the selection 'kind:\('"),
    ],
)
def test_what_does_not_exist_is_refused(scope: Scope, message: str) -> None:
    with pytest.raises(Invalid, match=message):
        chosen(scope)


def test_an_asset_that_is_not_defined_any_more_is_known_by_its_history() -> None:
    assert chosen(Scope(("gone",)), GONE) == {"gone": ("gone", "", False)}
    assert chosen(Scope(("lost",))) == {"lost": ("lost", "", False)}
