"""The runs that a notebook started: which cells follow which of them."""

from __future__ import annotations

from typing import Any

import pytest
from dagmar.asset_key import AssetKey
from dagmar.errors import AnswerLost, Invalid
from dagmar.pair.buttons import Attempt
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


def test_what_materializes_nothing_changes_no_state() -> None:
    started = StartedRuns()
    any_asset = started.materialized()
    started.add(Attempt(error=Invalid("refused")))
    assert started.ended == 0
    started.add(here())  # it failed
    assert (started.ended, any_asset()) == (1, 0)


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
