"""The assets' side of a history: checks over time, freshness, numbers over time."""

from __future__ import annotations

import itertools
import math
import random
from pathlib import Path
from typing import Any, cast

import pytest
from dagmar.asset_key import AssetKey
from dagmar.server.asset_history import (
    MOST_EXECUTIONS,
    AssetEvents,
    AssetState,
    Execution,
    PartitionCounts,
    PastNumbers,
)
from dagmar.server.client import DagsterClient
from dagmar.stats.asset_reading import read_executions
from dagmar.stats.assets import (
    MOST_NUMBERS,
    MOST_POINTS,
    AssetSide,
    Point,
    check_side,
    numbers_over_time,
    thinned,
)
from dagmar.stats.cache import Cache
from dagmar.stats.window import Window

WINDOW, BEFORE = Window(240, 480), Window(0, 240)


def test_a_terminal_shows_what_is_worth_knowing_in_a_few_words() -> None:
    checks = tuple(
        check_side(name, executions, WINDOW, BEFORE)
        for name, executions in (("rows", [execution(300, "failed")]), ("never", []))
    )
    state = AssetState(PartitionCounts(1000, 20, 3), {"rows": None, "never": None}, "warn")
    past = PastNumbers("", 940, None, {"rows": 1234, "share": 0.123456})
    side = AssetSide(8200, state, AssetEvents(1000, (past,)), checks)
    assert side.texts() == (
        "2.0 h ago",
        "warn",
        "1,000 of 1,023, 3 failed",
        "1 of 2 failed, 1 without result",
        "rows=1,234, share=0.1235",
    )
    assert AssetSide(0, None, AssetEvents()).texts() == ("", "", "", "", "")


def execution(at: float, status: str = "passed", severity: str | None = "ERROR") -> Execution:
    return Execution(int(at), "r", at, status, severity)


def test_results_of_a_check_are_counted_per_window_and_over_time() -> None:
    executions = [
        execution(500, "failed"),
        execution(479),
        execution(370, "failed"),
        execution(241, "failed", "WARN"),
        execution(239, "failed"),
        execution(0),
    ]
    side = check_side("rows", executions, WINDOW, BEFORE)
    assert (side.evaluated, side.failed) == ((3, 2), (2, 1))
    assert side.trend == ((240, 1, 1), (300, 0, 0), (360, 1, 1), (420, 1, 0))
    # What came after the window is still the last result.
    assert side.last == executions[0]


def test_the_last_result_is_not_hidden_by_executions_without_one() -> None:
    executions = [
        execution(400, "in_progress", None),
        execution(399, "execution_failed", None),
        execution(300, "failed"),
    ]
    document = check_side("rows", executions, WINDOW, BEFORE).as_document()
    assert document["last"] == {
        "passed": False,
        "severity": "ERROR",
        "at": "1970-01-01T00:05:00+00:00",
        "run_id": "r",
    }
    assert document["evaluated"] == {"now": 1, "before": 0}


def test_a_check_that_never_ran_has_no_result() -> None:
    document = check_side("rows", [], WINDOW, BEFORE).as_document()
    assert document["last"] is None
    assert document["failed"] == {"now": 0, "before": 0}
    assert [part["evaluated"] for part in document["trend"]] == [0] * 4


def test_a_window_that_was_not_wholly_read_has_no_count() -> None:
    executions = [execution(470 - number / 20) for number in range(MOST_EXECUTIONS)]
    side = check_side("rows", executions, WINDOW, BEFORE)
    assert (side.evaluated, side.failed) == ((None, None), (None, None))
    executions = [execution(470 - number / 4) for number in range(MOST_EXECUTIONS)]
    side = check_side("rows", executions, WINDOW, BEFORE)
    assert side.evaluated == (921, None)


@pytest.mark.parametrize(
    ("state", "age", "expected"),
    [
        (None, 5, None),
        (AssetState(), 5, None),
        (AssetState(freshness="warn", windows=(10, 20)), 5, "warn"),
        (AssetState(freshness="unknown", windows=(10, 20)), 5, "pass"),
        (AssetState(freshness="unknown", windows=(10, 20)), 15, "warn"),
        (AssetState(freshness="unknown", windows=(None, 20)), 15, "pass"),
        (AssetState(freshness="unknown", windows=(10, 20)), 25, "fail"),
        (AssetState(freshness="unknown", windows=(10, 20)), None, "unknown"),
        (AssetState(freshness="unknown"), 25, "unknown"),
    ],
)
def test_the_windows_of_a_policy_decide_if_the_server_does_not_evaluate_it(
    state: AssetState | None, age: float | None, expected: str | None
) -> None:
    latest = None if age is None else 1000 - age
    assert AssetSide(1000, state, AssetEvents(latest)).freshness == expected


