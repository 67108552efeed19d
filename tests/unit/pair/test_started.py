"""The runs that a notebook started: which cells follow which of them."""

from __future__ import annotations

import contextlib
import html
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from dagmar.asset_key import AssetKey
from dagmar.errors import AnswerLost, Invalid, Unreachable
from dagmar.pair.buttons import Attempt
from dagmar.pair.context import Context
from dagmar.pair.definition import Definition
from dagmar.pair.started import StartedRuns

ORDERS, SALES = AssetKey("raw/orders"), AssetKey("sales")


class Server:
    """Stands in for Dagster's client: what a run has materialized."""

    def __init__(self, *keys: AssetKey) -> None:
        self.keys, self.asked = keys, 0

    def query(self, name: str, **variables: Any) -> dict[str, Any]:
        assert name == "RunMaterialized"
        self.asked += 1
        events = [{"assetKey": key} for key in self.keys] + [{"assetKey": None}]
        return {"runOrError": {"__typename": "Run", "assetMaterializations": events}}


def here(*keys: AssetKey) -> Attempt:
    """Return a run that has ended in this kernel."""
    return Attempt("here", materialized=keys)


def test_a_state_changes_with_the_runs_that_materialize_its_assets() -> None:
    started = StartedRuns()
    orders, sales, any_asset = (started.materialized(*keys) for keys in ((ORDERS,), (SALES,), ()))
    assert started.materialized(ORDERS) is orders  # marimo compares objects
    started.add(here(ORDERS))
    assert (orders(), sales(), any_asset()) == (1, 0, 1)
    started.add(here(SALES, AssetKey("another")))
    assert (orders(), sales(), any_asset()) == (1, 2, 2)


def test_what_materializes_nothing_changes_only_the_state_of_any_end() -> None:
    started = StartedRuns()
    any_asset, any_end = started.materialized(), started.any_end()
    started.add(Attempt(error=Invalid("refused")))
    assert started.ended == 0
    started.add(here())  # it failed
    assert (started.ended, any_asset()) == (1, 0)
    assert any_end() == 1
    assert started.any_end() is any_end


def test_a_run_on_the_server_counts_once_when_it_has_ended() -> None:
    started, server = StartedRuns(), Server(ORDERS)
    orders = started.materialized(ORDERS)
    started.look(server, "of somebody else")
    started.add(Attempt("run"))
    assert orders() == 0
    for _ in range(2):  # the cell that launched it, and the one that watches it
        started.look(server, "run")
    assert (orders(), started.ended, server.asked) == (1, 1, 1)


def test_a_retry_counts_as_a_run() -> None:
    started, server = StartedRuns(), Server(ORDERS)
    orders = started.materialized(ORDERS)

    def lost() -> str:
        raise AnswerLost("the connection broke")

    with pytest.raises(AnswerLost):
        started.retry("other", lost)
    started.retry("failed", lambda: "retry")
    assert started.newest("failed") == "retry"
    started.look(server, "retry")
    assert orders() == 1


class Loaded:
    """Stands in for a server whose code locations are loaded again: what each defines."""

    def __init__(self) -> None:
        self.at, self.outlines = 1.0, 0
        self.assets = [asset("raw/orders"), asset("sales")]
        self.error: dict[str, Any] | None = None
        self.load: dict[str, Any] = {}

    def query(self, name: str) -> dict[str, Any]:
        load = self.error or {"__typename": "RepositoryLocation"}
        if name == "Workspace":
            state = {"loadStatus": "LOADED", "locationOrLoadError": load, **self.load}
            entry = {"name": "shop", "updatedTimestamp": self.at, **state}
            return {"workspaceOrError": {"__typename": "Workspace", "locationEntries": [entry]}}
        assert name == "Outline"
        self.outlines += 1
        empty: dict[str, Any] = {"jobs": [], "schedules": [], "sensors": []}
        node = {"location": {"name": "shop"}, "assets": self.assets, **empty}
        nodes = [] if self.error else [node]
        return {"repositoriesOrError": {"__typename": "RepositoryConnection", "nodes": nodes}}


def asset(key: str, **facts: Any) -> dict[str, Any]:
    return {"key": AssetKey(key), "configField": None, "partitionDefinition": None, **facts}


def test_a_page_says_that_its_asset_has_changed_or_is_gone(monkeypatch: pytest.MonkeyPatch) -> None:
    server = Loaded()
    definition = Definition(Context(ORDERS, "", "", Path()))
    away = False

    @contextlib.contextmanager
    def client(_: Context) -> Iterator[Loaded]:
        if away:
            raise Unreachable("nothing answers")
        yield server

    monkeypatch.setattr(Context, "client", client)

    def reloaded(*assets: dict[str, Any]) -> bool:
        server.at, server.assets = server.at + 1, list(assets)
        return definition.look()

    def remark() -> str:
        return html.unescape(html.unescape(definition.remark))

    assert not definition.look()
    assert not definition.look()
    assert server.outlines == 1  # nothing was loaded since
    assert not reloaded(asset("raw/orders"), asset("sales", configField={}))  # another's
    assert reloaded(asset("raw/orders", partitionDefinition={"description": "daily"}))
    assert "'raw/orders' has changed: partitions." in remark()
    assert not definition.missing
    assert reloaded(asset("raw/orders_v2"), asset("sales"))
    assert definition.missing
    assert "is gone; did you mean 'raw/orders_v2'?" in remark()
    assert 'dagmar.Pair(asset="raw/orders_v2")' in remark()
    server.load = {"loadStatus": "LOADING", "locationOrLoadError": None}
    before = remark()
    assert not reloaded()
    assert remark() == before  # nothing is known yet
    server.load, away = {}, True
    assert not definition.look()
    assert remark() == before
    away = False
    error = {"message": "SyntaxError: invalid syntax", "className": "SyntaxError", "stack": []}
    server.error = {"__typename": "PythonError", "errorChain": [], **error}
    assert reloaded()
    assert "its code does not load" in remark()
    assert "SyntaxError: invalid syntax" in remark()
    server.error = None
    assert reloaded(asset("raw/orders"))
    assert (definition.remark, definition.missing) == ("", False)
