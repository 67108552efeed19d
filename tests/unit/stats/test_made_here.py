"""Runs here compared with launched ones, retries, and keys of several code locations."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from dagmar.asset_key import AssetKey
from dagmar.stats.cache import Cache
from dagmar.stats.figures import Figures, Only, Row
from dagmar.stats.records import DetailRecord, RunRecord, StepRecord
from dagmar.stats.stats import _here
from dagmar.stats.window import Window

WINDOW, BEFORE = Window(1000, 2000), Window(0, 1000)
ORDERS = AssetKey("orders")


@pytest.fixture
def cache(tmp_path: Path) -> Iterator[Cache]:
    with Cache(tmp_path, "http://x", "instance") as cache:
        yield cache


def a_run(number: int, took: float, here: bool = False, at: float = 1500, **more: Any) -> RunRecord:
    fields = {"assets": (ORDERS,), "location": "" if here else "shop", "status": "SUCCESS", **more}
    return RunRecord(
        f"r{number}", job="__ASSET_JOB", created=at, started=at + took / 2, ended=at + took,
        updated=at, here=here, **fields,
    )  # fmt: skip


def rows(cache: Cache, runs: list[RunRecord], only: Only | None = None) -> dict[str | None, Row]:
    with cache.writing():
        cache.add(runs)
    figures = Figures(cache, WINDOW, BEFORE, only or Only())
    return {row.name: row for row in figures.rows("asset")}


def test_time_saved_is_the_difference_of_medians_times_the_runs_here(cache: Cache) -> None:
    runs = [a_run(number, took) for number, took in enumerate((20, 30, 90))]
    runs += [a_run(10 + number, took, here=True) for number, took in enumerate((1, 2, 3, 4))]
    orders = rows(cache, runs)["orders"]
    # From creation to end, time in the queue included: 30 s against 2.5 s, four times.
    assert orders.pair("time_saved_s") == (pytest.approx(4 * 27.5), None)
    assert (orders.pair("here"), orders.pair("launched")) == ((4, 0), (3, 0))
    assert orders.as_document()["time_saved_s"] == {"now": 110, "before": None}


@pytest.mark.parametrize(
    "launched",
    [
        None,
        a_run(1, 99, status="FAILURE"),
        a_run(1, 99, at=500),
        # A run of several assets says nothing about one of them.
        a_run(1, 99, assets=(ORDERS, AssetKey("other"))),
    ],
)
def test_without_a_run_to_compare_with_no_time_is_saved(
    cache: Cache, launched: RunRecord | None
) -> None:
    runs = [a_run(0, 1, here=True), *([launched] if launched else [])]
    assert rows(cache, runs)["orders"].pair("time_saved_s")[0] is None


def test_runs_here_that_take_longer_cost_time(cache: Cache) -> None:
    runs = [a_run(0, 5), a_run(1, 8, here=True), a_run(2, 8, here=True)]
    orders = rows(cache, runs)["orders"]
    assert orders.pair("time_saved_s") == (-6, None)
    assert _here(orders) == "2 runs, 6.0 s lost"


def test_retries_of_steps_are_counted_only_if_every_log_was_read(cache: Cache) -> None:
    runs = [a_run(0, 5), a_run(1, 5, retry_of="r0")]
    with cache.writing():
        cache.add(runs)
        step = StepRecord("r0", "orders", (ORDERS,), "SUCCESS", 1500, 1505, attempts=3)
        cache.add_details(["r0"], [DetailRecord("r0", None, None, (step,))])
    assert rows(cache, [])["orders"].pair("step_retries") == (None, None)
    with cache.writing():
        step = StepRecord("r1", "orders", (ORDERS,), "SUCCESS", 1500, 1505)
        cache.add_details(["r1"], [DetailRecord("r1", None, None, (step,))])
    orders = rows(cache, [])["orders"]
    assert (orders.pair("retries"), orders.pair("step_retries")) == ((1, 0), (2, None))


def test_a_key_of_several_code_locations_has_a_row_for_each(cache: Cache) -> None:
    runs = [
        a_run(0, 5),
        a_run(1, 6, location="other"),
        a_run(2, 7, location="other"),
        a_run(3, 1, here=True),
        a_run(4, 1, assets=(AssetKey("alone"),)),
    ]
    shared = frozenset({ORDERS})
    found = rows(cache, runs, Only(shared=shared))
    assert {name: row.pair("runs")[0] for name, row in found.items()} == {
        "orders@other": 2,
        "orders@shop": 1,
        "orders": 1,  # made in a kernel, which has no code location
        "alone": 1,
    }
    assert len(found["orders@shop"].trend) == WINDOW.parts
    found = rows(cache, [], Only(frozenset({(ORDERS, "shop")}), shared=shared))
    assert set(found) == {"orders@shop", "orders"}