def test_an_asset_that_is_not_defined_any_more_still_has_its_events() -> None:
    past = PastNumbers("", 940, None, {"rows": 3})
    document = AssetSide(1000, None, AssetEvents(940, (past,))).as_document()
    assert document["defined"] is False
    assert (document["partitions"], document["checks"]) == (None, [])
    assert document["fresh"] == {"at": "1970-01-01T00:15:40+00:00", "age_s": 60, "state": None}
    assert [point["value"] for point in document["numbers"]["rows"]] == [3]


def test_a_clock_that_is_behind_gives_no_negative_age() -> None:
    assert AssetSide(1000, AssetState(), AssetEvents(1001)).age == 0


def test_partitions_are_counted_by_their_state() -> None:
    state = AssetState(PartitionCounts(3, 16, 1))
    document = AssetSide(1000, state, AssetEvents()).as_document()
    assert document["partitions"] == {"materialized": 3, "missing": 16, "failed": 1}
    assert document["fresh"] == {"at": None, "age_s": None, "state": None}


def test_a_number_keeps_its_first_last_lowest_and_highest_points() -> None:
    values = [random.Random(1).random() for _ in range(1000)]
    values[777], values[333] = 50.0, -50.0
    points = [Point(float(at), value, None) for at, value in enumerate(values)]
    kept = thinned(points)
    assert len(kept) <= MOST_POINTS
    assert kept == sorted(kept, key=lambda point: point.at)
    assert {points[0], points[-1], points[777], points[333]} <= set(kept)
    # No part of the time is left out.
    gaps = [later.at - point.at for point, later in itertools.pairwise(kept)]
    assert max(gaps) < 2 * 1000 / (MOST_POINTS / 2 - 1)


def test_few_points_stay_as_they_are() -> None:
    points = [Point(float(at), None, str(at)) for at in range(MOST_POINTS)]
    assert thinned(points) == points
    assert len(thinned([*points, Point(99.0, None, None)])) == 2


def test_numbers_of_many_names_are_those_that_are_there_most_often() -> None:
    events = [PastNumbers("", at, None, {f"n{at}": 1.0, "rows": 2.0}) for at in range(30)]
    numbers = numbers_over_time(events)
    assert len(numbers) == MOST_NUMBERS
    assert [point.at for point in numbers["rows"]] == list(range(30))


def test_a_number_that_json_does_not_have_is_none() -> None:
    events = [PastNumbers("", at, "eu", {"loss": value}) for at, value in enumerate((math.nan, 1))]
    assert numbers_over_time(events) == {"loss": [Point(0, None, "eu"), Point(1, 1, "eu")]}


def test_executions_of_a_check_are_asked_for_again_if_its_mark_has_changed(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    check, there, asked = (AssetKey("a"), "rows"), [execution(9)], []

    def answer(client: Any, checks: list[Any], after: float, known: Any) -> dict[Any, Any]:
        asked.append(known(check))
        return {each: [item for item in there if item.id > known(each)] for each in checks}

    monkeypatch.setattr("dagmar.server.asset_history.read_executions", answer)

    def read(mark: str, first: float = 5) -> list[int]:
        with Cache(tmp_path, "http://here", "") as cache:
            found = read_executions(cast("DagsterClient", None), cache, {check: mark}, first)
        return [each.id for each in found[check]]

    assert read("one") == [9]
    there[:0] = [execution(11, "in_progress", None), execution(10)]
    assert (read("one", 7), asked) == ([9], [0])
    assert (read("two", 7), asked) == ([11, 10, 9], [0, 9])
    # What was in progress is read again, and all of it for a window that begins earlier.
    there[:1] = [execution(12), execution(11)]
    assert (read("three", 7), asked) == ([12, 11, 10, 9], [0, 9, 10])
    assert (read("three", 3), asked) == ([12, 11, 10, 9], [0, 9, 10, 0])
